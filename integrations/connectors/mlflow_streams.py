"""The streams that only newer MLflow servers offer: traces, metric histories and evaluation datasets.

Takes the interface, a way to write rows, and what the other streams saw; gives each stream's rows and, where a server
is too old for a stream, says so in a sentence instead of failing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from integrations.connectors.base import Reason, Refused, gettext_noop
from integrations.connectors.mlflow_api import Api
from integrations.connectors.mlflow_datasets import evaluation_datasets
from integrations.connectors.mlflow_histories import Histories
from integrations.connectors.mlflow_rows import Row, Rows
from integrations.connectors.mlflow_trace_counts import Versions
from integrations.connectors.mlflow_traces import Traces

NEWER_STREAMS = ("traces", "metric_history", "evaluations")
_NO_TRACES = gettext_noop("This server is older than MLflow 3, whose traces are the first that can be counted.")
_NO_DATASETS = gettext_noop("This server is older than MLflow 3.4 and holds no evaluation datasets.")
_ASSESSMENTS_SINCE = (3, 2)


@dataclass(frozen=True, slots=True)
class Budget:
    """How much the newer streams may ask: traces paged of one experiment, and runs whose histories are read."""

    traces_per_experiment: int = 5000
    history_lookups: int = 500


class NewerStreams:
    """Gathers what it needs while other streams are read (``see_*``), then reads; ``read`` may raise ``Refused``."""

    def __init__(self, api: Api, write: Callable[[str, list[Row]], None], budget: Budget, now: int) -> None:
        self._api = api
        self._write = write
        self._budget = budget
        self._now = now
        self._histories = Histories(api, write, now=now, limit=budget.history_lookups)
        self._pointed_at: set[str] = set()
        self._versions: list[tuple[bool, int, str, str | None]] = []
        self._found: dict[str, int] = {}

    def see_registry(self, rows: Rows) -> None:
        """Take note of registered models with aliases, and of versions."""
        self._pointed_at.update(row["version"] for row in rows.get("aliases", []))
        for row in rows.get("model_versions", []):
            pointed_at = row["version"] in self._pointed_at or row["stage"] == "Production"
            self._versions.append((pointed_at, row["created_at"] or 0, row["version"], row["logged_model"]))

    def see_runs(self, rows: Rows) -> None:
        """Take note of a page of runs whose metrics may have a history worth asking for."""
        metrics: dict[str, list[Row]] = {}
        for metric in rows.get("run_metrics", []):
            metrics.setdefault(metric["run"], []).append(metric)
        for run in rows.get("runs", []):
            self._histories.offer(run, metrics.get(run["run"], []))

    def read(self, stream: str, experiments: Sequence[str], server_version: str) -> str:
        """Read one stream. Gives the reason why the server does not offer it, or nothing."""
        if stream == "metric_history":
            self._histories.read()
        elif stream == "evaluations":
            return self._unless_missing(lambda: self._read_datasets(experiments), _NO_DATASETS)
        else:
            return self._unless_missing(lambda: self._read_traces(experiments, server_version), _NO_TRACES)
        return ""

    def notes(self) -> dict[str, int]:
        """Remarks for the statement, as counts."""
        return {**self._found, "histories_not_asked": self._histories.not_asked}

    def _unless_missing(self, read: Callable[[], None], sentence: str) -> str:
        try:
            read()
        except Refused as fault:
            if fault.reason is not Reason.NOT_FOUND:
                raise
            return sentence
        return ""

    def _read_datasets(self, experiments: Sequence[str]) -> None:
        for rows in evaluation_datasets(self._api, experiments):
            self._write("evaluation_datasets", rows)

    def _read_traces(self, experiments: Sequence[str], server_version: str) -> None:
        traces = Traces(
            self._api,
            self._write,
            now=self._now,
            limit=self._budget.traces_per_experiment,
            assessments=_shows_assessments(server_version),
        )
        traces.read(experiments, self._important_versions())
        self._found = {"traces_sampled": traces.capped, "traces_not_counted": traces.uncounted}

    def _important_versions(self) -> Versions:
        """Versions that an alias or the production stage points at first, then the newest."""
        return [(version, model) for _, _, version, model in sorted(self._versions, reverse=True, key=lambda v: v[:3])]


def _shows_assessments(server_version: str) -> bool:
    """A server that does not tell its version is a managed one, and these show assessments."""
    parts = server_version.split(".")[:2]
    return not (len(parts) == 2 and all(part.isdigit() for part in parts)) or (
        (int(parts[0]), int(parts[1])) >= _ASSESSMENTS_SINCE
    )
