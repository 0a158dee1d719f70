"""Reads one pipeline report in the published format: bytes in, fact rows out, never an exception.

A report is a JSON object with ``"dlemm_report": "1"``, or a CSV file that starts with ``# name: value`` lines, one of
them ``# dlemm_report: 1``. The schema is ``report.schema.json`` among the static files; the manual page on reports
tells of both forms. Whatever is too large is left out and counted under ``@cut``, so that a check can tell "not there"
from "not read"; numbers that are not finite are absent.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from integrations.connectors.base import gettext_noop

Row = dict[str, Any]

MARK, VERSION = "dlemm_report", "1"
FIELDS = (MARK, "kind", "made_at", "project", "run_id", "origin", "values", "rows")
"""The fields of a report; any other is not looked at."""
REQUIRED = (MARK, "kind", "made_at")
CUT = "@cut"
SUFFIXES = (".json", ".csv")

MOST_BYTES = 16 * 1024 * 1024
MOST_ROWS = 20_000
MOST_VALUES = 200_000
MOST_DEPTH = 8
LONGEST_KEY = 200
LONGEST_TEXT = 1000  # a longer one is kept as its beginning and its hash, so that equal ones stay equal

_KIND = re.compile(r"[a-z][a-z0-9_]{0,59}")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,17})?([eE][+-]?[0-9]{1,2})?")
_HEAD = re.compile(r"#\s*([A-Za-z_][\w.@/-]{0,199})\s*:\s*(.*)")
_YEARS = (0, 253_402_300_799_999)  # 1970 to 9999, in ms

NOT_A_REPORT = gettext_noop("is not a report in the published format")
NO_KIND = gettext_noop("names no kind of report")
NO_DATE = gettext_noop("does not say when it was made")
UNREADABLE = gettext_noop("could not be understood")
TOO_LARGE = gettext_noop("is larger than the limit")


@dataclass(frozen=True, slots=True)
class Parsed:
    """The rows of one report by table; ``fault`` says why there are none; ``cut`` counts what was left out."""

    reports: tuple[Row, ...] = ()
    values: tuple[Row, ...] = ()
    fault: str = ""
    cut: int = 0


def report_rows(content: bytes, path: str, run: str | None = None) -> Parsed:
    """The rows of the report in a file. ``run``: the run whose artifact it is, unless the report names another."""
    if len(content) > MOST_BYTES:
        return Parsed(fault=TOO_LARGE)
    try:
        found = _csv(content) if path.lower().endswith(".csv") else _json(content)
    except (ValueError, RecursionError, csv.Error):  # ValueError: encoding, JSON, numbers of endless length
        return Parsed(fault=UNREADABLE)
    if found is None:
        return Parsed(fault=NOT_A_REPORT)
    kind = _word(found.get("kind")).lower()
    if not _KIND.fullmatch(kind):
        return Parsed(fault=NO_KIND)
    made_at = _moment(found.get("made_at"))
    if made_at is None:
        return Parsed(fault=NO_DATE)
    key = hashlib.sha256(content).hexdigest()
    row = {
        "report": key,
        "kind": kind,
        "project": _word(found.get("project")) or None,
        "run": _word(found.get("run_id")) or run,
        "made_at": made_at,
        "file": _clean(path)[:LONGEST_TEXT],
    }
    values, cut = _values(found)
    return Parsed((row,), tuple({"report": key, **value} for value in values), cut=cut)


def _json(content: bytes) -> Mapping[str, Any] | None:
    found = json.loads(content.decode("utf-8-sig"), parse_constant=lambda _: None, parse_int=_whole)
    return found if isinstance(found, dict) and _word(found.get(MARK)) == VERSION else None


def _whole(digits: str) -> int | str:
    """A whole number that a float holds exactly; a longer one stays the text it is."""
    return int(digits) if len(digits) <= 15 else digits


def _csv(content: bytes) -> Mapping[str, Any] | None:
    head: dict[str, Any] = {}
    lines = content.decode("utf-8-sig").splitlines(keepends=True)
    start = 0
    while start < len(lines) and lines[start].startswith("#"):
        if match := _HEAD.fullmatch(lines[start].strip()):
            head.setdefault(match[1], match[2].strip())
        start += 1
    if head.get(MARK) != VERSION:
        return None
    table = csv.reader(io.StringIO("".join(lines[start:]), newline=""))
    names = [name.strip() for name in next(table, [])]
    rows = ({name: _typed(cell) for name, cell in zip(names, cells, strict=False)} for cells in table if any(cells))
    values = {name: _typed(text) for name, text in head.items() if name not in FIELDS}
    return {**{name: head.get(name) for name in FIELDS}, "values": values, "rows": list(rows)}


def _typed(cell: str) -> Any:
    """A cell as number, yes, no or text. Digits that are no plain number (a hash, a code) stay text."""
    text = cell.strip()
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return float(text) if _NUMBER.fullmatch(text) else text


def _values(found: Mapping[str, Any]) -> tuple[list[Row], int]:
    """Values of the whole report and of its rows, as far as the limits go, and how much was left out."""
    given, rows = found.get("values"), found.get("rows")
    counter = _Counter()
    kept: list[Row] = []
    if origin := _word(found.get("origin")):
        kept.append({"row": None, "key": "origin", "number": None, "text": origin})
    if isinstance(given, dict):
        kept += [{"row": None, **cell} for cell in counter.cells(given)]
    rows = rows if isinstance(rows, list) else []
    counter.cut += max(0, len(rows) - MOST_ROWS)
    for number, row in enumerate(rows[:MOST_ROWS]):
        cells = list(counter.cells(row)) if isinstance(row, dict) else []
        if not cells:  # an empty row is a row that lacks everything
            cells = [{"key": "", "number": None, "text": None}]
        kept += [{"row": number, **cell} for cell in cells]
    if counter.cut:
        kept.append({"row": None, "key": CUT, "number": float(counter.cut), "text": None})
    return kept, counter.cut


class _Counter:
    """Flattens values and counts what the limits leave out."""

    def __init__(self) -> None:
        self.kept = 0
        self.cut = 0

    def cells(self, value: Mapping[str, Any]) -> Iterator[Row]:
        """Key, number and text of every value inside; ``origin`` and keys beginning with ``@`` are ours alone."""
        for key, leaf in self._leaves(value, "", 0):
            if key.startswith("@") or len(key) > LONGEST_KEY or self.kept >= MOST_VALUES:
                self.cut += not key.startswith("@")
                continue
            cell = _cell(leaf)
            if cell is not None:
                self.kept += 1
                yield {"key": key, **cell}

    def _leaves(self, value: Any, key: str, depth: int) -> Iterator[tuple[str, Any]]:
        if not isinstance(value, dict | list):
            yield key, value
        elif depth >= MOST_DEPTH:
            self.cut += 1
        else:
            parts = value.items() if isinstance(value, dict) else enumerate(value)
            for name, part in parts:
                yield from self._leaves(part, f"{key}.{_clean(str(name))}" if key else _clean(str(name)), depth + 1)


def _cell(value: Any) -> Row | None:
    """A value as number or text; None when it says nothing."""
    if isinstance(value, bool | int | float):
        return {"number": float(value), "text": None} if math.isfinite(value) else None
    if not isinstance(value, str) or not value.strip():
        return None
    text = _clean(value.strip())
    if len(text) > LONGEST_TEXT:
        text = f"{text[: LONGEST_TEXT - 80]}… sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return {"number": None, "text": text}


def _clean(text: str) -> str:
    """Text that every store takes: no half characters, no NUL."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "")


def _word(value: Any) -> str:
    """A short text, or nothing; the number 1 counts as the text "1"."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return _clean(f"{value:g}" if isinstance(value, float) else str(value)).strip()[:LONGEST_KEY]


def _moment(value: Any) -> int | None:
    """ISO 8601 (without an offset UTC) or whole milliseconds since 1970, as milliseconds."""
    text = _word(value)
    if re.fullmatch(r"[0-9]{11,15}", text):
        moment = int(text)
    else:
        try:
            read = datetime.fromisoformat(text[:40])
            moment = round((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp() * 1000)
        except (ValueError, OverflowError):
            return None
    return moment if _YEARS[0] < moment <= _YEARS[1] else None
