"""The connector against a real MLflow server."""

from __future__ import annotations

import itertools
import math
from typing import Any

import httpx
import pytest

from integrations.connectors.base import Plan, Reason
from integrations.connectors.mlflow import MlflowConnector, parse
from integrations.connectors.mlflow_collection import STREAMS
from maturity.facts import TABLES, Reading, Statement
from tests.integrations.connectors.conftest import Filled
from tests.integrations.connectors.fill import YEAR_2099
from tests.integrations.connectors.recorder import Recorder, collected, impatient, mlflow
from tests.integrations.faulty import faulty_proxy
from tests.integrations.servers import MlflowServer

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def collection(filled: Filled) -> tuple[Recorder, Statement]:
    """One collection in pages of three, so that every list has several pages and ties fill a page."""
    return collected(filled.url, page_size=3)


@pytest.fixture(scope="module")
def sink(collection: tuple[Recorder, Statement]) -> Recorder:
    return collection[0]


@pytest.fixture(scope="module")
def statement(collection: tuple[Recorder, Statement]) -> Statement:
    return collection[1]


def pairs(sink: Recorder, table: str, run: str) -> dict[str, Any]:
    return {row["key"]: row["value"] for row in sink.of(table, "run", run)}


def test_a_check_tells_the_version(filled: Filled) -> None:
    check = mlflow(filled.url).check()
    assert check.ok
    assert check.reason == ""
    assert check.server_version == httpx.get(f"{filled.url}/version").text


def test_every_stream_is_read(statement: Statement) -> None:
    assert {stream.stream: stream.state for stream in statement.streams} == dict.fromkeys(STREAMS, Reading.READ)
    assert statement.complete
    assert all(stream.reason == "" for stream in statement.streams)


def test_a_statement_counts_the_rows_of_each_stream(sink: Recorder, statement: Statement) -> None:
    for stream in statement.streams:
        tables = [table.name for table in TABLES.values() if table.stream == stream.stream]
        assert stream.rows == sum(len(sink.tables[name]) for name in tables)


def test_the_tables_take_every_row(sink: Recorder) -> None:
    for name, rows in sink.tables.items():
        assert len(sink.frame(name)) == len(rows)


def test_every_run_comes_once_and_is_what_mlflows_own_client_tells(filled: Filled, sink: Recorder) -> None:
    rows = {row["run"]: row for row in sink.of("runs", "experiment", *filled.experiments)}
    assert len(rows) == len(sink.of("runs", "experiment", *filled.experiments))
    assert rows.keys() == filled.content["runs"].keys()
    for key, told in filled.content["runs"].items():
        assert {name: rows[key][name] for name in ("start_at", "end_at", "status", "lifecycle", "name")} == {
            name: told[name] for name in ("start_at", "end_at", "status", "lifecycle", "name")
        }
        assert pairs(sink, "run_params", key) == told["params"]
        assert pairs(sink, "run_metrics", key).keys() == told["metrics"].keys()


def test_tags_are_kept_whole_but_for_sign_in_details_in_urls(filled: Filled, sink: Recorder) -> None:
    run = filled.content["model"]["run"]
    told = filled.content["runs"][run]["tags"]
    told["mlflow.source.git.repoURL"] = "https://git.example/x.git"
    assert pairs(sink, "run_tags", run) == told
    assert len(told["long"]) == 5000


def test_nan_and_infinities_are_kept_as_such(filled: Filled, sink: Recorder) -> None:
    metrics = pairs(sink, "run_metrics", filled.content["model"]["run"])
    assert math.isnan(metrics["nan"])
    assert metrics["inf"] == -math.inf
    assert metrics["loss"] == 0.25
    steps = {row["key"]: row["step"] for row in sink.of("run_metrics", "run", filled.content["model"]["run"])}
    assert steps["loss"] == 4


def test_deleted_runs_and_experiments_are_there_and_marked(filled: Filled, sink: Recorder) -> None:
    lifecycle = {row["experiment"]: row["lifecycle"] for row in sink.tables["experiments"]}
    assert lifecycle[filled.content["gone"]["experiment"]] == "deleted"
    assert lifecycle[filled.content["times"]["experiment"]] == "active"
    deleted = {row["run"] for row in sink.tables["runs"] if row["lifecycle"] == "deleted"}
    assert {filled.content["times"]["deleted_run"], filled.content["gone"]["run"]} <= deleted


def test_runs_of_the_future_are_read_and_noted(filled: Filled, sink: Recorder, statement: Statement) -> None:
    starts = [row["start_at"] for row in sink.of("runs", "experiment", filled.content["times"]["experiment"])]
    assert YEAR_2099 in starts
    assert 0 in starts
    note = next(note for note in statement.notes if note.startswith("runs_in_future:"))
    assert int(note.partition(":")[2]) >= 1


def test_experiment_tags_are_read(filled: Filled, sink: Recorder) -> None:
    assert sink.of("experiment_tags", "experiment", filled.content["times"]["experiment"]) == [
        {"experiment": filled.content["times"]["experiment"], "key": "team", "value": "blue"}
    ]


def test_dataset_inputs_carry_context_source_and_schema(filled: Filled, sink: Recorder) -> None:
    run = filled.content["model"]["run"]
    train, test = sorted(sink.of("run_inputs", "run", run), key=lambda row: row["name"])
    assert (train["name"], train["context"], test["context"]) == ("t", "training", "test")
    assert (train["source_type"], train["has_schema"]) == ("s3", True)
    assert "s3://b/train" in train["source"]
    assert train["digest"] != test["digest"]
    further = sink.of("run_input_tags", "run", run)
    assert further == [{"run": run, "digest": test["digest"], "key": "v", "value": "9"}]


def test_a_logged_model_is_described_by_its_files(filled: Filled, sink: Recorder) -> None:
    told = filled.content["model"]
    (row,) = sink.of("logged_models", "model", told["logged_model"])
    assert (row["run"], row["name"], row["status"]) == (told["run"], "classifier", "READY")
    assert row["flavors"] == "python_function,sklearn"
    assert (row["has_signature"], row["has_example"]) == (True, True)
    assert row["pinned"] is False  # "scikit-learn" stands there without a version


def test_a_model_without_files_has_no_pins_and_its_description_is_missing(filled: Filled, sink: Recorder) -> None:
    (row,) = sink.of("logged_models", "model", filled.content["model"]["bare_model"])
    assert row["status"] == "PENDING"
    assert row["pinned"] is False
    assert "flavors" not in row
    assert "has_signature" not in row


def test_artifacts_are_listed_with_those_in_folders(filled: Filled, sink: Recorder) -> None:
    paths = {row["path"] for row in sink.of("artifacts", "owner", filled.content["model"]["run"])}
    assert paths == {"top.txt", "reports/eval.json", "explain/cam/a.txt", "plots/p.txt"}
    of_model = {row["path"] for row in sink.of("artifacts", "owner", filled.content["model"]["logged_model"])}
    assert {"MLmodel", "requirements.txt", "conda.yaml"} <= of_model
    assert {"owner": filled.content["model"]["run"], "read": True} in sink.tables["artifact_listings"]


def test_the_registry_leaves_prompts_out(filled: Filled, sink: Recorder) -> None:
    told = filled.content["model"]
    (registered,) = sink.of("registered_models", "name", "conn fraud")
    assert registered["description"] == "what it is for"
    assert sink.of("registered_models", "name", "conn-prompt") == []
    assert sink.of("model_versions", "name", "conn-prompt") == []
    first, second = sink.of("model_versions", "name", "conn fraud")
    assert (first["version"], first["run"], first["logged_model"]) == (
        "conn fraud/1",
        told["run"],
        told["logged_model"],
    )
    assert (second["number"], second["run"], second["logged_model"], second["stage"]) == (
        "2",
        told["run"],
        None,
        "None",
    )
    assert sink.of("aliases", "name", "conn fraud") == [
        {"name": "conn fraud", "alias": "champion", "version": "conn fraud/1"}
    ]
    tags = sink.of("version_tags", "version", "conn fraud/1")
    assert tags == [{"version": "conn fraud/1", "key": "validation_status", "value": "approved"}]
    assert sink.of("registered_model_tags", "name", "conn fraud")[0]["value"] == "ann"


def test_page_size_changes_nothing_but_the_number_of_requests(
    filled: Filled, sink: Recorder, statement: Statement
) -> None:
    other, few = collected(filled.url, page_size=1000)
    assert few.counts["requests"] < statement.counts["requests"]
    for name in TABLES:
        mine = [row for row in sink.tables[name] if "run" not in row or row["run"] in filled.content["runs"]]
        whole = [row for row in other.tables[name] if "run" not in row or row["run"] in filled.content["runs"]]
        assert repr(whole) == repr(mine), name


def test_a_first_reading_tells_of_windows_without_gap_from_the_first_run_to_the_last(
    sink: Recorder, statement: Statement
) -> None:
    assert sink.windows[0][0] is None
    assert sink.windows[-1][1] is None
    assert all(one[1] == other[0] for one, other in itertools.pairwise(sink.windows))
    assert statement.counts["windows"] == len(sink.windows)
    assert statement.counts["windows_failed"] == 0
    assert statement.counts["runs_read"] == len(sink.tables["runs"])
    assert statement.counts["connections"] == 2
    starts = [(row["start_at"], row["run"]) for row in sink.tables["runs"]]
    assert starts == sorted(starts)


def test_an_interrupted_first_reading_goes_on_where_it_stopped(filled: Filled, sink: Recorder) -> None:
    low, _ = sink.windows[len(sink.windows) // 2]
    assert low is not None
    rest, _ = collected(filled.url, page_size=3, plan=Plan(resume_from=low))
    assert rest.windows[0][0] == low
    ids = {row["run"] for row in sink.tables["runs"] if row["start_at"] >= low}
    assert {row["run"] for row in rest.tables["runs"]} == ids
    assert 0 < len(ids) < len(sink.tables["runs"])


def test_rows_come_page_by_page(sink: Recorder) -> None:
    assert sink.largest_write < 1000
    done = [done for done, _, what in sink.steps if what == "runs"]
    assert done == sorted(done)
    assert len(done) > 4


def test_the_lookups_are_limited_and_what_is_left_out_is_noted(filled: Filled) -> None:
    sink, statement = collected(filled.url, artifact_lookups=2)
    assert len(sink.tables["artifact_listings"]) == 2
    assert any(note.startswith("artifacts_not_asked:") for note in statement.notes)


def test_without_lookups_what_only_files_tell_is_missing(filled: Filled) -> None:
    sink, statement = collected(filled.url, artifact_lookups=0)
    (row,) = sink.of("logged_models", "model", filled.content["model"]["logged_model"])
    assert "flavors" not in row
    assert sink.tables["artifact_listings"] == []
    assert statement.complete


@pytest.mark.parametrize("connections", [1, 2])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_bad_line_costs_retries_but_never_a_row(filled: Filled, seed: int, connections: int) -> None:
    """A proxy spoils a quarter of the answers; the tables equal those of a clean collection.

    Artifact lists are left out: each is asked for twice at most, and then recorded as unread.
    """
    clean, _ = collected(filled.url, page_size=2, connections=1, artifact_lookups=0)
    with faulty_proxy(filled.url, seed=seed) as proxy:
        sink, statement = collected(proxy.url, page_size=2, connections=connections, artifact_lookups=0)
        spoiled = sum(proxy.done.values()) - proxy.done["none"]
    assert statement.complete
    assert spoiled >= 3
    assert statement.counts["retries"] >= 3
    assert (sink.windows[0][0], sink.windows[-1][1]) == (None, None)
    for name in TABLES:
        assert repr(sink.tables[name]) == repr(clean.tables[name]), name


def test_an_empty_server_gives_a_complete_statement_without_rows(empty_mlflow: MlflowServer) -> None:
    sink, statement = collected(empty_mlflow.url)
    assert statement.complete
    assert [row["name"] for row in sink.tables["experiments"]] == ["Default"]
    assert {name for name, rows in sink.tables.items() if rows} == {"experiments"}
    assert (statement.stream("runs").state, statement.stream("runs").rows) == (Reading.READ, 0)
    assert statement.server_version
    assert abs(statement.counts["server_clock_ahead_s"]) <= 2
    assert statement.started_at <= statement.finished_at


def test_a_host_name_the_server_does_not_know_gets_its_own_reason(empty_mlflow: MlflowServer) -> None:
    port = empty_mlflow.url.rpartition(":")[2]
    config = parse({"base_url": f"http://tracking.example.org:{port}"})
    connector = MlflowConnector(config, timing=impatient(), resolver=lambda host, port: ["127.0.0.1"])
    assert connector.check().reason.startswith(f"{Reason.BAD_HOST}:")
