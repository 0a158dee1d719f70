"""Readings after the first against a real MLflow server that changes between them in every way it can."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import pytest
from mlflow import MlflowClient

from integrations.connectors.base import Plan, Window
from maturity.facts import Statement
from tests.integrations import servers
from tests.integrations.connectors.recorder import Recorder, mlflow
from tests.integrations.servers import MlflowServer

pytestmark = pytest.mark.server

DAY = 86_400_000
RUN_TABLES = ("runs", "run_params", "run_metrics", "run_tags")


class Keeper(Recorder):
    """Keeps the rows of each run as the application does: the last to come count, and a window tells what is gone."""

    def __init__(self, held: Mapping[str, Mapping[str, Any]], plan: Plan) -> None:
        super().__init__(plan)
        self.held = {run: dict(tables) for run, tables in held.items()}
        self.came: set[str] = set()

    def write(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        super().write(table, rows)
        if table == "runs":
            for row in rows:
                assert row["run"] not in self.came, "a run comes once"
                self.came.add(row["run"])
                self.held[row["run"]] = {name: [] for name in RUN_TABLES}
        if table in RUN_TABLES:
            for row in rows:
                self.held[row["run"]][table].append(row)

    def window(self, low: int | None, high: int | None) -> None:
        super().window(low, high)
        for run, tables in list(self.held.items()):
            start = tables["runs"][0]["start_at"]
            if (low is None or start >= low) and (high is None or start < high) and run not in self.came:
                del self.held[run]


class Organisation:
    """A server, what is held of it, and people who work on it."""

    def __init__(self, server: MlflowServer, seed: int) -> None:
        self.server, self.client, self.chance = server, MlflowClient(server.url), random.Random(seed)
        self.name = f"sim-{seed}"
        self.experiment = self.client.create_experiment(self.name)
        self.held: dict[str, dict[str, Any]] = {}
        self.known: frozenset[str] = frozenset()
        self.since: int | None = None
        self.mine: list[str] = []

    def read(self, *audit: Window, page_size: int = 7) -> tuple[Keeper, Statement]:
        plan = Plan(since=self.since, experiments=self.known, audit=audit)
        sink = Keeper(self.held, plan)
        statement = mlflow(self.server.url, page_size=page_size).collect(sink)
        assert statement.complete
        self.held = sink.held
        self.known = frozenset(row["experiment"] for row in sink.tables["experiments"])
        self.since = statement.started_at + statement.counts["server_clock_ahead_s"] * 1000
        return sink, statement

    def fresh(self) -> dict[str, dict[str, Any]]:
        sink = Keeper({}, Plan())
        assert mlflow(self.server.url, page_size=1000, connections=1).collect(sink).complete
        return sink.held

    def create(self, days_ago: float, *, ended: bool, experiment: str = "") -> str:
        start = int(time.time() * 1000 - days_ago * DAY)
        run = self.client.create_run(experiment or self.experiment, start_time=start, tags={"seed": str(start)})
        key = str(run.info.run_id)
        self.client.log_param(key, "p", "1")
        self.client.log_metric(key, "loss", 0.5, timestamp=start)
        if ended:
            self.client.set_terminated(key, end_time=start + 1000)
        self.mine.append(key)
        return key

    def pick(self) -> str:
        return self.chance.choice(self.mine)

    def purge(self, run: str) -> None:
        """Remove a run for good, as the garbage collection of MLflow does."""
        self.mine.remove(run)
        with closing(sqlite3.connect(self.server.folder / "mlflow.db", timeout=60)) as connection, connection:
            for table in ("tags", "params", "latest_metrics", "metrics", "runs"):
                connection.execute(f"DELETE FROM {table} WHERE run_uuid = ?", [run])

    def work(self) -> None:
        """A day of changes of every kind."""
        self.create(0, ended=False)
        self.create(0, ended=True)
        self.create(self.chance.uniform(40, 300), ended=True)
        self.client.set_tag(self.pick(), "late", str(self.chance.random()))
        self.client.log_metric(self.pick(), "late", self.chance.random())
        self.client.set_terminated(self.pick(), "FAILED")
        self.client.delete_run(self.pick())
        deleted = [run for run in self.mine if self.client.get_run(run).info.lifecycle_stage == "deleted"]
        self.client.restore_run(self.chance.choice(deleted))
        self.purge(self.pick())
        other = self.client.create_experiment(f"{self.name}-{len(self.mine)}-{self.chance.random()}")
        self.create(200, ended=True, experiment=other)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with servers.mlflow_server(tmp_path_factory.mktemp("changing")) as server:
        yield server


@pytest.mark.parametrize("seed", [1, 2])
def test_after_verifying_everything_what_is_held_is_what_is_there(server: MlflowServer, seed: int) -> None:
    there = Organisation(server, seed)
    for days in range(1, 25):
        there.create(days * 12, ended=days % 4 != 0)
    first, _ = there.read()
    assert there.held == there.fresh()
    for turn in range(4):
        there.work()
        there.read(first.windows[turn % len(first.windows)])
    there.work()
    there.read((None, None))
    assert there.held == there.fresh()


def test_a_later_reading_finds_what_times_tell_and_verifying_the_rest(server: MlflowServer) -> None:
    there = Organisation(server, 3)
    old, running, gone = (there.create(days, ended=days != 20) for days in (100, 20, 50))
    long = there.create(200, ended=False)
    there.read()
    there.client.set_tag(old, "late", "yes")
    there.client.log_metric(running, "late", 1)
    there.client.set_terminated(long)
    new = there.create(0, ended=True)
    there.purge(gone)
    imported = there.create(90, ended=True)
    other = there.create(300, ended=True, experiment=there.client.create_experiment("sim-new"))
    sink, _ = there.read()
    assert {new, long, running, other} <= sink.came
    assert not {old, imported, gone} & sink.came
    assert sink.windows == []
    now = int(time.time() * 1000)
    sink, _ = there.read((now - 120 * DAY, now - 40 * DAY))
    assert sink.windows == [(now - 120 * DAY, now - 40 * DAY)]
    assert {old, imported} <= sink.came
    assert gone not in there.held
    assert there.held == there.fresh()


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's client tells of every run that ends."""
    monkeypatch.setenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")


def test_a_later_reading_of_an_unchanged_server_asks_little(server: MlflowServer) -> None:
    there = Organisation(server, 4)
    for days in range(60, 100):
        there.create(days, ended=True)
    there.read()
    sink, statement = there.read(page_size=1000)
    assert statement.counts["windows"] == 3  # what started, what ended, what still runs
    assert not sink.came & set(there.mine)


def test_logged_models_are_read_again_when_they_changed(server: MlflowServer) -> None:
    there = Organisation(server, 5)
    model = there.client.create_logged_model(there.experiment, name="early", tags={"a": "1"})
    there.read()
    with closing(sqlite3.connect(server.folder / "mlflow.db", timeout=60)) as connection, connection:
        connection.execute(
            "UPDATE logged_models SET last_updated_timestamp_ms = 5 WHERE model_id = ?", [model.model_id]
        )
    late = there.client.create_logged_model(there.experiment, name="late")
    sink, _ = there.read()
    found = {row["model"] for row in sink.tables["logged_models"]}
    assert late.model_id in found
    assert model.model_id not in found
    sink, _ = there.read((None, None))
    assert {model.model_id, late.model_id} <= {row["model"] for row in sink.tables["logged_models"]}


def test_held_artifact_lists_are_not_asked_for_again(server: MlflowServer) -> None:
    there = Organisation(server, 6)
    known, other = there.create(10, ended=True), there.create(11, ended=True)
    sink = Keeper({}, Plan(listed=frozenset({known})))
    assert mlflow(server.url).collect(sink).complete
    asked = {row["owner"] for row in sink.tables["artifact_listings"]}
    assert other in asked
    assert known not in asked


def test_a_run_without_start_time_hides_no_other(server: MlflowServer) -> None:
    """MLflow itself cannot show such a run: it answers an error to every question that the run is an answer to."""
    there = Organisation(server, 7)
    whole, broken = there.create(10, ended=True), there.create(11, ended=True)
    with closing(sqlite3.connect(server.folder / "mlflow.db", timeout=60)) as connection, connection:
        connection.execute("UPDATE runs SET start_time = NULL WHERE run_uuid = ?", [broken])
    try:
        sink, _ = there.read()
        assert whole in sink.came
        assert broken not in sink.came
    finally:
        there.purge(broken)
