"""Reads the evaluation datasets that an MLflow server holds: name, digest and size, never their records.

Takes the interface (MLflow 3.4 and later, with a database behind the server) and the experiments that are visible;
gives rows of ``evaluation_datasets``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from integrations.connectors.base import Reason, Refused
from integrations.connectors.mlflow_api import Api, tokens
from integrations.connectors.mlflow_rows import Row

_PER_PAGE = 200
_EXPERIMENTS_PER_QUESTION = 100


def evaluation_datasets(api: Api, experiments: Sequence[str] = ()) -> Iterator[list[Row]]:
    """Pages of rows, each dataset once. Raises ``Refused``; not found before MLflow 3.4.

    An account that is no administrator may only ask for the datasets of ``experiments`` that it may read.
    """
    try:
        yield from _pages(api, {})
        return
    except Refused as fault:
        if fault.reason is not Reason.FORBIDDEN:
            raise
    seen: set[str] = set()
    for start in range(0, len(experiments), _EXPERIMENTS_PER_QUESTION):
        for rows in _pages(api, {"experiment_ids": list(experiments[start : start + _EXPERIMENTS_PER_QUESTION])}):
            yield [row for row in rows if row["dataset"] not in seen]
            seen.update(row["dataset"] for row in rows)


def _pages(api: Api, scope: dict[str, Any]) -> Iterator[list[Row]]:
    def ask(token: str) -> dict[str, Any]:
        question = {"max_results": _PER_PAGE, "order_by": ["created_time ASC"], **scope}
        return api.post("/api/3.0/mlflow/datasets/search", {**question, **({"page_token": token} if token else {})})

    for page in tokens(ask, "datasets", lambda dataset: dataset.get("dataset_id")):
        yield [_row(dataset) for dataset in page]


def _row(dataset: Mapping[str, Any]) -> Row:
    try:
        updated = dataset.get("last_update_time")
        return {
            "dataset": _text(dataset["dataset_id"]),
            "name": _text(dataset.get("name", "")),
            "digest": _text(dataset.get("digest", "")),
            "records": _records(dataset.get("profile")),
            "updated_at": None if updated is None else int(updated),
        }
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Refused(Reason.GARBAGE, "unexpected content for an evaluation dataset") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value[:1000]


def _records(profile: object) -> int | None:
    """The number of records that a profile tells; it is JSON inside JSON."""
    try:
        number = orjson.loads(profile)["num_records"] if isinstance(profile, str) else None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else None
