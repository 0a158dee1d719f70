"""How fast the MLflow connector reads runs, beside ``mlflow.search_runs``: ``python -m benchmarks.collecting [RUNS]``.

Starts a real MLflow server on SQLite, fills it with runs of ten parameters, ten metrics and ten tags each (written by
SQL, since the client writes about fourteen runs a second), and lets each side read them all three times in turn, each
reading in a process of its own. Prints the medians and their ratios; ratios hold on other machines, seconds do not.
"""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integrations.servers import mlflow_server

RUNS = 2000
ROUNDS = 3
FIRST_START = 1_700_000_000_000
HOUR = 3_600_000


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of all runs: how many, wall and processor seconds of the client, its peak memory in MB."""

    runs: int
    wall: float
    cpu: float
    peak: float


def fill(database: Path, runs: int) -> None:
    """Write runs of ten parameters, metrics and tags each into MLflow's own tables, one run an hour."""
    keys = [uuid.UUID(int=number).hex for number in range(1, runs + 1)]
    starts = {key: FIRST_START + HOUR * number for number, key in enumerate(keys)}
    with sqlite3.connect(database, timeout=60) as connection:
        connection.executemany(
            "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time,"
            " end_time, source_version, lifecycle_stage, artifact_uri, experiment_id)"
            " VALUES (?, ?, 'UNKNOWN', '', '', 'u', 'FINISHED', ?, ?, '', 'active', ?, 0)",
            [(key, key[:8], start, start + HOUR // 2, f"mlflow-artifacts:/0/{key}") for key, start in starts.items()],
        )
        for number in range(10):
            connection.executemany(
                "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
                [(f"parameter_{number}", f"value {number}", key) for key in keys],
            )
            connection.executemany(
                "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
                [(f"tag_{number}", f"text of tag {number}", key) for key in keys],
            )
            connection.executemany(
                "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, 1, 0, ?)",
                [(f"metric_{number}", 1 / (number + 1), start, key) for key, start in starts.items()],
            )
    connection.close()


class _Counting:
    """A sink that counts runs and forgets rows."""

    def __init__(self) -> None:
        self.runs = 0

    def write(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self.runs += len(rows) if table == "runs" else 0

    def progress(self, done: int, total: int | None, what: str) -> None:
        """Nobody watches."""


def with_connector(url: str) -> Callable[[], int]:
    """Read everything but artifacts, which the other side does not read either; rows are made, then dropped."""
    from integrations.connectors.base import connector

    def read() -> int:
        sink = _Counting()
        statement = connector("mlflow", {"base_url": url, "artifact_lookups": 0}).collect(sink)
        if not statement.complete:
            raise RuntimeError(f"the collection is not complete: {statement.streams}")
        return sink.runs

    return read


def with_mlflow(url: str) -> Callable[[], int]:
    """Read all runs into a frame with MLflow's own function."""
    import mlflow
    from mlflow.entities import ViewType

    mlflow.set_tracking_uri(url)

    def read() -> int:
        return len(mlflow.search_runs(["0"], run_view_type=ViewType.ALL, max_results=10**7))

    return read


SIDES = {"connector": with_connector, "mlflow.search_runs": with_mlflow}


def measure(side: str, url: str) -> Reading:
    """Read once in this process; imports are not counted."""
    read = SIDES[side](url)
    wall, cpu = time.perf_counter(), time.process_time()
    runs = read()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Reading(runs, wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _measured_apart(side: str, url: str) -> Reading:
    command = [sys.executable, "-m", "benchmarks.collecting", "measure", side, url]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return Reading(**json.loads(done.stdout.rstrip().rpartition("\n")[2]))


def main(runs: int = RUNS) -> None:
    """Print the median of each side, and how they compare."""
    readings: dict[str, list[Reading]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder, mlflow_server(Path(folder)) as server:
        fill(Path(folder) / "mlflow.db", runs)
        for _ in range(ROUNDS):
            for side in SIDES:
                readings[side].append(_measured_apart(side, server.url))
    if {reading.runs for found in readings.values() for reading in found} != {runs}:
        raise RuntimeError(f"not every reading saw {runs} runs: {readings}")
    medians = {side: _median(found) for side, found in readings.items()}
    sys.stdout.write("".join(_line(side, found) for side, found in medians.items()))
    ours, theirs = medians["connector"], medians["mlflow.search_runs"]
    sys.stdout.write(
        f"connector is {theirs.wall / ours.wall:.2f} times as fast, with {ours.cpu / theirs.cpu:.2f} of the client CPU "
        f"and {ours.peak / theirs.peak:.2f} of the peak memory\n"
    )


def _line(side: str, found: Reading) -> str:
    speed = f"{found.wall:6.2f} s, {found.runs / found.wall:5.0f} runs/s"
    return f"{side:20} {found.runs} runs: {speed}, client {found.cpu:5.2f} CPU s, peak {found.peak:4.0f} MB\n"


def _median(readings: list[Reading]) -> Reading:
    middle = {name: statistics.median(getattr(r, name) for r in readings) for name in ("wall", "cpu", "peak")}
    return Reading(readings[0].runs, **middle)


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        reading = measure(sys.argv[2], sys.argv[3])
        sys.stdout.write(json.dumps({name: getattr(reading, name) for name in Reading.__slots__}) + "\n")
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else RUNS)
