"""Odd courses of readings: broken windows, partial collections, lost experiments, files that came late."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from assessments.evidence import collect as collecting
from assessments.evidence import merging, plan, reading, store
from assessments.evidence.collect import accept, collect
from assessments.evidence.facts import StoredPart, parts_of, project_table
from assessments.evidence.manifest import Manifest
from assessments.evidence.models import Change, Collection, Source
from integrations.connectors.base import Check, Sink
from maturity import pack
from maturity.answers import Answers
from maturity.facts import Reading, Statement, StreamReading
from maturity.schema import load_model
from tests.assessments.conftest import STREAMS, World

START = 1_700_000_000_000
HOUR = 3_600_000
Rows = Mapping[str, Sequence[Mapping[str, Any]]]
Window = tuple[int | None, int | None]


@dataclass
class Tracking:
    """A connector that follows the plan as the MLflow one does, on rows that the test holds.

    ``broken``: windows that cannot be read; ``stop``: raised after the windows are through.
    """

    rows: dict[str, list[dict[str, Any]]]
    windows: tuple[Window, ...] = ((None, None),)
    broken: frozenset[Window] = frozenset()
    unread: frozenset[str] = frozenset()
    lacking: frozenset[str] = frozenset()
    stop: bool = False
    kind: str = "mlflow"
    incremental: bool = True
    plans: list[Any] = field(default_factory=list)

    def check(self) -> Check:
        return Check(True)

    def collect(self, sink: Sink) -> Statement:
        self.plans.append(sink.plan)
        now = int(timezone.now().timestamp() * 1000)
        for table, rows in self.rows.items():
            if table not in ("runs", "run_tags", "artifact_listings", "artifacts", "cards"):
                sink.write(table, rows)
        self._runs(sink)
        if self.stop:
            raise KeyboardInterrupt
        for table in ("artifact_listings", "artifacts", "cards"):
            sink.write(table, [row for row in self.rows.get(table, ()) if row["owner"] not in sink.plan.listed])
        sink.progress(1, None, "artifacts")
        return Statement(self.kind, "http://127.0.0.1:9", now, now, tuple(map(self._stream, STREAMS)))

    def _stream(self, name: str) -> StreamReading:
        if name in self.unread or (name == "runs" and self.broken):
            return StreamReading(name, Reading.COULD_NOT_LOOK, 0, "server_error")
        return StreamReading(name, Reading.NOT_SUPPORTED if name in self.lacking else Reading.READ)

    def _runs(self, sink: Sink) -> None:
        known = sink.plan.since is not None
        for low, high in sink.plan.audit if known else self.windows:
            if sink.plan.resume_from is not None and low is not None and low < sink.plan.resume_from:
                continue
            if (low, high) in self.broken:
                continue
            inside = [
                row
                for row in self.rows.get("runs", [])
                if (low is None or row["start_at"] >= low) and (high is None or row["start_at"] < high)
            ]
            ids = {row["run"] for row in inside}
            sink.write("runs", inside)
            sink.write("run_tags", [row for row in self.rows.get("run_tags", []) if row["run"] in ids])
            sink.window(low, high)
            sink.progress(1, None, "runs")


Use = Callable[[Tracking], Tracking]


@pytest.fixture
def tracking(monkeypatch: pytest.MonkeyPatch) -> Use:
    def use(connector: Tracking) -> Tracking:
        monkeypatch.setattr(collecting, "connect", lambda source: connector)
        return connector

    return use


@pytest.fixture
def source(world: World) -> Source:
    return world.acme.sources.get()


def experiment(number: str) -> dict[str, Any]:
    return {"experiment": number, "name": f"fraud-{number}", "lifecycle": "active", "created_at": START}


def run(name: str, *, experiment: str = "1", hour: int = 0) -> dict[str, Any]:
    return {
        "run": name,
        "experiment": experiment,
        "name": name,
        "status": "FINISHED",
        "lifecycle": "active",
        "start_at": START + hour * HOUR,
    }


def tag(owner: str, key: str, value: str) -> dict[str, Any]:
    return {"run": owner, "key": key, "value": value}


def held(collection: Collection, table: str) -> list[tuple[Any, ...]]:
    frame = parts_of([collection])[0].part.tables[table]
    return sorted(frame.astype(object).itertuples(index=False, name=None), key=repr)


def runs_of(collection: Collection) -> set[str]:
    return {row[0] for row in held(collection, "runs")}


def changes(**wanted: Any) -> list[tuple[str, str, str, str | None, str | None]]:
    return [(c.entity, c.ident, c.key, c.old, c.new) for c in Change.objects.filter(**wanted)]


def test_a_first_reading_never_goes_on_behind_a_window_that_could_not_be_read(
    source: Source, tracking: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH_RUNS", 1)
    edges = [START, START + HOUR, START + 2 * HOUR, START + 3 * HOUR]
    windows = ((None, edges[0]), (edges[0], edges[1]), (edges[1], edges[2]), (edges[2], None))
    rows = {"experiments": [experiment("1")], "runs": [run("a", hour=-1), run("b"), run("c", hour=1), run("d", hour=2)]}
    tracking(Tracking(rows, windows[:3], broken=frozenset({windows[1]}), unread=frozenset({"runs"})))
    assert collect(source).state == Collection.State.PARTIAL
    tracking(Tracking(rows, windows))
    assert runs_of(collect(source)) == {"a", "b", "c", "d"}


def test_what_a_partial_collection_saw_change_is_not_told_again_by_the_next(source: Source, tracking: Use) -> None:
    rows = {"experiments": [experiment("1")], "runs": [run("a"), run("b")]}
    tracking(Tracking(rows))
    collect(source)
    rows = {**rows, "runs": [run("a")], "run_tags": [tag("a", "approved", "yes")]}
    tracking(Tracking(rows, unread=frozenset({"artifacts"})))
    assert collect(source).state == Collection.State.PARTIAL
    tracking(Tracking(rows))
    assert collect(source).state == Collection.State.COMPLETE
    assert sorted(changes(entity="run")) == [("run", "a", "approved", None, "yes"), ("run", "b", "", "present", None)]


def test_what_was_undone_after_a_partial_collection_is_told_as_undone(source: Source, tracking: Use) -> None:
    before = {"experiments": [experiment("1")], "runs": [run("a")], "run_tags": [tag("a", "approved", "no")]}
    tracking(Tracking(before))
    collect(source)
    tracking(Tracking({**before, "run_tags": [tag("a", "approved", "yes")]}, unread=frozenset({"artifacts"})))
    collect(source)
    tracking(Tracking({**before, "run_tags": [tag("a", "approved", "later")]}))
    collect(source)
    assert [c[3:] for c in changes(entity="run")] == [("no", "yes"), ("yes", "later")]


def test_runs_of_a_lost_experiment_are_told_gone_once(source: Source, tracking: Use) -> None:
    rows = {"experiments": [experiment("1"), experiment("2")], "runs": [run("a"), run("b", experiment="2")]}
    tracking(Tracking(rows))
    collect(source)
    tracking(Tracking({"experiments": [experiment("1")], "runs": [run("a")]}))
    suspect = collect(source)
    assert suspect.state == Collection.State.SUSPECT
    assert changes(entity="run") == [("run", "b", "", "present", None)]
    accept(suspect)
    assert runs_of(suspect) == {"a"}
    tracking(Tracking(rows))
    assert runs_of(collect(source)) == {"a", "b"}


def test_a_change_began_no_earlier_than_its_run_was_last_read(source: Source, tracking: Use) -> None:
    rows = {"experiments": [experiment("1")], "runs": [run("a")]}
    tracking(Tracking(rows))
    first = collect(source)
    tracking(Tracking(rows))
    collect(source, everything=False)  # looks at no old run
    tracking(Tracking({**rows, "run_tags": [tag("a", "approved", "yes")]}))
    third = collect(source, everything=True)
    change = Change.objects.get(entity="run")
    assert first.started_at - timedelta(milliseconds=1) <= change.after <= first.finished_at
    assert change.before == third.finished_at


def test_files_that_came_after_a_run_ended_are_found_when_its_window_is_verified(
    source: Source, tracking: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"experiments": [experiment("1")], "runs": [run("a")]}
    rows["artifact_listings"] = [{"owner": "a", "read": True}]
    tracking(Tracking(rows))
    collect(source)
    rows["artifacts"] = [{"owner": "a", "path": "reports/late.json"}]
    soon = tracking(Tracking(rows))
    collect(source)
    assert soon.plans[0].listed == {"a"}
    week = timezone.now() + timedelta(hours=source.audit_hours + 1)
    monkeypatch.setattr(plan.timezone, "now", lambda: week)
    tracking(Tracking(rows))
    assert held(collect(source), "artifacts") == [("a", "reports/late.json")]


def test_what_hung_on_a_run_that_is_gone_is_gone_with_it(source: Source, tracking: Use) -> None:
    rows = {"experiments": [experiment("1")], "runs": [run("a"), run("b")]}
    rows["artifact_listings"] = [{"owner": "a", "read": True}, {"owner": "b", "read": True}]
    rows["artifacts"] = [{"owner": "a", "path": "x"}, {"owner": "b", "path": "x"}]
    rows["cards"] = [{"owner": "b", "path": "README.md"}]
    tracking(Tracking(rows))
    collect(source)
    tracking(Tracking({"experiments": rows["experiments"], "runs": rows["runs"][:1]}))
    second = collect(source)
    assert runs_of(second) == {"a"}
    assert held(second, "artifacts") == [("a", "x")]
    assert held(second, "artifact_listings") == [("a", True)]
    assert held(second, "cards") == []


def test_a_registry_that_is_no_longer_offered_is_missed(source: Source, tracking: Use) -> None:
    rows = {"experiments": [experiment("1")], "runs": [], "registered_models": [{"name": "fraud"}]}
    tracking(Tracking(rows))
    collect(source)
    tracking(Tracking({"experiments": rows["experiments"]}, lacking=frozenset({"registry"})))
    second = collect(source)
    assert (second.state, second.lost_models) == (Collection.State.SUSPECT, ["fraud"])


def test_a_collection_that_ended_is_not_called_interrupted(
    source: Source, tracking: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(source: Source) -> None:
        raise KeyboardInterrupt

    tracking(Tracking({"experiments": [experiment("1")]}))
    monkeypatch.setattr(collecting, "keep_inventory", killed)
    with pytest.raises(KeyboardInterrupt):
        collect(source)
    assert source.collections.get().state == Collection.State.COMPLETE


def test_a_resumed_reading_that_is_killed_at_once_loses_nothing_of_what_was_read(
    source: Source, tracking: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH_RUNS", 1)
    edge = START + HOUR
    rows = {"experiments": [experiment("1")], "runs": [run("a"), run("b", hour=2)]}
    tracking(Tracking(rows, ((None, edge),), stop=True))
    with pytest.raises(KeyboardInterrupt):
        collect(source)
    tracking(Tracking(rows, (), stop=True))
    with pytest.raises(KeyboardInterrupt):
        collect(source)
    last = tracking(Tracking(rows, ((None, edge), (edge, None))))
    assert runs_of(collect(source)) == {"a", "b"}
    assert last.plans[0].resume_from == edge
    after = tracking(Tracking(rows, ((None, edge),)))
    collect(source, everything=False)
    assert after.plans[0].audit == ((None, edge),)
    later = tracking(Tracking(rows, ()))
    collect(source, everything=False)
    assert later.plans[0].audit == ()


def several(source: Source, tracking: Use) -> Collection:
    rows = {"experiments": [experiment("1")], "runs": [run("a"), run("b")], "run_tags": [tag("a", "k", "1")]}
    tracking(Tracking(rows))
    collect(source)
    tracking(Tracking({**rows, "runs": [run("a"), run("c")], "run_tags": [tag("a", "k", "2")]}))
    collect(source)
    tracking(Tracking({**rows, "runs": [run("a"), run("b"), run("c")], "run_tags": [tag("a", "k", "3")]}))
    return collect(source)


def packed(world: World, stored: Iterable[StoredPart]) -> bytes:
    parts = list(stored)
    inputs = pack.Inputs(
        load_model(),
        tuple(one.part for one in parts),
        project_table(world.acme),
        Answers(),
        pack.Parameters(as_of=int(datetime(2030, 1, 1, tzinfo=UTC).timestamp() * 1000)),
    )
    return pack.write(inputs, pack.compute(inputs), {one.part.source: one.content for one in parts})


def test_a_pack_of_a_source_read_several_times_verifies_and_holds_the_last_reading(
    world: World, source: Source, tracking: Use
) -> None:
    collection = several(source, tracking)
    assert runs_of(collection) == {"a", "b", "c"}
    assert held(collection, "run_tags") == [("a", "k", "3")]
    content = packed(world, parts_of([collection]))
    assert pack.verify(content).ok
    inputs, _ = pack.read(content)
    assert sorted(inputs.parts[0].tables["runs"]["run"]) == ["a", "b", "c"]


def test_a_pack_with_a_damaged_table_is_refused_even_with_fitting_hashes(
    world: World, source: Source, tracking: Use
) -> None:
    members = dict(pack._members(packed(world, parts_of([several(source, tracking)]))))
    name = next(key for key in members if "/runs" in key)
    damaged = bytearray(members[name])
    damaged[4:24] = b"\xff" * 20
    members[name] = bytes(damaged)
    del members["manifest.json"]
    members["manifest.json"] = pack._manifest(members)
    with pytest.raises(pack.PackError, match="cannot be read"):
        pack.verify(pack._container(members))


@pytest.mark.parametrize("name", ["runs.0001", "runs.00002", "runs.0000"])
def test_a_pack_that_names_a_batch_in_another_way_is_refused(
    world: World, source: Source, tracking: Use, name: str
) -> None:
    content = packed(world, parts_of([several(source, tracking)]))
    members = pack._members(content)
    stored = next(member for key, member in members.items() if "/runs" in key)
    members = {**members, f"facts/mlflow/{name}.parquet": stored}
    del members["manifest.json"]
    members["manifest.json"] = pack._manifest(members)
    with pytest.raises(pack.PackError, match="named"):
        pack.verify(pack._container(members))


def test_a_source_that_is_read_often_keeps_few_batches_and_every_last_reading(
    source: Source, tracking: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "MOST_SMALL", 3)
    runs = [run(name) for name in "abcd"]
    for number in range(9):
        present = [one for one in runs if (ord(one["run"]) + number) % 5]
        listings = [{"owner": "d", "read": True}] if number == 4 else []
        tags = [tag(one["run"], "n", str(number)) for one in present]
        rows = {"experiments": [experiment("1")], "runs": present, "run_tags": tags, "artifact_listings": listings}
        tracking(Tracking(rows))
        last = collect(source)
        assert last.state == Collection.State.COMPLETE
        assert held(last, "run_tags") == sorted((one["run"], "n", str(number)) for one in present)
        assert runs_of(last) == {one["run"] for one in present}
        assert len(last.manifest["batches"]) <= 4
    assert held(last, "artifact_listings") == [("d", True)]


@pytest.mark.parametrize("table", ["run_tags", "runs", "experiments"])
def test_a_source_with_a_damaged_file_is_read_anew_and_whole_again(source: Source, tracking: Use, table: str) -> None:
    rows = {"experiments": [experiment("1")], "runs": [run("a")], "run_tags": [tag("a", "k", "1")]}
    tracking(Tracking(rows))
    batches = Manifest.from_json(collect(source).manifest).all_batches
    entry = next(batch[table] for batch in batches if table in batch)
    store.path_of(source.organisation_id, entry["sha256"]).write_bytes(b"PAR1")
    again = tracking(Tracking(rows))
    second = collect(source)
    assert (second.state, again.plans[0].since) == (Collection.State.COMPLETE, None)
    assert held(second, "run_tags") == [("a", "k", "1")]


def test_the_statement_counts_each_row_that_is_held_once(source: Source, tracking: Use) -> None:
    collection = several(source, tracking)
    statement = collection.read_statement()
    assert statement is not None
    assert statement.counts["runs"] == 3
    assert statement.stream("runs").rows == 4  # three runs and one tag
