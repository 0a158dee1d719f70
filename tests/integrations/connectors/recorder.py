"""A sink that keeps every row in memory, and short ways to collect from an address in tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from integrations.connectors.base import Plan, Window
from integrations.connectors.http import Timing
from integrations.connectors.mlflow import MlflowConnector, parse
from maturity.facts import TABLES, Statement


class Recorder:
    """Keeps rows by table; ``frame`` types them as the application would and so refuses unknown columns."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.plan = plan or Plan()
        self.windows: list[Window] = []
        self.tables: dict[str, list[Mapping[str, Any]]] = {name: [] for name in TABLES}
        self.largest_write = 0
        self.steps: list[tuple[int, int | None, str]] = []

    def write(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        assert rows, "an empty page is not worth a call"
        self.largest_write = max(self.largest_write, len(rows))
        self.tables[table].extend(rows)

    def write_columns(self, table: str, columns: Any) -> None:
        self.write(table, columns.to_pylist())

    def window(self, low: int | None, high: int | None) -> None:
        self.windows.append((low, high))

    def progress(self, done: int, total: int | None, what: str) -> None:
        self.steps.append((done, total, what))

    def frame(self, table: str) -> pd.DataFrame:
        return TABLES[table].frame(self.tables[table])

    def of(self, table: str, column: str, *keys: str) -> list[Mapping[str, Any]]:
        return [row for row in self.tables[table] if row[column] in keys]


class Naps:
    """Stands in for ``sleep``: remembers how long it would have slept."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


def impatient(naps: Naps | None = None) -> Timing:
    """Real clocks, but nobody waits."""
    return Timing(sleep=naps or Naps(), chance=lambda: 0.5)


def mlflow(url: str, **settings: Any) -> MlflowConnector:
    return MlflowConnector(parse({"base_url": url, **settings}), timing=impatient())


def collected(url: str, *, plan: Plan | None = None, **settings: Any) -> tuple[Recorder, Statement]:
    sink = Recorder(plan)
    return sink, mlflow(url, **settings).collect(sink)
