"""Asks an MLflow server to count traces itself: by day and state, of an experiment, a model or a registered version.

Takes experiment ids and versions; gives counts that need no trace to be transferred. Offered since about MLflow 3.9 and
only with a database behind the server; ``offered`` turns False where it is not, and every count is then empty.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from integrations.connectors.base import Reason, Refused
from integrations.connectors.mlflow_api import Api, tokens

TRACES = "/api/3.0/mlflow/traces"
DAY_MS = 86_400_000
VERSION_KEY = "dlemm.model_version"
MODEL_KEY = "mlflow.modelId"
STATES = frozenset({"OK", "ERROR", "IN_PROGRESS"})

_POINTS_PER_PAGE = 1000
_NOT_OFFERED = frozenset({Reason.NOT_FOUND, Reason.BAD_REQUEST, Reason.FORBIDDEN, Reason.SERVER_ERROR})


@dataclass(frozen=True, slots=True)
class Named:
    """What a count is of: the start of the day (ms), the state, and the model and version that the traces name."""

    day: int
    state: str
    model: str | None = None
    version: str | None = None


Counts = Counter[Named]
Versions = Sequence[tuple[str, str | None]]
"""Registered versions as (name/number, logged model id or None), the most important first."""


class TraceCounts:
    """Counts of the traces from ``since`` to ``until`` (ms). Methods may raise ``Refused`` when the server is gone."""

    def __init__(self, api: Api, since: int, until: int) -> None:
        self._api = api
        self._since = since
        self._until = until
        self.offered = True

    def of(self, experiments: Sequence[str], *conditions: str) -> dict[str, Counts]:
        """By experiment, its traces that meet every condition; only experiments that have some."""
        if not all(conditions):  # one of them cannot be put to the server
            return {}
        if len(experiments) > 1 and conditions and not self._count(experiments, conditions):
            return {}
        counts = {experiment: self._count([experiment], conditions) for experiment in experiments}
        return {experiment: count for experiment, count in counts.items() if count}

    def of_versions(self, experiments: Sequence[str], versions: Versions) -> dict[str, Counts]:
        """By experiment, the traces that name a version, its logged model, or both."""
        found: dict[str, Counts] = {experiment: Counter() for experiment in experiments}
        for logged in dict.fromkeys(model for _, model in versions if model):
            for experiment, counts in self.of(experiments, _is("metadata", MODEL_KEY, logged)).items():
                for key, number in counts.items():
                    found[experiment][Named(key.day, key.state, logged)] = number
        for version, model in versions:
            for place in ("tag", "metadata"):
                self._add_version(found, _is(place, VERSION_KEY, version), version, model)
        return found

    def _add_version(self, found: dict[str, Counts], condition: str, version: str, model: str | None) -> None:
        """Add the traces that meet a version's condition; those that name its model too are taken from the model's."""
        for experiment, counts in self.of(list(found), condition).items():
            both = self.of([experiment], condition, _is("metadata", MODEL_KEY, model)) if model else {}
            for key, number in counts.items():
                common = both.get(experiment, Counter())[key]
                found[experiment][Named(key.day, key.state, model, version)] += common
                found[experiment][Named(key.day, key.state, None, version)] += number - common
                found[experiment][Named(key.day, key.state, model)] -= common

    def _count(self, experiments: Sequence[str], conditions: Sequence[str]) -> Counts:
        counts: Counts = Counter()
        if not self.offered:
            return counts
        try:
            for point in self._points(experiments, conditions):
                key, number = _read(point)
                counts[key] += number
        except Refused as fault:
            if fault.reason not in _NOT_OFFERED:
                raise
            self.offered = False
            return Counter()
        return counts

    def _points(self, experiments: Sequence[str], conditions: Sequence[str]) -> Iterator[dict[str, Any]]:
        question = {
            "experiment_ids": list(experiments),
            "view_type": "TRACES",
            "metric_name": "trace_count",
            "aggregations": [{"aggregation_type": "COUNT"}],
            "dimensions": ["trace_status"],
            "filters": list(conditions),
            "time_interval_seconds": DAY_MS // 1000,
            "start_time_ms": self._since,
            "end_time_ms": self._until,
            "max_results": _POINTS_PER_PAGE,
        }

        def ask(token: str) -> dict[str, Any]:
            further = {"page_token": token} if token else {}
            return self._api.post(f"{TRACES}/metrics", {**question, **further}, tries=1)

        for page in tokens(ask, "data_points", lambda point: repr(point.get("dimensions"))):
            yield from page


def day_of(moment: object) -> int:
    """The start (ms) of the day, in UTC, of a moment as the server writes it. Raises ``ValueError``, ``TypeError``."""
    if not isinstance(moment, str):
        raise TypeError("a moment must be text")
    then = datetime.datetime.fromisoformat(moment)
    if then.tzinfo is None:
        raise ValueError("a moment must name its time zone")
    return int(then.timestamp() * 1000) // DAY_MS * DAY_MS


def _is(place: str, key: str, value: str) -> str:
    """A condition of the server's filter language; empty for a value that cannot be written in it."""
    return "" if "'" in value or "\\" in value else f"trace.{place}.`{key}` = '{value}'"


def _read(point: dict[str, Any]) -> tuple[Named, int]:
    try:
        dimensions = point["dimensions"]
        state = dimensions.get("trace_status")
        key = Named(day_of(dimensions["time_bucket"]), state if state in STATES else "IN_PROGRESS")
        return key, int(point["values"]["COUNT"])
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise Refused(Reason.GARBAGE, "unexpected content for a count of traces") from error
