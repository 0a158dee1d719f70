"""The Prometheus connector: what monitoring measured, one value a day for each query an organisation names.

Takes an address and PromQL queries; gives rows of ``service_levels`` over the HTTP API (Prometheus 2 and 3, and what
speaks like it: Thanos, Mimir, VictoriaMetrics). A query that answers with several series, with partial data or not at
all is never guessed at: the stream ends ``could not look`` and says which query it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any
from urllib.parse import quote

from integrations.connectors.base import SENTENCES, Check, Fields, Reason, Refused, Sink, gettext_noop
from integrations.connectors.guard import PRIVATE_NETWORKS, AddressRule, Resolve, resolve
from integrations.connectors.http import Client, Limits, Timing
from integrations.connectors.sign_in import authorization, check_sign_in, open_notes
from maturity.facts import Reading, Statement, StreamReading

COLLECTOR_VERSION = "1"
STREAM = "service_levels"
DAY = 86_400  # seconds
POINTS = 10_000
"""Days asked for at once; the server refuses more than 11,000 points in a series."""
MOST_QUERIES, LONGEST_QUERY = 200, 10_000
CHECK_SECONDS = 15.0
_UNITS = {"": 1.0, "ratio": 1.0, "s": 1.0, "percent": 0.01, "ms": 0.001}
_QUERY_FIELDS = {"name", "query", "project", "version", "target", "unit"}
_TOO_MUCH = frozenset({Reason.TOO_LARGE, Reason.TOO_SLOW})
_ONE_QUERY = frozenset({Reason.BAD_REQUEST, Reason.GARBAGE, Reason.TOO_LARGE, Reason.TOO_SLOW})

SEVERAL = gettext_noop("The query gives several series; write one that aggregates them, such as avg(…) or sum(…).")
PARTIAL = gettext_noop("The server says that its answer is not complete.")


@dataclass(frozen=True, slots=True)
class Query:
    """One measure: its name, the PromQL for it, what it is about, and the target agreed. ``factor`` turns the
    unit of query and target into that of the fact (a share from 0 to 1, seconds).
    """

    name: str
    query: str
    project: str | None = None
    version: str | None = None
    target: float | None = None
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class PrometheusConfig:
    """Where the server stands, how to sign in, and what to ask. Secrets are left out of ``repr``."""

    base_url: str
    queries: tuple[Query, ...]
    token: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    ca_path: str = ""
    days: int = 180
    timeout: float = 120.0
    max_bytes: int = 16 * 1024 * 1024
    allow_private: tuple[str, ...] = PRIVATE_NETWORKS


def parse(data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None) -> PrometheusConfig:
    """Settings as stored → checked settings. Raises ``ConfigError`` with every fault."""
    fields = Fields({name: value for name, value in data.items() if name != "queries"})
    config = PrometheusConfig(
        base_url=fields.url("base_url", required=True),
        queries=_queries(data.get("queries"), fields),
        token=fields.text("token"),
        username=fields.text("username", longest=200),
        password=fields.text("password"),
        ca_path=fields.text("ca_path"),
        days=fields.whole("days", 180, 1, 36_500),
        timeout=fields.number("timeout", 120, 0.05, 600),
        max_bytes=fields.whole("max_bytes", 16 * 1024 * 1024, 1024, 512 * 1024 * 1024),
        allow_private=PRIVATE_NETWORKS if allow_private is None else tuple(allow_private),
    )
    check_sign_in(fields, config.token, config.username, config.password, config.ca_path)
    fields.finish()
    return config


def _queries(given: Any, fields: Fields) -> tuple[Query, ...]:
    if not isinstance(given, list | tuple) or not 1 <= len(given) <= MOST_QUERIES:
        fields.fault("queries", f"must be a list of 1 to {MOST_QUERIES} queries")
        return ()
    found: dict[tuple[str, str | None, str | None], Query] = {}
    for number, item in enumerate(given, 1):
        message, query = _query(item)
        if query is None:
            fields.fault(f"queries {number}", message)
        elif (query.name, query.project, query.version) in found:
            fields.fault(f"queries {number}", f"{query.name} is asked for twice for the same project and version")
        else:
            found[query.name, query.project, query.version] = query
    return tuple(found.values())


def _query(item: Any) -> tuple[str, Query | None]:
    if not isinstance(item, Mapping) or set(item) - _QUERY_FIELDS:
        return f"must have {', '.join(sorted(_QUERY_FIELDS))} and nothing else", None
    texts = {name: item.get(name) or "" for name in ("name", "query", "project", "version", "unit")}
    if not all(isinstance(value, str) for value in texts.values()):
        return "name, query, project, version and unit must be text", None
    name, query = texts["name"].strip(), texts["query"].strip()
    if not name or not name.isprintable() or len(name) > 200 or not query or len(query) > LONGEST_QUERY:
        return f"needs a name of at most 200 characters and a query of at most {LONGEST_QUERY}", None
    if texts["unit"] not in _UNITS:
        return "unit must be one of ratio, percent, s, ms", None
    if texts["version"] and not all(texts["version"].rpartition("/")[::2]):
        return "version must be written name/number", None
    target = item.get("target")
    if target is not None and (isinstance(target, bool) or not isinstance(target, int | float) or not isfinite(target)):
        return "target must be a number", None
    factor = _UNITS[texts["unit"]]
    return "", Query(
        name,
        query,
        texts["project"].strip() or None,
        texts["version"].strip() or None,
        None if target is None else target * factor,
        factor,
    )


class _Unusable(Exception):
    """A query answered, but with what cannot be used; the sentence says why."""


class PrometheusConnector:
    """One server. ``timing`` and ``resolver`` are replaced in tests."""

    kind = "prometheus"

    def __init__(self, config: PrometheusConfig, *, timing: Timing | None = None, resolver: Resolve = resolve) -> None:
        self._config = config
        self._timing = timing or Timing()
        self._resolver = resolver

    def check(self) -> Check:
        """Ask every query for the last whole day, so that a wrong one is found now and not at night."""
        end = _midnight(self._timing.now())
        try:
            with self._client(tries=1, most_seconds=CHECK_SECONDS) as client:
                version = _version(client)
                for query in self._config.queries:
                    if reason := _Asking(client).fault(query, end, end):
                        return Check(False, reason, version)
        except Refused as fault:
            return Check(False, str(fault))
        return Check(True, "", version)

    def collect(self, sink: Sink) -> Statement:
        """Ask every query for the last whole days, and keep all rows or none."""
        started = int(self._timing.now() * 1000)
        end = _midnight(self._timing.now())
        with self._client() as client:
            asking = _Asking(client)
            stream, version = self._read(asking, sink, end)
            counts = {"queries": len(self._config.queries), "requests": client.meter.requests, **asking.counts}
        return Statement(
            kind=self.kind,
            base_url=self._config.base_url,
            started_at=started,
            finished_at=int(self._timing.now() * 1000),
            streams=(stream,),
            server_version=version,
            collector_version=f"{self.kind}/{COLLECTOR_VERSION}",
            counts=counts,
            notes=(*asking.notes(), *open_notes(self._config.base_url, self._config.token or self._config.username)),
        )

    def _read(self, asking: _Asking, sink: Sink, end: int) -> tuple[StreamReading, str]:
        rows = 0
        reasons: list[str] = []
        try:
            version = _version(asking.client)
            for number, query in enumerate(self._config.queries, 1):
                if reason := asking.fault(query, end - (self._config.days - 1) * DAY, end):
                    reasons.append(reason)
                elif asking.rows:
                    sink.write("service_levels", asking.rows)
                    rows += len(asking.rows)
                sink.progress(number, len(self._config.queries), "queries")
        except Refused as fault:
            return StreamReading(STREAM, Reading.COULD_NOT_LOOK, 0, str(fault)), ""
        if reasons:
            return StreamReading(STREAM, Reading.COULD_NOT_LOOK, 0, reasons[0]), version
        return StreamReading(STREAM, Reading.READ, rows), version

    def _client(self, tries: int = 6, most_seconds: float = 600) -> Client:
        config = self._config
        return Client(
            config.base_url,
            headers=authorization(config.token, config.username, config.password),
            rule=AddressRule.of(config.allow_private),
            limits=Limits(timeout=min(config.timeout, most_seconds), tries=tries, max_bytes=config.max_bytes),
            ca_path=config.ca_path,
            timing=self._timing,
            resolver=self._resolver,
        )


class _Asking:
    """Asks one query after another; ``rows`` holds those of the last one that could be used."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.rows: list[dict[str, Any]] = []
        self.counts = {"values_not_finite": 0}
        self._without_data = 0
        self._refused: list[str] = []
        self._labels: object = None

    def fault(self, query: Query, start: int, end: int) -> str:
        """Fill ``rows`` with one row a day; the reason when the query cannot be used, else empty.

        Raises ``Refused`` when it is the server that cannot be read.
        """
        self.rows, self._labels = [], None
        try:
            for low in range(start, end + 1, POINTS * DAY):
                self._ask(query, low, min(low + (POINTS - 1) * DAY, end))
        except _Unusable as fault:
            reason = f"unusable_query: {fault} ({query.name})"
        except Refused as refused:
            if refused.reason not in _ONE_QUERY:
                raise
            detail = f"{query.name}: {refused.detail}" if refused.detail else query.name
            reason = f"{refused.reason}: {SENTENCES[refused.reason]} ({detail})"
        else:
            self._without_data += not self.rows
            return ""
        self.rows = []
        self._refused.append(query.name)
        return reason

    def notes(self) -> tuple[str, ...]:
        """Remarks as ``key:count``."""
        names = (*(f"query_refused:{name}" for name in self._refused),)
        return (*names, *((f"queries_without_data:{self._without_data}",) if self._without_data else ()))

    def _ask(self, query: Query, start: int, end: int) -> None:
        """Ask for days ``start`` to ``end``; a question that is too much for the server is asked in halves."""
        try:
            answer = self.client.get_json(
                "/api/v1/query_range", {"query": query.query, "start": start, "end": end, "step": DAY}, tries=3
            )
        except Refused as fault:
            too_much = fault.reason in _TOO_MUCH or fault.detail.startswith("status 422")
            if not too_much or start >= end:
                raise
            middle = start + (end - start) // DAY // 2 * DAY
            self._ask(query, start, middle)
            self._ask(query, middle + DAY, end)
            return
        for at, value in self._values(answer):
            if at % DAY or not start <= at <= end:
                raise Refused(Reason.GARBAGE, "a time that was not asked for")
            self._keep(query, int(at), value)

    def _keep(self, query: Query, at: int, value: float) -> None:
        if not isfinite(value):
            self.counts["values_not_finite"] += 1
            return
        self.rows.append(
            {
                "project": query.project,
                "version": query.version,
                "name": query.name,
                "day": (at - DAY) * 1000,
                "value": value * query.factor,
                "target": query.target,
            }
        )

    def _values(self, answer: Mapping[str, Any]) -> list[tuple[float, float]]:
        """The pairs of time and value of the one series. Raises ``_Unusable``, or ``Refused`` for another shape."""
        warnings = answer.get("warnings") or ()
        if any(not str(warning).startswith("PromQL ") for warning in warnings):
            raise _Unusable(PARTIAL)
        series = _series(answer)
        if not series:
            return []
        labels = series[0].get("metric")
        if len(series) > 1 or (self._labels is not None and labels != self._labels):
            raise _Unusable(SEVERAL)
        self._labels = labels
        try:
            return [(float(at), float(text)) for at, text in series[0]["values"]]
        except (KeyError, TypeError, ValueError) as error:
            raise Refused(Reason.GARBAGE, "values of another shape") from error


def _series(answer: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    data = answer.get("data")
    if answer.get("status") != "success" or not isinstance(data, dict) or data.get("resultType") != "matrix":
        raise Refused(Reason.GARBAGE, "not an answer of Prometheus")
    result = data.get("result")
    if not isinstance(result, list) or not all(isinstance(item, dict) for item in result):
        raise Refused(Reason.GARBAGE, "series of another shape")
    return result


def _version(client: Client) -> str:
    """The server's version; empty where it does not tell, which servers that only speak like Prometheus may do."""
    try:
        data = client.get_json("/api/v1/status/buildinfo", tries=1).get("data")
    except Refused as fault:
        if fault.reason in (Reason.NOT_FOUND, Reason.BAD_REQUEST, Reason.FORBIDDEN, Reason.GARBAGE):
            return ""
        raise
    version = data.get("version") if isinstance(data, dict) else ""
    return version[:60] if isinstance(version, str) and version.isprintable() else ""


def _midnight(now: float) -> int:
    """The end of the last whole day, UTC; the value of a day is what the query says at its end."""
    return int(now) // DAY * DAY


def connect(data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None) -> PrometheusConnector:
    """The connector for settings as stored. Raises ``ConfigError`` with every fault."""
    return PrometheusConnector(parse(data, allow_private=allow_private))


def link(config: Mapping[str, Any], table: str, row_id: str, *, experiment: str = "") -> str | None:
    """The graph of a query: ``row_id`` is its name. Only what the settings hold gets into the address."""
    base = str(config.get("base_url") or "").rstrip("/")
    for query in config.get("queries") or ():
        if table == STREAM and query.get("name") == row_id and base.startswith(("http://", "https://")):
            return f"{base}/graph?g0.expr={quote(str(query.get('query')), safe='')}&g0.tab=0&g0.range_input=180d"
    return None
