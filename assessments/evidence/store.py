"""The evidence store: append-only, content-addressed Parquet files, one folder per organisation.

A table is written to a staging file page by page and then renamed to its SHA-256, so equal content is one file,
a half-written one is never listed, and deleting an organisation is deleting a folder.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

from maturity.facts import TABLES
from maturity.table import Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_ROWS_PER_GROUP = 50_000
LEFT_SECONDS = 86_400


class EvidenceDamaged(Exception):
    """A stored file is missing or does not have the content its name promises."""


def folder(organisation_id: int) -> Path:
    """The folder of one organisation's evidence."""
    return Path(settings.DATA) / "evidence" / str(organisation_id)


def path_of(organisation_id: int, sha256: str, suffix: str = "parquet") -> Path:
    """Where the content with this hash lies."""
    return folder(organisation_id) / f"{sha256}.{suffix}"


class Staging:
    """Rows on their way into the store. ``seal`` gives a manifest; what was not sealed when the block ends is lost.

    Use as a context manager::

        with Staging(organisation_id) as staging:
            staging.write("runs", rows)
            manifest = staging.seal(["runs"])
    """

    def __init__(self, organisation_id: int) -> None:
        self._target = folder(organisation_id)
        self._folder = self._target / f"staging-{secrets.token_hex(8)}"
        self._writers: dict[str, Any] = {}
        self._pending: dict[str, list[Mapping[str, Any]]] = {}
        self._rows: dict[str, int] = {}

    def __enter__(self) -> Staging:
        self._folder.mkdir(parents=True)
        self._sweep()
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers.values():
            writer.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what a killed process left behind a day ago or earlier."""
        for left in self._target.glob("staging-*"):
            if left.is_dir() and time.time() - left.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)

    def write(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows of a fact table."""
        pending = self._pending.setdefault(table, [])
        pending.extend(rows)
        self._rows[table] = self._rows.get(table, 0) + len(rows)
        if len(pending) >= _ROWS_PER_GROUP:
            self._flush(table)

    def write_columns(self, table: str, columns: pa.Table) -> None:
        """Append rows of a fact table that stand in columns."""
        self._flush(table)
        self._rows[table] = self._rows.get(table, 0) + len(columns)
        self._writer(table).write_table(columns.select(list(TABLES[table].names)).cast(schema_of(TABLES[table])))

    def rows(self, table: str) -> int:
        """Rows of a table since it was last sealed."""
        return self._rows.get(table, 0)

    def seal(self, tables: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Move these tables to their content addresses and begin them anew; gives ``{table: {"sha256", "rows"}}``."""
        manifest = {}
        for table in tables:
            self._flush(table)
            self._writers.pop(table).close()
            manifest[table] = {"sha256": self._keep(self._folder / table), "rows": self._rows.pop(table, 0)}
        return manifest

    def discard(self, table: str) -> None:
        """Throw the rows of a table away: its stream broke off."""
        self._pending.pop(table, None)
        self._rows.pop(table, None)
        if writer := self._writers.pop(table, None):
            writer.close()

    def _writer(self, table: str) -> Any:
        import pyarrow.parquet as pq

        if table not in self._writers:
            schema = schema_of(TABLES[table])
            self._writers[table] = pq.ParquetWriter(self._folder / table, schema, compression="zstd")
        return self._writers[table]

    def _flush(self, table: str) -> None:
        import pyarrow as pa

        writer, rows = self._writer(table), self._pending.pop(table, [])
        if rows:
            schema = schema_of(TABLES[table])
            columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))

    def _keep(self, path: Path) -> str:
        sha256 = _hash_of(path)
        os.replace(path, self._target / f"{sha256}.parquet")
        return sha256


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def schema_of(table: Table) -> pa.Schema:
    """The Parquet schema of a stored fact table."""
    import pyarrow as pa

    types = {"id": pa.string(), "text": pa.string(), "number": pa.float64(), "ms": pa.int64(), "count": pa.int64()}
    return pa.schema([(column.name, types.get(column.kind, pa.bool_())) for column in table.columns])


def check(organisation_id: int, sha256: str) -> None:
    """Raise ``EvidenceDamaged`` unless a stored table is there with the content its name promises."""
    path = path_of(organisation_id, sha256)
    if not path.exists() or _hash_of(path) != sha256:
        raise EvidenceDamaged(f"the stored file {sha256[:12]}….parquet is gone or was altered after it was stored")


def read_table(organisation_id: int, table: str, sha256: str) -> pd.DataFrame:
    """A stored table as a typed frame. Raises ``EvidenceDamaged`` if the file is gone or altered."""
    content = read_bytes(organisation_id, sha256, "parquet")
    return TABLES[table].from_parquet(content)


def keep_bytes(organisation_id: int, content: bytes, suffix: str) -> str:
    """Store bytes under their SHA-256, which is returned. Storing the same bytes twice changes nothing."""
    sha256 = hashlib.sha256(content).hexdigest()
    path = path_of(organisation_id, sha256, suffix)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f"staging-{secrets.token_hex(8)}")
        staged.write_bytes(content)
        os.replace(staged, path)
    return sha256


def read_bytes(organisation_id: int, sha256: str, suffix: str) -> bytes:
    """Kept bytes. Raises ``EvidenceDamaged`` if the file is gone or altered."""
    try:
        content = path_of(organisation_id, sha256, suffix).read_bytes()
    except OSError as error:
        raise EvidenceDamaged(f"the stored file {sha256[:12]}….{suffix} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise EvidenceDamaged(f"the stored file {sha256[:12]}….{suffix} was altered after it was stored")
    return content
