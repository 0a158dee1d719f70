"""One collection from an MLflow database: which streams are read in which order, and what becomes of each.

Takes an open database and a sink; writes the rows that the REST connector writes, in the same order. Small tables take
the REST side's way through ``mlflow_rows``; runs and all that hangs on them go by columns, some thousands of runs at a
time. Kept in memory are the ids of the runs in order (about 60 bytes each) and one chunk.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from integrations.connectors import mlflow_sql_columns as columns_of
from integrations.connectors import mlflow_sql_questions as ask
from integrations.connectors.base import Reason, Refused, Sink, gettext_noop
from integrations.connectors.mlflow_rows import (
    HISTORY_TAG,
    Row,
    Rows,
    experiment_rows,
    logged_model,
    models_of_history,
    registered_model_rows,
    version_rows,
)
from integrations.connectors.mlflow_sql_databases import NO_MLFLOW, Database, TooMuch
from maturity.facts import TABLES, Reading, StreamReading

STREAMS = ("experiments", "runs", "logged_models", "artifacts", "registry")
_UNKNOWN_SCHEMA = "this MLflow database has a schema that this version does not know"
_NO_ARTIFACTS = gettext_noop("The database does not hold the lists of artifacts; they are read over the server alone.")
_NO_LOGGED_MODELS = gettext_noop(
    "This database is older than MLflow 3, and no run tells of a model in the way of MLflow 2."
)
_MODEL_STATUS = {1: "LOGGED_MODEL_PENDING", 2: "LOGGED_MODEL_READY", 3: "LOGGED_MODEL_UPLOAD_FAILED"}
_STATUSES = frozenset({"RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"})


def revision_of(database: Database) -> str:
    """The schema's revision. Raises ``Refused`` unless everything that is read is there."""
    seen = database.tables()
    if not {"alembic_version", "experiments", "runs"} <= set(seen):
        raise Refused(Reason.NOT_FOUND, NO_MLFLOW)
    if any(not columns <= seen.get(table, set()) for table, columns in ask.NEEDED.items()):
        raise Refused(Reason.GARBAGE, _UNKNOWN_SCHEMA)
    return ",".join(sorted(str(row["version_num"]) for row in database.rows("SELECT version_num FROM alembic_version")))


class SqlCollection:
    """The state of one collection; ``read`` once, then ask for ``streams``, ``counts`` and ``notes``."""

    def __init__(self, database: Database, sink: Sink, workspace: str, started_at: int) -> None:
        self._database = database
        self._sink = sink
        self._tables = database.tables()
        self._has_logged_models = self._tables.get("logged_models", set()) >= ask.LOGGED_MODEL_COLUMNS
        self._workspace = workspace
        self._started_at = started_at
        self._rows: Counter[str] = Counter()
        self._ended: dict[str, StreamReading] = {}
        self._tagged: list[Row] = []
        self._in_future = 0
        self.counts: Counter[str] = Counter()

    def read(self) -> None:
        """Read every stream."""
        self._stream("experiments", self._read_experiments)
        self._stream("registry", self._read_registry)
        self._stream("runs", self._read_runs)
        self._stream("logged_models", self._read_logged_models)
        self._ended["artifacts"] = StreamReading("artifacts", Reading.NOT_SUPPORTED, 0, _NO_ARTIFACTS)

    def streams(self) -> tuple[StreamReading, ...]:
        """What became of each stream."""
        return tuple(self._ended[stream] for stream in STREAMS)

    def notes(self) -> tuple[str, ...]:
        """Remarks as ``key:count``."""
        found = {"runs_in_future": self._in_future, "logged_models_from_tags": len(self._tagged)}
        return tuple(f"{key}:{count}" for key, count in found.items() if count)

    def _stream(self, name: str, read: Callable[[], None]) -> None:
        try:
            read()
        except Refused as fault:
            self._ended[name] = StreamReading(name, Reading.COULD_NOT_LOOK, 0, str(fault))
        else:
            self._ended.setdefault(name, StreamReading(name, Reading.READ, self._rows[name]))

    def _write(self, table: str, rows: Sequence[Row]) -> None:
        if rows:
            self._sink.write(table, rows)
            self._rows[TABLES[table].stream] += len(rows)

    def _write_all(self, found: Iterable[Rows]) -> None:
        joined: Rows = {}
        for rows_by_table in found:
            for table, rows in rows_by_table.items():
                joined.setdefault(table, []).extend(rows)
        for table, rows in joined.items():
            self._write(table, rows)

    def _asked(self, statement: str) -> str:
        """The statement, kept to our workspace where the database has any. Settings admit only harmless names."""
        mine = f"workspace = '{self._workspace}'" if "workspace" in self._tables["experiments"] else "1 = 1"
        return statement.replace("{mine}", mine)

    def _read_experiments(self) -> None:
        tags = self._grouped(ask.EXPERIMENT_TAGS)
        experiments = self._database.rows(self._asked(ask.EXPERIMENTS))
        found = []
        for row in experiments:
            owned = {"tags": tags[(row["experiment_id"],)], "creation_time": row["creation_time"] or None}
            found.append(experiment_rows({**row, **owned, "experiment_id": str(row["experiment_id"])}))
            self.counts[f"experiments_{found[-1]['experiments'][0]['lifecycle']}"] += 1
        self._write_all(found)
        self.counts["experiments"] = len(found)

    def _read_registry(self) -> None:
        found = self._models()
        self._write_all(found)
        names = {row["name"] for rows in found for row in rows.get("registered_models", ())}
        self.counts["registered_models"] = len(names)
        self._write_all(self._versions(names))

    def _models(self) -> list[Rows]:
        tags = self._grouped(ask.MODEL_TAGS)
        aliases: dict[str, list[Row]] = defaultdict(list)
        for row in self._database.rows(self._asked(ask.ALIASES)):
            aliases[row["name"]].append(row)
        models = self._database.rows(self._asked(ask.MODELS))
        models.sort(key=lambda row: row["name"])
        return [
            registered_model_rows({**row, "tags": tags[(row["name"],)], "aliases": aliases[row["name"]]})
            for row in models
        ]

    def _versions(self, names: set[str]) -> Iterator[Rows]:
        tags = self._grouped(ask.VERSION_TAGS)
        versions = self._database.rows(self._asked(ask.VERSIONS))
        versions.sort(key=lambda row: (row["name"], row["version"]))
        for row in versions:  # versions of prompts have no registered model here
            if row["name"] in names:
                self.counts["versions"] += 1
                yield version_rows({**row, "tags": tags[(row["name"], row["version"])]})

    def _grouped(self, statement: str) -> dict[tuple[Any, ...], list[Row]]:
        grouped: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
        for row in self._database.rows(self._asked(statement)):
            owner = (row["owner"], row["number"]) if "number" in row else (row["owner"],)
            grouped[owner].append({"key": row["key"], "value": row["value"]})
        return grouped

    def _read_logged_models(self) -> None:
        if not self._has_logged_models:
            self._write_tagged_models()
            return
        models = self._database.rows(self._asked(ask.LOGGED_MODELS))
        rows = [
            logged_model(
                {"info": {**row, "status": _MODEL_STATUS.get(row["status"], "LOGGED_MODEL_STATUS_UNSPECIFIED")}}
            )
            for row in models
        ]
        self._write("logged_models", rows)
        self.counts["logged_models"] = len(rows)

    def _write_tagged_models(self) -> None:
        self._tagged.sort(key=lambda row: (-(row["created_at"] or 0), row["model"]))
        self._write("logged_models", self._tagged)
        self.counts["logged_models"] = len(self._tagged)
        state = Reading.READ if self._tagged else Reading.NOT_SUPPORTED
        reason = "" if self._tagged else _NO_LOGGED_MODELS
        self._ended["logged_models"] = StreamReading("logged_models", state, len(self._tagged), reason)

    def _read_runs(self) -> None:
        """Every run, oldest first; the next chunk is fetched while the last one is written."""
        ids = self._run_ids()
        size, done = self._database.runs_at_once, 0
        with ThreadPoolExecutor(1) as fetching:
            waiting: Future[list[dict[str, Any]]] | None = None
            for start in range(0, len(ids) + size, size):
                following = fetching.submit(self._fetched, ids.slice(start, size)) if start < len(ids) else None
                for chunk in waiting.result() if waiting else ():
                    self._write_chunk(chunk)
                    done += len(chunk["ids"])
                    self._sink.progress(done, len(ids), "runs")
                waiting = following
        self._sink.window(None, None)

    def _run_ids(self) -> Any:
        import pyarrow.compute as pc

        found = self._database.columns(self._asked(ask.RUN_IDS), {"run": "text", "start_at": "whole"})
        order = pc.sort_indices(found, sort_keys=[("start_at", "ascending"), ("run", "ascending")])
        return found["run"].combine_chunks().take(order)

    def _fetched(self, ids: Any) -> list[dict[str, Any]]:
        """The tables of some runs; in halves when they are too large."""
        asked = ids.to_pylist()
        try:
            chunk = {
                table: self._database.columns(statement, kinds, asked)
                for table, (statement, kinds) in ask.OF_RUNS.items()
            }
        except TooMuch:
            half = len(ids) // 2
            return self._fetched(ids.slice(0, half)) + self._fetched(ids.slice(half))
        return [{**chunk, "ids": ids}]

    def _write_chunk(self, chunk: Mapping[str, Any]) -> None:
        ids = chunk["ids"]
        tags = columns_of.pairs(chunk["run_tags"], ids)
        runs = columns_of.runs(chunk["runs"], tags, ids)
        self._write_columns("runs", runs)
        self._write_columns("run_params", columns_of.pairs(chunk["run_params"], ids))
        self._write_columns("run_metrics", columns_of.metrics(chunk["run_metrics"], ids))
        self._write_columns("run_tags", tags)
        for table, rows in columns_of.inputs(chunk["run_inputs"], ids).items():
            self._write(table, rows)
        self._count(runs)
        if not self._has_logged_models:
            self._keep_tagged(runs, tags)

    def _write_columns(self, table: str, columns: Any) -> None:
        if len(columns):
            self._sink.write_columns(table, columns)
            self._rows[TABLES[table].stream] += len(columns)

    def _count(self, runs: Any) -> None:
        import pyarrow.compute as pc

        self.counts["runs"] += len(runs)
        for entry in pc.value_counts(runs["status"]).to_pylist():
            status = entry["values"] if entry["values"] in _STATUSES else "other"
            self.counts[f"runs_{status.lower()}"] += entry["counts"]
        self.counts["runs_deleted"] += pc.sum(pc.equal(runs["lifecycle"], "deleted")).as_py() or 0
        self._in_future += pc.sum(pc.greater(runs["start_at"], self._started_at)).as_py() or 0

    def _keep_tagged(self, runs: Any, tags: Any) -> None:
        import pyarrow.compute as pc

        told = {row["run"]: row for row in tags.filter(pc.equal(tags["key"], HISTORY_TAG)).to_pylist()}
        if told:
            for row in runs.filter(pc.is_in(runs["run"], pc.unique(tags["run"]))).to_pylist():
                if row["run"] in told and row["lifecycle"] == "active":
                    self._tagged += [model for model, _ in models_of_history(row, [told[row["run"]]])]
