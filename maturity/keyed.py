"""Quick look-ups over the long fact tables: texts and numbers by key, built once per key that is asked for.

Takes a frame with an owner, a key and a value column; gives columns, used like dictionaries from owner to value. A text
comes without the blanks around it, and an empty one is absent. A metric that is not finite (NaN, an infinity, or
±1.797e308, which is how a database stores an infinity) is not a number and therefore absent as well. Texts that hold a
time, a number or headings are read here too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache, cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from maturity.columns import Coded, Column, Numbers
from maturity.rolls import Array, Roll, coded, coded_texts, texts_of

DAY = 86_400_000
"""Milliseconds of a day."""
_LARGEST = 1.797e308
_YEAR_1, _YEAR_9999 = -62_135_596_800_000, 253_402_300_799_999


class Keyed:
    """The rows of a long table by key, of owners that stand on the roll; without one, of every owner there is."""

    def __init__(self, frame: pd.DataFrame, owner: str, roll: Roll | None = None) -> None:
        codes, owners = coded(frame[owner])
        self.roll = Roll(owners) if roll is None else roll
        places = self.roll.places_of(codes, owners)
        keys, self._keys = coded(frame["key"])
        kept = (places >= 0) & (keys >= 0)
        values = frame["value"]
        self._numeric = values.dtype in ("float64", "Int64")
        if self._numeric:
            whole = values.dtype == "Int64"
            self._numbers: Array = values.to_numpy(np.int64, na_value=0) if whole else values.to_numpy(np.float64)
            kept &= values.notna().to_numpy() & (np.abs(self._numbers) < _LARGEST)  # NaN and infinity are not less
        else:
            self._texts = texts_of(values)
        self._places, self._codes = places, np.where(kept, keys, -1)
        self._found: dict[str, Column[Any]] = {}

    @cached_property
    def _order(self) -> tuple[Array, Array]:
        """The rows ordered by key, and where each key begins."""
        few = len(self._keys) < np.iinfo(np.int16).max
        order = np.argsort(self._codes.astype(np.int16) if few else self._codes, kind="stable").astype(np.int32)
        counts = np.bincount(self._codes + 1, minlength=len(self._keys) + 1)
        return order, np.append(0, np.cumsum(counts))

    @cached_property
    def _index(self) -> Mapping[str, int]:
        _, bounds = self._order
        return {key: n for n, key in enumerate(self._keys.to_pylist()) if bounds[n + 2] > bounds[n + 1]}

    def _rows(self, key: str) -> Array:
        order, bounds = self._order
        code = self._index.get(key)
        return order[:0] if code is None else order[bounds[code + 1] : bounds[code + 2]]

    def of(self, key: str) -> Column[Any]:
        """Owner to value for one key, absent values left out."""
        if key not in self._found:
            rows = self._rows(key)
            self._found[key] = self._numbers_of(rows) if self._numeric else self._texts_of(rows)
        return self._found[key]

    def texts_of(self, key: str) -> Coded[str]:
        """The same of a table of texts. Raises ``TypeError`` for numbers."""
        found = self.of(key)
        if not isinstance(found, Coded):
            raise TypeError(f"{key} has numbers")
        return found

    def _numbers_of(self, rows: Array) -> Numbers:
        numbers, mask = np.zeros(len(self.roll), self._numbers.dtype), np.zeros(len(self.roll), bool)
        numbers[self._places[rows]], mask[self._places[rows]] = self._numbers[rows], True
        return Numbers(self.roll, numbers, mask)

    def _texts_of(self, rows: Array) -> Coded[str]:
        codes, distinct = coded_texts(self._texts.take(pa.array(rows)))
        found = [text.strip() for text in distinct.to_pylist()]
        present_rows = np.append(np.array([bool(text) for text in found], bool), False)[codes]
        held = np.full(len(self.roll), -1, np.int32)
        held[self._places[rows][present_rows]] = codes[present_rows]
        return Coded(self.roll, held, found)

    def keys_like(self, pattern: str) -> dict[str, str]:
        """The keys that match a pattern, each with what is counted as distinct: its ``<part>``, or the whole key."""
        expression = compiled(pattern)
        found = {}
        for key in self._index:
            if match := expression.fullmatch(key):
                found[key] = match.group(1) if match.groups() else key
        return found

    def named_like(self, pattern: str) -> tuple[Array, Array]:
        """Every owner with every different name that matches a pattern, as two arrays: its place, and a number.

        A blank text is no value.
        """
        parts = self.keys_like(pattern)
        numbers = {part: number for number, part in enumerate(sorted(set(parts.values())))}
        table = np.full(len(self._keys) + 1, -1, np.int32)
        for key, part in parts.items():
            table[self._index[key]] = numbers[part]
        named = table[self._codes]  # -1 is the last
        rows = np.flatnonzero(named >= 0)
        rows = rows if self._numeric else rows[self._telling[rows]]
        return self._places[rows], named[rows]

    @cached_property
    def _telling(self) -> Array:
        """Which texts are not blank: those with a printed character of ASCII, and those that Python says are not."""
        plain = pc.match_substring_regex(self._texts, "[!-~]").fill_null(False)
        found: Array = plain.to_numpy(zero_copy_only=False).copy()
        for row in np.flatnonzero(~found).tolist():
            found[row] = bool((self._texts[row].as_py() or "").strip())
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
