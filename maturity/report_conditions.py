"""Judges a condition of a check over what one report holds: yes, no, or unknown (None).

Unknown only where the report was too large to be read whole and what is missing might decide. The logic is Kleene's
strong three-valued one, as in ``conditions``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from operator import eq, ge, gt, le, lt

from maturity import check_measures as m
from maturity.check_facts import Cell, Content

_OPS = {"equals": eq, "is": eq, "ge": ge, "le": le, "gt": gt, "lt": lt}
_NO_ROW: Mapping[str, Cell] = {}


def report_holds(condition: m.Condition, content: Content) -> bool | None:
    """Whether a report fulfils a condition; None when that cannot be known. Raises ``TypeError`` for another kind."""
    match condition:
        case m.All(parts):
            return every(report_holds(part, content) for part in parts)
        case m.Any(parts):
            return some(report_holds(part, content) for part in parts)
        case m.EveryRow(inner):
            return _every_row(inner, content)
        case m.Rows():
            return _rows(condition, content)
        case m.Value():
            return _value(condition, content.values, _NO_ROW, cut=content.cut)
        case _:
            raise TypeError(f"{type(condition).__name__} is no condition of a report")


def every(verdicts: Iterable[bool | None]) -> bool | None:
    """All of them: no when one is no, else unknown when one is unknown."""
    found = set(verdicts)
    return False if False in found else None if None in found else True


def some(verdicts: Iterable[bool | None]) -> bool | None:
    """At least one of them: yes when one is yes, else unknown when one is unknown."""
    found = set(verdicts)
    return True if True in found else None if None in found else False


def _every_row(inner: m.Condition, content: Content) -> bool | None:
    verdict = every(_row(inner, row, content.values, cut=content.cut) for row in content.rows)
    if content.cut:  # what a row lacks may have been left out
        return False if verdict is False else None
    return bool(content.rows) and verdict


def _rows(wanted: m.Rows, content: Content) -> bool | None:
    groups: dict[Cell, list[Cell]] = {}
    for place, row in enumerate(content.rows):
        held = wanted.where is None or _row(wanted.where, row, content.values, cut=content.cut)
        what = row.get(wanted.distinct) if wanted.distinct else str(place)
        group = row.get(wanted.same) if wanted.same else ""
        if held and what is not None and group is not None:
            groups.setdefault(_plain(group), []).append(_plain(what))
    if any(len(set(members)) >= wanted.at_least for members in groups.values()):
        return True
    return None if content.cut else False


def _row(condition: m.Condition, row: Mapping[str, Cell], whole: Mapping[str, Cell], *, cut: bool) -> bool | None:
    match condition:
        case m.All(parts):
            return every(_row(part, row, whole, cut=cut) for part in parts)
        case m.Any(parts):
            return some(_row(part, row, whole, cut=cut) for part in parts)
        case m.Value():
            return _value(condition, row, whole, cut=cut)
        case _:
            raise TypeError(f"{type(condition).__name__} is no condition of a row")


def _value(wanted: m.Value, values: Mapping[str, Cell], whole: Mapping[str, Cell], *, cut: bool) -> bool | None:
    """Whether a value is there and is what is wanted; the other key of a comparison may stand for the whole report."""
    absent = None if cut else False
    if wanted.test == "present":
        return True if wanted.key in values or any(key.startswith(f"{wanted.key}.") for key in values) else absent
    cell = values.get(wanted.key)
    if cell is None:
        return absent
    if wanted.test in ("same_as", "within"):
        other = values.get(str(wanted.wanted), whole.get(str(wanted.wanted)))
        return absent if other is None else _compared(wanted.test, cell, other)
    if isinstance(wanted.wanted, str):
        return _plain(cell) == _plain(wanted.wanted)
    if wanted.test == m.NUMBER:
        return isinstance(cell, Fraction)
    if not isinstance(cell, Fraction) or wanted.wanted is None:
        return False
    return bool(_OPS[wanted.test](cell, wanted.wanted))


def _compared(test: str, cell: Cell, other: Cell) -> bool:
    if test == "same_as":
        return _plain(cell) == _plain(other)
    return isinstance(cell, Fraction) and isinstance(other, Fraction) and abs(cell) <= other


def _plain(cell: Cell) -> Cell:
    return cell.strip().casefold() if isinstance(cell, str) else cell
