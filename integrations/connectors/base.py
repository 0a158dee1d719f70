"""What every connector is: what it takes, what it hands over, and how it says that it could not look.

Takes a kind and its settings; gives a ``Connector`` whose ``collect`` writes fact rows to a ``Sink`` and returns a
completeness statement. The registry loads a connector's module on first use, so unused kinds cost nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType
from typing import Any, Protocol
from urllib.parse import urlsplit

from maturity.facts import Statement

CONNECTORS: Mapping[str, str] = {
    "mlflow": "integrations.connectors.mlflow",
    "mlflow-sql": "integrations.connectors.mlflow_sql",
    "git": "integrations.connectors.git",
    "reports": "integrations.connectors.reports",
    "quality": "integrations.connectors.quality",
    "dvc": "integrations.connectors.dvc",
    "tables": "integrations.connectors.tables",
    "openlineage": "integrations.connectors.openlineage",
    "prometheus": "integrations.connectors.prometheus",
    "push": "integrations.connectors.push",
}
"""Kind → module. A module offers ``parse``, ``connect`` and ``link``; a new connector is one file and one line here."""

FOLDER_KINDS = frozenset({"git", "dvc", "quality", "reports", "openlineage", "tables", "mlflow-sql"})
"""Kinds whose ``connect`` takes ``folders``: those of this machine that the operator lets sources read."""


class Reason(StrEnum):
    """Why a remote system could not be read. A reason in a statement is written ``key: sentence (detail)``."""

    UNREACHABLE = "unreachable"
    ADDRESS_REFUSED = "address_refused"
    TLS = "tls"
    UNAUTHORISED = "unauthorised"
    FORBIDDEN = "forbidden"
    BAD_HOST = "bad_host"
    LOGIN_PAGE = "login_page"
    REDIRECTED = "redirected"
    NOT_FOUND = "not_found"
    BAD_REQUEST = "bad_request"
    BUSY = "busy"
    SERVER_ERROR = "server_error"
    TOO_SLOW = "too_slow"
    CUT_SHORT = "cut_short"
    GARBAGE = "garbage"
    TOO_LARGE = "too_large"
    DEPENDS = "depends"


def gettext_noop(text: str) -> str:
    """Marks a sentence that the application shows, so that its translators find it; gives it back unchanged."""
    return text


SENTENCES: Mapping[Reason, str] = {
    Reason.UNREACHABLE: gettext_noop(
        "The server could not be reached; check the address and that the server is running."
    ),
    Reason.ADDRESS_REFUSED: gettext_noop("The address leads to a network that this installation does not connect to."),
    Reason.TLS: gettext_noop(
        "No secure connection; if the certificate is your own, give the certificate authority that signed it."
    ),
    Reason.UNAUTHORISED: gettext_noop("The server asks who we are and did not accept the sign-in details."),
    Reason.FORBIDDEN: gettext_noop("The account is known to the server but may not read this."),
    Reason.BAD_HOST: gettext_noop(
        "The server refuses its own name: add this host name to --allowed-hosts of the MLflow server."
    ),
    Reason.LOGIN_PAGE: gettext_noop(
        "A login page answered instead of the server; use a token that passes the proxy in front of it."
    ),
    Reason.REDIRECTED: gettext_noop(
        "The address answers with a redirect, which is not followed; enter the final address."
    ),
    Reason.NOT_FOUND: gettext_noop("The address answers, but what we asked for does not exist there."),
    Reason.BAD_REQUEST: gettext_noop("The server did not understand the question."),
    Reason.BUSY: gettext_noop("The server is busy and asked us to come back later."),
    Reason.SERVER_ERROR: gettext_noop("The server reported an internal error."),
    Reason.TOO_SLOW: gettext_noop("The server took too long to answer."),
    Reason.CUT_SHORT: gettext_noop("The connection broke off before the answer was complete."),
    Reason.GARBAGE: gettext_noop("The answer could not be understood."),
    Reason.TOO_LARGE: gettext_noop("The answer was larger than the limit."),
    Reason.DEPENDS: gettext_noop("Something that this needs could not be read."),
}
"""The sentence of each reason, in English: the text that the application translates."""


class Refused(Exception):
    """A remote system could not be read. ``again`` says that asking again may help, ``after`` how long to wait (s)."""

    def __init__(self, reason: Reason, detail: str = "", *, again: bool = False, after: float | None = None) -> None:
        self.reason = reason
        self.detail = detail
        self.again = again
        self.after = after
        super().__init__(f"{reason}: {SENTENCES[reason]}" + (f" ({detail})" if detail else ""))


Window = tuple[int | None, int | None]
"""Start times from, inclusive, to, exclusive (ms); None is open."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the application holds of earlier readings, so that a connector need not read it again.

    ``since``: the server's time (ms) up to which runs and logged models are held, None when nothing is: read all.
    ``experiments``: those visible then; any other is read whole. ``audit``: windows of start times to read again whole.
    ``resume_from``: a first reading broke off, and runs that started before are held. ``listed``: ids of finished runs
    and of logged models whose artifact lists are held. The default holds nothing. Connectors may ignore it.
    """

    since: int | None = None
    experiments: frozenset[str] = frozenset()
    audit: tuple[Window, ...] = ()
    resume_from: int | None = None
    listed: frozenset[str] = frozenset()


class Sink(Protocol):
    """Where a connector puts rows.

    Rows come in pages, in a repeatable order, and count only if their stream ends ``read`` in the statement: those of a
    stream that broke off must be thrown away. ``progress`` is called when everything about the runs written so far has
    been written, never between two tables of one run; it may raise to end the collection.
    """

    @property
    def plan(self) -> Plan: ...

    def write(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None: ...

    def write_columns(self, table: str, columns: Any) -> None:
        """Many rows at once, as a ``pyarrow.Table`` with the table's columns."""
        ...

    def window(self, low: int | None, high: int | None) -> None:
        """Every run that started in the window has been written: what is held of it and did not come is gone."""
        ...

    def progress(self, done: int, total: int | None, what: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Check:
    """The answer to "does this connection work?": the reason when it does not, the server's version when known."""

    ok: bool
    reason: str = ""
    server_version: str = ""


class Connector(Protocol):
    """One remote system. Neither method raises for trouble at the other end."""

    kind: str

    def check(self) -> Check:
        """Ask as little as proves that collecting will work."""
        ...

    def collect(self, sink: Sink) -> Statement:
        """Read everything, hand rows to ``sink``, and say what was read, what was not, and why."""
        ...


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """One thing wrong in a connector's settings: the field and a sentence that never repeats a secret."""

    field: str
    message: str


class ConfigError(ValueError):
    """A connector's settings are wrong; ``faults`` holds every fault found."""

    def __init__(self, faults: Iterable[ConfigFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.field}: {fault.message}" for fault in self.faults))


class Fields:
    """Reads typed values out of a mapping and collects every fault; ``finish`` raises them together."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = dict(data)
        self._faults: list[ConfigFault] = []

    def fault(self, field: str, message: str) -> None:
        self._faults.append(ConfigFault(field, message))

    def text(self, field: str, *, longest: int = 2000) -> str:
        """A text without control characters, spaces around it cut; empty when missing."""
        value = self._data.pop(field, None)
        if value is None:
            return ""
        if not isinstance(value, str):
            self.fault(field, "must be text")
            return ""
        value = value.strip()
        if len(value) > longest or not value.isprintable():
            self.fault(field, f"must be at most {longest} printable characters")
            return ""
        return value

    def url(self, field: str, *, required: bool = False) -> str:
        """An http(s) address without sign-in details, query or fragment; a slash at the end is cut."""
        if required and self._data.get(field) in (None, ""):
            self.fault(field, "is required")
        value = self.text(field)
        if not value:
            return ""
        if message := _url_fault(value):
            self.fault(field, message)
            return ""
        return value.rstrip("/")

    def number(self, field: str, default: float, low: float, high: float) -> float:
        """A number within bounds."""
        value = self._data.pop(field, None)
        if value is None or value == "":
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            self.fault(field, f"must be a number from {low:g} to {high:g}")
            return default
        return float(value)

    def whole(self, field: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds."""
        value = self.number(field, default, low, high)
        if value != int(value):
            self.fault(field, "must be a whole number")
        return int(value)

    def finish(self) -> None:
        """Raise ``ConfigError`` if anything was wrong or a field is unknown."""
        for field in self._data:
            self.fault(str(field)[:60], "is not a setting of this connector")
        if self._faults:
            raise ConfigError(self._faults)


def _url_fault(value: str) -> str:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return "is not a valid address"
    if parts.scheme not in ("http", "https") or not parts.hostname or any(c.isspace() or c == "\\" for c in value):
        return "must start with http:// or https:// and name a host"
    if parts.username is not None or parts.password is not None:
        return "must not contain sign-in details; use the fields for user name and password"
    if parts.query or parts.fragment or port == 0:
        return "must end before any '?' or '#', and its port must not be 0"
    return ""


def _module(kind: str) -> ModuleType:
    if kind not in CONNECTORS:
        raise KeyError(f"no connector of kind {kind!r}; known are {sorted(CONNECTORS)}")
    return importlib.import_module(CONNECTORS[kind])


def connector(
    kind: str, config: Mapping[str, Any], *, allow_private: Iterable[str] | None = None, folders: Iterable[str] = ()
) -> Connector:
    """The connector of ``kind`` for settings as stored. ``allow_private``: CIDRs of own networks that may be
    reached (None: loopback and private ones); ``folders``: those of this machine that may be read, for the kinds that
    read folders. Raises ``ConfigError`` with all faults, ``KeyError`` for a kind unknown.
    """
    module = _module(kind)
    local = {"folders": tuple(folders)} if kind in FOLDER_KINDS else {}
    made: Connector = module.connect(config, allow_private=allow_private, **local)
    return made


def link(kind: str, config: Mapping[str, Any], table: str, row_id: str, *, experiment: str = "") -> str | None:
    """The page of a fact in the remote system's own interface, or None when it has none.

    ``table`` is a fact table (or a finding's unit), ``row_id`` the id without its source, ``experiment`` the
    experiment id where the page needs one. Built from the configured address alone, never from what a server sent.
    """
    found: str | None = _module(kind).link(config, table, row_id, experiment=experiment)
    return found
