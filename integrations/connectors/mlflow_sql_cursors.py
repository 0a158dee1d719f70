"""MLflow's database on SQLite or MySQL, whose drivers give rows as tuples; see ``mlflow_sql_databases``.

Takes a ``Target``; gives an open ``Database`` or raises ``Refused``. A SQLite file is opened read-only, and nothing is
said of a file that is none of MLflow's.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from integrations.connectors.base import Reason, Refused
from integrations.connectors.local_files import inside
from integrations.connectors.mlflow_sql_databases import (
    CONNECT_SECONDS,
    LARGEST_ANSWER,
    NO_MLFLOW,
    Kinds,
    Target,
    TooMuch,
    arrow_types,
    by_table,
    driver,
    file_of,
)


class _Cursors:
    """What the databases have in common whose driver gives rows as tuples."""

    runs_at_once = 5_000
    _rows_at_once = 50_000

    def _cursor(self, statement: str, values: Sequence[Any]) -> Any:
        raise NotImplementedError

    def _asked(self, statement: str, ids: Sequence[str] | None) -> tuple[str, Sequence[Any]]:
        raise NotImplementedError

    def _faults(self) -> contextlib.AbstractContextManager[None]:
        raise NotImplementedError

    def rows(self, statement: str) -> list[dict[str, Any]]:
        with self._faults():
            cursor = self._cursor(statement, ())
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def columns(self, statement: str, kinds: Kinds, ids: Sequence[str] | None = None) -> Any:
        import pyarrow as pa

        types, size, batches = arrow_types(kinds), 0, []
        with self._faults():
            cursor = self._cursor(*self._asked(statement, ids))
            while found := cursor.fetchmany(self._rows_at_once):
                try:
                    columns = [
                        pa.array(values, kind)
                        for values, kind in zip(zip(*found, strict=True), types.values(), strict=True)
                    ]
                except (pa.ArrowException, TypeError, UnicodeError) as error:
                    raise Refused(Reason.GARBAGE, "a value of a kind that MLflow does not store") from error
                batches.append(pa.table(columns, names=list(types)))
                size += batches[-1].nbytes
                if ids is not None and size > LARGEST_ANSWER and len(ids) > 1:
                    raise TooMuch
        empty = pa.table({name: pa.array([], kind) for name, kind in types.items()})
        return pa.concat_tables([empty, *batches]).combine_chunks()


class Sqlite(_Cursors):
    """A file of this machine, in a folder that the operator lets sources read."""

    def __init__(self, target: Target) -> None:
        path = os.path.realpath(file_of(target.url))
        if not inside(path, target.folders):
            raise Refused(Reason.ADDRESS_REFUSED)
        self._connection = self._opened(Path(path))

    @staticmethod
    def _opened(path: Path) -> sqlite3.Connection:
        """One refusal for every file that is none of MLflow's: what else lies here is nobody's business."""
        try:
            if not path.is_file():
                raise sqlite3.OperationalError
            connection = sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro",
                uri=True,
                timeout=CONNECT_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.text_factory = lambda raw: raw.decode(errors="replace")
            connection.execute("PRAGMA query_only = 1")
            connection.execute("PRAGMA trusted_schema = 0")
            connection.execute("BEGIN")
            connection.execute("SELECT version_num FROM alembic_version").fetchall()
        except (sqlite3.Error, OSError, ValueError) as error:
            raise Refused(Reason.NOT_FOUND, NO_MLFLOW) from error
        return connection

    def tables(self) -> dict[str, set[str]]:
        return by_table(
            self.rows(
                "SELECT m.name AS t, p.name AS c FROM sqlite_master m JOIN pragma_table_info(m.name) p"
                " WHERE m.type = 'table'"
            )
        )

    def close(self) -> None:
        self._connection.close()

    def _cursor(self, statement: str, values: Sequence[Any]) -> Any:
        return self._connection.execute(statement, values)

    def _asked(self, statement: str, ids: Sequence[str] | None) -> tuple[str, Sequence[Any]]:
        if ids is None:
            return statement, ()
        return statement.format(ids="IN (SELECT value FROM json_each(?))"), (json.dumps(ids),)

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise Refused(Reason.BUSY if "locked" in str(error) else Reason.SERVER_ERROR) from error
        except sqlite3.DatabaseError as error:
            raise Refused(Reason.GARBAGE, "the file is damaged") from error


class Mysql(_Cursors):
    """A MySQL server."""

    def __init__(self, target: Target) -> None:
        pymysql = driver("pymysql", "PyMySQL")
        self._driver = pymysql
        self._connection = pymysql.connect(
            host=target.host,
            port=target.port,
            user=target.username,
            password=target.password,
            database=target.name,
            charset="utf8mb4",
            read_timeout=target.timeout,
            write_timeout=target.timeout,
            ssl=ssl.create_default_context(cafile=target.ca_path) if target.ca_path else None,
            cursorclass=pymysql.cursors.SSCursor,
            defer_connect=True,
        )
        self._sign_in(_connected(target))
        with self._faults():
            for statement in (
                "SET SESSION sql_mode = 'ANSI_QUOTES'",
                "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
            ):
                self._cursor(statement, ()).fetchall()

    def _sign_in(self, connected: socket.socket) -> None:
        try:
            self._connection.connect(connected)
        except self._driver.err.Error as error:
            by_code = {
                1044: Reason.FORBIDDEN,
                1045: Reason.UNAUTHORISED,
                1049: Reason.NOT_FOUND,
                1040: Reason.BUSY,
                1698: Reason.UNAUTHORISED,
            }
            raise Refused(by_code.get(_code(error), Reason.UNREACHABLE)) from error
        except (ssl.SSLError, RuntimeError) as error:  # RuntimeError: the server wants a way to sign in we lack
            raise Refused(Reason.TLS if isinstance(error, ssl.SSLError) else Reason.UNAUTHORISED) from error

    def tables(self) -> dict[str, set[str]]:
        return by_table(
            self.rows(
                "SELECT table_name AS t, column_name AS c FROM information_schema.columns"
                " WHERE table_schema = DATABASE()"
            )
        )

    def close(self) -> None:
        with contextlib.suppress(self._driver.err.Error):
            self._connection.close()

    def _cursor(self, statement: str, values: Sequence[Any]) -> Any:
        cursor = self._connection.cursor()
        cursor.execute(statement, tuple(values) or None)
        return cursor

    def _asked(self, statement: str, ids: Sequence[str] | None) -> tuple[str, Sequence[Any]]:
        return (statement, ()) if ids is None else (statement.format(ids="IN %s"), (list(ids),))

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except self._driver.err.Error as error:
            code = _code(error)
            by_code = {1142: Reason.FORBIDDEN, 1143: Reason.FORBIDDEN, 2013: Reason.CUT_SHORT, 3024: Reason.TOO_SLOW}
            raise Refused(by_code.get(code, Reason.SERVER_ERROR), f"error {code}") from error


def _code(error: Exception) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def _connected(target: Target) -> socket.socket:
    for address in target.addresses():
        with contextlib.suppress(OSError):
            return socket.create_connection((address, target.port), timeout=CONNECT_SECONDS)
    raise Refused(Reason.UNREACHABLE)
