"""reading: takes the rows of a connector and keeps what is new.

The sink of one collection. A first reading stores rows in batches as they come and notes after each how far it got, so
that one which is killed goes on there. A later reading compares every run, logged model and artifact list it gets with
what is held, stores only what differs, notes what changed, and marks what a window no longer holds as gone.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from assessments.evidence import history, store
from assessments.evidence.history import Difference
from assessments.evidence.manifest import Batch, Coverage, Held, Manifest
from assessments.evidence.merging import with_few_batches
from assessments.evidence.models import Collection
from assessments.evidence.plan import Basis, ms
from maturity.batches import GONE, GROUP_OF, GROUPS, Group
from maturity.facts import TABLES

if TYPE_CHECKING:
    import pyarrow as pa

Progress = Callable[[int, int | None, str], None]
Row = Mapping[str, Any]
Tables = Mapping[str, Sequence[Row]]

BATCH_RUNS = 5_000
BEAT_SECONDS = 10
RUNS = GROUP_OF["runs"]
_OF_FILES = ("flavors", "has_signature", "has_example", "pinned")
_WATCHED = history.SNAPSHOT_TABLES


class Reading:
    """The sink of one collection; see ``integrations.connectors.base.Sink``."""

    def __init__(self, collection: Collection, staging: store.Staging, basis: Basis, progress: Progress) -> None:
        self.plan = basis.plan
        self._basis = basis
        self._collection = collection
        self._staging = staging
        self._report = progress
        self._beaten = time.monotonic()
        self._batches: list[Batch] = list(basis.resumed.batches)
        self._coverage: list[Coverage] = list(basis.resumed.coverage)
        self._from = self.plan.resume_from
        self._through, self._whole = self._from, True  # a window that is missing leaves a hole
        self._gone: set[str] = set()
        self._waiting: dict[str, dict[str, dict[str, list[Row]]]] = {group.anchor: {} for group in GROUPS}
        self._seen: dict[str, int | None] = {}
        self._models_seen: set[str] = set()
        self.differences: list[Difference] = []
        self.snapshots: dict[str, list[Row]] = defaultdict(list)
        if self._from is not None:  # killed once more before it gets on, it still goes on there
            self._save_checkpoint(self._from)

    # what the connector calls

    def write(self, table: str, rows: Sequence[Row]) -> None:
        if table in _WATCHED:
            self.snapshots[table].extend(rows)
        if self._basis.held is None or table not in GROUP_OF:
            self._staging.write(table, rows)
        else:
            self._wait(GROUP_OF[table], table, rows)

    def write_columns(self, table: str, columns: pa.Table) -> None:
        if table in _WATCHED or (self._basis.held is not None and table in GROUP_OF):
            self.write(table, columns.to_pylist())
        else:
            self._staging.write_columns(table, columns)

    def window(self, low: int | None, high: int | None) -> None:
        """All of a window has come: store it, or see what is gone from it."""
        read = Coverage(low, high, ms(self._collection.started_at))
        self._whole, self._through = self._whole and low == self._through, high
        if self._basis.held is not None:
            self._compare_all()
            self._miss(self._basis.held, low, high)
            self._coverage.append(read)
        elif self._whole and (self._staging.rows("runs") >= BATCH_RUNS or high is None):
            self._batches.append(self._staging.seal(RUNS.tables))
            self._coverage.append(replace(read, low=self._from))
            self._from = high
            self._save_checkpoint(high)

    def progress(self, done: int, total: int | None, what: str) -> None:
        if len(self._waiting["runs"]) >= BATCH_RUNS:
            self._compare_all()
        if time.monotonic() - self._beaten > BEAT_SECONDS:
            self._beaten = time.monotonic()
            Collection.objects.filter(pk=self._collection.pk).update(heartbeat_at=timezone.now())
        self._report(done, total, what)

    # what the collection calls at the end

    def finish(self, streams: Iterable[str], until: int) -> Manifest:
        """Store the rest and give the manifest with the tables of the streams that were read to their end."""
        read = set(streams)
        tables = self._staging.seal(
            [name for name, table in TABLES.items() if name not in GROUP_OF and table.stream in read and _stored(name)]
        )
        if self._basis.held is None:
            return self._finish_first(tables, read, until)
        return self._finish_again(self._basis.held, tables, read, until)

    def _finish_first(self, tables: Batch, read: set[str], until: int) -> Manifest:
        if "runs" in read and (self._staging.rows("runs") or not self._batches):
            self._batches.append(self._staging.seal(RUNS.tables))
            self._coverage.append(Coverage(self._from, None, ms(self._collection.started_at)))
        rest = [group for group in GROUPS if group is not RUNS and TABLES[group.anchor].stream in read]
        self._batches.append(self._staging.seal(_tables_of(rest)))
        until = self._basis.resumed.until or until
        return Manifest(tables, tuple(self._batches), tuple(self._coverage), until, self.plan.resume_from).only(read)

    def _finish_again(self, held: Held, tables: Batch, read: set[str], until: int) -> Manifest:
        self._compare_all()
        self._drop_lost(held, read)
        touched = [group for group in GROUPS if self._staging.rows(group.anchor)]
        new = [self._staging.seal(_tables_of(touched))] if touched else []
        old = held.manifest
        left = {name: entry for name, entry in old.tables.items() if name in GROUP_OF}
        batches = (*([left] if left else []), *old.batches, *new)
        batches = with_few_batches(self._collection.source.organisation_id, self._staging, batches)
        return Manifest(tables, batches, old.coverage, until).audited(self._coverage).only(read)

    def _save_checkpoint(self, resume_from: int | None) -> None:
        """Note how far a first reading got; a killed one goes on there."""
        started = ms(self._collection.started_at)
        manifest = Manifest({}, tuple(self._batches), tuple(self._coverage), self._basis.resumed.until or started)
        self._collection.checkpoint = (
            {} if resume_from is None else {"resume_from": resume_from, "manifest": manifest.to_json()}
        )
        self._collection.save(update_fields=["checkpoint"])

    # comparing

    def _wait(self, group: Group, table: str, rows: Sequence[Row]) -> None:
        waiting = self._waiting[group.anchor]
        for row in rows:
            owner = row[group.owner]
            if owner not in waiting:
                waiting[owner] = {name: [] for name in group.tables}
            waiting[owner][table].append(row)
            if table == "runs":
                self._seen[owner] = row.get("start_at")
            elif table == "logged_models":
                self._models_seen.add(owner)

    def _compare_all(self) -> None:
        for group in GROUPS:
            self._compare(group)

    def _compare(self, group: Group) -> None:
        """Stage what differs from what is held of a group, and note how runs changed."""
        waiting, held = self._waiting[group.anchor], self._basis.held
        self._waiting[group.anchor] = {}
        if not waiting or held is None:
            return
        known = held.rows_of(group, waiting)
        for owner, tables in waiting.items():
            before = known.get(owner)
            now = _carried(group, before, tables) if before else tables
            if before and all(_plain(name, before[name]) == _plain(name, now[name]) for name in group.tables):
                continue
            for name, rows in now.items():
                self._staging.write(name, rows)
            if before and group is RUNS:
                row = before["runs"][0]
                since = self._last_read(row["start_at"], row["end_at"])
                self.differences += (replace(one, since=since) for one in history.run_differences(owner, before, now))

    def _miss(self, held: Held, low: int | None, high: int | None) -> None:
        """Mark the runs of a window that did not come as gone."""
        known = held.owners(RUNS)
        for run, experiment, start in zip(*(known[name].to_pylist() for name in _RUN), strict=True):
            if _inside(start, low, high) and run not in self._seen:
                self._mark_gone(run, experiment, start)
        self._seen = {run: start for run, start in self._seen.items() if not _inside(start, low, high)}

    def _mark_gone(self, run: str, experiment: str, start: int | None) -> None:
        if run in self._gone:
            return
        self._gone.add(run)
        row = {"run": run, "experiment": experiment, "start_at": start, RUNS.gone: GONE}
        self._staging.write("runs", [row])
        self.differences.append(replace(history.gone("run", run), since=self._last_read(start)))

    def _last_read(self, start: int | None, end: int | None = None) -> int | None:
        """A time (ms) by which a run was surely read as it is held; collections since may have passed it over.

        ``end``: when it ended as held, so it was read after that.
        """
        if self._basis.held is None or self._basis.collection is None:
            return None
        coverage = self._basis.held.manifest.coverage
        whole = next((part.read_at for part in coverage if _inside(start, part.low, part.high)), None)
        latest = ms(self._basis.collection.started_at)
        return None if whole is None else min(latest, max(whole, end or start or whole))

    def _drop_lost(self, held: Held, read: set[str]) -> None:
        """Mark what hung on experiments that vanished, and logged models that a full reading no longer found."""
        if {"experiments", "runs"} <= read and self.lost_experiments:
            known = held.owners(RUNS)
            for run, experiment, start in zip(*(known[name].to_pylist() for name in _RUN), strict=True):
                if experiment in self.lost_experiments:
                    self._mark_gone(run, experiment, start)
        if "logged_models" in read and any(part.low is None and part.high is None for part in self._coverage):
            models = GROUP_OF["logged_models"]
            for model in set(held.owners(models)["model"].to_pylist()) - self._models_seen:
                self._staging.write("logged_models", [{"model": model, models.gone: GONE}])

    @property
    def lost_experiments(self) -> set[str]:
        """Experiments that the plan knew and this reading did not see."""
        return set(self.plan.experiments) - {row["experiment"] for row in self.snapshots["experiments"]}


_RUN = ("run", "experiment", "start_at")


def _stored(table: str) -> bool:
    """Whether a table comes from a connector; the others the application keeps as rows."""
    return table not in ("alias_sightings", "changes", "projects")


def _tables_of(groups: Iterable[Group]) -> list[str]:
    return [table for group in groups for table in group.tables]


def _inside(start: int | None, low: int | None, high: int | None) -> bool:
    if start is None:
        return low is None
    return (low is None or start >= low) and (high is None or start < high)


def _plain(table: str, rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """Rows as comparable values, in a fixed order; a number that is none equals itself."""
    names = TABLES[table].names
    plain = [tuple("NaN" if (value := row.get(name)) != value else value for name in names) for row in rows]
    return sorted(plain, key=repr)


def _carried(group: Group, before: Tables, now: Tables) -> Tables:
    """The new reading, with what was known from files that were not looked into again; files never change."""
    if group.anchor == "artifact_listings":
        return now if any(row["read"] for row in now["artifact_listings"]) else before
    if group.anchor != "logged_models":
        return now
    old, new = before["logged_models"][0], now["logged_models"][0]
    known = {name: old[name] for name in _OF_FILES if new.get(name) is None}
    return {"logged_models": [{**new, **known}]}
