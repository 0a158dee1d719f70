"""How fast MLflow's own database is read: ``python -m benchmarks.direct_sql [RUNS]``.

Fills a PostgreSQL database of MLflow's schema with runs of ten parameters, ten metrics and ten tags each (by COPY), and
reads it once in a process of its own through the connector into Parquet files. Prints seconds, runs per second, the
processor seconds and the peak memory of the reader. Needs PostgreSQL (``DLEMM_TEST_POSTGRES``).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
import pytest

from benchmarks.collecting import FIRST_START, HOUR, Reading
from integrations.connectors.base import Plan
from maturity.facts import TABLES
from tests.integrations.connectors.databases import Given, let_read, postgres_database

RUNS = int(os.environ.get("DLEMM_BENCHMARK_RUNS", "100000"))


class _Files:
    """A sink that writes every table to a Parquet file as it comes."""

    plan = Plan()

    def __init__(self, folder: str) -> None:
        import pyarrow as pa

        kinds = {"number": pa.float64(), "ms": pa.int64(), "count": pa.int64(), "flag": pa.bool_()}
        self._folder = folder
        self._writers: dict[str, Any] = {}
        self._schemas = {
            name: pa.schema([(column.name, kinds.get(column.kind, pa.string())) for column in table.columns])
            for name, table in TABLES.items()
        }
        self.runs = 0

    def write(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        import pyarrow as pa

        self.write_columns(table, pa.Table.from_pylist(list(rows), schema=self._schemas[table]))

    def write_columns(self, table: str, columns: Any) -> None:
        import pyarrow.parquet as pq

        if table not in self._writers:
            path = f"{self._folder}/{table}.parquet"
            self._writers[table] = pq.ParquetWriter(path, self._schemas[table], compression="zstd")
        self._writers[table].write_table(columns.cast(self._schemas[table]))
        self.runs += len(columns) if table == "runs" else 0

    def window(self, low: int | None, high: int | None) -> None:
        """Nothing is held that could be gone."""

    def progress(self, done: int, total: int | None, what: str) -> None:
        """Nobody watches."""

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


def fill(given: Given, runs: int) -> None:
    """Write runs into a database of MLflow's schema, one run an hour, with the indexes MLflow makes."""
    subprocess.run([sys.executable, "-m", "mlflow", "db", "upgrade", given.mlflow], check=True, capture_output=True)
    keys = [f"{number * 0x9E3779B97F4A7C15 % 2**64:032x}" for number in range(1, runs + 1)]
    with psycopg.connect(given.admin) as connection:
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (0, 'all', 'active')"
            " ON CONFLICT DO NOTHING"
        )
        _copy(
            connection,
            "runs (run_uuid, name, user_id, status, start_time, end_time, lifecycle_stage, experiment_id)",
            ((key, key[:8], "u", "FINISHED", FIRST_START + HOUR * n, FIRST_START + HOUR * n + 9, "active", 0)
             for n, key in enumerate(keys)),
        )  # fmt: skip
        for table, row in _CHILDREN.items():
            _copy(connection, table, (row(key, number) for key in keys for number in range(10)))
    with psycopg.connect(given.admin, autocommit=True) as connection:
        connection.execute("ANALYZE")
    let_read(given)


_CHILDREN: Mapping[str, Callable[[str, int], tuple[Any, ...]]] = {
    "params (run_uuid, key, value)": lambda key, n: (key, f"parameter_{n}", f"value {n}"),
    "tags (run_uuid, key, value)": lambda key, n: (key, f"tag_{n}", f"text of tag {n}"),
    "latest_metrics (run_uuid, key, value, timestamp, step, is_nan)": lambda key, n: (
        key, f"metric_{n}", 1 / (n + 1), FIRST_START, 1, False
    ),
}  # fmt: skip


def _copy(connection: psycopg.Connection[Any], into: str, rows: Iterator[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {into} FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)


def measure(settings: Mapping[str, Any]) -> Reading:
    """Read once in this process; imports are counted."""
    from integrations.connectors.base import connector

    with tempfile.TemporaryDirectory() as folder:
        wall, cpu, sink = time.perf_counter(), time.process_time(), _Files(folder)
        statement = connector("mlflow-sql", settings).collect(sink)
        sink.close()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if not statement.complete:
        raise RuntimeError(f"the collection is not complete: {statement.streams}")
    return Reading(sink.runs, wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main(runs: int = RUNS) -> None:
    """Print how long one reading takes, and what it costs the reader; or that PostgreSQL is missing."""
    try:
        found = _measured_apart(runs)
    except pytest.skip.Exception as missing:
        print(f"not measured: {missing}")
        return
    print(
        f"{found.runs} runs from PostgreSQL into Parquet: {found.wall:.1f} s, {found.runs / found.wall:.0f} runs/s, "
        f"reader {found.cpu:.1f} CPU s, peak {found.peak:.0f} MB"
    )


def _measured_apart(runs: int) -> Reading:
    with postgres_database() as given:
        fill(given, runs)
        settings = {"base_url": given.url, "username": given.reader, "password": given.password}
        command = [sys.executable, "-m", "benchmarks.direct_sql", "measure"]
        done = subprocess.run(command, input=json.dumps(settings), check=True, stdout=subprocess.PIPE, text=True)
    found = Reading(**json.loads(done.stdout))
    if found.runs != runs:
        raise RuntimeError(f"the reading saw {found.runs} of {runs} runs")
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        reading = measure(json.loads(sys.stdin.read()))
        print(json.dumps({name: getattr(reading, name) for name in Reading.__slots__}))
    else:
        main(*(int(argument) for argument in sys.argv[1:]))
