"""manifest: which stored files make up the facts of a collection, and how fresh each part is.

A collection names its files by hash. Tables that are read whole stand once; tables that come bit by bit stand in
batches, oldest first, and a collection that found little new names the batches of the one before and adds its own.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from assessments.evidence import store
from maturity.batches import GONE, Group
from maturity.facts import TABLES

if TYPE_CHECKING:
    import pyarrow as pa

Entry = Mapping[str, Any]
"""A stored table: ``sha256`` and ``rows``."""

Batch = Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Runs that started in a window [low, high) were read at a time; all in ms, None is open."""

    low: int | None
    high: int | None
    read_at: int

    def holds(self, low: int | None, high: int | None) -> bool:
        """Whether the window given covers this one."""
        return (low is None or (self.low is not None and self.low >= low)) and (
            high is None or (self.high is not None and self.high <= high)
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a collection. ``until`` is the source's time (ms) up to which its runs are held.

    ``resumed_from``: a first reading was interrupted, and artifacts of runs that started before were not looked into.
    """

    tables: Batch = field(default_factory=dict)
    batches: tuple[Batch, ...] = ()
    coverage: tuple[Coverage, ...] = ()
    until: int | None = None
    resumed_from: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "tables": dict(self.tables),
            "batches": [dict(batch) for batch in self.batches],
            "coverage": [[part.low, part.high, part.read_at] for part in self.coverage],
            "until": self.until,
            "resumed_from": self.resumed_from,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Manifest:
        return cls(
            tables=data.get("tables", {}),
            batches=tuple(data.get("batches", ())),
            coverage=tuple(Coverage(*part) for part in data.get("coverage", ())),
            until=data.get("until"),
            resumed_from=data.get("resumed_from"),
        )

    @property
    def all_batches(self) -> tuple[Batch, ...]:
        """Everything as batches, in the order in which they are laid over one another."""
        return (self.tables, *self.batches)

    @property
    def names(self) -> frozenset[str]:
        """The tables that are held."""
        return frozenset(table for batch in self.all_batches for table in batch)

    def only(self, streams: Iterable[str]) -> Manifest:
        """The manifest without the tables of any other stream."""
        wanted = {table for table in TABLES if TABLES[table].stream in set(streams)}
        kept = tuple({name: entry for name, entry in batch.items() if name in wanted} for batch in self.batches)
        return replace(
            self,
            tables={name: entry for name, entry in self.tables.items() if name in wanted},
            batches=tuple(batch for batch in kept if batch),
        )

    def audited(self, read: Sequence[Coverage]) -> Manifest:
        """The manifest after windows were read again."""

        def now(part: Coverage) -> Coverage:
            times = [one.read_at for one in read if part.holds(one.low, one.high)]
            return replace(part, read_at=max([part.read_at, *times]))

        return replace(self, coverage=tuple(now(part) for part in self.coverage))


class Held:
    """The tables of a manifest, read when asked for. Raises ``EvidenceDamaged`` when a file is gone or altered."""

    def __init__(self, organisation_id: int, manifest: Manifest) -> None:
        self._organisation_id = organisation_id
        self.manifest = manifest
        self._owners: dict[str, pa.Table] = {}

    def check(self) -> None:
        """Raise ``EvidenceDamaged`` if any file is gone or altered."""
        for sha256 in {entry["sha256"] for batch in self.manifest.all_batches for entry in batch.values()}:
            store.check(self._organisation_id, sha256)

    def count(self, group: Group) -> int:
        """The rows of a group's tables as last read; what a later batch replaced or found gone does not count."""
        import pyarrow.compute as pc

        known, total = self.owners(group), 0
        for number, batch in enumerate(self.manifest.all_batches):
            if group.anchor not in batch:
                continue
            mine = known.filter(pc.equal(known["batch"], number))[group.owner].combine_chunks()
            entries = [batch[table] for table in group.tables if table in batch]
            if len(mine) == batch[group.anchor]["rows"]:
                total += sum(entry["rows"] for entry in entries)
            elif len(mine):
                total += sum(self._count(entry, group.owner, mine) for entry in entries)
        return total

    def _count(self, entry: Entry, owner: str, ids: pa.Array) -> int:
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        pieces = pq.ParquetFile(store.path_of(self._organisation_id, entry["sha256"])).iter_batches(columns=[owner])
        return sum(pc.sum(pc.is_in(piece[owner], ids)).as_py() or 0 for piece in pieces)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table that is read whole; none when it is not held."""
        import pyarrow.parquet as pq

        if table not in self.manifest.tables:
            return []
        content = store.read_bytes(self._organisation_id, self.manifest.tables[table]["sha256"], "parquet")
        rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(content)).to_pylist()
        return rows

    def column(self, table: str, name: str) -> set[str]:
        """The values of one column of such a table."""
        return {row[name] for row in self.rows(table)}

    def owners(self, group: Group) -> pa.Table:
        """Every owner of a group with the number of the batch that holds its latest reading, gone ones left out.

        Beside them the columns of ``_TELLING``.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if group.anchor not in self._owners:
            pieces = [
                piece.append_column("batch", pa.array([number] * len(piece), pa.int32()))
                for number, piece in self._anchors(group)
            ]
            table = pa.concat_tables(pieces) if pieces else pa.table({group.owner: pa.array([], pa.string())})
            if len(pieces) > 1:
                latest = table.group_by(group.owner).aggregate([("batch", "max")])
                joined = table.join(latest, group.owner)
                table = joined.filter(pc.equal(joined["batch"], joined["batch_max"])).drop_columns(["batch_max"])
            if group.gone and len(table):
                table = table.filter(pc.not_equal(pc.fill_null(table[group.gone], ""), GONE))
            self._owners[group.anchor] = table
        return self._owners[group.anchor]

    def rows_of(self, group: Group, owners: Iterable[str]) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """Owner to table to rows, as last read, for those of the owners that are held."""
        import pyarrow as pa
        import pyarrow.compute as pc

        known = self.owners(group)
        wanted = known.filter(pc.is_in(known[group.owner], pa.array(list(owners), pa.string())))
        found: dict[str, dict[str, list[dict[str, Any]]]] = {}
        if not len(wanted):
            return found
        for number in pc.unique(wanted["batch"]).to_pylist():
            ids = wanted.filter(pc.equal(wanted["batch"], number))[group.owner].to_pylist()
            found |= {one: {table: [] for table in group.tables} for one in ids}
            for table, entry in self.manifest.all_batches[number].items():
                if table in group.tables:
                    for row in self._rows(entry, group.owner, ids):
                        found[row[group.owner]][table].append(row)
        return found

    def _rows(self, entry: Entry, owner: str, ids: list[str]) -> list[dict[str, Any]]:
        import pyarrow.parquet as pq

        path = store.path_of(self._organisation_id, entry["sha256"])
        rows: list[dict[str, Any]] = pq.read_table(path, filters=[(owner, "in", ids)]).to_pylist()
        return rows

    def _anchors(self, group: Group) -> Iterator[tuple[int, pa.Table]]:
        import pyarrow.parquet as pq

        wanted = [group.owner, *([group.gone] if group.gone else []), *_TELLING.get(group.anchor, ())]
        for number, batch in enumerate(self.manifest.all_batches):
            if group.anchor in batch:
                path = store.path_of(self._organisation_id, batch[group.anchor]["sha256"])
                try:
                    yield number, pq.read_table(path, columns=list(dict.fromkeys(wanted)))
                except (OSError, ValueError) as error:
                    raise store.EvidenceDamaged(f"a stored file of {group.anchor} cannot be read") from error


_TELLING: Mapping[str, tuple[str, ...]] = {
    "runs": ("experiment", "start_at", "status"),
    "artifact_listings": ("read",),
}
