"""collect: read one source once and keep what it said.

Takes a source and the present time; gives a ``Collection``. The connector never raises for remote trouble, so a
server that is down is a collection that says so; files are written first and listed only when all is there, so an
interrupted one leaves nothing half-kept.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from assessments.evidence import history, store
from assessments.evidence.counting import counted, still_read
from assessments.evidence.inventory import keep_inventory
from assessments.evidence.manifest import Held, Manifest
from assessments.evidence.models import Collection, Source
from assessments.evidence.plan import Basis, basis, fingerprint
from assessments.evidence.pushed import connector_config
from assessments.evidence.reading import Progress, Reading
from assessments.jobs.processes import is_gone, this_process
from integrations.connectors.base import Connector, connector
from maturity.facts import TABLES, Statement
from maturity.facts import Reading as State

SILENT = timedelta(minutes=30)
"""A collection that has not been heard of for so long lost its process; one question may take twelve minutes."""

_log = logging.getLogger(__name__)
_here: set[int] = set()  # the collections that threads of this process are at


class AlreadyCollecting(Exception):
    """Another process is reading this source right now."""


def collect(source: Source, *, progress: Progress | None = None, everything: bool | None = None) -> Collection:
    """Read the source and keep the facts. ``everything``: verify also what is held; None: if that is not much.

    Raises ``AlreadyCollecting``; remote trouble never raises.
    """
    collection = _begin(source)
    try:
        reader = connect(source)
        with store.Staging(source.organisation_id) as staging:
            found = basis(source, reader, everything=everything)
            reading = Reading(collection, staging, found, progress or (lambda done, total, what: None))
            statement = still_read(reader.collect(reading), found.held)
            read = {stream.stream for stream in statement.streams if stream.state is State.READ}
            manifest = reading.finish(read, _until(statement))
            _finish(collection, statement, manifest, reading, found)
    except BaseException:
        Collection.objects.filter(pk=collection.pk, state=Collection.State.RUNNING).update(
            state=Collection.State.INTERRUPTED, finished_at=timezone.now()
        )
        raise
    finally:
        _here.discard(collection.pk)
    return collection


def connect(source: Source) -> Connector:
    """The connector of a source, with its secrets. Raises ``ConfigError`` or ``BadSignature``."""
    allowed = None if settings.ALLOW_PRIVATE_SOURCES else ()
    return connector(source.kind, connector_config(source), allow_private=allowed, folders=settings.SOURCE_FOLDERS)


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
        now = timezone.now()
        begun = Collection.objects.create(
            source=source, started_at=now, heartbeat_at=now, process=this_process(), fingerprint=fingerprint(source)
        )
        _here.add(begun.pk)
        return begun


def _alive(collection: Collection) -> bool:
    """Whether the collecting process still runs: it has been heard of lately, and is not known to be gone.

    Of a process on another machine (or in a container that was replaced) only the heartbeat tells.
    """
    if timezone.now() - (collection.heartbeat_at or collection.started_at) > SILENT:
        return False
    if collection.process == this_process():  # a process of a container may get the number of the one before
        return collection.pk in _here
    return not is_gone(collection.process)


def being_collected(source: Source) -> bool:
    """Whether some process reads the source right now."""
    return any(_alive(running) for running in source.collections.filter(state=Collection.State.RUNNING))


def _finish(collection: Collection, statement: Statement, manifest: Manifest, reading: Reading, found: Basis) -> None:
    source = collection.source
    finished = datetime.fromtimestamp(statement.finished_at / 1000, tz=UTC)
    last = Collection.objects.in_force(source, until=timezone.now())
    collection.lost_experiments = sorted(_lost(last, manifest, "experiments", "experiment", statement, source))
    collection.lost_models = sorted(_lost(last, manifest, "registered_models", "name", statement, source))
    collection.state = _state(statement, lost=bool(collection.lost_experiments or collection.lost_models))
    collection.statement = counted(statement, Held(source.organisation_id, manifest)).to_json()
    collection.manifest = manifest.to_json()
    collection.finished_at = finished
    if "runs" in manifest.names:
        collection.checkpoint = {}
    with transaction.atomic():
        collection.save()
        base = found.collection.finished_at if found.collection else None
        history.keep(source, reading.differences, after=base, before=finished)
        for table in ("experiments", "aliases"):
            if table in manifest.tables:
                _keep_snapshot_changes(collection, reading, table, finished)
    keep_inventory(source)


def _keep_snapshot_changes(collection: Collection, reading: Reading, table: str, finished: datetime) -> None:
    """Note what changed since the last collection that read the stream of ``table``, whatever became of its rest."""
    source, stream = collection.source, TABLES[table].stream
    names = [name for name in history.SNAPSHOT_TABLES if TABLES[name].stream == stream]
    now = {name: reading.snapshots[name] for name in names}
    others = source.collections.exclude(pk=collection.pk).iterator(chunk_size=10)
    last = next((one for one in others if table in one.tables_held), None)
    if last is None:
        found = history.snapshot_differences({}, now)
        history.keep(source, found, after=None, before=finished, began=collection.started_at)
        return
    try:
        earlier = Held(source.organisation_id, Manifest.from_json(last.manifest))
        held = {name: earlier.rows(name) for name in names if name in last.tables_held}
    except store.EvidenceDamaged:
        _log.exception("collection %s cannot be compared with", last.pk)
        return
    found = history.snapshot_differences(held, now)
    seen = datetime.fromtimestamp(last.statement["started_at"] / 1000, tz=UTC)  # it was read at any time from then on
    history.keep(source, found, after=seen, before=finished, began=collection.started_at)


def _state(statement: Statement, *, lost: bool) -> Collection.State:
    if not any(stream.state is State.READ for stream in statement.streams):
        return Collection.State.FAILED
    if not statement.complete:
        return Collection.State.PARTIAL
    return Collection.State.SUSPECT if lost else Collection.State.COMPLETE


def _lost(
    last: Collection | None, manifest: Manifest, table: str, column: str, statement: Statement, source: Source
) -> set[str]:
    """What an earlier collection held and this one did not see. When nothing is known of it, nothing is missed."""
    unknown = statement.stream(TABLES[table].stream).state is State.COULD_NOT_LOOK
    if last is None or unknown:
        return set()
    try:
        earlier = Held(source.organisation_id, Manifest.from_json(last.manifest)).column(table, column)
    except store.EvidenceDamaged:
        _log.exception("collection %s cannot be compared with", last.pk)
        return set()
    return earlier - Held(source.organisation_id, manifest).column(table, column)


def _until(statement: Statement) -> int:
    """The source's own time when the reading began (ms)."""
    return statement.started_at + statement.counts.get("server_clock_ahead_s", 0) * 1000


def accept(collection: Collection) -> None:
    """Declare that what a suspect collection no longer saw is really gone; it then counts as complete."""
    if collection.state != Collection.State.SUSPECT:
        raise ValueError("only a suspect collection can be accepted")
    collection.state = Collection.State.COMPLETE
    collection.save(update_fields=["state"])
    keep_inventory(collection.source)
