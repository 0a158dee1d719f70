"""Reading runs page by page while the server is in use: none lost, none twice, for any start times and page size."""

from __future__ import annotations

import contextlib
import itertools
import random
import re
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.connectors.base import Reason, Refused
from integrations.connectors.mlflow_api import tokens
from integrations.connectors.mlflow_windows import EXPERIMENTS_PER_QUESTION, LEAST, Walk, Window

CONDITION = re.compile(r"attributes\.start_time (>=|<|=) (-?\d+)")


class Shelf:
    """Answers run searches as MLflow does: filter, order by start and id, offset tokens; calls ``between`` after."""

    def __init__(self, starts: list[int]) -> None:
        self.runs = {f"r{n:04}": start for n, start in enumerate(starts)}
        self.questions: list[Mapping[str, Any]] = []
        self.turn = threading.Lock()

    def between(self) -> None:
        """Nothing happens between two pages."""

    def search(self, body: Mapping[str, Any]) -> dict[str, Any]:
        with self.turn:
            return self.answer(body)

    def answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        assert body["run_view_type"] == "ALL"
        (order,) = body["order_by"]
        self.questions.append(body)
        found = sorted((start, key) for key, start in self.runs.items() if _matches(body["filter"], start))
        if order == "attributes.start_time DESC":
            found.sort(key=lambda run: -run[0])
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


def walked(shelf: Shelf, size: int, connections: int = 1, **bounds: Any) -> list[tuple[Window, list[str]]]:
    walk = Walk(shelf.search, ["1"], size, connections, **bounds)
    with contextlib.closing(walk.windows()) as windows:
        return [(window, [run["info"]["run_id"] for run in window.runs]) for window in windows]


def read(shelf: Shelf, size: int, connections: int = 1, **bounds: Any) -> list[str]:
    return [key for _, keys in walked(shelf, size, connections, **bounds) for key in keys]


moments = st.one_of(
    st.integers(0, 6), st.integers(0, 50), st.integers(-5, 10**13), st.just(1_700_000_000_000), st.just(0)
)


ways = st.tuples(st.integers(1, 9), st.sampled_from([1, 2, 4]), st.booleans())


@settings(max_examples=300, deadline=None)
@given(starts=st.lists(moments, max_size=60), way=ways)
def test_every_run_comes_exactly_once_and_in_order(starts: list[int], way: tuple[int, int, bool]) -> None:
    size, connections, measured = way
    shelf = Shelf(starts)
    found = read(shelf, size, connections, measured=measured)
    assert found == [key for _, key in sorted((start, key) for key, start in shelf.runs.items())]


@settings(max_examples=200, deadline=None)
@given(starts=st.lists(moments, max_size=60), way=ways, bounds=st.tuples(moments, moments))
def test_windows_follow_each_other_and_hold_what_started_in_them(
    starts: list[int], way: tuple[int, int, bool], bounds: tuple[int, int]
) -> None:
    size, connections, measured = way
    shelf = Shelf(starts)
    low, high = min(bounds), max(bounds) + 1
    for begin, end in ((None, None), (low, None), (None, high), (low, high)):
        found = walked(shelf, size, connections, low=begin, high=end, measured=measured)
        assert (found[0][0].low, found[-1][0].high) == (begin, end)
        assert all(one.high == other.low for (one, _), (other, _) in itertools.pairwise(found))
        for window, keys in found:
            assert sorted(keys) == sorted(key for key, start in shelf.runs.items() if _inside(start, window))


def _inside(start: int, window: Window) -> bool:
    return (window.low is None or start >= window.low) and (window.high is None or start < window.high)


@settings(max_examples=200, deadline=None)
@given(starts=st.lists(moments, min_size=5, max_size=60), size=st.integers(2, 9), seed=st.integers(0, 10**6))
def test_runs_that_stay_are_found_while_others_are_purged_and_added(starts: list[int], size: int, seed: int) -> None:
    """Purged runs vanish and new ones appear (often far in the past) between any two pages of different moments."""
    chance = random.Random(seed)
    shelf = Shelf(sorted(set(starts)))
    stay = set(shelf.runs)
    connections = 1 + seed % 2

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
    found = read(shelf, size, connections, measured=True)
    assert stay <= set(found)
    assert len(found) == len(set(found))


def test_many_runs_of_one_moment_are_read_by_tokens() -> None:
    shelf = Shelf([5] * 25 + [6])
    assert sorted(read(shelf, 4)) == sorted(shelf.runs)
    assert any(">= 5" in question["filter"] and question.get("page_token") for question in shelf.questions)


def test_a_page_halved_in_the_middle_of_a_moment_repeats_nothing() -> None:
    class Heavy(Shelf):
        def answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
            if self.questions and body["max_results"] > 2:
                raise Refused(Reason.TOO_LARGE)
            return super().answer(body)

    shelf = Heavy([4, 5, 5, 5, 5, 5, 6])
    assert read(shelf, 4) == sorted(shelf.runs)


def test_few_runs_cost_one_question() -> None:
    shelf = Shelf([0, 10**12, 4 * 10**12])
    assert len(read(shelf, 1000)) == 3
    assert len(shelf.questions) == 1


@pytest.mark.parametrize("connections", [1, 2, 4])
def test_a_long_steady_history_costs_little_more_than_its_pages(connections: int) -> None:
    shelf = Shelf([1_600_000_000_000 + 3_600_000 * n for n in range(5000)])
    assert len(read(shelf, 100, connections, measured=True)) == 5000
    assert len(shelf.questions) < 5000 / 100 * 1.6


def test_a_long_gap_is_jumped() -> None:
    shelf = Shelf([*range(50), *range(3 * 10**12, 3 * 10**12 + 50)])
    assert len(read(shelf, 20)) == 100
    assert len(shelf.questions) < 20


def test_every_question_bounds_the_start_as_one_run_without_it_would_break_the_answer() -> None:
    shelf = Shelf([5, 6, 7])
    read(shelf, 2, measured=True)
    assert all(question["filter"].startswith("attributes.start_time >= ") for question in shelf.questions)
    assert any(f">= {LEAST}" in question["filter"] for question in shelf.questions)


def test_the_share_of_the_walk_grows_to_the_whole() -> None:
    shelf = Shelf([10**12 + 1000 * n for n in range(500)])
    shares = [window.share for window, _ in walked(shelf, 50, 2, measured=True)]
    known = [share for share in shares if share is not None]
    assert shares == known == sorted(known)
    assert known[-1] == 1
    assert 0 < known[len(known) // 2] < 1


def test_many_experiments_are_asked_for_in_parts_inside_each_window() -> None:
    class Many(Shelf):
        """Run n belongs to experiment n."""

        def answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
            whole = self.runs
            wanted = {int(key) for key in body["experiment_ids"]}
            self.runs = {key: start for key, start in whole.items() if int(key[1:]) in wanted}
            try:
                return super().answer(body)
            finally:
                self.runs = whole

    shelf = Many([n // 3 for n in range(50)])
    shelf.runs = {f"r{int(key[1:]) * 100:04}": start for key, start in shelf.runs.items()}
    walk = Walk(shelf.search, [str(n) for n in range(5001)], 4, 2)
    found = [run["info"]["run_id"] for window in walk.windows() for run in window.runs]
    assert found == sorted(shelf.runs)
    assert {len(question["experiment_ids"]) for question in shelf.questions} == {EXPERIMENTS_PER_QUESTION, 1001}


def test_a_window_that_cannot_be_read_does_not_stop_the_others() -> None:
    class Holed(Shelf):
        def answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
            found = super().answer(body)
            if any(run["info"]["run_id"] == "r0050" for run in found["runs"]) and body["max_results"] > 1:
                raise Refused(Reason.SERVER_ERROR)
            return found

    shelf = Holed([10**12 + 1000 * n for n in range(100)])
    found = walked(shelf, 10, 2, measured=True)
    (hole,) = (window for window, _ in found if window.fault is not None)
    read_keys = {key for _, keys in found for key in keys}
    assert read_keys == {key for key, start in shelf.runs.items() if not _inside(start, hole)}
    assert len(read_keys) > 80


def test_a_list_whose_pages_repeat_is_refused() -> None:
    with pytest.raises(Refused, match="do not advance"):
        list(tokens(lambda token: {"x": [{"id": 1}], "next_page_token": "again"}, "x", lambda row: row["id"]))


def test_an_empty_last_page_is_no_trouble() -> None:
    answers = {"": {"x": [{"id": 1}], "next_page_token": "2"}, "2": {}}
    assert list(tokens(answers.__getitem__, "x", lambda row: row["id"])) == [[{"id": 1}], []]
