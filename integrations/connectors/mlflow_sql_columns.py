"""Turns columns of MLflow's tables into columns of the fact tables, with the same values as ``mlflow_rows`` gives.

Takes ``pyarrow`` tables of one chunk of runs and the chunk's run ids in order; gives fact tables sorted as the REST
interface's are: by run, then by key. Whole columns are worked on at once; only texts that may hold sign-in details or
are too long pass one by one through the function that the REST side uses.
"""

from __future__ import annotations

import sys
from typing import Any

from integrations.connectors.mlflow_rows import LONGEST_VALUE, clean_text, run_rows

RUN_NAME = "mlflow.runName"


def cleaned(column: Any) -> Any:
    """Texts with sign-in details of URLs dropped, cut at 64 KiB."""
    import pyarrow.compute as pc

    suspects = pc.and_(pc.match_substring(column, "://"), pc.match_substring(column, "@"))
    suspects = pc.fill_null(pc.or_(suspects, pc.greater(pc.utf8_length(column), LONGEST_VALUE // 4)), False)
    if not pc.any(suspects).as_py():
        return column
    import pyarrow as pa

    mended = pa.array([clean_text(value) for value in column.filter(suspects).to_pylist()], pa.string())
    return pc.replace_with_mask(_one(column), _one(suspects), mended)


def _one(column: Any) -> Any:
    return column.combine_chunks() if hasattr(column, "num_chunks") else column


def in_order(found: Any, ids: Any) -> Any:
    """Rows of a chunk's runs by run, in the order of ``ids``, then by key."""
    import pyarrow.compute as pc

    placed = found.append_column("_place", pc.index_in(found["run"], value_set=ids))
    keys = [("_place", "ascending"), ("key", "ascending")]
    return placed.take(pc.sort_indices(placed, sort_keys=keys)).drop_columns(["_place"])


def pairs(found: Any, ids: Any) -> Any:
    """Parameters or tags: run, key and value; a missing value is empty."""
    import pyarrow.compute as pc

    ordered = in_order(found, ids)
    return ordered.set_column(2, "value", pc.fill_null(cleaned(ordered["value"]), ""))


def metrics(found: Any, ids: Any) -> Any:
    """Last values of metrics; SQL marks NaN in a column of its own and has the largest number for infinity."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ordered = in_order(found, ids)
    value = pc.fill_null(ordered["value"], 0.0)
    value = pc.if_else(pc.equal(value, sys.float_info.max), float("inf"), value)
    value = pc.if_else(pc.equal(value, -sys.float_info.max), float("-inf"), value)
    value = pc.if_else(pc.equal(ordered["is_nan"], 1), float("nan"), value)
    names = ("run", "key", "value", "at", "step")
    columns = [value if name == "value" else ordered[name] for name in names]
    return pa.table(columns, names=list(names))


def runs(found: Any, tags: Any, ids: Any) -> Any:
    """Runs in the order of ``ids``; a run without a name has that of its tag."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = found.take(pc.index_in(ids, value_set=_one(found["run"])))
    named = tags.filter(pc.equal(tags["key"], RUN_NAME))
    by_tag = named["value"].take(pc.index_in(found["run"], value_set=_one(named["run"])))
    name, ended = cleaned(found["name"]), found["end_at"]
    deleted = pc.fill_null(pc.equal(found["lifecycle"], "deleted"), False)
    columns = {
        "run": found["run"],
        "experiment": found["experiment"].cast(pa.string()),
        "name": pc.if_else(pc.fill_null(pc.not_equal(name, ""), False), name, by_tag),
        "status": cleaned(found["status"]),
        "lifecycle": pc.if_else(deleted, "deleted", "active"),
        "start_at": found["start_at"],
        "end_at": pc.if_else(pc.equal(ended, 0), pa.scalar(None, pa.int64()), ended),
        "user": cleaned(found["user"]),
    }
    return pa.table(columns)


def inputs(found: Any, ids: Any) -> dict[str, list[dict[str, Any]]]:
    """Rows of dataset inputs and their tags; ``found`` has one row per tag, and one for an input without any."""
    by_run: dict[str, dict[str, dict[str, Any]]] = {}
    for row in found.to_pylist():
        datasets = by_run.setdefault(row["run"], {})
        fields = ("name", "digest", "source_type", "source", "schema")
        item = datasets.setdefault(row["dataset"], {"dataset": {name: row[name] for name in fields}, "tags": []})
        if row["key"] is not None:
            item["tags"].append({"key": row["key"], "value": row["value"]})
    joined: dict[str, list[dict[str, Any]]] = {"run_inputs": [], "run_input_tags": []}
    for run in filter(by_run.__contains__, ids.to_pylist()):
        info = {"run_id": run, "experiment_id": "0"}
        rows = run_rows({"info": info, "inputs": {"dataset_inputs": list(by_run[run].values())}})
        for table, into in joined.items():
            into += rows[table]
    return joined
