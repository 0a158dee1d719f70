"""The fact tables: what a source can tell, in one vocabulary for the whole product.

A connector emits rows of these tables; the application keeps them; the indicators measure them. Nothing here
judges. Times are whole milliseconds since 1970-01-01 UTC. An id of a fact is written ``source:id`` once facts of
several sources stand together, so the same id never means two things.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


ORIGIN_TAG = "dlemm.origin"
PROJECT_TAG = "dlemm.project"
PARENT_TAG = "mlflow.parentRunId"

_DTYPES = {"id": "object", "text": "object", "number": "float64", "ms": "Int64", "count": "Int64", "flag": "boolean"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its kind (id, text, number, ms, count, flag) and its meaning in one sentence."""

    name: str
    kind: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Table:
    """One fact table: the stream of a source that fills it, its columns, and its meaning."""

    name: str
    stream: str
    meaning: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def empty(self) -> pd.DataFrame:
        return self.frame([])

    def frame(self, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
        """Rows as a typed frame. A missing key is a missing value; an unknown key is a mistake of the caller."""
        import pandas as pd  # only those who hold facts need it; the pages do not

        rows = list(rows)
        for row in rows:
            if unknown := set(row) - set(self.names):
                raise KeyError(f"{self.name} has no column {sorted(unknown)}")
        return pd.DataFrame(
            {c.name: pd.Series([row.get(c.name) for row in rows], dtype=_DTYPES[c.kind]) for c in self.columns}
        )

    def from_parquet(self, content: bytes) -> pd.DataFrame:
        """A stored table, columns typed and in order. Raises ``ValueError`` if the content is no such table."""
        import pandas as pd

        raw = pd.read_parquet(io.BytesIO(content))
        if missing := set(self.names) - set(raw.columns):
            raise ValueError(f"table {self.name} lacks {sorted(missing)}")
        frame = raw.loc[:, list(self.names)].astype({c.name: _DTYPES[c.kind] for c in self.columns})
        texts = [c.name for c in self.columns if _DTYPES[c.kind] == "object"]
        frame[texts] = frame[texts].where(frame[texts].notna(), None)
        return frame


def _table(name: str, stream: str, meaning: str, *columns: tuple[str, str, str]) -> Table:
    return Table(name, stream, meaning, tuple(Column(*column) for column in columns))


_TABLES = (
    _table(
        "experiments",
        "experiments",
        "Work streams of a tracking server.",
        ("experiment", "id", "experiment id"),
        ("name", "text", "name"),
        ("lifecycle", "text", "active or deleted"),
        ("created_at", "ms", "creation time"),
    ),
    _table(
        "experiment_tags",
        "experiments",
        "Tags of experiments.",
        ("experiment", "id", "experiment id"),
        ("key", "text", "tag name"),
        ("value", "text", "tag value"),
    ),
    _table(
        "runs",
        "runs",
        "One row per run, deleted ones included.",
        ("run", "id", "run id"),
        ("experiment", "id", "experiment id"),
        ("name", "text", "run name"),
        ("status", "text", "RUNNING, SCHEDULED, FINISHED, FAILED or KILLED"),
        ("lifecycle", "text", "active or deleted"),
        ("start_at", "ms", "start time, set by the client"),
        ("end_at", "ms", "end time, missing while running"),
        ("user", "text", "operating-system user as logged"),
    ),
    _table(
        "run_params",
        "runs",
        "Parameters of runs.",
        ("run", "id", "run id"),
        ("key", "text", "parameter name"),
        ("value", "text", "value as logged"),
    ),
    _table(
        "run_metrics",
        "runs",
        "Last value of each metric of a run; NaN and infinities are kept as such.",
        ("run", "id", "run id"),
        ("key", "text", "metric name"),
        ("value", "number", "last value"),
        ("at", "ms", "time of the last value"),
        ("step", "count", "step of the last value"),
    ),
    _table(
        "run_tags",
        "runs",
        "Tags of runs.",
        ("run", "id", "run id"),
        ("key", "text", "tag name"),
        ("value", "text", "tag value"),
    ),
    _table(
        "run_inputs",
        "runs",
        "Datasets that a run declared as inputs.",
        ("run", "id", "run id"),
        ("name", "text", "dataset name"),
        ("digest", "text", "digest as logged"),
        ("source_type", "text", "kind of source, such as code, local, http, s3"),
        ("source", "text", "where the data came from"),
        ("has_schema", "flag", "a non-empty schema was logged"),
        ("context", "text", "tag mlflow.data.context"),
    ),
    _table(
        "run_input_tags",
        "runs",
        "Further tags of dataset inputs.",
        ("run", "id", "run id"),
        ("digest", "text", "digest of the dataset"),
        ("key", "text", "tag name"),
        ("value", "text", "tag value"),
    ),
    _table(
        "logged_models",
        "logged_models",
        "Models logged by runs (MLflow 3, and 2 through the history tag).",
        ("model", "id", "logged model id"),
        ("run", "id", "source run id"),
        ("name", "text", "name"),
        ("status", "text", "READY, PENDING or FAILED"),
        ("created_at", "ms", "creation time"),
        ("flavors", "text", "flavors, comma separated, sorted; missing when MLmodel was not read"),
        ("has_signature", "flag", "signature with inputs and outputs; missing when MLmodel was not read"),
        ("has_example", "flag", "an input example is stored; missing when MLmodel was not read"),
        ("pinned", "flag", "an environment file pins every requirement to an exact version; missing when not read"),
    ),
    _table(
        "artifacts",
        "artifacts",
        "Paths of artifacts (never their content), of runs and logged models.",
        ("owner", "id", "run id or logged model id"),
        ("path", "text", "path inside the owner's artifacts"),
    ),
    _table(
        "artifact_listings",
        "artifacts",
        "Whose artifact list was asked for, and whether it could be read.",
        ("owner", "id", "run id or logged model id"),
        ("read", "flag", "the list was read"),
    ),
    _table(
        "registered_models",
        "registry",
        "Registered models; prompts are left out.",
        ("name", "id", "model name"),
        ("description", "text", "description"),
        ("created_at", "ms", "creation time"),
    ),
    _table(
        "registered_model_tags",
        "registry",
        "Tags of registered models.",
        ("name", "id", "model name"),
        ("key", "text", "tag name"),
        ("value", "text", "tag value"),
    ),
    _table(
        "model_versions",
        "registry",
        "Versions of registered models.",
        ("version", "id", "written name/number"),
        ("name", "id", "model name"),
        ("number", "text", "version number"),
        ("run", "id", "source run id, missing when none is recorded"),
        ("logged_model", "id", "logged model id, missing when none is recorded"),
        ("created_at", "ms", "creation time"),
        ("user", "text", "who created it"),
        ("status", "text", "READY, PENDING_REGISTRATION or FAILED_REGISTRATION"),
        ("stage", "text", "legacy stage: None, Staging, Production or Archived"),
        ("description", "text", "description"),
    ),
    _table(
        "version_tags",
        "registry",
        "Tags of model versions.",
        ("version", "id", "written name/number"),
        ("key", "text", "tag name"),
        ("value", "text", "tag value"),
    ),
    _table(
        "aliases",
        "registry",
        "Aliases as they stood when the registry was read.",
        ("name", "id", "model name"),
        ("alias", "text", "alias"),
        ("version", "id", "written name/number"),
    ),
    _table(
        "alias_sightings",
        "registry",
        "When we first saw an alias on a version; kept by the application.",
        ("name", "id", "model name"),
        ("alias", "text", "alias"),
        ("version", "id", "written name/number"),
        ("after", "ms", "last reading without it, missing when the first reading had it"),
        ("before", "ms", "first reading with it"),
    ),
    _table(
        "projects",
        "projects",
        "Projects of the organisation, kept by the application.",
        ("project", "text", "project key"),
        ("name", "text", "name"),
        ("idea_at", "ms", "when the request was accepted for work"),
        ("started_at", "ms", "when work started"),
        ("experiments", "text", "JSON list of name patterns of its experiments"),
        ("models", "text", "JSON list of name patterns of its registered models"),
    ),
)
TABLES: Mapping[str, Table] = MappingProxyType({table.name: table for table in _TABLES})
"""Every fact table by name."""


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
        return StreamReading(name, Reading.NOT_SUPPORTED, 0, f"this source does not read {name}")

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

    def __getitem__(self, table: str) -> pd.DataFrame:
        return self.tables[table]
