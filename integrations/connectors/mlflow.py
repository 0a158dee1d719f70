"""The MLflow connector: settings, a check, a collection, and links into MLflow's own pages.

Takes the settings of one tracking server (2.x or 3.x); gives fact rows and a completeness statement over its REST
interface. The ``mlflow`` package is not used: its client keeps sign-in details process-wide, follows redirects, and
takes a broken answer for an empty one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from integrations.connectors.base import Check, Fields, Refused, Sink
from integrations.connectors.guard import PRIVATE_NETWORKS, AddressRule, Resolve, resolve
from integrations.connectors.headers import extra_headers
from integrations.connectors.http import Client, Limits, Timing
from integrations.connectors.mlflow_api import Api
from integrations.connectors.mlflow_collection import Collection
from integrations.connectors.mlflow_streams import Budget
from integrations.connectors.sign_in import authorization, check_sign_in, goes_openly
from maturity.facts import Statement

COLLECTOR_VERSION = "1"
"""Changes when the same server would give other rows."""


CHECK_SECONDS = 15.0
"""A check answers a person who waits; a collection may be patient."""


@dataclass(frozen=True, slots=True)
class MlflowConfig:
    """Where a tracking server stands and how to ask it. Secrets are left out of ``repr``.

    ``web_url`` is the address people use, if it differs; ``timeout`` seconds per answer; ``page_size`` runs per page;
    ``connections`` the most run searches under way at once;
    ``artifact_lookups`` the most runs and logged models whose files are looked into; ``workspace`` the tenant of a
    server that has tenants; ``traces_per_experiment`` the most traces of one experiment that are looked at one by one;
    ``history_lookups`` the most runs whose metric histories are read; ``requests_per_second`` for servers that count
    them, 0 for no limit; ``extra_headers`` for a proxy in front of the server; ``allow_private`` the own networks
    (CIDR) that may be reached, set by the operator.
    """

    base_url: str
    token: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    ca_path: str = ""
    web_url: str = ""
    workspace: str = ""
    timeout: float = 120.0
    page_size: int = 1000
    connections: int = 2
    artifact_lookups: int = 2000
    traces_per_experiment: int = 5000
    history_lookups: int = 500
    requests_per_second: float = 0.0
    extra_headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    max_bytes: int = 64 * 1024 * 1024
    allow_private: tuple[str, ...] = PRIVATE_NETWORKS

    @property
    def headers(self) -> dict[str, str]:
        """The request headers that say who we are and which workspace is meant."""
        sent = dict(self.extra_headers)
        if self.workspace:
            sent["X-MLFLOW-WORKSPACE"] = self.workspace
        return sent | authorization(self.token, self.username, self.password)

    @property
    def sends_secrets_openly(self) -> bool:
        """Sign-in details go over a connection that is not encrypted, to another machine."""
        return goes_openly(self.base_url) and bool(self.extra_headers or self.token or self.username)


def parse(data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None) -> MlflowConfig:
    """Settings as stored → checked settings. Raises ``ConfigError`` with every fault."""
    fields = Fields(data)
    config = MlflowConfig(
        base_url=fields.url("base_url", required=True),
        token=fields.text("token"),
        username=fields.text("username", longest=200),
        password=fields.text("password"),
        ca_path=fields.text("ca_path"),
        web_url=fields.url("web_url"),
        workspace=fields.text("workspace", longest=100),
        timeout=fields.number("timeout", 120, 0.05, 600),
        page_size=fields.whole("page_size", 1000, 1, 5000),
        connections=fields.whole("connections", 2, 1, 4),
        artifact_lookups=fields.whole("artifact_lookups", 2000, 0, 100_000),
        traces_per_experiment=fields.whole("traces_per_experiment", 5000, 0, 100_000),
        history_lookups=fields.whole("history_lookups", 500, 0, 10_000),
        requests_per_second=fields.number("requests_per_second", 0, 0, 1000),
        extra_headers=extra_headers(fields),
        max_bytes=fields.whole("max_bytes", 64 * 1024 * 1024, 1024, 512 * 1024 * 1024),
        allow_private=PRIVATE_NETWORKS if allow_private is None else tuple(allow_private),
    )
    _check_sign_in(config, fields)
    fields.finish()
    return config


def _check_sign_in(config: MlflowConfig, fields: Fields) -> None:
    authorises = any(name.lower() == "authorization" for name, _ in config.extra_headers)
    if authorises and (config.token or config.username):
        fields.fault("headers", "must not hold Authorization beside a token or a user name")
    check_sign_in(fields, config.token, config.username, config.password, config.ca_path)
    if not config.workspace.isascii():
        fields.fault("workspace", "must be ASCII")


class MlflowConnector:
    """One MLflow server, read over REST. ``timing`` and ``resolver`` are replaced in tests."""

    kind = "mlflow"
    incremental = True
    """What an earlier reading held need not be read again: the plan is followed."""

    def __init__(self, config: MlflowConfig, *, timing: Timing | None = None, resolver: Resolve = resolve) -> None:
        self._config = config
        self._timing = timing or Timing()
        self._resolver = resolver

    def check(self) -> Check:
        """Ask for one experiment, then for the version.

        The version alone proves little: MLflow tells it even to those whose other questions it refuses.
        """
        try:
            with self._client(tries=1, most_seconds=CHECK_SECONDS) as client:
                api = Api(client, self._config.page_size)
                api.first_experiment()
                version = api.version()
        except Refused as fault:
            return Check(False, str(fault))
        return Check(True, "", version)

    def collect(self, sink: Sink) -> Statement:
        """Read everything the server shows, streams in the order experiments, registry, models, runs, artifacts."""
        started = self._now()
        with self._client() as client:
            budget = Budget(self._config.traces_per_experiment, self._config.history_lookups)
            api = Api(client, self._config.page_size)
            collection = Collection(
                api, sink, self._config.artifact_lookups, started, budget, connections=self._config.connections
            )
            collection.read(lambda: client.meter.server_ahead or 0)
            meter = client.meter
        counts = {
            **collection.counts,
            "requests": meter.requests,
            "retries": meter.retries,
            "received_bytes": meter.received_bytes,
        }
        if meter.server_ahead is not None:
            counts["server_clock_ahead_s"] = meter.server_ahead
        return Statement(
            kind=self.kind,
            base_url=self._config.base_url,
            started_at=started,
            finished_at=self._now(),
            streams=collection.streams(),
            server_version=collection.server_version,
            collector_version=f"{self.kind}/{COLLECTOR_VERSION}",
            counts=counts,
            notes=(*collection.notes(), *(("secrets_over_http",) if self._config.sends_secrets_openly else ())),
        )

    def _client(self, tries: int = 6, most_seconds: float = 600) -> Client:
        config = self._config
        return Client(
            config.base_url,
            headers=config.headers,
            rule=AddressRule.of(config.allow_private),
            limits=Limits(
                timeout=min(config.timeout, most_seconds),
                tries=tries,
                max_bytes=config.max_bytes,
                per_second=config.requests_per_second,
            ),
            ca_path=config.ca_path,
            timing=self._timing,
            resolver=self._resolver,
        )

    def _now(self) -> int:
        return int(self._timing.now() * 1000)


def connect(data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None) -> MlflowConnector:
    """The connector for settings as stored. Raises ``ConfigError`` with every fault."""
    return MlflowConnector(parse(data, allow_private=allow_private))


_PAGES = {
    "experiments": "experiments/{id}",
    "runs": "experiments/{experiment}/runs/{id}",
    "logged_models": "experiments/{experiment}/models/{id}",
    "trace_days": "experiments/{experiment}/traces",
    "registered_models": "models/{id}",
    "model_versions": "models/{name}/versions/{number}",
}
_UNITS = {"experiment": "experiments", "run": "runs", "model": "registered_models", "version": "model_versions"}


def link(config: Mapping[str, Any] | MlflowConfig, table: str, row_id: str, *, experiment: str = "") -> str | None:
    """The page of a fact in MLflow's interface, or None; see ``base.link``. Nothing a server sent gets in unquoted."""
    values = config if isinstance(config, Mapping) else {"web_url": config.web_url, "base_url": config.base_url}
    base = str(values.get("web_url") or values.get("base_url") or "").rstrip("/")
    page = _PAGES.get(_UNITS.get(table, table))
    name, _, number = row_id.rpartition("/")
    needed = {"id": row_id, "experiment": experiment, "name": name, "number": number}
    quoted = {key: quote(value, safe="") for key, value in needed.items()}
    if page is None or urlsplit(base).scheme not in ("http", "https"):
        return None
    if any("{" + key + "}" in page and not value for key, value in quoted.items()):
        return None
    return f"{base}/#/{page.format(**quoted)}"
