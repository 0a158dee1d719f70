"""The book: everything one project leaves on record, as plain values, before any of it is published.

Acts write into it; ``publish`` puts it on a tracking server, and documents and records beside it. One thing may refer
to another by ``Ref``, which becomes a run id or ``name/number`` when that is known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from integrations.reference.ladder.calendar import iso


@dataclass(frozen=True, slots=True)
class Ref:
    """The id of a run (``run``) or a version (``version``, written name/number) that stands in the same ladder."""

    kind: Literal["run", "version", "model"]
    key: str
    project: str = ""  # of the same project when empty


Text = str | Ref
_NAME = re.compile(r"[\w./: -]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset as MLflow declares it. ``source`` and ``schema`` may be empty when nobody recorded them."""

    name: str
    digest: str
    source: str = ""
    schema: str = ""  # JSON


@dataclass(slots=True)
class Use:
    """A dataset used by a run, in a context: training, validation, test, eval or monitoring."""

    dataset: Dataset
    context: str
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric; ``at`` in milliseconds."""

    key: str
    value: float
    at: int
    step: int = 0


@dataclass(slots=True)
class Package:
    """A model as it is logged: its files by path, ``MLmodel`` among them, and what can be read off them."""

    files: dict[str, bytes]
    flavors: tuple[str, ...] = ("pytorch",)
    has_signature: bool = False
    has_example: bool = False
    pinned: bool = False


@dataclass(slots=True)
class Run:
    """A run. Times in milliseconds. ``status`` is FINISHED, FAILED or KILLED."""

    key: str
    name: str
    start_at: int
    end_at: int
    parent: str = ""  # key of another run of the book
    status: str = "FINISHED"
    tags: dict[str, Text] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    inputs: list[Use] = field(default_factory=list)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    package: Package | None = None

    def metric(self, key: str, value: float, *, at: int | None = None, step: int = 0) -> None:
        """Log a number, at the end of the run unless told otherwise; ``ValueError`` for a name no server takes."""
        if not _NAME.fullmatch(key):
            raise ValueError(f"{key!r} is no name of a metric")
        self.points.append(Point(key, float(value), self.end_at if at is None else at, step))

    def metrics(self, values: Mapping[str, float], *, at: int | None = None) -> None:
        for key, value in values.items():
            self.metric(key, value, at=at)

    def value(self, key: str) -> float:
        """The last value of a metric; raises ``KeyError`` when it was not logged."""
        for point in reversed(self.points):
            if point.key == key:
                return point.value
        raise KeyError(key)

    def param(self, **values: object) -> None:
        """Log parameters; a double underscore stands for a dot."""
        self.params.update({key.replace("__", "."): str(value) for key, value in values.items()})

    def report(
        self, kind: str, values: Mapping[str, Any] | None = None, rows: list[dict[str, Any]] | None = None
    ) -> None:
        """Add to the report of that kind among the run's artifacts, in the published format (one file a kind)."""
        path = f"reports/{kind}.json"
        known = json.loads(self.artifacts[path]) if path in self.artifacts else {}
        whole = {
            "dlemm_report": "1",
            "kind": kind,
            "made_at": iso(self.end_at),
            "origin": "reference",
            "values": {**known.get("values", {}), **(values or {})},
            "rows": [*known.get("rows", []), *(rows or [])],
        }
        self.artifacts[path] = (json.dumps(whole, indent=1, sort_keys=True) + "\n").encode()


@dataclass(slots=True)
class Version:
    """A registered version: of the package of a run, in the order in which it was registered."""

    key: str
    run: str  # key of its source run
    description: str = ""
    tags: dict[str, Text] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A document a human must show: its practice, the facts it states, and whether a walk-through confirms them.

    The text is the template ``documents/<practice>.md`` filled with the facts. ``evidence`` names the runs (keys of the
    book) whose traces the facts are taken from.
    """

    practice: str
    facts: Mapping[str, Any]
    dated: int  # ms
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiver:
    """A practice or check that cannot apply here, with the reason."""

    on: str
    justification: str


@dataclass(slots=True)
class Book:
    """All of one project (``project`` empty: of the organisation)."""

    project: str
    model: str = ""  # registered model name
    runs: dict[str, Run] = field(default_factory=dict)
    versions: dict[str, Version] = field(default_factory=dict)
    documents: dict[str, Document] = field(default_factory=dict)
    waivers: list[Waiver] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)  # idea_at, started_at (ms)
    incidents: list[dict[str, Any]] = field(default_factory=list)  # rows of the fact table
    comparisons: list[dict[str, Any]] = field(default_factory=list)  # rows of the fact table
    ci_runs: list[dict[str, Any]] = field(default_factory=list)  # rows of the fact table
    common: dict[str, str] = field(default_factory=dict)  # tags of every run

    def run(
        self,
        key: str,
        name: str,
        *,
        start_at: int,
        end_at: int,
        parent: str = "",
        status: str = "FINISHED",
        tags: Mapping[str, Text] | None = None,
    ) -> Run:
        """Open a page for a run; raises ``ValueError`` when the key is taken or the times are the wrong way round."""
        if key in self.runs:
            raise ValueError(f"two runs are called {key}")
        if end_at < start_at:
            raise ValueError(f"run {key} ends before it starts")
        self.runs[key] = Run(key, name, start_at, end_at, parent, status, {**self.common, **(tags or {})})
        return self.runs[key]

    def version(self, key: str, run: str, *, tags: Mapping[str, Text] | None = None) -> Version:
        """Register the package of a run."""
        self.versions[key] = Version(key, run, tags={"dlemm.origin": "reference", **(tags or {})})
        return self.versions[key]

    def document(self, practice: str, *, dated: int, facts: Mapping[str, Any], evidence: tuple[str, ...] = ()) -> None:
        """Keep a document."""
        self.documents[practice] = Document(practice, dict(facts), dated, evidence)

    def waive(self, on: str, justification: str) -> None:
        """Say that a practice (``DG3.2.1``) or a check (``MD3.4.1/1``) cannot apply here."""
        self.waivers.append(Waiver(on, justification))
