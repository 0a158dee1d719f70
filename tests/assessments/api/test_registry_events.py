from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mlflow
import pytest
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from mlflow.entities.webhook import WebhookEvent
from mlflow.tracking import MlflowClient
from mlflow.webhooks.delivery import _generate_hmac_signature
from pytest_django.live_server_helper import LiveServer

from assessments.evidence import registry_events
from assessments.evidence.collect import collect
from assessments.evidence.facts import _changes
from assessments.evidence.models import Change, Source
from tests.assessments.conftest import Scripted, World
from tests.integrations import servers

Send = Callable[..., HttpResponse]
START = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)  # the clock of a scripted reading
ALIAS = ("model_version_alias", "created", {"name": "fraud", "alias": "champion", "version": "2"})


@pytest.fixture
def source(world: World) -> Source:
    return world.acme.sources.get()


@pytest.fixture
def secret(source: Source) -> str:
    made = registry_events.new_secret(source)
    source.refresh_from_db()
    return made


@pytest.fixture
def send(client: Client, secret: str) -> Send:
    """Send an event as MLflow does: signed by MLflow's own function. Anything may be said otherwise."""

    def sent(
        entity: str,
        action: str,
        data: Mapping[str, Any],
        *,
        at: datetime | None = None,
        number: str = "",
        signed_at: int | None = None,
        body: str | None = None,
        key: str = secret,
        signature: str | None = None,
        path: str = "/api/v1/organisations/acme/sources/mlflow/registry-events/",
        **more: Any,
    ) -> HttpResponse:
        stamp = (at or datetime.now(UTC)).isoformat()
        content = body or json.dumps({"entity": entity, "action": action, "timestamp": stamp, "data": data, **more})
        number = number or os.urandom(8).hex()
        when = str(int(time.time()) if signed_at is None else signed_at)
        right = _generate_hmac_signature(key, number, when, content)
        headers = {
            "X-MLflow-Delivery-Id": number,
            "X-MLflow-Timestamp": when,
            "X-MLflow-Signature": right if signature is None else signature,
        }
        return client.post(path, content, content_type="application/json", headers=headers)

    return sent


def told() -> list[tuple[Any, ...]]:
    return list(Change.objects.values_list("entity", "ident", "field", "key", "old", "new"))


def test_a_genuine_event_is_a_change_at_a_point_in_time(send: Send) -> None:
    at = datetime.now(UTC).replace(microsecond=5_000)
    assert send(*ALIAS, at=at).json() == {"kept": 1}
    change = Change.objects.get()
    assert (change.after, change.before) == (at, at)
    assert told() == [("alias", "fraud", "alias", "champion", None, "fraud/2")]


@pytest.mark.parametrize(
    ("entity", "action", "data", "expected"),
    [
        (
            "model_version_tag",
            "set",
            {"name": "fraud", "version": "2", "key": "dlemm.rollout", "value": "canary"},
            [("model_version", "fraud/2", "tag", "dlemm.rollout", None, "canary")],
        ),
        (
            "model_version",
            "created",
            {"name": "fraud", "version": "2", "source": "s", "run_id": "r", "tags": {"a": "1"}, "description": None},
            [
                ("model_version", "fraud/2", "existence", "", None, "present"),
                ("model_version", "fraud/2", "tag", "a", None, "1"),
            ],
        ),
        (
            "registered_model",
            "created",
            {"name": "fraud", "tags": {}, "description": None},
            [("registered_model", "fraud", "existence", "", None, "present")],
        ),
        ("prompt_alias", "created", {"name": "fraud", "alias": "champion", "version": "2"}, []),
        ("budget_policy", "exceeded", {"budget_policy_id": "bp"}, []),
        ("model_version_alias", "created", {"name": "example_model", "alias": "example_alias", "version": "1"}, []),
        ("model_version_alias", "deleted", {"name": "fraud", "alias": "never-set"}, []),
    ],
)
def test_each_event_is_told_in_the_words_of_the_history(
    send: Send, entity: str, action: str, data: dict[str, Any], expected: list[tuple[Any, ...]]
) -> None:
    assert send(entity, action, data).json() == {"kept": len(expected)}
    assert told() == expected


def test_a_later_event_knows_what_was_before(send: Send) -> None:
    now = datetime.now(UTC)
    send(*ALIAS, at=now - timedelta(seconds=9))
    assert send(*ALIAS, at=now - timedelta(seconds=6)).json() == {"kept": 0}
    send("model_version_alias", "deleted", {"name": "fraud", "alias": "champion"}, at=now)
    assert told()[-1] == ("alias", "fraud", "alias", "champion", "fraud/2", None)
    assert len(told()) == 2


def test_a_delivery_that_comes_twice_counts_once(send: Send) -> None:
    tag = ("model_version_tag", "set", {"name": "fraud", "version": "2", "key": "k", "value": "v"})
    assert send(*tag, number="one").json() == {"kept": 1}
    Change.objects.all().delete()
    assert send(*tag, number="one").json() == {"kept": 0}
    assert told() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": "another secret"},
        {"signature": ""},
        {"signature": "v1,"},
        {"signature": "v1,é"},
        {"signed_at": 0},
        {"signed_at": int(time.time()) + 3600},
        {"path": "/api/v1/organisations/globex/sources/mlflow/registry-events/"},
        {"path": "/api/v1/organisations/absent/sources/mlflow/registry-events/"},
        {"path": "/api/v1/organisations/acme/sources/absent/registry-events/"},
        {"number": "n" * 101},
    ],
)
def test_whatever_is_not_proven_gets_one_and_the_same_answer(send: Send, wrong: dict[str, Any]) -> None:
    response = send(*ALIAS, **wrong)
    assert response.status_code == 401
    assert response.json() == {"detail": "The signature is missing, wrong or too old."}
    assert told() == []


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"body": "{"}, 400),
        ({"body": "[]"}, 400),
        ({"at": datetime.now(UTC) - timedelta(hours=1)}, 400),
        ({"body": json.dumps({"entity": [], "action": {}, "timestamp": "never", "data": {}})}, 400),
        ({"body": " " * (registry_events.MOST_BYTES + 1)}, 413),
    ],
)
def test_content_that_cannot_be_understood_is_refused(send: Send, wrong: dict[str, Any], status: int) -> None:
    assert send(*ALIAS, **wrong).status_code == status
    assert told() == []


@pytest.mark.parametrize(
    "data", [{}, {"name": 5, "alias": "a", "version": "1"}, {"name": "a\x00b", "alias": "a", "version": "1"}]
)
def test_a_delivery_with_a_fault_keeps_nothing_and_may_come_again(send: Send, data: dict[str, Any]) -> None:
    assert send("model_version_alias", "created", data, number="one").status_code == 400
    assert send(*ALIAS, number="one").json() == {"kept": 1}


def test_another_tenant_of_the_server_is_not_told_of(send: Send, source: Source) -> None:
    assert send(*ALIAS, workspace="other").json() == {"kept": 0}
    assert send(*ALIAS, workspace="default").json() == {"kept": 1}


def test_a_new_secret_voids_the_old_and_the_database_does_not_hold_it(send: Send, source: Source, secret: str) -> None:
    assert secret not in source.hook_secret
    newer = registry_events.new_secret(source)
    assert send(*ALIAS).status_code == 401
    assert send(*ALIAS, key=newer).status_code == 200
    call_command("webhook_secret", "acme", "mlflow", "--remove")
    assert send(*ALIAS, key=newer).status_code == 401


def test_the_command_shows_address_and_secret(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("webhook_secret", "acme", "mlflow", "--site", "https://dlemm.example/")
    out = capsys.readouterr().out
    assert "URL: https://dlemm.example/api/v1/organisations/acme/sources/mlflow/registry-events/" in out
    assert "Secret: dlemm_hook_" in out
    with pytest.raises(CommandError, match="There is no source"):
        call_command("webhook_secret", "acme", "absent")


def row(version: str) -> dict[str, object]:
    return {"name": "fraud", "alias": "champion", "version": version}


def tell(source: Source, version: str, at: datetime) -> None:
    """A change of the alias as the server tells of it."""
    Change.objects.create(
        source=source, entity="alias", ident="fraud", field="alias", key="champion", new=version, after=at, before=at
    )


@pytest.mark.parametrize("seconds", [-30, 30])
def test_what_the_server_told_is_not_told_again_by_the_next_reading(
    source: Source, secret: str, scripted: Callable[[Scripted], None], seconds: int
) -> None:
    scripted(Scripted({"aliases": [row("fraud/1")]}))
    collect(source)
    Change.objects.update(before=START - timedelta(minutes=1))
    tell(source, "fraud/2", START + timedelta(seconds=seconds))  # before: after a long reading had read the registry
    scripted(Scripted({"aliases": [row("fraud/2")]}, now=1_700_000_000_000 + 3_600_000))
    collection = collect(source)
    assert [change.new for change in source.changes.all()] == ["fraud/1", "fraud/2"]
    sightings = _changes(collection)["alias_sightings"]
    assert list(sightings["after"] == sightings["before"])[1]


def test_what_is_told_during_the_first_reading_comes_after_what_it_saw(
    source: Source, secret: str, scripted: Callable[[Scripted], None]
) -> None:
    told_at = datetime.now(UTC) + timedelta(seconds=10)
    tell(source, "fraud/2", told_at)
    end = int((told_at + timedelta(minutes=1)).timestamp() * 1000)
    scripted(Scripted({"aliases": [row("fraud/1")]}, now=end))
    collect(source)
    scripted(Scripted({"aliases": [row("fraud/2")]}, now=end + 3_600_000))
    collect(source)
    assert [change.new for change in source.changes.all()] == ["fraud/1", "fraud/2"]


def test_a_lost_delivery_is_found_by_the_next_reading(
    source: Source, secret: str, scripted: Callable[[Scripted], None]
) -> None:
    for number, version in enumerate(("fraud/1", "fraud/2", "fraud/1")):
        scripted(Scripted({"aliases": [row(version)]}, now=1_700_000_000_000 + number * 3_600_000))
        collect(source)
    assert [change.new for change in source.changes.all()] == ["fraud/1", "fraud/2", "fraud/1"]


def test_word_that_comes_after_the_reading_that_saw_it_narrows_the_interval(send: Send, source: Source) -> None:
    now = timezone.now()
    seen = Change.objects.create(
        source=source,
        entity="alias",
        ident="fraud",
        field="alias",
        key="champion",
        new="fraud/2",
        after=now - timedelta(hours=1),
        before=now,
    )
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=30)
    assert send(*ALIAS, at=at).json() == {"kept": 1}
    seen.refresh_from_db()
    assert (seen.after, seen.before) == (at, at)
    assert Change.objects.count() == 1


@pytest.mark.server
@pytest.mark.django_db(transaction=True)
def test_a_real_server_tells_of_its_registry(
    world: World, live_server: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http,https")
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    monkeypatch.setenv("MLFLOW_WEBHOOK_CACHE_TTL", "0")
    source = world.acme.sources.get()
    secret = registry_events.new_secret(source)
    with servers.mlflow_server(tmp_path) as server:
        mlflow.set_tracking_uri(server.url)
        client = MlflowClient(server.url)
        path = "/api/v1/organisations/acme/sources/mlflow/registry-events/"
        events = [
            WebhookEvent.from_str(name)
            for name in ("model_version_alias.created", "model_version_tag.set", "model_version.created")
        ]
        hook = client.create_webhook("dlemm", f"{live_server.url}{path}", events, secret=secret)
        trial = client.test_webhook(hook.webhook_id)
        assert (trial.success, trial.response_status) == (True, 200)
        client.create_registered_model("fraud")
        client.create_model_version("fraud", "s3://models/fraud")
        client.set_registered_model_alias("fraud", "champion", "1")
        client.set_model_version_tag("fraud", "1", "dlemm.rollout", "canary")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and len(told()) < 3:
            time.sleep(0.1)
    assert set(told()) == {
        ("model_version", "fraud/1", "existence", "", None, "present"),
        ("alias", "fraud", "alias", "champion", None, "fraud/1"),
        ("model_version", "fraud/1", "tag", "dlemm.rollout", None, "canary"),
    }
    assert all(change.after == change.before for change in Change.objects.all())
