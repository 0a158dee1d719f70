"""Traces, histories, evaluation datasets and outlines of documents, from a real MLflow 3 server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import Any

import httpx
import pytest

from integrations.connectors.mlflow import link
from maturity.facts import Reading, Statement
from tests.integrations.connectors.fill_newer import SECRET
from tests.integrations.connectors.recorder import Recorder, collected
from tests.integrations.servers import Answer, MlflowServer, stub_server

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def told(mlflow_server: MlflowServer) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.integrations.connectors.fill_newer", mlflow_server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return {"url": mlflow_server.url, **json.loads(done.stdout.rstrip().rpartition("\n")[2])}


@pytest.fixture(scope="module")
def collection(told: dict[str, Any]) -> tuple[Recorder, Statement]:
    return collected(told["url"])


def totals(sink: Recorder, told: dict[str, Any], column: str = "traces") -> Counter[tuple[str | None, str | None]]:
    counts: Counter[tuple[str | None, str | None]] = Counter()
    for row in sink.of("trace_days", "experiment", told["traces"]["experiment"]):
        counts[row["logged_model"], row["version"]] += row.get(column, 0)
    return counts


def expected(told: dict[str, Any]) -> dict[tuple[str | None, str | None], int]:
    model = told["traces"]["model"]
    return {(None, None): 4, (model, None): 3, (model, "newer agent/1"): 2}


def test_traces_are_counted_by_the_model_and_version_they_name(
    told: dict[str, Any], collection: tuple[Recorder, Statement]
) -> None:
    sink, statement = collection
    assert statement.stream("traces").state is Reading.READ
    assert totals(sink, told) == expected(told)
    assert not any(note.startswith("traces_") for note in statement.notes)


def test_only_feedback_of_people_outside_an_evaluation_run_is_a_review(
    told: dict[str, Any], collection: tuple[Recorder, Statement]
) -> None:
    sink, _ = collection
    assert totals(sink, told, "assessed").total() == 3
    assert totals(sink, told, "reviewed").total() == 1


@pytest.mark.parametrize("limit", [0, 1, 3, 8, 9])
def test_a_limit_changes_what_is_looked_at_but_not_the_counts(told: dict[str, Any], limit: int) -> None:
    """The server counts what was not paged, and those of the registered version one by one."""
    sink, statement = collected(told["url"], traces_per_experiment=limit)
    assert totals(sink, told) == expected(told)
    assert ("traces_sampled:1" in statement.notes) == (limit < 9)


def test_nothing_of_a_traces_content_is_kept(collection: tuple[Recorder, Statement]) -> None:
    sink, statement = collection
    assert SECRET not in repr(sink.tables)
    assert SECRET not in repr(statement)


def test_a_server_that_does_not_count_gives_the_sample_and_says_so(told: dict[str, Any]) -> None:
    def forward(line: str, body: bytes, _: int) -> Answer:
        method, path = line.split(" ", 1)
        if path.endswith("/traces/metrics"):
            return Answer(404, b"{}")
        kind = {"Content-Type": "application/json"} if body else {}
        real = httpx.request(method, told["url"] + path, content=body, headers=kind, timeout=30, trust_env=False)
        return Answer(real.status_code, real.content, (("Content-Type", real.headers["Content-Type"]),))

    with stub_server(forward) as stub:
        sink, statement = collected(stub.url, traces_per_experiment=3)
    assert totals(sink, told).total() == 3
    assert {"traces_sampled:1", "traces_not_counted:1"} <= set(statement.notes)


def test_means_are_over_the_finite_values_of_the_whole_history(
    told: dict[str, Any], collection: tuple[Recorder, Statement]
) -> None:
    sink, _ = collection
    assert sink.of("run_metric_means", "run", told["run"]) == [
        {"run": told["run"], "key": "system/gpu_0_utilization_percentage", "mean": 50.0, "points": 202}
    ]


def test_histories_beyond_the_limit_are_noted(told: dict[str, Any]) -> None:
    sink, statement = collected(told["url"], history_lookups=0)
    assert sink.tables["run_metric_means"] == []
    assert "histories_not_asked:1" in statement.notes


def test_evaluation_datasets_are_read_without_their_records(
    told: dict[str, Any], collection: tuple[Recorder, Statement]
) -> None:
    sink, _ = collection
    (row,) = sink.of("evaluation_datasets", "dataset", told["dataset"])
    assert (row["name"], row["records"]) == ("newer golden", 1)
    assert row["digest"]
    assert row["updated_at"] > 1_700_000_000_000


def test_documents_are_outlined_and_only_those_on_the_list(
    told: dict[str, Any], collection: tuple[Recorder, Statement]
) -> None:
    sink, _ = collection
    (card,) = sink.of("cards", "owner", told["run"])
    assert card["path"] == "technical_file/intended_use.md"
    assert card["headings"] == "Purpose\nLimits"
    assert len(card["sha256"]) == 64
    assert "SECRET" not in repr(card)


def test_traces_have_a_page() -> None:
    found = link({"base_url": "https://a.example"}, "trace_days", "", experiment="7")
    assert found == "https://a.example/#/experiments/7/traces"
