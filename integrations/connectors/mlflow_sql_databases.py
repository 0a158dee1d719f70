"""The databases MLflow keeps its facts in, behind one small face: open read-only, one snapshot, rows and columns.

Takes an address without secrets, sign-in details and an address rule; gives a ``Database`` whose every answer is of one
moment, or ``Refused``. Drivers are imported when they are needed. Network addresses pass the same guard as HTTP: the
name is resolved once, every address is checked, and the connection goes to a checked address.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from integrations.connectors.base import Reason, Refused
from integrations.connectors.guard import AddressRule, Resolve, resolve

SCHEMES = {"postgresql": 5432, "mysql": 3306, "sqlite": 0}
CONNECT_SECONDS = 10
LARGEST_ANSWER = 256 * 1024 * 1024  # bytes; a question that brings more is asked again in halves
NO_MLFLOW = "this is not an MLflow database"

Kinds = Mapping[str, str]
"""Column → text, whole or number."""


class TooMuch(Exception):
    """One answer is larger than ``LARGEST_ANSWER``; ask for less."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a database stands and who asks. ``timeout`` seconds per question."""

    url: str
    username: str
    password: str = field(repr=False)
    ca_path: str
    timeout: float
    rule: AddressRule
    folders: tuple[str, ...]
    resolver: Resolve = resolve

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme

    @property
    def name(self) -> str:
        """The database's name."""
        return unquote(urlsplit(self.url).path).strip("/")

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or SCHEMES[self.scheme]

    def addresses(self) -> Sequence[str]:
        """The checked numeric addresses. Raises ``Refused``."""
        try:
            found = self.resolver(self.host, self.port)
        except (OSError, UnicodeError) as error:
            raise Refused(Reason.UNREACHABLE) from error
        if not all(self.rule.permits(address) for address in found):
            raise Refused(Reason.ADDRESS_REFUSED)
        return found


def file_of(url: str) -> str:
    """The file that an address ``sqlite:///path`` names."""
    return "/" + unquote(urlsplit(url).path).lstrip("/")


class Database(Protocol):
    """An open database; every method may raise ``Refused``. Statements are written in plain SQL, names in double
    quotes, and ``{ids}`` where the ids asked for belong."""

    runs_at_once: int

    def tables(self) -> dict[str, set[str]]:
        """The columns of every table that this account sees."""
        ...

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """The rows of a small table."""
        ...

    def columns(self, statement: str, kinds: Kinds, ids: Sequence[str] | None = None) -> Any:
        """The rows of a large table as a ``pyarrow.Table``. Raises ``TooMuch``."""
        ...

    def close(self) -> None: ...


def open_database(target: Target) -> Database:
    """Connect and begin the one read-only transaction. Raises ``Refused``."""
    from integrations.connectors.mlflow_sql_cursors import Mysql, Sqlite

    kinds: dict[str, Callable[[Target], Database]] = {"postgresql": _Postgres, "mysql": Mysql, "sqlite": Sqlite}
    return kinds[target.scheme](target)


def driver(module: str, package: str) -> Any:
    """The Python package that speaks to a kind of database. Raises ``Refused`` where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Refused(Reason.DEPENDS, f"install the Python package {package}") from error


def arrow_types(kinds: Kinds) -> dict[str, Any]:
    """The Arrow type of each column."""
    import pyarrow as pa

    types = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64()}
    return {name: types[kind] for name, kind in kinds.items()}


class _Postgres:
    runs_at_once = 20_000

    def __init__(self, target: Target) -> None:
        psycopg = driver("psycopg", "psycopg[binary]")
        settings: dict[str, Any] = {
            "host": target.host,
            "port": target.port,
            "dbname": target.name,
            "user": target.username or None,
            "password": target.password or None,
            "passfile": os.devnull,  # nothing of the account that runs us goes to another's server
            "gssencmode": "disable",
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "dlemm-collector",
            "client_encoding": "utf8",
            **({"sslmode": "verify-full", "sslrootcert": target.ca_path} if target.ca_path else {"sslmode": "prefer"}),
        }
        settings = {key: value for key, value in settings.items() if value is not None}
        fault: Exception = OSError()
        for address in target.addresses():
            try:
                self._connection = psycopg.connect(**settings, hostaddr=address, autocommit=False)
                break
            except psycopg.Error as error:
                fault = error
        else:
            raise _postgres_sign_in(fault) from fault
        with self._faults():
            self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            self._connection.read_only = True
            self._connection.execute("SELECT set_config('statement_timeout', %s, false)", [str(_ms(target.timeout))])

    def tables(self) -> dict[str, set[str]]:
        return by_table(
            self.rows(
                "SELECT table_name AS t, column_name AS c FROM information_schema.columns"
                " WHERE table_schema = ANY(current_schemas(false))"
            )
        )

    def rows(self, statement: str) -> list[dict[str, Any]]:
        with self._faults(), self._connection.cursor() as cursor:
            cursor.execute(_bytes(statement))
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def columns(self, statement: str, kinds: Kinds, ids: Sequence[str] | None = None) -> Any:
        asked = f"COPY ({statement.format(ids='= ANY(%s)')}) TO STDOUT (FORMAT csv)"
        buffer = io.BytesIO()
        with self._faults():  # for many ids the planner would read the whole table again for every chunk
            self._connection.execute("SELECT set_config('enable_seqscan', %s, true)", ["off" if ids else "on"])
        with (
            self._faults(),
            self._connection.cursor() as cursor,
            cursor.copy(_bytes(asked), None if ids is None else [list(ids)]) as copy,
        ):
            for piece in copy:
                buffer.write(piece)
                if ids is not None and buffer.tell() > LARGEST_ANSWER and len(ids) > 1:
                    raise TooMuch
        return _from_csv(buffer.getbuffer(), arrow_types(kinds))

    def close(self) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            raise _postgres_fault(error) from error


def _bytes(statement: str) -> bytes:
    return statement.encode()  # the driver takes literal text or bytes; these statements are ours


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _from_csv(content: Any, types: Mapping[str, Any]) -> Any:
    """What ``COPY`` sent: an empty field is a missing value, an empty text is quoted."""
    import pyarrow as pa
    from pyarrow import csv

    if not len(content):
        return pa.table({name: pa.array([], kind) for name, kind in types.items()})
    return csv.read_csv(
        pa.BufferReader(content),
        csv.ReadOptions(column_names=list(types), block_size=len(content) + 1, use_threads=False),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(
            column_types=dict(types), null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )


def _postgres_sign_in(error: Exception) -> Refused:
    """Why a connection was not made; the library gives no code for it, only the server's sentence."""
    said = str(error)
    if "certificate" in said or "SSL error" in said:
        return Refused(Reason.TLS)
    if "FATAL" not in said:
        return Refused(Reason.UNREACHABLE)
    if "database" in said and "does not exist" in said:
        return Refused(Reason.NOT_FOUND, "no such database")
    if "too many" in said or "starting up" in said or "remaining connection slots" in said:
        return Refused(Reason.BUSY)
    return Refused(Reason.UNAUTHORISED)


def _postgres_fault(error: Any) -> Refused:
    by_code = {"42501": Reason.FORBIDDEN, "57014": Reason.TOO_SLOW, "42P01": Reason.NOT_FOUND}
    code = error.sqlstate or ""
    return Refused(by_code.get(code, Reason.SERVER_ERROR if code else Reason.CUT_SHORT), code and f"SQLSTATE {code}")


def by_table(rows: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Pairs of table ``t`` and column ``c`` → the columns of each table."""
    tables: dict[str, set[str]] = {}
    for row in rows:
        tables.setdefault(row["t"], set()).add(row["c"])
    return tables
