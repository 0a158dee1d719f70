"""The facts that pipeline and repository checks look at, indexed once: reports, repositories, CI runs, changes.

Takes ``Populations``; gives small frozen values. Nothing here judges. Only what was made or read at or before
``as_of`` counts, and reports, CI runs and changes only inside the window.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from maturity.facts import Reading
from maturity.keyed import present
from maturity.populations import Populations
from maturity.world import source_of

CUT = "@cut"
"""Key under which a report says how many of its values or rows were left out for its size."""
LOOKED_INTO = 256 * 1024
"""Bytes of the largest file that a connector looks into; a larger one may carry any mark."""
_MAY_BE_EMPTY = frozenset({"template"})  # a marker marks by being there
_FILES_CUT, _NOT_LOOKED_INTO = "files_cut", "files_not_looked_into"
Cell = Fraction | str
"""A value of a report: a number (yes is 1, no is 0) or a text."""


@dataclass(frozen=True, slots=True)
class Report:
    """One report: id, project it belongs to (None: no known one), and when it was made (ms)."""

    id: str
    project: str | None
    made_at: int


@dataclass(frozen=True, slots=True)
class Content:
    """What a report holds: its values, its rows in order, and whether something was left out."""

    values: Mapping[str, Cell]
    rows: tuple[Mapping[str, Cell], ...]
    cut: bool


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository: id, name, project (None: it serves all), commits (None: unknown), when it was read (ms)."""

    id: str
    name: str
    project: str | None
    commits: int | None
    read_at: int


@dataclass(frozen=True, slots=True)
class CiRun:
    """One run of continuous integration; ``repository`` is the id of a known repository or None."""

    repository: str | None
    project: str | None
    job: str
    status: str
    at: int
    coverage: Fraction | None


@dataclass(frozen=True, slots=True)
class Change:
    """A merged change request; ``approvals`` None: unknown."""

    id: str
    repository: str
    approvals: int | None
    at: int


@dataclass(frozen=True, slots=True)
class RepositoryFile:
    """One file: its role, the marks found inside, and whether it was looked into for more of them."""

    role: str
    marks: frozenset[str]
    looked: bool


@dataclass(frozen=True, slots=True)
class View:
    """A repository as a condition sees it: its files that hold something, its CI runs and changes, newest first.

    ``cut``: there are more files than were listed. ``without``: streams (ci, reviews) that no source has.
    """

    repository: Repository
    files: tuple[RepositoryFile, ...]
    ci: tuple[CiRun, ...]
    changes: tuple[Change, ...]
    as_of: int
    cut: bool = False
    without: frozenset[str] = frozenset()


class CheckFacts:
    """Everything is computed when first asked for and kept."""

    def __init__(self, world: Populations) -> None:
        self.world = world
        self._contents: dict[str, Content] = {}
        self._views: dict[tuple[str, str | None], View] = {}

    # reports

    @cached_property
    def _reports(self) -> Mapping[str, tuple[Report, ...]]:
        found = defaultdict[str, list[Report]](list)
        for row in _records(self.world.facts["reports"]):
            if self.world.in_window(row["made_at"]) and present(row["kind"]):
                found[str(row["kind"]).strip()].append(Report(row["report"], row["project"], int(row["made_at"])))
        return {kind: tuple(sorted(rows, key=lambda r: (-r.made_at, r.id))) for kind, rows in found.items()}

    def reports(self, kind: str, project: str | None) -> tuple[Report, ...]:
        """Reports of a kind, newest first: of the project, or all of the organisation (None)."""
        found = self._reports.get(kind, ())
        return found if project is None else tuple(report for report in found if report.project == project)

    @staticmethod
    def newest_by_project(reports: Iterable[Report]) -> tuple[Report, ...]:
        """The first of each project; those of no known project are taken as one."""
        return tuple({report.project: report for report in reversed(tuple(reports))}.values())

    @cached_property
    def _values(self) -> Mapping[Any, Any]:
        frame = self.world.facts["report_values"]
        return frame.groupby("report", sort=False).indices if len(frame) else {}

    def content(self, report: str) -> Content:
        """What a report holds."""
        if report not in self._contents:
            places = self._values.get(report)
            frame = self.world.facts["report_values"]
            self._contents[report] = _content(_records(frame.iloc[places])) if places is not None else _content([])
        return self._contents[report]

    def hidden(self, project: str | None) -> frozenset[str]:
        """Sources whose reports may belong to the project without anybody knowing: their experiments were not read."""
        return frozenset() if project is None else self._hidden

    @cached_property
    def _hidden(self) -> frozenset[str]:
        of_no_project = {source_of(r.id) for rows in self._reports.values() for r in rows if r.project is None}
        statements = self.world.facts.statements
        return frozenset(
            source
            for source in of_no_project & statements.keys()
            if statements[source].stream("experiments").state is Reading.COULD_NOT_LOOK
        )

    # repositories

    @cached_property
    def _repositories(self) -> tuple[Repository, ...]:
        found = []
        for row in _records(self.world.facts["repositories"]):
            read_at = self.read_at(row["repository"]) if row["read_at"] is None else int(row["read_at"])
            commits = None if row["commits"] is None else int(row["commits"])
            if read_at <= self.world.as_of:
                found.append(Repository(row["repository"], str(row["name"] or ""), row["project"], commits, read_at))
        return tuple(sorted(found, key=lambda one: one.id))

    def repositories(self, project: str | None) -> tuple[Repository, ...]:
        """Repositories of the project and those that serve all; every one for the organisation (None)."""
        return tuple(one for one in self._repositories if project is None or one.project in (None, project))

    def read_at(self, key: str) -> int:
        """When the source of an id was read (ms)."""
        statement = self.world.facts.statements.get(source_of(key))
        return statement.finished_at if statement else 0

    @cached_property
    def _files(self) -> Mapping[str, tuple[RepositoryFile, ...]]:
        """Files by repository. An empty one is left out: a name alone does nothing."""
        found = defaultdict[str, list[RepositoryFile]](list)
        for row in _records(self.world.facts["repository_files"]):
            marks = frozenset(mark.strip() for mark in str(row["marks"] or "").split(",") if mark.strip())
            role, size, repository = row["role"] or "other", row["size"], row["repository"]
            if size == 0 and role not in _MAY_BE_EMPTY:
                continue
            small = size is None or size <= LOOKED_INTO
            looked = bool(marks) or (small and not self._noted(repository, _NOT_LOOKED_INTO))
            found[repository].append(RepositoryFile(role, marks, looked))
        return {key: tuple(rows) for key, rows in found.items()}

    def _noted(self, key: str, note: str) -> bool:
        """Whether the source of an id says that it left something out."""
        statement = self.world.facts.statements.get(source_of(key))
        return statement is not None and note in statement.notes

    @cached_property
    def _ci(self) -> tuple[CiRun, ...]:
        found = []
        for row in _records(self.world.facts["ci_runs"]):
            if self.world.in_window(row["at"]):
                coverage = _rate(row["coverage"])
                known = self._known.get(str(row["repository"] or ""))
                status, job = str(row["status"] or "").lower(), str(row["job"] or "")
                found.append((row["ci_run"], CiRun(known, row["project"], job, status, int(row["at"]), coverage)))
        return tuple(run for _, run in sorted(found, key=lambda pair: (-pair[1].at, pair[0])))

    @cached_property
    def _one_of(self) -> Mapping[str, str]:
        """Repository to the one that stands for it: two sources may read the same, which then has the same key."""
        ids = sorted(one.id for one in self._repositories)
        first = {key.partition(":")[2]: key for key in reversed(ids)}
        return {key: first[key.partition(":")[2]] for key in ids}

    @cached_property
    def _known(self) -> Mapping[str, str]:
        """What a CI run or a change may call a repository: its key without the source, or a name that only one has."""
        keys = defaultdict[str, set[str]](set)
        for one in self._repositories:
            for word in {one.id.partition(":")[2], one.name}:
                keys[word].add(self._one_of[one.id])
        return {word: next(iter(ids)) for word, ids in keys.items() if word and len(ids) == 1}

    @cached_property
    def _changes(self) -> Mapping[str, tuple[Change, ...]]:
        """Changes by repository. One that two sources tell of is one change, of the fewest approvals that are known."""
        found = defaultdict[str, dict[str, Change]](dict)
        for row in _records(self.world.facts["change_requests"]):
            if self.world.in_window(row["merged_at"]):
                told = str(row["repository"])
                repository = self._one_of.get(told) or self._known.get(told.partition(":")[2], told)
                key = f"{repository}#{str(row['number']).strip().lstrip('#!')}"
                approvals = [row["approvals"], getattr(found[repository].get(key), "approvals", None)]
                least = min((int(n) for n in approvals if n is not None), default=None)
                found[repository][key] = Change(key, repository, least, int(row["merged_at"]))
        return {key: tuple(sorted(rows.values(), key=lambda c: (-c.at, c.id))) for key, rows in found.items()}

    def changes(self, project: str | None) -> tuple[Change, ...]:
        """Merged change requests of the window in the repositories of the project, or in all (None)."""
        if project is None:
            return tuple(change for _, rows in sorted(self._changes.items()) for change in rows)
        own = dict.fromkeys(self._one_of[one.id] for one in self.repositories(project))
        return tuple(change for key in own for change in self._changes.get(key, ()))

    def view(self, one: Repository, project: str | None) -> View:
        """A repository with its files, CI runs and changes.

        A run of no known repository counts for the project that it names; one that names another project does not.
        """
        key = (one.id, project)
        if key not in self._views:
            self._views[key] = self._viewed(one, project)
        return self._views[key]

    def _viewed(self, one: Repository, project: str | None) -> View:
        def counts(run: CiRun) -> bool:
            if run.repository is None:
                return project is not None and run.project == project
            return run.repository == self._one_of[one.id] and (project is None or run.project in (None, project))

        ci = tuple(run for run in self._ci if counts(run))
        files, changes = self._files.get(one.id, ()), self._changes.get(self._one_of[one.id], ())
        return View(one, files, ci, changes, self.world.as_of, self._noted(one.id, _FILES_CUT), self._without)

    @cached_property
    def _without(self) -> frozenset[str]:
        """Streams that no source has: what they would show is unknown."""
        statements = self.world.facts.statements.values()
        return frozenset(
            stream
            for stream in ("ci", "reviews")
            if all(statement.stream(stream).state is Reading.NOT_SUPPORTED for statement in statements)
        )

    # projects

    def projects(self, *, started: bool) -> tuple[str, ...]:
        """Projects of the organisation; with ``started`` those whose work began in the window."""
        rows = _records(self.world.facts["projects"])
        return tuple(sorted(row["project"] for row in rows if not started or self.world.in_window(row["started_at"])))


def _content(rows: Iterable[Mapping[str, Any]]) -> Content:
    values: dict[str, Cell] = {}
    table: dict[int, dict[str, Cell]] = {}
    cut = False
    for row in rows:
        if row["key"] == CUT:
            cut = True
            continue
        cell = _cell(row)
        into = values if row["row"] is None else table.setdefault(int(row["row"]), {})
        if cell is not None and row["key"]:
            into.setdefault(str(row["key"]), cell)
    return Content(values, tuple(table[n] for n in sorted(table)), cut)


def _cell(row: Mapping[str, Any]) -> Cell | None:
    number = row["number"]
    if number is not None and number == number and abs(number) < float("inf"):
        return Fraction(repr(float(number)))
    return row["text"].strip() or None if isinstance(row["text"], str) else None


def _rate(value: Any) -> Fraction | None:
    """A share from 0 to 1; anything else measures nothing."""
    return Fraction(repr(float(value))) if value is not None and 0 <= value <= 1 else None


def _records(frame: Any) -> list[dict[str, Any]]:
    """Rows as dictionaries, missing values None."""
    if not len(frame):
        return []
    return list(frame.astype(object).where(frame.notna(), None).to_dict("records"))
