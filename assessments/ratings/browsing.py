"""browsing: the facts behind one finding, page by page.

Takes the file that ``gathering`` made while assessing, an indicator and a filter; gives the rows of one page or all of
them. Only the standard library reads it, so a page costs a look-up and not a load of the evidence.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from assessments.evidence import store
from assessments.ratings.gathering import FAILS, NOT_COUNTED, PASSES

SUFFIX = "facts"
OUTCOMES = {"fails": FAILS, "passes": PASSES, "left": NOT_COUNTED}
"""Names of the outcomes in addresses; ``left`` is what the finding does not count."""
PAGE = 50
_MOST_AT_ONCE = 500
_FIELDS = "n, id, name, experiment, of, project, at, who, status"


@dataclass(frozen=True, slots=True)
class FactRow:
    """One fact: ``source:id`` and what is known of it. ``of`` is the experiment or run it belongs to; ``at`` in ms."""

    outcome: str
    id: str
    name: str | None
    experiment: str | None
    of: str | None
    project: str | None
    at: int | None
    who: str | None
    status: str | None


@dataclass(frozen=True, slots=True)
class Wish:
    """What a reader wants to see: an outcome (empty: all that count), a project, and words in any column."""

    outcome: str = ""
    project: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """One finding: its unit, how many facts there are of each outcome, the places that fit the wish, in order."""

    unit: str
    counts: dict[str, int]
    places: tuple[int, ...]
    verdicts: bytes


class Browser:
    """An open file. Use as a context manager. Raises ``EvidenceDamaged`` when it is gone or altered."""

    def __init__(self, organisation_id: int, sha256: str) -> None:
        path = store.path_of(organisation_id, sha256, SUFFIX)
        _verified(organisation_id, sha256, path, _stamp(path))
        self._database = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
        )

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def find(self, indicator: str, project: str | None, wish: Wish) -> Found | None:
        """The facts of a finding that fit; None when there is no such finding."""
        query = "SELECT unit, verdicts FROM findings WHERE indicator = ? AND project = ?"
        row = self._database.execute(query, (indicator, project or "")).fetchone()
        if row is None:
            return None
        unit, verdicts = row[0], zlib.decompress(row[1])
        counts = {name: verdicts.count(value) for name, value in OUTCOMES.items()}
        wanted = [OUTCOMES[wish.outcome]] if wish.outcome in OUTCOMES else [FAILS, PASSES]
        fitting = self._fitting(unit, wish) if wish.project or wish.text else range(len(verdicts))
        by_verdict = (place for value in wanted for place in fitting if verdicts[place] == value)
        return Found(unit, counts, tuple(by_verdict), verdicts)

    def _fitting(self, unit: str, wish: Wish) -> list[int]:
        query, values = "SELECT n FROM facts WHERE unit = ?", [unit]
        if wish.project:
            query, values = f"{query} AND project = ?", [*values, wish.project]
        if wish.text:
            places = " OR ".join(f"{column} LIKE ? ESCAPE '\\'" for column in _SEARCHED)
            query, values = f"{query} AND ({places})", [*values, *[_pattern(wish.text)] * len(_SEARCHED)]
        return [row[0] for row in self._database.execute(f"{query} ORDER BY n", values)]

    def rows(self, found: Found, first: int = 0, most: int | None = None) -> Iterator[FactRow]:
        """Rows of what was found, from number ``first`` on."""
        names = {value: name for name, value in OUTCOMES.items()}
        places = found.places[first : None if most is None else first + most]
        for start in range(0, len(places), _MOST_AT_ONCE):
            part = places[start : start + _MOST_AT_ONCE]
            marks = ", ".join("?" * len(part))
            query = f"SELECT {_FIELDS} FROM facts WHERE unit = ? AND n IN ({marks})"  # noqa: S608 - marks alone
            by_place = {row[0]: row[1:] for row in self._database.execute(query, (found.unit, *part))}
            for place in part:
                yield FactRow(names[found.verdicts[place]], *by_place[place])


_SEARCHED = ("id", "name", "experiment", "who", "status")


def _pattern(text: str) -> str:
    for sign in ("\\", "%", "_"):
        text = text.replace(sign, "\\" + sign)
    return f"%{text}%"


def _stamp(path: Path) -> tuple[int, int]:
    try:
        known = path.stat()
    except OSError as error:
        raise store.EvidenceDamaged(f"the stored file {path.name[:12]}… cannot be read: {error.strerror}") from error
    return known.st_size, known.st_mtime_ns


@lru_cache(maxsize=64)
def _verified(organisation_id: int, sha256: str, path: Path, stamp: tuple[int, int]) -> bool:
    """Check the content against its name, once for as long as the file is the same."""
    store.read_bytes(organisation_id, sha256, SUFFIX)
    return True
