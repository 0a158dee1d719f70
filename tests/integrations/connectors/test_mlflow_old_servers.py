"""Servers of MLflow 2.9 and 2.22, from recorded answers: the facts are those that their own clients put there."""

from __future__ import annotations

import math

import pytest

from integrations.connectors.http import Timing
from integrations.connectors.mlflow import MlflowConnector, parse
from maturity.facts import Reading, Statement
from tests.integrations.connectors.recorder import Recorder
from tests.integrations.connectors.replay import PAGE_SIZES, Recording

Replayed = tuple[Recording, Recorder, Statement]


@pytest.fixture(
    scope="module",
    params=[(name, size) for name in ("mlflow-2.9.2.json", "mlflow-2.22.4.json") for size in PAGE_SIZES],
    ids=lambda param: f"{param[0]} by {param[1]}",
)
def replayed(request: pytest.FixtureRequest) -> Replayed:
    name, size = request.param
    recording = Recording.of(name)
    sink = Recorder()
    with recording.server() as stub:
        config = parse({"base_url": stub.url, "page_size": size})
        statement = MlflowConnector(config, timing=Timing(now=lambda: recording.at)).collect(sink)
    return recording, sink, statement


def test_what_an_old_server_has_is_read_and_what_it_never_had_is_no_fault(replayed: Replayed) -> None:
    recording, _, statement = replayed
    assert statement.complete, [stream for stream in statement.streams if stream.state is Reading.COULD_NOT_LOOK]
    assert statement.server_version == recording.told["version"]
    missing = {stream.stream: stream.reason for stream in statement.streams if stream.state is Reading.NOT_SUPPORTED}
    assert missing.keys() == {"traces", "evaluations"}
    assert all(reason.startswith("This server is older than MLflow 3") for reason in missing.values())


def test_every_run_is_there_once_as_its_own_client_tells_it(replayed: Replayed) -> None:
    recording, sink, _ = replayed
    told = recording.told["runs"]
    rows = [row for row in sink.tables["runs"] if row["run"] in told]
    assert len(rows) == len(told)
    for row in rows:
        assert {key: row[key] for key in told[row["run"]]} == told[row["run"]]
    assert {row["lifecycle"] for row in rows} == {"active", "deleted"}


def test_the_content_of_a_run_is_read(replayed: Replayed) -> None:
    recording, sink, _ = replayed
    run = recording.told["model"]["run"]
    params = {row["key"]: row["value"] for row in sink.of("run_params", "run", run)}
    metrics = {row["key"]: row["value"] for row in sink.of("run_metrics", "run", run)}
    assert params == {"seed": "7", "none": "None"}
    assert metrics["loss"] == 0.25
    assert math.isnan(metrics["nan"])
    (dataset,) = sink.of("run_inputs", "run", run)
    assert (dataset["digest"], dataset["context"]) == (recording.told["model"]["digest"], "training")


def test_a_model_is_known_from_the_history_tag_and_its_files(replayed: Replayed) -> None:
    recording, sink, statement = replayed
    (model,) = sink.tables["logged_models"]
    assert (model["run"], model["name"]) == (recording.told["model"]["run"], "classifier")
    assert model["flavors"] == "python_function,sklearn"
    assert (model["has_signature"], model["has_example"], model["pinned"]) == (True, True, True)
    assert "logged_models_from_tags:1" in statement.notes


def test_versions_have_stage_alias_and_tags(replayed: Replayed) -> None:
    recording, sink, _ = replayed
    (version,) = sink.tables["model_versions"]
    assert (version["version"], version["stage"]) == ("old fraud/1", "Production")
    assert version["run"] == recording.told["model"]["run"]
    assert sink.tables["aliases"] == [{"name": "old fraud", "alias": "champion", "version": "old fraud/1"}]
    assert sink.tables["version_tags"] == [{"version": "old fraud/1", "key": "validation_status", "value": "approved"}]


def test_means_come_from_histories_and_cards_from_artifacts(replayed: Replayed) -> None:
    recording, sink, _ = replayed
    run = recording.told["model"]["run"]
    (mean,) = sink.tables["run_metric_means"]
    assert mean == {"run": run, "key": "system/gpu_0_utilization_percentage", "mean": 50.0, "points": 101}
    (card,) = sink.of("cards", "owner", run)
    assert (card["path"], card["headings"]) == ("reports/model_card.md", "Purpose\nLimits")


def test_a_deleted_experiment_is_marked(replayed: Replayed) -> None:
    recording, sink, _ = replayed
    (row,) = sink.of("experiments", "experiment", recording.told["gone"])
    assert row["lifecycle"] == "deleted"
