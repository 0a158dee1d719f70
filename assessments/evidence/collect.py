"""collect: read one source once and keep what it said.

Takes a source and the present time; gives a ``Collection``. The connector never raises for remote trouble, so a
server that is down is a collection that says so; files are written first and listed only when all is there, so an
interrupted one leaves nothing half-kept.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from assessments.evidence import store
from assessments.evidence.models import AliasSighting, Collection, Source
from integrations.connectors.base import Connector, connector
from maturity.facts import Reading, Statement

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[int, int | None, str], None]
BEAT_SECONDS = 10
SILENT = timedelta(minutes=30)
"""A collection that has not been heard of for so long lost its process; one question may take twelve minutes."""

_log = logging.getLogger(__name__)


class AlreadyCollecting(Exception):
    """Another process is reading this source right now."""


class _Sink:
    """Passes rows to the staging area and keeps the few small tables that are looked at after reading."""

    def __init__(self, collection: Collection, staging: store.Staging, progress: Progress) -> None:
        self._collection = collection
        self._staging = staging
        self._progress = progress
        self._beaten = time.monotonic()
        self.experiments: set[str] = set()
        self.models: set[str] = set()
        self.aliases: set[tuple[str, str, str]] = set()

    def write(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self._staging.write(table, rows)
        if table == "experiments":
            self.experiments.update(row["experiment"] for row in rows)
        elif table == "registered_models":
            self.models.update(row["name"] for row in rows)
        elif table == "aliases":
            self.aliases.update((row["name"], row["alias"], row["version"]) for row in rows)

    def progress(self, done: int, total: int | None, what: str) -> None:
        if time.monotonic() - self._beaten > BEAT_SECONDS:
            self._beaten = time.monotonic()
            Collection.objects.filter(pk=self._collection.pk).update(heartbeat_at=timezone.now())
        self._progress(done, total, what)


def collect(source: Source, *, progress: Progress | None = None) -> Collection:
    """Read the source to the end and keep the facts. Raises ``AlreadyCollecting``; remote trouble never raises."""
    collection = _begin(source)
    try:
        with store.Staging(source.organisation_id) as staging:
            sink = _Sink(collection, staging, progress or (lambda done, total, what: None))
            statement = connect(source).collect(sink)
            read = {stream.stream for stream in statement.streams if stream.state is Reading.READ}
            _finish(collection, statement, staging.commit(read), sink)
    except BaseException:
        Collection.objects.filter(pk=collection.pk).update(
            state=Collection.State.INTERRUPTED, finished_at=timezone.now()
        )
        raise
    return collection


def connect(source: Source) -> Connector:
    """The connector of a source, with its secrets. Raises ``ConfigError`` or ``BadSignature``."""
    allowed = None if settings.ALLOW_PRIVATE_SOURCES else ()
    return connector(source.kind, source.full_config(), allow_private=allowed)


def _begin(source: Source) -> Collection:
    with transaction.atomic():
        locked = Source.objects.select_for_update().get(pk=source.pk)
        for running in locked.collections.filter(state=Collection.State.RUNNING):
            if _alive(running):
                raise AlreadyCollecting(
                    f"{source.key} is being collected since {running.started_at:%Y-%m-%d %H:%M} UTC"
                )
            running.state, running.finished_at = Collection.State.INTERRUPTED, timezone.now()
            running.save(update_fields=["state", "finished_at"])
        process = f"{socket.gethostname()}:{os.getpid()}"[-80:]
        now = timezone.now()
        return Collection.objects.create(source=source, started_at=now, heartbeat_at=now, process=process)


def _alive(collection: Collection) -> bool:
    """Whether the collecting process still runs: it has been heard of lately, and is not known to be gone.

    Of a process on another machine (or in a container that was replaced) only the heartbeat tells.
    """
    if timezone.now() - (collection.heartbeat_at or collection.started_at) > SILENT:
        return False
    host, _, pid = collection.process.rpartition(":")
    return host != socket.gethostname() or (int(pid) != os.getpid() and _exists(int(pid)))


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _finish(collection: Collection, statement: Statement, manifest: dict[str, dict[str, Any]], sink: _Sink) -> None:
    source = collection.source
    last = Collection.objects.in_force(source, until=timezone.now())
    collection.registry_read = statement.stream("registry").state is Reading.READ
    if last and statement.stream("experiments").state is Reading.READ:
        collection.lost_experiments = sorted(_held(last, "experiments", "experiment") - sink.experiments)
    if last and collection.registry_read:
        collection.lost_models = sorted(_held(last, "registered_models", "name") - sink.models)
    collection.state = _state(statement, lost=bool(collection.lost_experiments or collection.lost_models))
    collection.statement = statement.to_json()
    collection.manifest = manifest
    finished = datetime.fromtimestamp(statement.finished_at / 1000, tz=UTC)
    collection.finished_at = finished
    with transaction.atomic():
        collection.save()
        if collection.registry_read:
            _sight_aliases(collection, sink.aliases, finished)


def _state(statement: Statement, *, lost: bool) -> Collection.State:
    if not any(stream.state is Reading.READ for stream in statement.streams):
        return Collection.State.FAILED
    if not statement.complete:
        return Collection.State.PARTIAL
    return Collection.State.SUSPECT if lost else Collection.State.COMPLETE


def _earlier(collection: Collection, table: str) -> pd.DataFrame | None:
    """A table of an earlier collection; None when it held none, or when its file is gone or altered."""
    entry = collection.manifest.get(table)
    if not entry:
        return None
    try:
        return store.read_table(collection.source.organisation_id, table, entry["sha256"])
    except store.EvidenceDamaged:
        _log.exception("collection %s cannot be compared with", collection.pk)
        return None


def _held(collection: Collection, table: str, column: str) -> set[str]:
    """The ids an earlier collection held. When nothing is known of it, nothing is missed."""
    frame = _earlier(collection, table)
    return set() if frame is None else set(frame[column])


def _sight_aliases(collection: Collection, aliases: set[tuple[str, str, str]], seen_at: datetime) -> None:
    """Note every alias that the last reading of the registry did not have, with the interval in which it came."""
    source = collection.source
    last = source.collections.exclude(pk=collection.pk).filter(registry_read=True).order_by("-finished_at").first()
    held = _aliases(last) if last else set()
    AliasSighting.objects.bulk_create(
        [
            AliasSighting(
                source=source,
                model=model,
                alias=alias,
                version=version,
                after=last.finished_at if last else None,
                before=seen_at,
            )
            for model, alias, version in sorted(aliases - held)
        ],
        ignore_conflicts=True,
    )


def _aliases(collection: Collection) -> set[tuple[str, str, str]]:
    """The aliases of a collection that read the registry; when its file is damaged, all that were ever seen."""
    frame = _earlier(collection, "aliases")
    if frame is None:
        return set(collection.source.alias_sightings.values_list("model", "alias", "version"))
    return set(zip(frame["name"], frame["alias"], frame["version"], strict=True))


def accept(collection: Collection) -> None:
    """Declare that what a suspect collection no longer saw is really gone; it then counts as complete."""
    if collection.state != Collection.State.SUSPECT:
        raise ValueError("only a suspect collection can be accepted")
    collection.state = Collection.State.COMPLETE
    collection.save(update_fields=["state"])
