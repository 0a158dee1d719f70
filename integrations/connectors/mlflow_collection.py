"""One collection from an MLflow server: which streams are read in which order, and what becomes of each.

Takes the questions (``Api``) and a sink; writes rows page by page and keeps only counts, the registry's sources and the
most promising runs. A stream that breaks off ends ``could not look``, never as a smaller success; when the server
itself is out of reach, the streams that are left end with the same reason without asking again.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from integrations.connectors.base import Reason, Refused, Sink, gettext_noop
from integrations.connectors.mlflow_api import Api, Page
from integrations.connectors.mlflow_lookups import Lookups
from integrations.connectors.mlflow_rows import (
    Row,
    Rows,
    experiment_rows,
    has_logged_model,
    logged_model,
    models_of_history,
    registered_model_rows,
    run_rows,
    version_rows,
)
from integrations.connectors.mlflow_runs import OVERLAP, Runs
from integrations.connectors.mlflow_streams import NEWER_STREAMS, Budget, NewerStreams
from maturity.facts import TABLES, Reading, StreamReading

STREAMS = ("experiments", "runs", "logged_models", "artifacts", "registry", "reports", *NEWER_STREAMS)
_WHOLE_SERVER = frozenset(
    {
        Reason.UNREACHABLE,
        Reason.ADDRESS_REFUSED,
        Reason.TLS,
        Reason.UNAUTHORISED,
        Reason.BAD_HOST,
        Reason.LOGIN_PAGE,
        Reason.REDIRECTED,
    }
)
_STATUSES = frozenset({"RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"})
_NO_LOGGED_MODELS = gettext_noop(
    "This server is older than MLflow 3, and no run tells of a model in the way of MLflow 2."
)

_NO_REGISTRY = gettext_noop("This server has no model registry.")


class Collection:
    """The state of one collection; ``read`` once, then ask for ``streams``, ``counts`` and ``notes``."""

    def __init__(
        self,
        api: Api,
        sink: Sink,
        lookups: int,
        started_at: int,
        budget: Budget | None = None,
        *,
        connections: int = 1,
    ) -> None:
        self._api = api
        self._connections = connections
        self._sink = sink
        self._started_at = started_at
        self._rows: Counter[str] = Counter()
        self._ended: dict[str, StreamReading] = {}
        self._lost: Refused | None = None
        self._experiments: list[str] = []
        self._models_in_tags = False
        self._tagged: list[tuple[Row, str]] = []
        self._version_sources: set[str] = set()  # run ids and logged model ids behind registered versions
        self._lookups = Lookups(api, self._write, lookups)
        self._newer = NewerStreams(api, self._write, budget or Budget(), started_at)
        self._promising: list[tuple[int, int, str]] = []  # heap: (rank, start, run id), the least promising first
        self._promising_limit = lookups
        self._in_future = 0
        self._server_ahead: Callable[[], int] = lambda: 0
        self.counts: Counter[str] = Counter()
        self.server_version = ""

    def read(self, server_ahead: Callable[[], int]) -> None:
        """Read every stream; ``server_ahead`` tells the server's clock minus ours (s) once it has answered."""
        self._server_ahead = server_ahead
        self._stream("version", self._version)
        self._stream("experiments", self._read_experiments)
        self._stream("registry", self._read_registry)
        self._stream("logged_models", self._read_logged_models, needs="experiments")
        self._stream("runs", self._read_runs, needs="experiments")
        if self._models_in_tags:
            self._stream("logged_models", self._read_tagged_models, needs="runs")
        self._stream("artifacts", self._read_artifacts, needs="runs")
        self._stream("reports", lambda: None, needs="artifacts")  # they came with the artifacts of runs
        self._stream("traces", lambda: self._read_newer("traces"), needs="experiments")
        self._stream("metric_history", lambda: self._read_newer("metric_history"), needs="runs")
        self._stream("evaluations", lambda: self._read_newer("evaluations"), needs="experiments")

    def streams(self) -> tuple[StreamReading, ...]:
        """What became of each stream."""
        return tuple(self._ended[stream] for stream in STREAMS)

    def notes(self) -> tuple[str, ...]:
        """Remarks as ``key:count``."""
        found = {
            "runs_in_future": self._in_future,
            "logged_models_from_tags": len(self._tagged),
            "artifacts_not_asked": max(0, self.counts["artifact_owners"] - self._lookups.asked),
            "artifacts_unreadable": self._lookups.unreadable,
            "cards_unread": self._lookups.cards_unread,
            **self._newer.notes(),
            "reports_unread": self._lookups.reports.unread,
            "files_not_reports": self._lookups.reports.others,
            "report_values_left_out": self._lookups.reports.cut,
        }
        return tuple(f"{key}:{count}" for key, count in found.items() if count)

    def _stream(self, name: str, read: Callable[[], None], *, needs: str = "") -> None:
        if needs and self._lost is None and self._ended[needs].state is not Reading.READ:
            self._ended[name] = _not_read(name, Refused(Reason.DEPENDS, needs))
            return
        try:
            if self._lost is not None:
                raise self._lost
            read()
        except Refused as fault:
            self._ended[name] = _not_read(name, fault)
            no_mlflow_here = name == "experiments" and fault.reason is Reason.NOT_FOUND
            if fault.reason in _WHOLE_SERVER or no_mlflow_here:
                self._lost = fault
        else:
            self._ended.setdefault(name, StreamReading(name, Reading.READ, self._rows[name]))

    def _write(self, table: str, rows: list[Row]) -> None:
        if rows:
            self._sink.write(table, rows)
            self._rows[TABLES[table].stream] += len(rows)

    def _write_pages(self, pages: Iterable[Page], rows_of: Callable[[Any], Rows], what: str) -> Iterable[Rows]:
        """Write pages as they come, and give what was written of each."""
        done = 0
        for page in pages:
            yield self._write_page(page, rows_of)
            done += len(page)
            self._sink.progress(done, None, what)

    def _write_page(self, page: Page, rows_of: Callable[[Any], Rows]) -> Rows:
        joined: Rows = {}
        for item in page:
            for table, rows in rows_of(item).items():
                joined.setdefault(table, []).extend(rows)
        for table, rows in joined.items():
            self._write(table, rows)
        return joined

    def _version(self) -> None:
        try:
            self.server_version = self._api.version()
        except Refused as fault:
            if fault.reason in _WHOLE_SERVER:
                raise

    def _read_experiments(self) -> None:
        for rows in self._write_pages(self._api.experiments(), experiment_rows, "experiments"):
            for row in rows.get("experiments", []):
                self._experiments.append(row["experiment"])
                self.counts[f"experiments_{row['lifecycle']}"] += 1
        self.counts["experiments"] = len(self._experiments)

    def _read_registry(self) -> None:
        try:
            self._read_models_and_versions()
        except Refused as fault:
            if fault.reason is not Reason.NOT_FOUND or self.counts["versions"]:
                raise
            self._ended["registry"] = StreamReading("registry", Reading.NOT_SUPPORTED, 0, _NO_REGISTRY)

    def _read_models_and_versions(self) -> None:
        names: set[str] = set()
        for rows in self._write_pages(self._api.registered_models(), registered_model_rows, "registered models"):
            names.update(row["name"] for row in rows.get("registered_models", []))
            self._newer.see_registry(rows)

        def known(version: Any) -> Rows:
            rows = version_rows(version)  # versions of prompts have no registered model here
            return rows if rows["model_versions"][0]["name"] in names else {}

        for rows in self._write_pages(self._api.versions(), known, "model versions"):
            self._newer.see_registry(rows)
            for row in rows.get("model_versions", []):
                self._version_sources |= {row["run"], row["logged_model"]} - {None}
                self.counts["versions"] += 1
        self.counts["registered_models"] = len(names)
        self._lookups.reserved = len(self._version_sources)

    def _read_logged_models(self) -> None:
        try:
            for page in self._pages_of_logged_models():
                models = [logged_model(item) for item in page]
                self._write_models([(row, None) for row in models])
        except Refused as fault:
            if fault.reason is not Reason.NOT_FOUND or self.counts["logged_models"]:
                raise
            self._models_in_tags = True

    def _pages_of_logged_models(self) -> Iterable[Page]:
        """All logged models; after an earlier reading those that changed since, and all of new experiments."""
        plan = self._sink.plan
        if plan.since is None or (None, None) in plan.audit:
            yield from self._api.logged_models(self._experiments)
            return
        held = [key for key in self._experiments if key in plan.experiments]
        yield from self._api.logged_models(held, plan.since - OVERLAP - self._skew)
        yield from self._api.logged_models([key for key in self._experiments if key not in plan.experiments])

    @property
    def _skew(self) -> int:
        """By how much the clocks of the server and ours differ (ms)."""
        return abs(self._server_ahead()) * 1000

    def _write_models(self, models: list[tuple[Row, str | None]]) -> None:
        """Write logged models with what their files say, as far as the limit of lookups goes."""
        written = []
        for row, folder in models:
            if row["model"] in self._sink.plan.listed:  # its files are known and do not change
                written.append(row)
                continue
            self.counts["artifact_owners"] += 1
            registered = row["model"] in self._version_sources
            written.append({**row, **self._lookups.model(row, folder, wanted=registered)})
        self._lookups.flush()
        self._write("logged_models", written)
        self.counts["logged_models"] += len(written)
        self._sink.progress(self.counts["logged_models"], None, "logged models")

    def _read_runs(self) -> None:
        def rows_and_rank(run: Any) -> Rows:
            rows = run_rows(run)
            self._rank(rows["runs"][0], has_logged_model(run))
            return rows

        def take(page: Page) -> None:
            rows = self._write_page(page, rows_and_rank)
            for row in rows.get("runs", []):
                self._count_run(row)
            self._newer.see_runs(rows)
            if self._models_in_tags:
                self._keep_tagged(rows)

        reading = Runs(
            self._api.search_runs,
            self._sink,
            take,
            size=self._api.page_size,
            connections=self._connections,
            skew=self._skew,
            counts=self.counts,
        )
        reading.read(self._experiments)

    def _count_run(self, row: Row) -> None:
        self.counts["runs"] += 1
        status = row["status"] if row["status"] in _STATUSES else "other"
        self.counts[f"runs_{status.lower()}"] += 1
        self.counts["runs_deleted"] += row["lifecycle"] == "deleted"
        latest = self._started_at + max(0, self._server_ahead()) * 1000
        self._in_future += row["start_at"] is not None and row["start_at"] > latest

    def _rank(self, row: Row, has_model: bool) -> None:
        """Keep the runs whose artifacts are worth asking for: sources of versions, then those with a model, newest."""
        registered = row["run"] in self._version_sources
        if (row["lifecycle"] != "active" and not registered) or row["run"] in self._sink.plan.listed:
            return
        self.counts["artifact_owners"] += 1
        rank = (2 if registered else int(has_model), row["start_at"] or 0, row["run"])
        if len(self._promising) < self._promising_limit:
            heapq.heappush(self._promising, rank)
        elif self._promising:
            heapq.heappushpop(self._promising, rank)

    def _keep_tagged(self, rows: Rows) -> None:
        tags: dict[str, list[Row]] = {}
        for tag in rows.get("run_tags", []):
            tags.setdefault(tag["run"], []).append(tag)
        for row in rows.get("runs", []):
            if row["lifecycle"] == "active":
                self._tagged += models_of_history(row, tags.get(row["run"], []))

    def _read_tagged_models(self) -> None:
        """Logged models of an MLflow 2 server, from what its clients wrote into run tags."""
        self._tagged.sort(key=lambda pair: (-(pair[0]["created_at"] or 0), pair[0]["model"]))
        for start in range(0, len(self._tagged), 100):
            self._write_models([(row, folder) for row, folder in self._tagged[start : start + 100]])
        state = Reading.READ if self._tagged else Reading.NOT_SUPPORTED
        reason = "" if self._tagged else _NO_LOGGED_MODELS
        self._ended["logged_models"] = StreamReading("logged_models", state, self._rows["logged_models"], reason)

    def _read_newer(self, stream: str) -> None:
        """A stream that an older server does not offer, which is then no fault."""
        reason = self._newer.read(stream, self._experiments, self.server_version)
        if reason:
            self._ended[stream] = StreamReading(stream, Reading.NOT_SUPPORTED, 0, reason)

    def _read_artifacts(self) -> None:
        """Artifact lists of the runs worth asking for; those of logged models came with the models."""
        for rank in sorted(self._promising, reverse=True):
            self._lookups.run(rank[2])
            self._sink.progress(self._lookups.asked, None, "artifacts")
        self._lookups.finish()


def _not_read(stream: str, fault: Refused) -> StreamReading:
    return StreamReading(stream, Reading.COULD_NOT_LOOK, 0, str(fault))
