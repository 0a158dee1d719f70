"""One small cast for every test of the application.

Alice owns Acme, Bob only reads there; Charlie owns Globex and is a stranger to Acme.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client

from assessments.evidence import collect as collecting
from assessments.evidence.models import Source
from assessments.organisations.models import Membership, Organisation, Project
from integrations.connectors.base import Check, Sink
from maturity.facts import Reading, Statement, StreamReading

STREAMS = ("experiments", "runs", "logged_models", "artifacts", "registry")


@dataclass(frozen=True, slots=True)
class World:
    """The cast: two organisations and three people."""

    acme: Organisation
    globex: Organisation
    alice: User
    bob: User
    charlie: User


@pytest.fixture(autouse=True)
def _own_data_folder(settings: Any, tmp_path: Path) -> None:
    settings.DATA = tmp_path
    cache.clear()


@pytest.fixture
def world(db: None) -> World:
    """Acme with project fraud and an MLflow source; Globex with project churn."""
    people = [
        get_user_model().objects.create_user(name, password=f"{name}-password") for name in ("alice", "bob", "charlie")
    ]
    acme = Organisation.objects.create(key="acme", name="Acme")
    globex = Organisation.objects.create(key="globex", name="Globex")
    roles = Membership.Role
    for organisation, person, role in ((acme, 0, roles.OWNER), (acme, 1, roles.VIEWER), (globex, 2, roles.OWNER)):
        Membership.objects.create(organisation=organisation, user=people[person], role=role)
    Project.objects.create(organisation=acme, key="fraud", name="Fraud", experiments=["fraud*"])
    Project.objects.create(organisation=globex, key="churn", name="Churn", experiments=["churn*"])
    for organisation in (acme, globex):
        Source.objects.create(organisation=organisation, key="mlflow", config={"base_url": "http://127.0.0.1:9"})
    return World(acme, globex, *people)


@pytest.fixture
def signed_in(client: Client, world: World) -> Client:
    """Alice's browser."""
    client.force_login(world.alice)
    return client


@dataclass
class Scripted:
    """A connector that reads what the test gives it: rows by table, and the streams that could not be looked at."""

    rows: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    now: int = 1_700_000_000_000
    interrupt: bool = False
    kind: str = "mlflow"

    def check(self) -> Check:
        return Check(True)

    def collect(self, sink: Sink) -> Statement:
        for table, rows in self.rows.items():
            sink.write(table, rows)
        if self.interrupt:
            raise KeyboardInterrupt
        streams = tuple(
            StreamReading(s, Reading.COULD_NOT_LOOK, 0, self.unread[s])
            if s in self.unread
            else StreamReading(s, Reading.READ)
            for s in STREAMS
        )
        return Statement(self.kind, "http://127.0.0.1:9", self.now - 1000, self.now, streams)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Scripted], None]:
    """Let the next collections read what a ``Scripted`` says instead of a server."""

    def use(connector: Scripted) -> None:
        monkeypatch.setattr(collecting, "connect", lambda source: connector)

    return use
