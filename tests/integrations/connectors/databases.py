"""Databases for tests of the connector that reads MLflow's database: one of PostgreSQL's, and a MySQL server.

Takes nothing but a folder; gives an address, ended by the context manager. What is missing skips the test.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.integrations.servers import free_port
from tests.services import absent, missing

POSTGRES = os.environ.get("DLEMM_TEST_POSTGRES", "postgres://postgres@127.0.0.1:5432/postgres")


@dataclass(frozen=True, slots=True)
class Given:
    """A database: its address as MLflow takes it, and ours, with an account that may only read."""

    mlflow: str
    url: str
    reader: str
    password: str
    admin: str = ""


@contextlib.contextmanager
def postgres_database() -> Iterator[Given]:
    """A fresh PostgreSQL database, and a role that may log in and read it."""
    name, password = f"dlemm_test_{secrets.token_hex(6)}", secrets.token_hex(8)
    try:
        admin = psycopg.connect(POSTGRES, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        missing("PostgreSQL")
        raise
    place = POSTGRES.rpartition("/")[0].partition("://")[2]
    with admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        try:
            yield Given(
                f"postgresql+psycopg://{place}/{name}",
                f"postgresql://{place.rpartition('@')[2]}/{name}",
                name,
                password,
                f"postgresql://{place}/{name}",
            )
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
            admin.execute(f"DROP ROLE {name}")


def let_read(given: Given) -> None:
    """Let the reader of a PostgreSQL database read what is there by now."""
    with psycopg.connect(given.admin, autocommit=True) as admin:
        admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {given.reader}")


@contextlib.contextmanager
def mysql_database(folder: Path) -> Iterator[Given]:
    """A MySQL server of our own in a folder, and an account that may only read."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    server, maria = shutil.which("mysqld", path=path), shutil.which("mariadb-install-db", path=path)
    if server is None:
        absent("MySQL")
        raise AssertionError
    if importlib.util.find_spec("pymysql") is None:
        missing("PyMySQL")
    data, port, account = folder / "data", free_port(), pwd.getpwuid(os.getuid()).pw_name
    made = [maria, "--auth-root-authentication-method=normal"] if maria else [server, "--initialize-insecure"]
    rest = [f"--datadir={data}", f"--user={account}"]
    subprocess.run([made[0], "--no-defaults", *made[1:], *rest], check=True, capture_output=True, timeout=120)
    command = [
        server,
        "--no-defaults",
        *rest,
        f"--port={port}",
        "--bind-address=127.0.0.1",
        "--skip-log-bin",
        "--skip-name-resolve",
    ]
    command += [f"--socket={folder}/s", f"--pid-file={folder}/pid"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        _prepared(port, folder)
        root = f"mysql+pymysql://writer:w@127.0.0.1:{port}/mlflow"
        yield Given(root, f"mysql://127.0.0.1:{port}/mlflow", "reader", "r")
    finally:
        process.terminate()
        process.wait(timeout=60)


def _prepared(port: int, folder: Path) -> None:
    pymysql: Any = importlib.import_module("pymysql")

    until = time.monotonic() + 60
    while True:
        try:
            connection = pymysql.connect(unix_socket=f"{folder}/s", user="root")
            break
        except pymysql.err.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
    with connection, connection.cursor() as cursor:
        for statement in (
            "CREATE DATABASE mlflow CHARACTER SET utf8mb4",
            "CREATE USER writer@'%' IDENTIFIED BY 'w'",
            "GRANT ALL ON mlflow.* TO writer@'%'",
            "CREATE USER reader@'%' IDENTIFIED BY 'r'",
            "GRANT SELECT ON mlflow.* TO reader@'%'",
        ):
            cursor.execute(statement)
