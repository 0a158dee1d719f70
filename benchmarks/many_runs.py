"""How long and how large measuring is over very many runs, from the stored Parquet files to the findings.

    python -m benchmarks.many_runs [runs ...]

Writes the files of one source from a fixed seed (10 params, 10 metrics and 10 tags per run, a dataset input for 40 % of
them, 40 experiments, 200 further tag names, 400 versions) into a temporary folder, block by block. A process of its own
then reads them, puts the facts together and measures every indicator; it prints the seconds of each step and its peak
memory. The processor seconds are those of all threads together, so that they tell something on a busy machine too.
Nothing else is written, nothing is read from a network.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from maturity.assembly import assemble
from maturity.facts import TABLES, Part, Reading, Statement, StreamReading
from maturity.indicators import measure_all
from maturity.keyed import DAY
from maturity.schema import load_model
from maturity.table import Table

SIZES = (10_000, 100_000)
AS_OF = 1_767_225_600_000
_BLOCK = 5_000
_VERSIONS = 400
_PROJECTS = ("churn", "fraud", "imaging", "search")
_TAGS = {
    "dlemm.stage": ("train",) * 6 + ("retrain", "evaluate", "monitor", ""),
    "dlemm.project": (*_PROJECTS, ""),
    "mlflow.source.git.commit": tuple(f"{number:040x}" for number in range(500)) + ("",) * 500,
    "mlflow.source.type": ("JOB", "LOCAL"),
    "mlflow.user": ("ann", "bob", "cleo"),
    "dlemm.trigger": ("schedule", "manual"),
    "dlemm.failure_reason": ("memory", ""),
}
_METRICS = ("cost/gpu_hours", "train/peak_memory_mb", "dq/train_eval_overlap", "system/gpu_0_utilization_percentage",
            *(f"eval/metric_{number}" for number in range(6)))  # fmt: skip
_TYPES = {"id": pa.string(), "text": pa.string(), "number": pa.float64(), "ms": pa.int64(), "count": pa.int64()}


def write(folder: Path, runs: int, seed: int = 7) -> None:
    """The tables of one source with so many runs, one file each, the same for the same seed."""
    luck = np.random.default_rng(seed)
    writers = {name: pq.ParquetWriter(folder / name, _schema(TABLES[name])) for name in TABLES if name != "projects"}
    for first in range(0, runs, _BLOCK):
        for name, columns in _block(first, min(_BLOCK, runs - first), luck).items():
            _append(writers[name], TABLES[name], columns)
    for name, columns in _registry(runs, luck).items():
        _append(writers[name], TABLES[name], columns)
    for writer in writers.values():
        writer.close()


def _schema(table: Table) -> pa.Schema:
    return pa.schema([(column.name, _TYPES.get(column.kind, pa.bool_())) for column in table.columns])


def _append(writer: Any, table: Table, columns: dict[str, Any]) -> None:
    schema, rows = _schema(table), len(next(iter(columns.values())))
    arrays = [pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(rows, field.type)
              for field in schema]  # fmt: skip
    writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _run_id(number: int) -> str:
    return f"{number * 0x9E3779B97F4A7C15 % 2**128:032x}"


def _block(first: int, rows: int, luck: np.random.Generator) -> dict[str, dict[str, Any]]:
    ids = np.array([_run_id(number) for number in range(first, first + rows)])
    start = AS_OF - luck.integers(0, 200 * DAY, rows)
    used = ids[luck.random(rows) < 0.4]
    tags = {key: luck.choice(values, rows) for key, values in _TAGS.items()}
    tags |= {f"note.{number}": luck.choice(("x", "y"), rows) for number in luck.choice(200, 3, replace=False)}
    params: dict[str, Any] = {"seed": luck.integers(0, 9, rows).astype(str), "device": np.full(rows, "cpu")}
    params |= {f"p{number}": luck.random(rows).astype(str) for number in range(8)}
    metrics = {key: np.where(luck.random(rows) < 0.1, np.nan, luck.random(rows)) for key in _METRICS}
    status = luck.choice(("FINISHED",) * 9 + ("FAILED",), rows)
    of_run = {"experiment": luck.integers(0, 40, rows).astype(str), "status": status, "start_at": start}
    return {
        "runs": {"run": ids, "name": ids, "lifecycle": ["active"] * rows, "end_at": start + 3_600_000, **of_run},
        "run_tags": _long(ids, tags),
        "run_params": _long(ids, params),
        "run_metrics": _long(ids, metrics) | {"at": np.repeat(start, len(metrics)), "step": [1] * rows * len(metrics)},
        "run_inputs": {"run": used, "name": ["d"] * len(used), "digest": luck.integers(0, 300, len(used)).astype(str),
                       "source": ["s3://x"] * len(used), "context": ["training"] * len(used)},
    }  # fmt: skip


def _long(ids: Any, values: dict[str, Any]) -> dict[str, Any]:
    """One row per run and key, the rows of a run together."""
    rows, keys = np.repeat(ids, len(values)), np.tile(np.array(list(values)), len(ids))
    return {"run": rows, "key": keys, "value": np.column_stack(list(values.values())).ravel()}


def _registry(runs: int, luck: np.random.Generator) -> dict[str, dict[str, Any]]:
    names = [f"m{number % 25}" for number in range(_VERSIONS)]
    numbers = [str(number // 25 + 1) for number in range(_VERSIONS)]
    versions = [f"{name}/{number}" for name, number in zip(names, numbers, strict=True)]
    made = AS_OF - luck.integers(100, 190, _VERSIONS) * DAY
    live = (AS_OF - luck.integers(0, 90, _VERSIONS) * DAY).astype(str)
    return {
        "model_versions": {"version": versions, "name": names, "number": numbers, "created_at": made,
                           "run": [_run_id(int(n)) for n in luck.integers(0, runs, _VERSIONS)]},
        "version_tags": {"version": versions, "key": ["dlemm.deployed_at"] * _VERSIONS, "value": live},
    }  # fmt: skip


def measured(folder: Path) -> None:
    """Read the files of a folder and measure; print what it took. Meant for a process of its own."""
    streams = sorted({table.stream for table in TABLES.values()} - {"projects"})
    statement = Statement("mlflow", "", AS_OF, AS_OF, tuple(StreamReading(name, Reading.READ) for name in streams))
    model, began, worked_before = load_model(), time.perf_counter(), time.process_time()
    tables = {path.name: TABLES[path.name].from_parquet(path.read_bytes()) for path in sorted(folder.iterdir())}
    loaded = time.perf_counter()
    projects = TABLES["projects"].frame({"project": key, "name": key} for key in _PROJECTS)
    facts = assemble([Part("s", statement, tables)], projects)
    assembled = time.perf_counter()
    found = measure_all(model, facts, as_of=AS_OF, projects=_PROJECTS)
    done = time.perf_counter()
    ids = sum(len(finding.passing) + len(finding.failing) for finding in found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    worked = time.process_time() - worked_before
    print(
        f"{len(facts['runs']):9} runs: read {loaded - began:6.2f} s, put together {assembled - loaded:6.2f} s, "
        f"measured {done - assembled:6.2f} s, together {done - began:6.2f} s, "
        f"processor {worked:6.2f} s; peak {peak:5.2f} GiB; {ids} ids kept"
    )


def main(*sizes: int) -> None:
    """Print seconds and peak memory for each number of runs."""
    for runs in sizes or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), runs)
            call = "import sys, pathlib; from benchmarks.many_runs import measured; measured(pathlib.Path(sys.argv[1]))"
            subprocess.run([sys.executable, "-c", call, folder], check=True)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
