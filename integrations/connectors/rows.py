"""Rows that people and programs hand in: what a fact table accepts, and what is wrong with a row in plain words.

Takes a row as it came (JSON values, or cells already read); gives the row as the table keeps it and every fault with
its column. Files (``tables``) and pushed batches are judged here alike, so that both mean the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from maturity.facts import TABLES

PUSHED_TABLES = (
    "change_requests",
    "ci_runs",
    "comparisons",
    "incidents",
    "lineage_datasets",
    "quality_results",
    "report_values",
    "reports",
    "service_levels",
)
"""The tables that programs may send."""

FILE_TABLES = ("change_requests", "ci_runs", "comparisons", "incidents", "service_levels")
"""The tables that a spreadsheet may fill."""

KEYS: Mapping[str, tuple[str, ...]] = {
    "change_requests": ("repository", "number"),
    "ci_runs": ("ci_run",),
    "comparisons": ("comparison",),
    "incidents": ("incident",),
    "lineage_datasets": ("event", "direction", "dataset"),
    "quality_results": ("result",),
    "report_values": ("report", "row", "key"),
    "reports": ("report",),
    "service_levels": ("project", "version", "name", "day"),
}
"""What makes two rows the same fact."""

DAY = 86_400_000
LONGEST_TEXT = 500
LONGEST_VALUE = 10_000
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "change_requests": ("repository", "number", "merged_at"),
    "ci_runs": ("ci_run", "job", "status", "at"),
    "comparisons": ("comparison", "metric", "closed_at", "ratio"),
    "incidents": ("incident", "kind", "opened_at"),
    "lineage_datasets": ("event", "job", "job_run", "at", "state", "direction", "dataset", "has_schema", "has_quality"),
    "quality_results": ("result", "tool", "suite", "at", "checks", "failed"),
    "report_values": ("report", "key"),
    "reports": ("report", "kind", "made_at"),
    "service_levels": ("name", "day", "value"),
}
_ONE_OF: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("ci_runs", "status"): ("passed", "failed", "cancelled"),
    ("incidents", "kind"): ("model", "data", "service"),
    ("lineage_datasets", "state"): ("START", "COMPLETE", "FAIL", "ABORT", "OTHER"),
    ("lineage_datasets", "direction"): ("input", "output"),
    ("quality_results", "tool"): ("great_expectations", "pandera", "evidently"),
}
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "coverage": (0, 1),
    "fail_before": (0, 1),
    "fail_after": (0, 1),
    "ratio": (0, math.inf),
    "ratio_low": (0, math.inf),
    "ratio_high": (0, math.inf),
    "seconds": (0, math.inf),
}
_NOT_BEFORE = {
    "incidents": (("restored_at", "opened_at"), ("closed_at", "opened_at")),
    "comparisons": (("ratio_high", "ratio_low"),),
    "quality_results": (("checks", "failed"),),
}
_EARLIEST, _LATEST = 631_152_000_000, 4_102_444_800_000  # 1990 and 2100
_LARGEST_COUNT = 2**53


class NotSo(ValueError):
    """A value is not what its column holds; the message says what was expected and what came."""


def shown(value: Any) -> str:
    """A value in an error message: short, on one line."""
    text = " ".join(str(value).split())
    return f"“{text[:40]}…”" if len(text) > 40 else f"“{text}”"


def checked(table: str, row: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The row as the table keeps it, and its faults as (column, sentence). Missing columns become missing values."""
    faults = [(str(name)[:60], f"{table} has no such column") for name in row if name not in TABLES[table].names]
    kept: dict[str, Any] = {}
    for column in TABLES[table].columns:
        try:
            kept[column.name] = _value(table, column.name, column.kind, row.get(column.name))
        except NotSo as fault:
            kept[column.name] = None
            faults.append((column.name, str(fault)))
    return kept, faults or list(_between(table, kept))


def key_of(table: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the fact is known by."""
    return tuple(row[name] for name in KEYS[table])


def _value(table: str, name: str, kind: str, value: Any) -> Any:
    if value is None or (isinstance(value, str) and not value.strip()):
        if name in _REQUIRED[table]:
            raise NotSo("is required and is missing")
        return None
    given, value = value, _KINDS[kind](value)
    allowed = _ONE_OF.get((table, name))
    if allowed and value not in allowed:
        raise NotSo(f"must be one of {', '.join(allowed)}, not {shown(value)}")
    low, high = _BOUNDS.get(name, (-math.inf, math.inf))
    if name in _BOUNDS and not low <= value <= high:
        raise NotSo(
            f"must be from {low:g} to {high:g}, not {shown(given)}" if high < math.inf else "must not be below 0"
        )
    if name == "day" and value % DAY:
        raise NotSo("must be the start of a day in UTC")
    if isinstance(value, str) and len(value) > (LONGEST_VALUE if table == "report_values" else LONGEST_TEXT):
        raise NotSo("is too long")
    return value


def _between(table: str, row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Faults between two columns."""
    for larger, smaller in _NOT_BEFORE.get(table, ()):
        if row[larger] is not None and row[smaller] is not None and row[larger] < row[smaller]:
            yield larger, f"must not be less than {smaller}"


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise NotSo(f"must be text, not {shown(value)}")
    text = str(value).strip()
    if not text.replace("\n", " ").replace("\t", " ").isprintable():
        raise NotSo("holds characters that cannot be printed")
    return text


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotSo(f"must be a number, not {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise NotSo("must be a finite number")
    return number


def _count(value: Any) -> int:
    number = _number(value)
    if number != int(number) or not 0 <= number <= _LARGEST_COUNT:
        raise NotSo(f"must be a whole number from 0, not {shown(value)}")
    return int(number)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise NotSo(f"must be true or false, not {shown(value)}")
    return value


def time_ms(value: Any) -> int:
    """A time as milliseconds since 1970 UTC, from such a number or from ISO 8601 text with its offset."""
    if isinstance(value, str):
        value = _iso(value.strip())
    elif isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) == math.inf:
        raise NotSo(f"must be a time, not {shown(value)}")
    if value != int(value):
        raise NotSo("must be whole milliseconds since 1970")
    if not _EARLIEST <= value <= _LATEST:
        seconds = _EARLIEST <= value * 1000 <= _LATEST
        hint = "; this looks like seconds, write milliseconds" if seconds else ""
        raise NotSo(f"must be a time between 1990 and 2100{hint}, not {shown(value)}")
    return int(value)


def _iso(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise NotSo(f"must be a time such as 2026-01-31T12:00:00Z, not {shown(text)}") from error
    if moment.tzinfo is None:
        raise NotSo(f"must say its offset from UTC, such as 2026-01-31T12:00:00Z, not {shown(text)}")
    return milliseconds(moment)


def milliseconds(moment: datetime) -> int:
    """A moment with its time zone as whole milliseconds since 1970. Raises ``NotSo`` at the ends of the calendar."""
    try:
        since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    except OverflowError as error:
        raise NotSo("must be a time between 1990 and 2100") from error
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


_KINDS: Mapping[str, Callable[[Any], Any]] = {
    "id": _text,
    "text": _text,
    "number": _number,
    "ms": time_ms,
    "count": _count,
    "flag": _flag,
}
