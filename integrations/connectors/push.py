"""Facts that others sent: a connector that asks nobody and reads the batches the application accepted.

Takes the stored batches, oldest first, as the application lists them; gives their rows, each fact once, the newest
telling winning. Rows were judged when they came (``rows``); here only damage to the stored files is looked for.
"""

from __future__ import annotations

import gzip
import hashlib
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from integrations.connectors.base import Check, ConfigError, ConfigFault, Fields, Sink, gettext_noop
from integrations.connectors.rows import PUSHED_TABLES, key_of
from maturity.facts import TABLES, Reading, Statement, StreamReading

COLLECTOR_VERSION = "1"
PAGE = 5000
LARGEST_BATCH = 64 * 1024 * 1024  # bytes unpacked; what is accepted is far smaller
NOTHING_YET = gettext_noop("Nothing has been sent to this source yet.")
DAMAGED = gettext_noop("A stored batch is missing or was altered after it was accepted.")


@dataclass(frozen=True, slots=True)
class Batch:
    """One accepted batch: its file (gzip of ``{table: rows}``), the SHA-256 of that file, and its tables."""

    path: Path
    sha256: str
    tables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PushConfig:
    """The accepted batches, oldest first. The application sets them; no person does."""

    batches: tuple[Batch, ...] = ()


def parse(data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None) -> PushConfig:
    """Settings as the application gives them → checked settings. Raises ``ConfigError`` with every fault.

    ``batches``: list of ``{"path", "sha256", "tables"}``. An address, if one was stored, is of no meaning here.
    """
    rest = {name: value for name, value in data.items() if name not in ("batches", "base_url")}
    Fields(rest).finish()
    try:
        batches = tuple(
            Batch(Path(item["path"]), str(item["sha256"]), tuple(item["tables"])) for item in data.get("batches", ())
        )
    except (KeyError, TypeError) as error:
        raise ConfigError([ConfigFault("batches", "is set by the application alone")]) from error
    if any(table not in PUSHED_TABLES for batch in batches for table in batch.tables):
        raise ConfigError([ConfigFault("batches", "names a table that cannot be sent")])
    return PushConfig(batches)


class PushConnector:
    """The batches of one source."""

    kind = "push"

    def __init__(self, config: PushConfig) -> None:
        self._config = config

    def check(self) -> Check:
        """There is nothing to reach: a source that receives always works."""
        return Check(True)

    def collect(self, sink: Sink) -> Statement:
        """Read every batch; a stream one of whose batches is damaged ends ``could not look``."""
        started = _now()
        facts: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
        damaged: set[str] = set()
        for number, batch in enumerate(self._config.batches, 1):
            try:
                for table, rows in _content(batch).items():
                    facts.setdefault(table, {}).update((key_of(table, row), row) for row in rows)
            except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zlib.error):
                damaged.update(TABLES[table].stream for table in batch.tables)
            sink.progress(number, len(self._config.batches), "batches")
        counts = {"batches": len(self._config.batches)}
        return Statement(
            kind=self.kind,
            base_url="",
            started_at=started,
            finished_at=_now(),
            streams=_streams(sink, facts, damaged),
            collector_version=f"{self.kind}/{COLLECTOR_VERSION}",
            counts=counts,
        )


def _streams(
    sink: Sink, facts: Mapping[str, Mapping[tuple[Any, ...], dict[str, Any]]], damaged: set[str]
) -> tuple[StreamReading, ...]:
    """Write the facts and say what became of each stream; damage hides a whole stream, never a part of it."""
    written: dict[str, int] = {}
    for table in sorted(facts):
        stream = TABLES[table].stream
        if stream in damaged:
            continue
        rows = list(facts[table].values())
        for start in range(0, len(rows), PAGE):
            sink.write(table, rows[start : start + PAGE])
        written[stream] = written.get(stream, 0) + len(rows)
    if not written and not damaged:
        streams = sorted({TABLES[table].stream for table in PUSHED_TABLES})
        return tuple(StreamReading(s, Reading.NOT_SUPPORTED, 0, NOTHING_YET) for s in streams)
    read = [StreamReading(stream, Reading.READ, count) for stream, count in written.items()]
    lost = [StreamReading(s, Reading.COULD_NOT_LOOK, 0, f"damaged: {DAMAGED}") for s in sorted(damaged)]
    return (*read, *lost)


def _content(batch: Batch) -> dict[str, list[dict[str, Any]]]:
    packed = batch.path.read_bytes()
    if hashlib.sha256(packed).hexdigest() != batch.sha256:
        raise ValueError("the file was altered")
    unpacker = zlib.decompressobj(wbits=31)
    content = unpacker.decompress(packed, LARGEST_BATCH)
    if not unpacker.eof:
        raise ValueError("the file is larger than any batch")
    tables: dict[str, list[dict[str, Any]]] = orjson.loads(content)
    if set(tables) != set(batch.tables):
        raise ValueError("the file holds other tables")
    return tables


def packed(tables: Mapping[str, Any]) -> tuple[str, bytes]:
    """Checked rows by table → (SHA-256 of the content, the bytes to keep). Equal rows give equal bytes."""
    content = orjson.dumps(tables, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest(), gzip.compress(content, mtime=0)


def _now() -> int:
    return int(time.time() * 1000)


def connect(data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None) -> PushConnector:
    """The connector for settings as the application gives them. Raises ``ConfigError``."""
    return PushConnector(parse(data, allow_private=allow_private))


def link(config: Mapping[str, Any], table: str, row_id: str, *, experiment: str = "") -> str | None:
    """What was sent has no page of its own."""
    return None
