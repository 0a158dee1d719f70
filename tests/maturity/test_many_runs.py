"""What is measured does not hang on the order of rows, on how a table was stored, or in how many readings it came."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maturity import canonical
from maturity.assembly import assemble
from maturity.batches import GROUP_OF, join
from maturity.facts import TABLES, Part, Reading, Statement, StreamReading
from maturity.indicators import measure_all
from maturity.keyed import DAY
from maturity.schema import load_model

AS_OF = 1_767_225_600_000
PROJECTS = ("churn", "fraud")
TAGS: Mapping[str, Sequence[str]] = {
    "dlemm.stage": ("train", "train", "retrain", "evaluate", "monitor", "annotation", "ablation", " train "),
    "dlemm.project": (*PROJECTS, "nobody"),
    "mlflow.source.git.commit": ("abc", "def"),
    "mlflow.source.type": ("JOB", "LOCAL"),
    "mlflow.parentRunId": ("r0", "r1", "r2"),
    "dlemm.model_version": ("m0/1", "m1/2"),
    "dlemm.reproduces": ("r3", "r4"),
    "dlemm.role": ("baseline", "control"),
    "dlemm.dataset.labelled": ("true", "no"),
    "dlemm.primary_metric": ("eval/acc",),
    "mlflow.user": ("ann", "bob"),
}
METRICS = ("eval/acc", "train/loss", "model/param_count", "model/flops", "cost/gpu_hours", "dq/expectations_failed",
           "dq/train_eval_overlap", "live/primary")  # fmt: skip
PARAMS = ("seed", "device", "lr", "augmentation", "budget")


def rows(runs: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Rows of one source: nested and repeated runs, blanks, numbers that are none, versions, models and artifacts."""
    luck = random.Random(seed)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for number in range(runs):
        run, start = f"r{number}", AS_OF - luck.randrange(200) * DAY
        one = {"run": run, "experiment": f"e{number % 5}", "name": run, "lifecycle": "active", "start_at": start}
        status = luck.choice(("FINISHED", "FINISHED", "FINISHED", "FAILED"))
        found["runs"].append({**one, "status": status, "end_at": start + luck.choice((500, 3_600_000)), "user": "ann"})
        for key in luck.sample(sorted(TAGS), luck.randrange(len(TAGS))):
            found["run_tags"].append({"run": run, "key": key, "value": luck.choice((*TAGS[key], ""))})
        for key in luck.sample(METRICS, luck.randrange(len(METRICS))):
            value = luck.choice((0.0, 0.1, luck.random(), float("nan"), float("inf")))
            found["run_metrics"].append({"run": run, "key": key, "value": value, "at": start, "step": 1})
        for key in luck.sample(PARAMS, luck.randrange(len(PARAMS))):
            found["run_params"].append({"run": run, "key": key, "value": luck.choice(("1", "2", " ", None))})
        for name in luck.choices(("d", "e", "d@1"), k=luck.randrange(4)):
            context = luck.choice(("training", "test", "", None))
            row = {"run": run, "name": name, "digest": luck.choice(("1", "2", None)), "context": context}
            found["run_inputs"].append({**row, "has_schema": luck.choice((True, False, None))})
        found["artifact_listings"].append({"owner": run, "read": luck.choice((True, True, None))})
        found["artifacts"].append({"owner": run, "path": luck.choice(("requirements.txt", "docs/", "model_card.md"))})
    for number in range(8):
        version = {"version": f"m{number % 2}/{number // 2 + 1}", "name": f"m{number % 2}"}
        made = AS_OF - luck.randrange(100) * DAY
        found["model_versions"].append({**version, "run": f"r{luck.randrange(runs)}", "created_at": made})
        tag = {"key": "dlemm.deployed_at", "value": str(AS_OF - luck.randrange(60) * DAY)}
        found["version_tags"].append({"version": version["version"], **tag})
    return found


def stored(table: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The same frame written to Parquet in small pieces and read back."""
    kinds = {"id": pa.string(), "text": pa.string(), "number": pa.float64(), "ms": pa.int64(), "count": pa.int64()}
    schema = pa.schema([(column.name, kinds.get(column.kind, pa.bool_())) for column in TABLES[table].columns])
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame, schema, preserve_index=False), buffer, row_group_size=17)
    return TABLES[table].from_parquet(buffer.getvalue())


def result(tables: Mapping[str, pd.DataFrame]) -> bytes:
    """Every finding of the bundled model, as bytes."""
    streams = sorted({table.stream for table in TABLES.values()} - {"projects"})
    statement = Statement("mlflow", "", AS_OF, AS_OF, tuple(StreamReading(name, Reading.READ) for name in streams))
    projects = TABLES["projects"].frame({"project": key, "name": key} for key in PROJECTS)
    facts = assemble([Part("s", statement, tables)], projects)
    found = measure_all(load_model(), facts, as_of=AS_OF, projects=PROJECTS)
    return canonical.to_bytes([canonical.encode(finding) for finding in found])


def frames(found: Mapping[str, list[dict[str, Any]]]) -> dict[str, pd.DataFrame]:
    return {name: TABLES[name].frame(found[name]) for name in TABLES if name != "projects"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    tables = frames(rows(120, seed))
    turned = {name: frame.sample(frac=1, random_state=seed, ignore_index=True) for name, frame in tables.items()}
    assert result(turned) == result(tables)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_table_that_was_stored_gives_what_its_rows_give(seed: int) -> None:
    tables = frames(rows(120, seed))
    assert result({name: stored(name, frame) for name, frame in tables.items()}) == result(tables)


@pytest.mark.parametrize("batches", [2, 5])
def test_facts_that_came_in_several_readings_give_what_one_reading_gives(batches: int) -> None:
    tables = frames(rows(120, 4))
    read = []
    for number in range(batches):
        batch = {name: frame for name, frame in tables.items() if name not in GROUP_OF} if number == 0 else {}
        for name, frame in tables.items():
            if name in GROUP_OF and len(frame):
                owners = frame[GROUP_OF[name].owner]
                mine = owners.map(lambda owner: sum(map(ord, owner)) % batches).to_numpy() == number
                batch[name] = stored(name, frame[mine].reset_index(drop=True))
        read.append(batch)
    joined = join(read)
    assert joined["run_tags"]["run"].dtype == "category"
    assert result(joined) == result(tables)
