"""Reading runs page by page while the server is in use: none lost, none twice, for any start times and page size."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.connectors.base import Reason, Refused
from integrations.connectors.mlflow_api import Api, tokens

CONDITION = re.compile(r"attributes\.start_time (>=|<|=) (-?\d+)")


class Shelf:
    """Answers run searches as MLflow does: filter, order by start and id, offset tokens; calls ``between`` after."""

    def __init__(self, starts: list[int]) -> None:
        self.runs = {f"r{n:04}": start for n, start in enumerate(starts)}
        self.questions: list[Mapping[str, Any]] = []

    def between(self) -> None:
        """Nothing happens between two pages."""

    def post_json(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        assert path.endswith("/runs/search")
        assert body["run_view_type"] == "ALL"
        assert body["order_by"] == ["attributes.start_time ASC"]
        self.questions.append(body)
        found = sorted((start, key) for key, start in self.runs.items() if _matches(body["filter"], start))
        offset = int(body.get("page_token") or 0)
        page = found[offset : offset + body["max_results"]]
        self.between()
        answer: dict[str, Any] = {
            "runs": [{"info": {"run_id": key, "experiment_id": "1", "start_time": start}} for start, key in page]
        }
        if len(found) > offset + body["max_results"]:
            answer["next_page_token"] = str(offset + body["max_results"])
        return answer


def _matches(condition: str, start: int) -> bool:
    bounds = CONDITION.findall(condition)
    assert len(bounds) == len(condition.split(" AND ")) - (condition == "")
    return all({">=": start >= int(b), "<": start < int(b), "=": start == int(b)}[op] for op, b in bounds)


def read(shelf: Shelf, size: int) -> list[str]:
    api = Api(shelf, size)  # type: ignore[arg-type]  # the shelf answers the only question that is asked
    return [run["info"]["run_id"] for page in api.runs(["1"]) for run in page]


moments = st.one_of(
    st.integers(0, 6), st.integers(0, 50), st.integers(-5, 10**13), st.just(1_700_000_000_000), st.just(0)
)


@settings(max_examples=300, deadline=None)
@given(starts=st.lists(moments, max_size=60), size=st.integers(1, 9))
def test_every_run_comes_exactly_once_and_in_order(starts: list[int], size: int) -> None:
    shelf = Shelf(starts)
    found = read(shelf, size)
    assert sorted(found) == sorted(shelf.runs)
    assert [shelf.runs[key] for key in found] == sorted(starts)


@settings(max_examples=200, deadline=None)
@given(starts=st.lists(moments, min_size=5, max_size=60), size=st.integers(2, 9), seed=st.integers(0, 10**6))
def test_runs_that_stay_are_found_while_others_are_purged_and_added(starts: list[int], size: int, seed: int) -> None:
    """Purged runs vanish and new ones appear (often far in the past) between any two pages of different moments."""
    chance = random.Random(seed)
    shelf = Shelf(sorted(set(starts)))
    stay = set(shelf.runs)

    def busy() -> None:
        if chance.random() < 0.5:
            gone = chance.choice(sorted(shelf.runs))
            del shelf.runs[gone]
            stay.discard(gone)
            if not shelf.runs:
                shelf.runs["last"] = 0
        if chance.random() < 0.5:
            moment = chance.randrange(10**13)
            if moment not in shelf.runs.values():
                shelf.runs[f"new{moment}"] = moment

    shelf.between = busy  # type: ignore[method-assign]
    found = read(shelf, size)
    assert stay <= set(found)
    assert len(found) == len(set(found))


def test_many_runs_of_one_moment_are_read_by_tokens() -> None:
    shelf = Shelf([5] * 25 + [6])
    assert sorted(read(shelf, 4)) == sorted(shelf.runs)
    assert any("= 5" in question["filter"] and question.get("page_token") for question in shelf.questions)


def test_a_page_halved_in_the_middle_of_a_moment_repeats_nothing() -> None:
    class Heavy(Shelf):
        def post_json(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
            if self.questions and body["max_results"] > 2:
                raise Refused(Reason.TOO_LARGE)
            return super().post_json(path, body)

    shelf = Heavy([4, 5, 5, 5, 5, 5, 6])
    assert read(shelf, 4) == sorted(shelf.runs)


def test_few_runs_cost_one_question() -> None:
    shelf = Shelf([0, 10**12, 4 * 10**12])
    assert len(read(shelf, 1000)) == 3
    assert len(shelf.questions) == 1


def test_a_long_steady_history_costs_little_more_than_its_pages() -> None:
    shelf = Shelf([1_600_000_000_000 + 3_600_000 * n for n in range(5000)])
    assert len(read(shelf, 100)) == 5000
    assert len(shelf.questions) < 5000 / 100 * 1.6


def test_a_long_gap_is_jumped() -> None:
    shelf = Shelf([*range(50), *range(3 * 10**12, 3 * 10**12 + 50)])
    assert len(read(shelf, 20)) == 100
    assert len(shelf.questions) < 20


def test_many_experiments_are_asked_for_in_parts() -> None:
    shelf = Shelf([])
    assert list(Api(shelf, 10).runs([str(n) for n in range(1200)])) == [[], [], []]  # type: ignore[arg-type]
    assert [len(question["experiment_ids"]) for question in shelf.questions] == [500, 500, 200]


def test_a_list_whose_pages_repeat_is_refused() -> None:
    with pytest.raises(Refused, match="do not advance"):
        list(tokens(lambda token: {"x": [{"id": 1}], "next_page_token": "again"}, "x", lambda row: row["id"]))


def test_an_empty_last_page_is_no_trouble() -> None:
    answers = {"": {"x": [{"id": 1}], "next_page_token": "2"}, "2": {}}
    assert list(tokens(answers.__getitem__, "x", lambda row: row["id"])) == [[{"id": 1}], []]
