"""How fast the MLflow connector reads runs, beside ``mlflow.search_runs``: ``python -m benchmarks.collecting [RUNS]``.

Starts real MLflow servers on SQLite with one and with two workers, filled with runs of ten parameters, ten metrics and
ten tags each over 200 days (written by SQL, since the client writes about fourteen runs a second), and lets each side
read them all three times in turn, each reading in a process of its own. Then reads again what did not change, and
compares what both readings cost the server. Prints medians and ratios; ratios hold on other machines, seconds do not.
``DLEMM_BENCH_RUNS`` sets the number of runs as well.
"""

from __future__ import annotations

import contextlib
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

from integrations.connectors.base import Plan, connector
from tests.integrations.servers import MlflowServer, mlflow_server

RUNS = int(os.environ.get("DLEMM_BENCH_RUNS", "10000"))
ROUNDS = 3
FIRST_START = 1_700_000_000_000
HOUR = 3_600_000
DAYS = 200


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading: runs, wall, client's processor seconds and peak memory (MB), server's processor seconds."""

    runs: int
    wall: float
    cpu: float
    peak: float
    server: float = 0.0


def fill(database: Path, runs: int) -> None:
    """Write runs of ten parameters, metrics and tags each into MLflow's own tables, evenly over 200 days."""
    keys = [uuid.UUID(int=number).hex for number in range(1, runs + 1)]
    step = DAYS * 24 * HOUR // max(1, runs)
    starts = {key: FIRST_START + step * number for number, key in enumerate(keys)}
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


EVERYTHING = Plan()


class _Counting:
    """A sink that counts runs and forgets rows."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.runs = 0

    def write(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self.runs += len(rows) if table == "runs" else 0

    def write_columns(self, table: str, columns: Any) -> None:
        """This connector writes rows."""

    def window(self, low: int | None, high: int | None) -> None:
        """Nothing is held."""

    def progress(self, done: int, total: int | None, what: str) -> None:
        """Nobody watches."""


def with_connector(url: str, connections: int = 1, plan: Plan = EVERYTHING) -> Callable[[], int]:
    """Read what the plan asks for but artifacts, which the other side does not read either; rows are dropped."""
    settings = {"base_url": url, "artifact_lookups": 0, "connections": connections}

    def read() -> int:
        sink = _Counting(plan)
        statement = connector("mlflow", settings).collect(sink)
        if not statement.complete:
            raise RuntimeError(f"the collection is not complete: {statement.streams}")
        return sink.runs

    return read


def again(url: str) -> Callable[[], int]:
    """Read again what is held, nothing having changed for long."""
    since = FIRST_START + (DAYS + 40) * 24 * HOUR
    return with_connector(url, plan=Plan(since=since, experiments=frozenset({"0"})))


def with_mlflow(url: str) -> Callable[[], int]:
    """Read all runs into a frame with MLflow's own function."""
    import mlflow
    from mlflow.entities import ViewType

    mlflow.set_tracking_uri(url)

    def read() -> int:
        return len(mlflow.search_runs(["0"], run_view_type=ViewType.ALL, max_results=10**7))

    return read


SIDES: Mapping[str, Callable[[str], Callable[[], int]]] = {
    "connector": with_connector,
    "two connections": lambda url: with_connector(url, connections=2),
    "mlflow.search_runs": with_mlflow,
    "nothing new": again,
}


def measure(side: str, url: str) -> Reading:
    """Read once in this process; imports are not counted."""
    read = SIDES[side](url)
    wall, cpu = time.perf_counter(), time.process_time()
    runs = read()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Reading(runs, wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _measured_apart(side: str, server: MlflowServer) -> Reading:
    command = [sys.executable, "-m", "benchmarks.collecting", "measure", side, server.url]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    before = _server_seconds(server)
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found = json.loads(done.stdout.rstrip().rpartition("\n")[2])
    return Reading(**{**found, "server": _server_seconds(server) - before})


def _server_seconds(server: MlflowServer) -> float:
    """Processor seconds of the server's processes so far: those that listen in its folder."""
    ticks = 0
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if process.name.isdigit() and (process / "cwd").readlink() == server.folder.resolve():
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _medians(sides: Sequence[str], workers: int, runs: int) -> dict[str, Reading]:
    """Each side's median on a server with so many workers. Raises ``RuntimeError`` if a side did not see all runs."""
    readings: dict[str, list[Reading]] = {side: [] for side in sides}
    with (
        tempfile.TemporaryDirectory() as folder,
        mlflow_server(Path(folder), options=("--workers", str(workers))) as server,
    ):
        fill(Path(folder) / "mlflow.db", runs)
        for _ in range(ROUNDS):
            for side in sides:
                readings[side].append(_measured_apart(side, server))
    for side, found in readings.items():
        if {reading.runs for reading in found} != {0 if side == "nothing new" else runs}:
            raise RuntimeError(f"{side} did not see {runs} runs: {found}")
    return {side: _median(found) for side, found in readings.items()}


def main(runs: int = RUNS) -> None:
    """Print the median of each side, and how they compare."""
    one = _medians(("connector", "mlflow.search_runs", "nothing new"), 1, runs)
    two = _medians(("two connections", "mlflow.search_runs"), 2, runs)
    for workers, medians in ((1, one), (2, two)):
        sys.stdout.write(f"server with {workers} worker{'s' * (workers > 1)}\n")
        sys.stdout.write("".join(_line(side, found) for side, found in medians.items()))
    ours, theirs = one["connector"], one["mlflow.search_runs"]
    both, beside = two["two connections"], two["mlflow.search_runs"]
    sys.stdout.write(
        f"one connection is {theirs.wall / ours.wall:.2f} times as fast, with {ours.cpu / theirs.cpu:.2f} of the client"
        f" CPU and {ours.peak / theirs.peak:.2f} of the peak memory\n"
        f"two connections are {beside.wall / both.wall:.2f} times as fast, with {both.cpu / beside.cpu:.2f} of the"
        f" client CPU\n"
        f"reading again what did not change costs the server {one['nothing new'].server / ours.server:.1%}"
        " of a full reading\n"
    )


def _line(side: str, found: Reading) -> str:
    speed = f"{found.wall:6.2f} s, {found.runs / found.wall:5.0f} runs/s"
    client = f"client {found.cpu:5.2f} CPU s, peak {found.peak:4.0f} MB"
    return f"  {side:20} {found.runs} runs: {speed}, {client}, server {found.server:6.2f} CPU s\n"


def _median(readings: list[Reading]) -> Reading:
    names = ("wall", "cpu", "peak", "server")
    return Reading(readings[0].runs, **{n: statistics.median(getattr(r, n) for r in readings) for n in names})


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        reading = measure(sys.argv[2], sys.argv[3])
        sys.stdout.write(json.dumps({name: getattr(reading, name) for name in Reading.__slots__}) + "\n")
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else RUNS)
