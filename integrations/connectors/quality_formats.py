"""The result files of data quality tools: Great Expectations, pandera and Evidently.

Takes the bytes of one file; gives what each validation in it counted, or None when the file is of none of the known
formats. Forms were taken from files that the tools themselves wrote. Nothing of the data that a file repeats is kept.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

_MOST_CASES = 1_000_000
_CASE_FIELDS = {"schema_context", "column", "check", "failure_case"}
_FAILED = {"FAIL", "ERROR"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One validation: tool, suite, dataset, time (ms), checks and how many failed; None where the file is silent."""

    tool: str
    suite: str | None = None
    dataset: str | None = None
    at: int | None = None
    checks: int | None = None
    failed: int | None = None


def outcomes(content: bytes) -> list[Outcome] | None:
    """Every validation a file holds; None when its format is none of the known ones."""
    try:
        data = orjson.loads(_plain_numbers(content))
    except orjson.JSONDecodeError:
        return _cases_csv(content)
    if isinstance(data, list):
        return _cases(data)
    if not isinstance(data, dict):
        return None
    for read in (_great_expectations, _evidently_suite, _evidently, _pandera_report, _cases_by_column):
        found = read(data)
        if found is not None:
            return found
    return None


def _plain_numbers(content: bytes) -> bytes:
    """JSON as Python writes it has NaN and Infinity, which JSON does not know; outside texts they become null."""
    if b"NaN" not in content and b"Infinity" not in content:
        return content
    pieces = content.split(b'"')
    inside, parts = False, []
    for piece in pieces:
        if not inside:
            piece = piece.replace(b"-Infinity", b"null").replace(b"Infinity", b"null").replace(b"NaN", b"null")
        parts.append(piece)
        slashes = len(piece) - len(piece.rstrip(b"\\"))
        inside = inside if inside and slashes % 2 else not inside
    return b'"'.join(parts)


def _great_expectations(data: Mapping[str, Any]) -> list[Outcome] | None:
    """A validation result (0.x, 1.x), or a checkpoint result that holds several."""
    several = data.get("validation_results")
    if isinstance(several, list) and "statistics" in data:
        found = [_validation(one) for one in several[:1000] if isinstance(one, dict)]
        return [one for one in found if one is not None]
    one = _validation(data)
    return None if one is None else [one]


def _validation(data: Mapping[str, Any]) -> Outcome | None:
    counted, results = _mapping(data, "statistics"), data.get("results", data.get("expectations"))
    if not isinstance(results, list) or "evaluated_expectations" not in counted:
        return None
    meta = _mapping(data, "meta")
    batch = _mapping(meta, "active_batch_definition") or _mapping(meta, "batch_kwargs")
    return Outcome(
        "great_expectations",
        _text(data.get("suite_name")) or _text(meta.get("expectation_suite_name")),
        _text(batch.get("data_asset_name")),
        _time(meta.get("validation_time")) or _time(_mapping(meta, "run_id").get("run_time")),
        _count(counted.get("evaluated_expectations")),
        _count(counted.get("unsuccessful_expectations")),
    )


def _evidently_suite(data: Mapping[str, Any]) -> list[Outcome] | None:
    """Evidently before 0.7: a test suite, a report (which has no tests) or a snapshot of either."""
    suite = _mapping(data, "suite")
    if isinstance(suite.get("test_results"), list) and "metric_results" in suite:
        statuses = [_mapping({"": test}, "").get("status") for test in suite["test_results"]]
        return [_evidently_outcome(data, _mapping(data, "metadata"), statuses)]
    tests = data.get("tests", data.get("metrics"))
    if not isinstance(data.get("version"), str) or "timestamp" not in data or not isinstance(tests, list):
        return None
    return [_evidently_outcome(data, {}, _statuses(data.get("tests")))]


def _evidently(data: Mapping[str, Any]) -> list[Outcome] | None:
    """Evidently from 0.7: the snapshot as people save it, and as the workspace stores it."""
    metrics, stored = data.get("metrics"), data.get("metric_results")
    if isinstance(stored, dict) and "top_level_metrics" in data:
        every = [test for metric in stored.values() for test in _list(_mapping({"": metric}, "").get("tests"))]
        return [_evidently_outcome(data, _mapping(data, "metadata"), _statuses(every))]
    known = isinstance(metrics, list) and isinstance(data.get("tests"), list)
    if not known or not all(isinstance(metric, dict) and "value" in metric for metric in _list(metrics)):
        return None
    return [_evidently_outcome(data, _mapping(data, "metadata"), _statuses(data.get("tests")))]


def _evidently_outcome(data: Mapping[str, Any], about: Mapping[str, Any], statuses: list[Any]) -> Outcome:
    judged = [status for status in statuses if isinstance(status, str)]
    failed = sum(status.upper() in _FAILED for status in judged)
    name, at = _text(data.get("name")), _time(data.get("timestamp"))
    return Outcome("evidently", name, _text(about.get("dataset")), at, len(judged), failed)


def _statuses(tests: Any) -> list[Any]:
    return [test.get("status") for test in _list(tests) if isinstance(test, dict)]


def _pandera_report(data: Mapping[str, Any]) -> list[Outcome] | None:
    """The error report by kind of error; it lists failures alone, so how many checks ran is not known."""
    if not data or not set(data) <= {"SCHEMA", "DATA"}:
        return None
    errors = [
        error
        for kinds in data.values()
        for listed in (kinds.values() if isinstance(kinds, dict) else ())
        for error in _list(listed)
        if isinstance(error, dict)
    ]
    names = {_text(error.get("schema")) for error in errors} - {None}
    met = {(str(error.get("schema")), str(error.get("column")), str(error.get("check"))) for error in errors}
    return [Outcome("pandera", names.pop() if len(names) == 1 else None, failed=len(met))] if met else None


def _cases_by_column(data: Mapping[str, Any]) -> list[Outcome] | None:
    """Failure cases as pandas writes a frame unless told otherwise: column → row → value."""
    if not set(data) >= _CASE_FIELDS or not all(isinstance(data[name], dict) for name in _CASE_FIELDS):
        return None
    keys = list(data["check"])[:_MOST_CASES]
    return _cases([{name: data[name].get(key) for name in _CASE_FIELDS} for key in keys])


def _cases_csv(content: bytes) -> list[Outcome] | None:
    try:
        text = content.decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        if not set(reader.fieldnames or ()) >= _CASE_FIELDS:
            return None
        return _cases(reader)
    except (UnicodeDecodeError, csv.Error):
        return None


def _cases(rows: Iterable[Any]) -> list[Outcome] | None:
    """pandera's failure cases, one a value: a check that many values failed is one failed check."""
    met, names = set(), set()
    for row in rows:
        if not isinstance(row, dict) or not set(row) >= _CASE_FIELDS:
            return None
        met.add((str(row["schema_context"]), str(row["column"]), str(row["check"])))
        if row["schema_context"] == "DataFrameSchema" and _text(row["column"]):
            names.add(row["column"])
    return [Outcome("pandera", names.pop() if len(names) == 1 else None, failed=len(met))] if met else None


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value[:500] if isinstance(value, str) and value and value.isprintable() else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def _time(value: Any) -> int | None:
    """A time as text → ms; without a zone it is taken as UTC, as the tools mean it or as near as a file can say."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    ms = int(moment.timestamp() * 1000)
    return ms if 0 < ms < 253_370_764_800_000 else None
