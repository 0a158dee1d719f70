"""gathering: the small file from which pages browse every fact behind every finding.

Takes the facts of an assessment and its findings; gives the bytes of an SQLite file that ``browsing`` reads. A finding
may rest on a hundred thousand runs and a page shows fifty, so a finding is one byte for each fact of its unit, and the
facts stand once. Runs while assessing: the web process never does this work.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from maturity.facts import Facts
from maturity.scorecard import Finding

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
NOT_COUNTED, FAILS, PASSES, ELSEWHERE = 0, 1, 2, 3
"""ELSEWHERE: a fact of another project than the finding's."""
LONGEST = 500
"""Longer names and words are cut here; the evidence pack holds them whole."""

_SCHEMA = """
CREATE TABLE facts (unit TEXT, n INTEGER, id TEXT, name TEXT, experiment TEXT, of TEXT, project TEXT, at INTEGER,
                    who TEXT, status TEXT, PRIMARY KEY (unit, n)) WITHOUT ROWID;
CREATE TABLE findings (indicator TEXT, project TEXT, unit TEXT, verdicts BLOB, PRIMARY KEY (indicator, project))
                    WITHOUT ROWID;
"""
_COLUMNS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "run": ("runs", {"id": "run", "of": "experiment", "at": "start_at", "who": "user"}),
    "version": ("model_versions", {"id": "version", "at": "created_at", "who": "user", "of": "run"}),
    "model": ("registered_models", {"id": "name", "at": "created_at"}),
    "logged model": ("logged_models", {"id": "model", "at": "created_at", "of": "run"}),
    "incident": ("incidents", {"id": "incident", "name": "kind", "at": "opened_at", "status": "severity"}),
    "report": ("reports", {"id": "report", "name": "file", "at": "made_at", "status": "kind", "of": "run"}),
    "repository": ("repositories", {"id": "repository", "at": "read_at", "status": "branch"}),
    "project": ("projects", {"id": "project", "at": "started_at"}),
    "experiment": ("experiments", {"id": "experiment", "at": "created_at", "status": "lifecycle"}),
}
"""Unit → table, and which of its columns stands for which column of the file where the names differ."""


def gathered(facts: Facts, findings: Iterable[Finding]) -> bytes:
    """The file as bytes. Ids that stand in no table (weeks, dataset inputs) are kept with their id alone."""
    by_unit: dict[str, list[Finding]] = {}
    for finding in findings:
        by_unit.setdefault(finding.unit, []).append(finding)
    database = sqlite3.connect(":memory:")
    try:
        database.executescript(_SCHEMA)
        database.execute(f"PRAGMA user_version = {FORMAT}")
        names = dict(zip(facts["experiments"]["experiment"], facts["experiments"]["name"], strict=True))
        for unit, group in sorted(by_unit.items()):
            places, blank = _facts_of(database, unit, facts, names, group)
            rows = ((f.indicator, f.project or "", unit, _verdicts(f, places, blank[f.project])) for f in group)
            database.executemany("INSERT INTO findings VALUES (?, ?, ?, ?)", rows)
        database.commit()
        return database.serialize()
    finally:
        database.close()


def _facts_of(
    database: sqlite3.Connection, unit: str, facts: Facts, names: Mapping[str, str], group: Sequence[Finding]
) -> tuple[dict[str, int], dict[str | None, bytes]]:
    """Write the facts of a unit, newest first, then those that only findings name.

    Gives their places, and for each project that a finding is about the verdicts before anything was judged.
    """
    rows = list(_rows(unit, facts, names))
    places = {row[0]: place for place, row in enumerate(rows)}
    for finding in group:
        for fact in (*finding.passing, *finding.failing):
            if fact not in places:
                places[fact] = len(rows)
                rows.append((fact, *([None] * 7)))
    statement = "INSERT INTO facts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    database.executemany(statement, ((unit, place, *row) for place, row in enumerate(rows)))
    owners = [row[4] for row in rows]
    scopes = {finding.project for finding in group}
    return places, {scope: _blank(owners, scope) for scope in scopes}


def _blank(owners: Sequence[str | None], project: str | None) -> bytes:
    if project is None:
        return bytes(len(owners))
    return bytes(NOT_COUNTED if owner == project else ELSEWHERE for owner in owners)


def _rows(unit: str, facts: Facts, names: Mapping[str, str]) -> Iterator[tuple[Any, ...]]:
    """id, name, experiment (its name), of (id of the experiment or run), project, time (ms), who, status."""
    if unit not in _COLUMNS:
        return
    table, renamed = _COLUMNS[unit]
    frame = facts[table]
    at = renamed.get("at", "")
    frame = frame.sort_values([at, renamed["id"]], ascending=[False, True], na_position="last")
    wanted = [renamed.get(name, name) for name in ("id", "name", "of", "project", "at", "who", "status")]
    seen: set[str] = set()
    for one, name, of, project, moment, who, status in zip(*(_values(frame, each) for each in wanted), strict=True):
        if one not in seen:
            seen.add(one)
            time = None if moment is None else int(moment)
            yield (one, _cut(name), _cut(names.get(of)), of, _cut(project), time, _cut(who), _cut(status))


def _values(frame: pd.DataFrame, column: str) -> list[Any]:
    """The values of a column with None where one is missing; all None when the table has no such column."""
    if column not in frame.columns:
        return [None] * len(frame)
    values = frame[column].astype(object)
    found: list[Any] = values.where(values.notna(), None).tolist()
    return found


def _cut(text: Any) -> str | None:
    return None if text is None else str(text)[:LONGEST]


def _verdicts(finding: Finding, places: Mapping[str, int], blank: bytes) -> bytes:
    """One byte for each fact of the unit."""
    found = bytearray(blank)
    for fact in finding.passing:
        found[places[fact]] = PASSES
    for fact in finding.failing:
        found[places[fact]] = FAILS
    return zlib.compress(found, 6)
