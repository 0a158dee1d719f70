"""Reading a server again: what is held in the end is what the server holds, whatever happened to it in between."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import datetime

import httpx
import mlflow
import pytest
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from assessments.evidence import reading
from assessments.evidence.collect import collect
from assessments.evidence.facts import parts_of
from assessments.evidence.manifest import Coverage, Manifest
from assessments.evidence.models import Change, Collection, Source
from assessments.evidence.plan import due
from maturity.batches import GROUP_OF
from tests.assessments.conftest import World
from tests.integrations.servers import Answer, MlflowServer, stub_server

pytestmark = [pytest.mark.server, pytest.mark.django_db(transaction=True)]
HOUR = 3_600_000
RUN_TABLES = GROUP_OF["runs"].tables
_LOSSES = itertools.count()


@pytest.fixture
def client(mlflow_server: MlflowServer) -> MlflowClient:
    mlflow.set_tracking_uri(mlflow_server.url)
    return MlflowClient(mlflow_server.url)


@pytest.fixture
def source(world: World, mlflow_server: MlflowServer) -> Source:
    source = world.acme.sources.get()
    source.config = {"base_url": mlflow_server.url}
    source.save()
    return source


@pytest.fixture
def fresh(world: World, mlflow_server: MlflowServer) -> Callable[[], Source]:
    """A source of its own that holds nothing yet, on the same server."""
    numbers = itertools.count()

    def make() -> Source:
        return Source.objects.create(
            organisation=world.globex, key=f"fresh-{next(numbers)}", config={"base_url": mlflow_server.url}
        )

    return make


def run(client: MlflowClient, experiment: str, *, hours_ago: float, ended: bool = True) -> str:
    start = int(time.time() * 1000) - int(hours_ago * HOUR)
    number = next(_LOSSES)
    made = client.create_run(experiment, start_time=start, run_name=f"run-{number}", tags={"dlemm.stage": "train"})
    client.log_batch(made.info.run_id, metrics=[Metric("loss", float(number), start + 1000, 0)])
    client.log_param(made.info.run_id, "seed", str(number))
    if ended:
        client.set_terminated(made.info.run_id, "FINISHED", end_time=start + 60_000)
    return str(made.info.run_id)


def held(collection: Collection) -> dict[str, set[tuple[str, ...]]]:
    """What a collection holds of runs, as comparable values."""
    tables = parts_of([collection])[0].part.tables
    return {
        name: {tuple(map(repr, row)) for row in tables[name].astype(object).itertuples(index=False)}
        for name in (*RUN_TABLES, "experiments", "aliases", "model_versions")
    }


def test_after_every_kind_of_change_what_is_held_is_what_the_server_holds(
    source: Source, fresh: Callable[[], Source], client: MlflowClient, mlflow_server: MlflowServer
) -> None:
    experiment = client.create_experiment(f"converge-{time.time_ns()}")
    runs = [run(client, experiment, hours_ago=100 + n) for n in range(12)]
    running = run(client, experiment, hours_ago=50, ended=False)
    assert collect(source).state == Collection.State.COMPLETE

    run(client, experiment, hours_ago=0.1)
    client.set_terminated(running, "FINISHED")
    second = collect(source, everything=False)
    assert second.statement["counts"]["runs_read"] < second.statement["counts"]["runs"]

    client.set_tag(runs[0], "reviewed", "late")
    client.log_metric(runs[1], "val_loss", 0.5)
    client.delete_run(runs[2])
    run(client, experiment, hours_ago=500)  # an import with an old date
    imported = client.create_experiment(f"imported-{time.time_ns()}")
    run(client, imported, hours_ago=900)
    _remove(mlflow_server, runs[3])
    last = collect(source, everything=True)
    assert last.state == Collection.State.COMPLETE
    assert held(last) == held(collect(fresh()))


def began(collection: Collection) -> datetime:
    """When a reading began, to the millisecond, as changes are dated."""
    return collection.started_at.replace(microsecond=collection.started_at.microsecond // 1000 * 1000)


def ended(collection: Collection) -> datetime:
    assert collection.finished_at is not None
    return collection.finished_at


def _remove(server: MlflowServer, run_id: str) -> None:
    """Remove a run for good, as ``mlflow gc`` does."""
    with sqlite3.connect(server.folder / "mlflow.db", timeout=30) as database:
        for table in ("tags", "params", "latest_metrics", "metrics", "runs"):
            database.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (run_id,))


def test_a_change_is_kept_with_the_readings_between_which_it_happened(source: Source, client: MlflowClient) -> None:
    experiment = client.create_experiment(f"history-{time.time_ns()}")
    changed = run(client, experiment, hours_ago=100)
    gone = run(client, experiment, hours_ago=101)
    name = f"fraud-{time.time_ns()}"
    client.create_registered_model(name)
    client.create_model_version(name, "s3://bucket/model", changed)
    first = collect(source)
    client.set_tag(changed, "approved", "yes")
    client.delete_run(gone)
    client.set_registered_model_alias(name, "champion", "1")
    client.set_model_version_tag(name, "1", "dlemm.approved_by", "board")
    client.update_model_version(name, "1", description="for everyday fraud")
    second = collect(source, everything=True)
    seen = {
        (row.entity, row.field, row.key, row.old, row.new): (began(first) <= row.after < ended(first), row.before)
        for row in Change.objects.filter(ident__in=[changed, gone, name, f"{name}/1"])
    }
    between = (True, second.finished_at)
    assert seen == {
        ("run", "tag", "approved", None, "yes"): between,
        ("run", "lifecycle", "", "active", "deleted"): between,
        ("alias", "alias", "champion", None, f"{name}/1"): between,
        ("model_version", "tag", "dlemm.approved_by", None, "board"): between,
        ("model_version", "description", "", "", "for everyday fraud"): between,
    }
    assert {(row.entity, row.after) for row in Change.objects.filter(before=first.finished_at)} <= {("alias", None)}


def test_what_an_older_server_showed_once_is_not_forgotten_when_nothing_new_shows_it(
    source: Source, client: MlflowClient
) -> None:
    history = '[{"artifact_path": "model", "flavors": {"sklearn": {}}, "model_uuid": "0123"}]'
    experiment = client.create_experiment(f"older-{time.time_ns()}")
    tagged = run(client, experiment, hours_ago=100)
    client.set_tag(tagged, "mlflow.log-model.history", history)
    with without_logged_models(source.config["base_url"]) as address:
        source.config = {"base_url": address}
        source.save()
        first, second = collect(source), collect(source, everything=False)
    for collection in (first, second):
        part = parts_of([collection])[0].part
        assert part.statement.stream("logged_models").state == "read"
        assert "0123" in set(part.tables["logged_models"]["model"])


@contextlib.contextmanager
def without_logged_models(url: str) -> Iterator[str]:
    """The same server as one of MLflow 2, which has no logged models."""

    def answer(line: str, body: bytes, number: int) -> Answer:
        method, path = line.split(" ", 1)
        if "logged-models" in path:
            return Answer(404)
        reply = httpx.request(method, url + path, content=body, headers={"Content-Type": "application/json"})
        return Answer(reply.status_code, reply.content)

    with stub_server(answer) as stub:
        yield stub.url


def test_an_unchanged_server_adds_no_files(source: Source, client: MlflowClient) -> None:
    experiment = client.create_experiment(f"still-{time.time_ns()}")
    for n in range(5):
        run(client, experiment, hours_ago=30 + n)
    first = Manifest.from_json(collect(source).manifest)
    second = Manifest.from_json(collect(source, everything=True).manifest)
    assert second.batches == first.batches
    assert second.tables == first.tables


def test_a_first_reading_that_was_killed_goes_on_where_it_was(
    source: Source,
    fresh: Callable[[], Source],
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment = client.create_experiment(f"killed-{time.time_ns()}")
    for n in range(40):
        run(client, experiment, hours_ago=3000 - 70 * n)
    monkeypatch.setattr(reading, "BATCH_RUNS", 8)
    source.config = {**source.config, "page_size": 5}
    source.save()
    killed_after = 0

    def kill(done: int, total: int | None, what: str) -> None:
        nonlocal killed_after
        left = Collection.objects.get(source=source, state=Collection.State.RUNNING)
        if left.checkpoint:
            killed_after = sum(batch["runs"]["rows"] for batch in left.checkpoint["manifest"]["batches"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(source, progress=kill)
    resumed = collect(source)
    assert resumed.state == Collection.State.COMPLETE
    assert killed_after >= 8
    counts = resumed.statement["counts"]
    assert counts["runs_read"] <= counts["runs"] - killed_after
    assert held(resumed) == held(collect(fresh()))


def test_the_windows_to_verify_again_all_get_their_turn_and_never_all_at_once() -> None:
    coverage = tuple(Coverage(n, n + 1, read_at=0) for n in range(100))
    now, most, turns = 0, 0, 0
    for _ in range(24 * 7):
        now += HOUR
        read = due(coverage, now, audit_hours=168)
        most, turns = max(most, len(read)), turns + len(read)
        coverage = tuple(Coverage(c.low, c.high, now) if (c.low, c.high) in read else c for c in coverage)
    assert turns == 100
    assert most <= 2
    assert all(now - c.read_at <= 168 * HOUR for c in coverage)
