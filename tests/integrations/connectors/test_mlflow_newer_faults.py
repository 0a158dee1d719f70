"""Odd and hostile answers to the questions about traces, histories and datasets."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from integrations.connectors.base import Reason, Refused
from integrations.connectors.mlflow_api import Api
from integrations.connectors.mlflow_datasets import evaluation_datasets
from integrations.connectors.mlflow_histories import Histories
from integrations.connectors.mlflow_rows import Row
from integrations.connectors.mlflow_traces import Traces

NOW = 1_700_000_000_000
BUSY = "system/gpu_0_utilization_percentage"
Told = Callable[[str, Any], dict[str, Any]]


class Server:
    """Answers by a function of path and question, and remembers what was asked."""

    def __init__(self, told: Told) -> None:
        self.told = told
        self.asked: list[tuple[str, Any]] = []

    def post(self, path: str, question: Any, *, tries: int | None = None) -> dict[str, Any]:
        return self.get(path, question)

    def get(self, path: str, query: Any) -> dict[str, Any]:
        self.asked.append((path, query))
        return self.told(path, query)

    @property
    def api(self) -> Api:
        return cast("Api", cast("Any", self))


def trace(**changes: Any) -> dict[str, Any]:
    return {"trace_id": "t", "request_time": "2023-11-14T22:13:20.5Z", "state": "OK", **changes}


def traces_of(told: Told, experiments: list[str], **settings: Any) -> tuple[list[Row], Server]:
    rows: list[Row] = []
    server = Server(told)
    reading = Traces(server.api, lambda _, page: rows.extend(page), now=NOW, limit=10, assessments=True, **settings)
    reading.read(experiments, [])
    return rows, server


def one_trace(**changes: Any) -> Told:
    return lambda path, question: {"traces": [trace(**changes)]}


def test_a_trace_falls_on_its_day_in_utc() -> None:
    (row,), _ = traces_of(one_trace(), ["1"])
    assert row["day"] == NOW // 86_400_000 * 86_400_000


def test_names_that_cannot_be_a_model_or_version_are_dropped() -> None:
    tags = {"dlemm.model_version": "no number"}
    (row,), _ = traces_of(one_trace(tags=tags, trace_metadata={"mlflow.modelId": "m" * 1000}), ["1"])
    assert (row["version"], row["logged_model"]) == (None, None)


def test_a_version_in_the_metadata_counts_as_one_in_a_tag() -> None:
    (row,), _ = traces_of(one_trace(trace_metadata={"dlemm.model_version": "a b/7"}), ["1"])
    assert row["version"] == "a b/7"


@pytest.mark.parametrize(
    "changes",
    [
        {"request_time": "yesterday"},
        {"request_time": 5},
        {"request_time": "2023-11-14T22:13:20"},
        {"tags": [1]},
        {"trace_metadata": "x"},
        {"assessments": [1]},
        {"assessments": [{"source": "me"}]},
        {"state": ["OK"]},
    ],
)
def test_a_trace_of_a_shape_mlflow_never_sends_is_garbage(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        traces_of(one_trace(**changes), ["1"])
    assert caught.value.reason is Reason.GARBAGE


def test_experiments_without_traces_cost_one_question_for_many() -> None:
    rows, server = traces_of(lambda path, question: {}, [str(n) for n in range(100)])
    assert rows == []
    assert len(server.asked) == 1


def test_the_one_experiment_with_traces_is_found_by_halving() -> None:
    def told(path: str, question: Any) -> dict[str, Any]:
        asked = [place["mlflow_experiment"]["experiment_id"] for place in question["locations"]]
        return {"traces": [trace()]} if "37" in asked else {}

    rows, server = traces_of(told, [str(n) for n in range(100)])
    assert [(row["experiment"], row["traces"]) for row in rows] == [("37", 1)]
    assert len(server.asked) < 20


def histories(told: Told, limit: int = 100, **changes: Any) -> tuple[list[Row], Server, Histories]:
    rows: list[Row] = []
    server = Server(told)
    reading = Histories(server.api, lambda _, page: rows.extend(page), now=NOW, limit=limit)
    for number in range(3):
        run = {"run": f"r{number}", "status": "FINISHED", "lifecycle": "active", "start_at": NOW - number, **changes}
        reading.offer(run, [{"key": BUSY}, {"key": "loss"}])
    reading.read()
    return rows, server, reading


def test_only_the_newest_runs_are_asked() -> None:
    rows, _, reading = histories(
        lambda _, query: {"metrics": [{"run_id": run, "value": 1.0} for run in query["run_ids"]]}, limit=2
    )
    assert [row["run"] for row in rows] == ["r0", "r1"]
    assert reading.not_asked == 1


@pytest.mark.parametrize(
    "changes", [{"status": "RUNNING"}, {"lifecycle": "deleted"}, {"start_at": 5}, {"start_at": None}]
)
def test_runs_that_do_not_count_cost_no_question(changes: dict[str, Any]) -> None:
    _, server, reading = histories(lambda *_: {}, **changes)
    assert server.asked == []
    assert reading.not_asked == 0


def test_an_older_server_is_asked_run_by_run_and_a_run_that_has_gone_is_left_out() -> None:
    def told(path: str, query: Any) -> dict[str, Any]:
        if path.endswith("interval") or query["run_id"] == "r1":
            raise Refused(Reason.NOT_FOUND)
        return {"metrics": [{"value": 1.0}, {"value": "NaN"}, {"value": 3.0}]}

    rows, _, _ = histories(told)
    assert [(row["run"], row["mean"], row["points"]) for row in rows] == [("r0", 2.0, 2), ("r2", 2.0, 2)]


def test_a_history_that_is_no_number_is_garbage() -> None:
    with pytest.raises(Refused) as caught:
        histories(lambda *_: {"metrics": [{"run_id": "r0", "value": "busy"}]})
    assert caught.value.reason is Reason.GARBAGE


@pytest.mark.parametrize(
    ("key", "asked"),
    [
        (BUSY, True),
        ("system/gpu_12_utilization_percentage", True),
        ("system/node-1/gpu_0_utilization_percentage", True),
        ("system/gpu_0_memory_usage_percentage", False),
        ("system/cpu_utilization_percentage", False),
        ("gpu_0_utilization_percentage", False),
    ],
)
def test_only_utilisation_of_gpus_is_asked_for(key: str, asked: bool) -> None:
    server = Server(lambda *_: {})
    reading = Histories(server.api, lambda *_: None, now=NOW, limit=5)
    reading.offer({"run": "r", "status": "FINISHED", "lifecycle": "active", "start_at": NOW}, [{"key": key}])
    reading.read()
    assert bool(server.asked) == asked


@pytest.mark.parametrize(
    ("profile", "records"),
    [
        (json.dumps({"num_records": 5}), 5),
        (json.dumps({"num_records": -5}), None),
        (json.dumps({"num_records": True}), None),
        ("[]", None),
        ("{", None),
        (None, None),
        (7, None),
    ],
)
def test_a_profile_that_tells_no_number_leaves_the_records_unknown(profile: object, records: int | None) -> None:
    server = Server(lambda *_: {"datasets": [{"dataset_id": "d", "name": "n", "digest": "x", "profile": profile}]})
    ((row,),) = evaluation_datasets(server.api)
    assert row["records"] == records


@pytest.mark.parametrize("dataset", [{}, {"dataset_id": 5}, {"dataset_id": "d", "last_update_time": "soon"}])
def test_a_dataset_of_a_shape_mlflow_never_sends_is_garbage(dataset: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        list(evaluation_datasets(Server(lambda *_: {"datasets": [dataset]}).api))
    assert caught.value.reason is Reason.GARBAGE


def test_an_account_that_may_not_ask_for_all_datasets_asks_by_experiment() -> None:
    def told(path: str, question: Any) -> dict[str, Any]:
        if "experiment_ids" not in question:
            raise Refused(Reason.FORBIDDEN)
        return {"datasets": [{"dataset_id": "d"}]}  # one that belongs to many experiments

    pages = list(evaluation_datasets(Server(told).api, [str(n) for n in range(150)]))
    assert [row["dataset"] for rows in pages for row in rows] == ["d"]
