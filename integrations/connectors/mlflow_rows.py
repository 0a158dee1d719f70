"""Turns the JSON of MLflow's REST interface into rows of the fact tables; asks nobody and keeps nothing.

Takes decoded JSON objects (of any server version); gives rows by table name. A shape that MLflow never sends raises
``Refused(garbage)``. Sign-in details inside logged URLs are dropped, endless values are cut at 64 KiB.
"""

from __future__ import annotations

import functools
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import orjson

from integrations.connectors.base import Reason, Refused

Json = Mapping[str, Any]
Row = dict[str, Any]
Rows = dict[str, list[Row]]

CONTEXT_TAG = "mlflow.data.context"
HISTORY_TAG = "mlflow.log-model.history"
PROMPT_TAG = "mlflow.prompt.is_prompt"

LONGEST_VALUE = 64 * 1024  # bytes
_URL_SIGN_IN = re.compile(r"((?<=[a-zA-Z0-9+.-])://)[^\s/?#@\"']+@")
_MODEL_SOURCE = re.compile(r"models:/(m-[0-9a-fA-F]+)/?")
_MODEL_STATUS = {
    "LOGGED_MODEL_READY": "READY",
    "LOGGED_MODEL_PENDING": "PENDING",
    "LOGGED_MODEL_UPLOAD_FAILED": "FAILED",
}

P = ParamSpec("P")
T = TypeVar("T")


def _exact(read: Callable[P, T]) -> Callable[P, T]:
    """A value of a shape MLflow never sends becomes ``Refused(garbage)`` instead of a programming error."""

    @functools.wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise Refused(Reason.GARBAGE, f"unexpected content for {read.__name__.replace('_', ' ')}") from error

    return reading


@_exact
def experiment_rows(experiment: Json) -> Rows:
    """Rows of one experiment."""
    key = _id(experiment["experiment_id"])
    row = {
        "experiment": key,
        "name": _text(experiment.get("name")),
        "lifecycle": _lifecycle(experiment),
        "created_at": _ms(experiment.get("creation_time")),
    }
    return {"experiments": [row], "experiment_tags": _tags({"experiment": key}, experiment.get("tags"))}


@_exact
def run_rows(run: Json) -> Rows:
    """Rows of one run: the run, its parameters, last metrics, tags and dataset inputs, each sorted by key."""
    info, data = run["info"], run.get("data", {})
    key = _id(info.get("run_id") or info["run_uuid"])
    tags = _tags({"run": key}, data.get("tags"))
    inputs = [_input(key, item) for item in run.get("inputs", {}).get("dataset_inputs", [])]
    inputs.sort(key=lambda pair: [str(value) for value in pair[0].values()])
    return {
        "runs": [_run(key, info, tags)],
        "run_params": _tags({"run": key}, data.get("params")),
        "run_metrics": sorted((_metric(key, metric) for metric in data.get("metrics", [])), key=lambda m: m["key"]),
        "run_tags": tags,
        "run_inputs": [row for row, _ in inputs],
        "run_input_tags": [tag for _, further in inputs for tag in further],
    }


def _run(key: str, info: Json, tags: list[Row]) -> Row:
    named = next((tag["value"] for tag in tags if tag["key"] == "mlflow.runName"), None)
    return {
        "run": key,
        "experiment": _id(info["experiment_id"]),
        "name": _text(info.get("run_name")) or named,
        "status": _text(info.get("status")),
        "lifecycle": _lifecycle(info),
        "start_at": _ms(info.get("start_time")),
        "end_at": _ms(info.get("end_time")),
        "user": _text(info.get("user_id")),
    }


def _metric(run: str, metric: Json) -> Row:
    return {
        "run": run,
        "key": _id(metric["key"]),
        "value": _number(metric.get("value")),
        "at": _ms(metric.get("timestamp")),
        "step": _ms(metric.get("step")),
    }


def _input(run: str, item: Json) -> tuple[Row, list[Row]]:
    dataset = item["dataset"]
    digest = _text(dataset.get("digest"))
    tags = _tags({"run": run, "digest": digest}, item.get("tags"))
    row = {
        "run": run,
        "name": _text(dataset.get("name")),
        "digest": digest,
        "source_type": _text(dataset.get("source_type")),
        "source": _text(dataset.get("source")),
        "has_schema": (dataset.get("schema") or "").strip() not in ("", "{}", "null", "[]"),
        "context": next((tag["value"] for tag in tags if tag["key"] == CONTEXT_TAG), None),
    }
    return row, [tag for tag in tags if tag["key"] != CONTEXT_TAG]


@_exact
def run_starts(runs: Sequence[Json]) -> list[tuple[str, int | None]]:
    """Id and start time of each run, for paging."""
    return [
        (_id(run["info"].get("run_id") or run["info"]["run_uuid"]), _ms(run["info"].get("start_time"))) for run in runs
    ]


@_exact
def has_logged_model(run: Json) -> bool:
    """The run says that it logged a model (MLflow 3: an output; 2: the history tag)."""
    tags = run.get("data", {}).get("tags", [])
    return bool(run.get("outputs", {}).get("model_outputs")) or any(tag["key"] == HISTORY_TAG for tag in tags)


@_exact
def logged_model(model: Json) -> Row:
    """The row of one logged model of an MLflow 3 server, without what only its files tell."""
    info = model["info"]
    status = _text(info.get("status")) or ""
    return {
        "model": _id(info["model_id"]),
        "run": _text(info.get("source_run_id")) or None,
        "name": _text(info.get("name")),
        "status": _MODEL_STATUS.get(status, status),
        "created_at": _ms(info.get("creation_timestamp_ms")),
    }


def models_of_history(run_row: Row, tags: list[Row]) -> list[tuple[Row, str]]:
    """Models of one run by the tag that MLflow 2 clients write: rows, each with its folder in the run's artifacts.

    A tag that is no such list is passed over: it is text that anyone may set.
    """
    value = next((tag["value"] for tag in tags if tag["key"] == HISTORY_TAG), "[]")
    try:
        return [_history_model(run_row, entry) for entry in orjson.loads(value)]
    except (ValueError, TypeError, AttributeError, KeyError):
        return []


def _history_model(run_row: Row, entry: Json) -> tuple[Row, str]:
    folder = str(entry["artifact_path"])
    row = {
        "model": _text(entry.get("model_uuid")) or f"{run_row['run']}/{folder}",
        "run": run_row["run"],
        "name": folder,
        "status": "READY",
        "created_at": run_row["end_at"] or run_row["start_at"],
        "flavors": ",".join(sorted(entry.get("flavors") or {})) or None,
    }
    return row, folder


@_exact
def registered_model_rows(model: Json) -> Rows:
    """Rows of one registered model with its aliases; empty for a prompt, which MLflow keeps in the same place."""
    name = _id(model["name"])
    tags = _tags({"name": name}, model.get("tags"))
    if any(tag["key"] == PROMPT_TAG and str(tag["value"]).lower() == "true" for tag in tags):
        return {}
    row = {
        "name": name,
        "description": _text(model.get("description")) or "",
        "created_at": _ms(model.get("creation_timestamp")),
    }
    aliases = [
        {"name": name, "alias": _id(alias["alias"]), "version": f"{name}/{alias['version']}"}
        for alias in model.get("aliases", [])
    ]
    aliases.sort(key=lambda alias: alias["alias"])
    return {"registered_models": [row], "registered_model_tags": tags, "aliases": aliases}


@_exact
def version_rows(version: Json) -> Rows:
    """Rows of one model version. MLflow leaves ``model_id`` empty, so the logged model is read from the source."""
    name, number = _id(version["name"]), str(version["version"])
    key = f"{name}/{number}"
    source = _MODEL_SOURCE.fullmatch(_text(version.get("source")) or "")
    row = {
        "version": key,
        "name": name,
        "number": number,
        "run": _text(version.get("run_id")) or None,
        "logged_model": _text(version.get("model_id")) or (source.group(1) if source else None),
        "created_at": _ms(version.get("creation_timestamp")),
        "user": _text(version.get("user_id")),
        "status": _text(version.get("status")),
        "stage": _text(version.get("current_stage")) or "None",
        "description": _text(version.get("description")) or "",
    }
    return {"model_versions": [row], "version_tags": _tags({"version": key}, version.get("tags"))}


@_exact
def listing(answer: Json) -> list[tuple[str, bool]]:
    """The paths of one artifact list in order, each with whether it is a folder."""
    return sorted((_id(item["path"]), bool(item.get("is_dir"))) for item in answer.get("files", []))


def _tags(owner: Row, items: list[Json] | None) -> list[Row]:
    rows = [{**owner, "key": _id(item["key"]), "value": _text(item.get("value")) or ""} for item in items or []]
    return sorted(rows, key=lambda row: row["key"])


def _lifecycle(item: Json) -> str:
    return "deleted" if item.get("lifecycle_stage") == "deleted" else "active"


def _id(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("an id must be text")
    return value


def _text(value: object) -> str | None:
    """Text with sign-in details of URLs dropped, cut at 64 KiB."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError("not text")
    if len(value) > LONGEST_VALUE // 4:
        value = value.encode()[:LONGEST_VALUE].decode(errors="ignore")
    if "@" in value and "://" in value:
        return _URL_SIGN_IN.sub(r"\1", value)
    return value


clean_text = _text  # for the connector that reads MLflow's database


def _ms(value: Any) -> int | None:
    """A whole number, which some servers send as text; bounds are those of the stored column."""
    if value is None:
        return None
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise OverflowError("beyond 64 bits")
    return number


def _number(value: Any) -> float:
    """A metric's value. NaN comes as text; infinities come as the largest number, for SQL has none."""
    number = float(value if value is not None else 0.0)
    return math.copysign(math.inf, number) if abs(number) == sys.float_info.max else number
