"""The MLflow connector for those who own its database: the same facts as over REST, many times as fast.

Takes the address and a read-only account of MLflow's PostgreSQL, MySQL or SQLite database; gives fact rows and a
completeness statement. One read-only transaction sees one moment; nothing is ever written. Artifacts do not lie in the
database, so their lists, and what only a model's files tell, stay unknown here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from integrations.connectors import mlflow
from integrations.connectors.base import Check, Fields, Refused, Sink
from integrations.connectors.guard import PRIVATE_NETWORKS, AddressRule, Resolve, resolve
from integrations.connectors.local_files import check_inside
from integrations.connectors.mlflow_sql_collection import STREAMS, SqlCollection, revision_of
from integrations.connectors.mlflow_sql_databases import SCHEMES, Database, Target, file_of, open_database
from maturity.facts import Reading, Statement, StreamReading

COLLECTOR_VERSION = "1"
"""Changes when the same database would give other rows."""

_WORKSPACE = re.compile(r"[A-Za-z0-9._-]+")

CHECK_SECONDS = 15.0
"""A check answers a person who waits."""


@dataclass(frozen=True, slots=True)
class MlflowSqlConfig:
    """Which database, and who asks. Secrets are left out of ``repr``.

    ``base_url`` is ``postgresql://host/database``, ``mysql://host/database`` or ``sqlite:///path``; ``web_url`` the
    address of MLflow's pages, for links; ``workspace`` the tenant of a server that has tenants; ``ca_path`` the
    authority that signed the database's certificate; ``timeout`` seconds per question. ``allow_private`` as for MLflow;
    a SQLite file must lie inside ``folders``, which the operator sets.
    """

    base_url: str
    username: str = ""
    password: str = field(default="", repr=False)
    ca_path: str = ""
    web_url: str = ""
    workspace: str = "default"
    timeout: float = 300.0
    allow_private: tuple[str, ...] = PRIVATE_NETWORKS
    folders: tuple[str, ...] = ()


def parse(
    data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None, folders: Iterable[str] = ()
) -> MlflowSqlConfig:
    """Settings as stored → checked settings. ``folders``: those of this machine that may be read (none by default).

    Raises ``ConfigError`` with every fault.
    """
    fields = Fields(data)
    config = MlflowSqlConfig(
        base_url=fields.text("base_url"),
        username=fields.text("username", longest=200),
        password=fields.text("password"),
        ca_path=fields.text("ca_path"),
        web_url=fields.url("web_url"),
        workspace=fields.text("workspace", longest=100) or "default",
        timeout=fields.number("timeout", 300, 0.05, 3600),
        allow_private=PRIVATE_NETWORKS if allow_private is None else tuple(allow_private),
        folders=tuple(folders),
    )
    if message := _address_fault(config.base_url):
        fields.fault("base_url", message)
    elif config.base_url.startswith("sqlite:"):
        check_inside(fields, "base_url", file_of(config.base_url), config.folders)
    elif not config.username:
        fields.fault("username", "is required; give an account that may only read")
    if config.ca_path and not Path(config.ca_path).is_file():
        fields.fault("ca_path", "is not a file on this machine")
    if not _WORKSPACE.fullmatch(config.workspace):
        fields.fault("workspace", "must be letters, digits, '-', '_' and '.' alone")
    fields.finish()
    return config


def _address_fault(url: str) -> str:
    if not url:
        return "is required"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a valid address"
    local = parts.scheme == "sqlite"
    if parts.scheme not in SCHEMES or bool(parts.hostname) == local or "\\" in url:
        return "must be postgresql://host/database, mysql://host/database or sqlite:///path"
    if parts.username is not None or parts.password is not None:
        return "must not contain sign-in details; use the fields for user name and password"
    if parts.query or parts.fragment or port == 0:
        return "must end before any '?' or '#', and its port must not be 0"
    path = parts.path.strip("/")
    if not path or (not local and "/" in path):
        return "must name the database"
    return ""


class MlflowSqlConnector:
    """One MLflow database. ``now`` and ``resolver`` are replaced in tests."""

    kind = "mlflow-sql"
    incremental = True
    """Everything is read every time, which is quick; what an earlier reading held is not stored again."""

    def __init__(
        self, config: MlflowSqlConfig, *, now: Callable[[], float] = time.time, resolver: Resolve = resolve
    ) -> None:
        self._config = config
        self._now = now
        self._resolver = resolver

    def check(self) -> Check:
        """Sign in and see that everything that is read is there."""
        try:
            database = self._open(CHECK_SECONDS)
            try:
                return Check(True, "", _version(revision_of(database)))
            finally:
                database.close()
        except Refused as fault:
            return Check(False, str(fault))

    def collect(self, sink: Sink) -> Statement:
        """Read everything the database holds, as of one moment; ``sink.plan`` is not needed."""
        started = self._ms()
        try:
            database = self._open(self._config.timeout)
        except Refused as fault:
            return self._lost(started, fault)
        try:
            version = _version(revision_of(database))
            collection = SqlCollection(database, sink, self._config.workspace, started)
            collection.read()
        except Refused as fault:
            return self._lost(started, fault)
        finally:
            database.close()
        return self._statement(started, collection.streams(), version, collection.counts, collection.notes())

    def _lost(self, started: int, fault: Refused) -> Statement:
        streams = tuple(StreamReading(name, Reading.COULD_NOT_LOOK, 0, str(fault)) for name in STREAMS)
        return self._statement(started, streams, "", {}, ())

    def _statement(
        self,
        started: int,
        streams: tuple[StreamReading, ...],
        version: str,
        counts: Mapping[str, int],
        notes: tuple[str, ...],
    ) -> Statement:
        return Statement(
            kind=self.kind,
            base_url=self._config.base_url,
            started_at=started,
            finished_at=self._ms(),
            streams=streams,
            server_version=version,
            collector_version=f"{self.kind}/{COLLECTOR_VERSION}",
            counts=counts,
            notes=notes,
        )

    def _open(self, timeout: float) -> Database:
        config = self._config
        return open_database(
            Target(
                config.base_url,
                config.username,
                config.password,
                config.ca_path,
                min(config.timeout, timeout),
                AddressRule.of(config.allow_private),
                config.folders,
                resolver=self._resolver,
            )
        )

    def _ms(self) -> int:
        return int(self._now() * 1000)


def _version(revision: str) -> str:
    return f"schema {revision}"[:60]


def connect(
    data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None, folders: Iterable[str] = ()
) -> MlflowSqlConnector:
    """The connector for settings as stored. Raises ``ConfigError`` with every fault."""
    return MlflowSqlConnector(parse(data, allow_private=allow_private, folders=folders))


def link(config: Mapping[str, Any], table: str, row_id: str, *, experiment: str = "") -> str | None:
    """The page of a fact in MLflow's interface, if the settings name its address; see ``base.link``."""
    pages = {"web_url": config.get("web_url") or ""}
    return mlflow.link(pages, table, row_id, experiment=experiment)
