"""The fact tables: what a source can tell, in one vocabulary for the whole product.

A connector emits rows of these tables; the application keeps them; the indicators measure them. Nothing here
judges. Times are whole milliseconds since 1970-01-01 UTC. An id of a fact is written ``source:id`` once facts of
several sources stand together, so the same id never means two things.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from maturity.names import Names
from maturity.other_tables import OTHER_TABLES
from maturity.table import Table
from maturity.tracking_tables import TRACKING_TABLES

if TYPE_CHECKING:
    import pandas as pd


ORIGIN_TAG = "dlemm.origin"
PROJECT_TAG = "dlemm.project"
PARENT_TAG = "mlflow.parentRunId"

TABLES: Mapping[str, Table] = MappingProxyType({table.name: table for table in (*TRACKING_TABLES, *OTHER_TABLES)})
"""Every fact table by name."""


NO_SUCH_STREAM = "This kind of source has no such thing."


class Reading(StrEnum):
    """What became of a stream: it was read, the source has no such thing, or we could not look."""

    READ = "read"
    NOT_SUPPORTED = "not_supported"
    COULD_NOT_LOOK = "could_not_look"


@dataclass(frozen=True, slots=True)
class StreamReading:
    """One stream of one collection: the outcome, the rows, and the reason when it was not read."""

    stream: str
    state: Reading
    rows: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """The completeness statement of one collection: what was read, what was not, and why."""

    kind: str
    base_url: str
    started_at: int
    finished_at: int
    streams: tuple[StreamReading, ...]
    server_version: str = ""
    collector_version: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """True when no stream ended in ``could not look``."""
        return all(stream.state is not Reading.COULD_NOT_LOOK for stream in self.streams)

    def stream(self, name: str) -> StreamReading:
        for stream in self.streams:
            if stream.stream == name:
                return stream
        return StreamReading(name, Reading.NOT_SUPPORTED, 0, NO_SUCH_STREAM)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "base_url": self.base_url,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "server_version": self.server_version,
            "collector_version": self.collector_version,
            "counts": dict(sorted(self.counts.items())),
            "notes": list(self.notes),
            "streams": [
                {"stream": s.stream, "state": s.state.value, "rows": s.rows, "reason": s.reason} for s in self.streams
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Statement:
        streams = tuple(
            StreamReading(s["stream"], Reading(s["state"]), s["rows"], s["reason"]) for s in data["streams"]
        )
        rest = {key: value for key, value in data.items() if key not in ("streams", "notes")}
        return cls(**rest, streams=streams, notes=tuple(data["notes"]))


@dataclass(frozen=True, slots=True)
class Part:
    """The facts of one source as one collection read them: its key, its statement and its tables."""

    source: str
    statement: Statement
    tables: Mapping[str, pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Facts:
    """All facts an assessment looks at: every table, present even when empty, and a statement per source."""

    tables: Mapping[str, pd.DataFrame]
    statements: Mapping[str, Statement]
    names: Names = field(default_factory=Names)

    def __getitem__(self, table: str) -> pd.DataFrame:
        return self.tables[table]
