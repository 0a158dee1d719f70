"""Asks for the history of the few metrics whose last value says little, such as how busy a GPU was.

Takes runs with their metric keys while runs are read, and keeps only the newest that have such a metric; gives rows of
``run_metric_means``. A run without such a metric costs no question. The server thins out long histories evenly, so a
mean over more than 2,500 points is one over an even sample of them.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from integrations.connectors.base import Reason, Refused
from integrations.connectors.mlflow_api import API, Api, rows_of
from integrations.connectors.mlflow_rows import Row

DAYS = 180
_DAY_MS = 86_400_000
_UTILISATION = re.compile(r"system/([^/]+/)?gpu_[^/]*utilization_percentage")
_MOST_KEYS = 64  # of one run: eight machines with eight GPUs
_RUNS_PER_QUESTION = 20
_MOST_POINTS = 2500  # of one run in one answer
_NO_INTERVALS = frozenset({Reason.NOT_FOUND, Reason.BAD_REQUEST, Reason.LOGIN_PAGE})

Points = dict[str, list[float]]


class Histories:
    """The newest ``limit`` finished runs that logged GPU utilisation in the 180 days before ``now`` (ms).

    ``not_asked`` counts the runs beyond the limit. ``read`` may raise ``Refused``.
    """

    def __init__(self, api: Api, write: Callable[[str, list[Row]], None], *, now: int, limit: int) -> None:
        self._api = api
        self._write = write
        self._since = now - DAYS * _DAY_MS
        self._limit = limit
        self._newest: list[tuple[int, str, tuple[str, ...]]] = []  # heap, the oldest first
        self._in_bulk = True
        self.not_asked = 0

    def offer(self, run: Row, metrics: Sequence[Row]) -> None:
        """Take note of a run, given the rows of the run and of its metrics."""
        start = run["start_at"] or 0
        if run["status"] != "FINISHED" or run["lifecycle"] != "active" or start < self._since:
            return
        keys = tuple(row["key"] for row in metrics if _UTILISATION.fullmatch(row["key"]))[:_MOST_KEYS]
        if not keys:
            return
        heapq.heappush(self._newest, (start, run["run"], keys))
        if len(self._newest) > self._limit:
            heapq.heappop(self._newest)
            self.not_asked += 1

    def read(self) -> None:
        """Ask for the histories and write their means, newest runs first."""
        newest = sorted(self._newest, reverse=True)
        for start in range(0, len(newest), _RUNS_PER_QUESTION):
            some = newest[start : start + _RUNS_PER_QUESTION]
            rows = []
            for key in sorted({key for _, _, keys in some for key in keys}):
                points = self._points([run for _, run, keys in some if key in keys], key)
                rows += [_mean(run, key, values) for run, values in points.items()]
            self._write("run_metric_means", [row for row in rows if row["points"]])

    def _points(self, runs: list[str], key: str) -> Points:
        if self._in_bulk:
            try:
                return self._bulk(runs, key)
            except Refused as fault:
                if fault.reason not in _NO_INTERVALS:
                    raise
                self._in_bulk = False  # an older server, or a run that has gone: each for itself from here on
        return {run: values for run in runs for values in self._single(run, key)}

    def _bulk(self, runs: list[str], key: str) -> Points:
        query: dict[str, str | int | list[str]] = {"run_ids": runs, "metric_key": key, "max_results": _MOST_POINTS}
        answer = self._api.get("/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval", query)
        points: Points = {run: [] for run in runs}
        for point in rows_of(answer, "metrics"):
            if point.get("run_id") in points:
                points[point["run_id"]].append(_value(point))
        return points

    def _single(self, run: str, key: str) -> Iterator[list[float]]:
        """The first points of one run's history; nothing when the run has gone."""
        query: dict[str, str | int | list[str]] = {"run_id": run, "metric_key": key, "max_results": _MOST_POINTS}
        try:
            answer = self._api.get(f"{API}/metrics/get-history", query)
        except Refused as fault:
            if fault.reason is not Reason.NOT_FOUND:
                raise
            return
        yield [_value(point) for point in rows_of(answer, "metrics")]


def _value(point: dict[str, Any]) -> float:
    try:
        return float(point.get("value") or 0.0)
    except (TypeError, ValueError, OverflowError) as error:
        raise Refused(Reason.GARBAGE, "unexpected content for a metric") from error


def _mean(run: str, key: str, values: list[float]) -> Row:
    finite = [value for value in values if math.isfinite(value)]
    return {"run": run, "key": key, "mean": math.fsum(finite) / max(1, len(finite)), "points": len(finite)}
