"""plan: how much of a source is to be read this time.

Takes a source and what its earlier collections hold; gives the connector's ``Plan``. A first reading reads all and goes
on where an interrupted one stopped. A later one reads what is new, and reads a share of the old again, so that within
``audit_hours`` everything was verified; runs carry no time of their last change, so nothing cheaper finds all.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from assessments.evidence.manifest import Coverage, Held, Manifest
from assessments.evidence.models import Collection, Source
from assessments.evidence.store import EvidenceDamaged
from integrations.connectors.base import Connector, Plan, Window
from maturity.batches import GROUP_OF

if TYPE_CHECKING:
    import pyarrow as pa

RESUMABLE = timedelta(hours=24)
NOT_MUCH = 20_000  # runs that a person can wait for
_HOUR = 3_600_000  # ms
_log = logging.getLogger(__name__)
_ENDED = ("FINISHED", "FAILED", "KILLED")


@dataclass(frozen=True, slots=True)
class Basis:
    """What a reading builds on: the plan for the connector, and what is held. ``held`` None: a first reading.

    ``resumed`` is what an interrupted first reading left, ``collection`` the one whose facts are held.
    """

    plan: Plan
    held: Held | None = None
    collection: Collection | None = None
    resumed: Manifest = field(default_factory=Manifest)


def basis(source: Source, connector: Connector, *, everything: bool | None) -> Basis:
    """The basis of the next reading of a source. ``everything``: verify all that is held; None: if it is not much."""
    if not getattr(connector, "incremental", False):
        return Basis(Plan())
    last = source.collections.filter(state=Collection.State.COMPLETE, fingerprint=fingerprint(source)).first()
    if last is not None and (manifest := Manifest.from_json(last.manifest)).until is not None:
        held = Held(source.organisation_id, manifest)
        try:
            held.check()
            return Basis(_again(source, held, everything=everything), held, last)
        except EvidenceDamaged:  # on damaged files nothing is built: all is read anew
            _log.exception("collection %s cannot be built upon", last.pk)
            return Basis(Plan())
    return _resumed(source)


def fingerprint(source: Source) -> str:
    """Changes when the source's settings do: what was held under others is not built upon."""
    return hashlib.sha256(json.dumps([source.kind, source.config], sort_keys=True).encode()).hexdigest()[:16]


def _again(source: Source, held: Held, *, everything: bool | None) -> Plan:
    manifest = held.manifest
    asked = everything
    if everything is None:
        everything = len(held.owners(GROUP_OF["runs"])) <= NOT_MUCH
    turn = tuple(
        dict.fromkeys((*due(manifest.coverage, ms(timezone.now()), source.audit_hours), *_before_resuming(manifest)))
    )
    audit: tuple[Window, ...] = ((None, None),) if everything else turn
    return Plan(
        since=manifest.until,
        experiments=frozenset(held.column("experiments", "experiment")),
        audit=audit,
        listed=_listed(held, audit if asked else turn),
    )


def _before_resuming(manifest: Manifest) -> tuple[Window, ...]:
    """The windows that an interrupted first reading had read, of which nothing but the runs themselves is held."""
    edge = manifest.resumed_from
    return tuple(
        (part.low, part.high)
        for part in manifest.coverage
        if edge is not None and part.high is not None and part.high <= edge
    )


def due(coverage: tuple[Coverage, ...], now: int, audit_hours: int) -> tuple[tuple[int | None, int | None], ...]:
    """The windows to verify now (ms). Each has its own moment in every period, so that the work is spread evenly."""
    period = max(1, audit_hours) * _HOUR

    def turn(number: int, at: int) -> int:
        return (at - number * period // len(coverage)) // period

    return tuple(
        (part.low, part.high) for number, part in enumerate(coverage) if turn(number, now) > turn(number, part.read_at)
    )


def _listed(held: Held, turn: Sequence[Window]) -> frozenset[str]:
    """Owners whose artifact lists need not be read again: logged models, and runs that ended.

    A file may be added long after a run ended: lists of runs that start in the windows whose turn it is are read again.
    """
    import pyarrow.compute as pc

    listings = held.owners(GROUP_OF["artifact_listings"])
    if not len(listings):
        return frozenset()
    runs = held.owners(GROUP_OF["runs"])
    open_runs = set(runs.filter(pc.invert(pc.is_in(runs["status"], _strings(_ENDED))))["run"].to_pylist())
    for low, high in turn:
        inside = pc.and_(_from(runs["start_at"], low), pc.invert(_from(runs["start_at"], high, none=False)))
        open_runs.update(runs.filter(inside)["run"].to_pylist())
    return frozenset(listings.filter(pc.fill_null(listings["read"], False))["owner"].to_pylist()) - open_runs


def _from(starts: pa.ChunkedArray, bound: int | None, *, none: bool = True) -> pa.ChunkedArray:
    """Which of the start times are not before the bound; all or none of them where there is no bound."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if bound is None:
        return pa.chunked_array([[none] * len(starts)], pa.bool_())
    return pc.fill_null(pc.greater_equal(starts, bound), False)


def _strings(values: tuple[str, ...]) -> object:
    import pyarrow as pa

    return pa.array(values, pa.string())


def _resumed(source: Source) -> Basis:
    """A first reading, from where the last one was interrupted if that was not long ago."""
    last = source.collections.exclude(state=Collection.State.RUNNING).first()
    left = last.checkpoint if last else {}
    fresh = last is not None and timezone.now() - (last.finished_at or last.started_at) < RESUMABLE
    if not left or not fresh or last is None or last.fingerprint != fingerprint(source):
        return Basis(Plan())
    return Basis(Plan(resume_from=left["resume_from"]), resumed=Manifest.from_json(left["manifest"]))


def ms(time: datetime) -> int:
    """Milliseconds since 1970."""
    return int(time.timestamp() * 1000)
