"""Quick look-ups over the long fact tables: texts and numbers by key, built once per key that is asked for.

Takes a frame with an owner, a key and a value column; gives plain dictionaries from owner to value. A text comes
without the blanks around it, and an empty one is absent. A metric that is not finite (NaN, an infinity, or ±1.797e308,
which is how a database stores an infinity) is not a number and therefore absent as well. Texts that hold a time, a
number or headings are read here too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

DAY = 86_400_000
"""Milliseconds of a day."""
_LARGEST = 1.797e308
_YEAR_1, _YEAR_9999 = -62_135_596_800_000, 253_402_300_799_999


class Keyed:
    """The rows of a long table by key. ``owners`` limits it to owners that count."""

    def __init__(self, frame: pd.DataFrame, owner: str) -> None:
        if "value" in frame and frame["value"].dtype == "float64":
            values = frame["value"].to_numpy()
            frame = frame[np.isfinite(values) & (np.abs(values) < _LARGEST)]
        self._owners = frame[owner].to_numpy(dtype=object)
        self._values = frame["value"].to_numpy(dtype=object)
        self._rows: Mapping[Any, Any] = frame.groupby("key", sort=False).indices if len(frame) else {}
        self._found: dict[str, dict[str, Any]] = {}

    def of(self, key: str) -> dict[str, Any]:
        """Owner to value for one key, absent values left out."""
        if key not in self._found:
            rows = self._rows.get(key)
            pairs = [] if rows is None else zip(self._owners[rows], self._values[rows], strict=True)
            self._found[key] = {
                owner: value.strip() if isinstance(value, str) else value for owner, value in pairs if present(value)
            }
        return self._found[key]

    def keys_like(self, pattern: str) -> dict[str, str]:
        """The keys that match a pattern, each with what is counted as distinct: its ``<part>``, or the whole key."""
        expression = compiled(pattern)
        found = {}
        for key in self._rows:
            if match := expression.fullmatch(str(key)):
                found[str(key)] = match.group(1) if match.groups() else str(key)
        return found


def present(value: Any) -> bool:
    """Whether a value says anything: a number, or a text that is not blank."""
    if isinstance(value, str):
        return bool(value.strip())
    return value is not None and value is not pd.NA and bool(value == value)  # NaN differs from itself


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression: ``*`` and ``<part>`` stand for text without a slash, ``**`` for any text."""
    kinds = {"**": ".*", "*": "[^/]*"}
    parts = re.split(r"(<[^>]*>|\*\*|\*)", pattern)
    return re.compile(
        "".join("([^/]+)" if part[:1] == "<" else kinds.get(part) or re.escape(part) for part in parts), re.DOTALL
    )


def time_of(text: str | None) -> int | None:
    """A time written as ISO 8601 (without an offset it is UTC) or as milliseconds since 1970; None when it is neither.

    Unreadable is not a time: a version is not live because somebody wrote "yes".
    """
    text = (text or "").strip()[:40]
    if re.fullmatch(r"[0-9]{11,15}", text):
        moment = int(text)
        return moment if _YEAR_1 <= moment <= _YEAR_9999 else None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return round((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp() * 1000)


def number_of(text: str | None) -> Fraction | None:
    """A decimal number as an exact fraction; None when the text is none. Digits and exponent are bounded in length."""
    text = (text or "").strip()
    plain = re.fullmatch(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?", text)
    return Fraction(text) if plain else None


_LONGEST_HEADING = 80


def headings_of(text: str) -> tuple[str, ...]:
    """The headings of a text without their marks: lines marked by ``#``, in bold, underlined, or ending with a colon.

    A line longer than 80 characters is prose, whatever it ends with.
    """
    lines = [line.strip() for line in text.splitlines()]
    pairs = zip(lines, [*lines[1:], ""], strict=True)
    found = (line for line, below in pairs if len(line) <= _LONGEST_HEADING and _is_heading(line, below))
    return tuple(re.sub(r"^[\W_]*([0-9]+[.)]\s*)?[\W_]*", "", line).strip("*_:： ") for line in found)


def _is_heading(line: str, below: str) -> bool:
    bold = len(line) > 4 and line[:2] in ("**", "__") and line.rstrip(":： ").endswith(line[:2])
    underlined = bool(line) and re.fullmatch(r"={3,}|-{3,}", below) is not None
    return bold or underlined or line.rstrip("*_ ").endswith((":", "：")) or re.match(r"#{1,6}\s", line) is not None
