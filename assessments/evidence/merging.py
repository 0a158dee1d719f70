"""merging: many small batches made into one, so that a source that is read often does not fall apart into files.

Takes batches that follow one another, oldest first; gives one that says the same when it is laid over what came before
them: the latest reading of every owner, and that some are gone. Without this every collection would list, and every
assessment open, as many files as there ever were readings.
"""

from __future__ import annotations

from collections.abc import Sequence

from assessments.evidence import store
from assessments.evidence.manifest import Batch
from maturity.batches import GROUPS, Group

MOST_SMALL = 50  # small batches at the end of a manifest before they are made into one
_SMALL = 5_000  # owners


def with_few_batches(organisation_id: int, staging: store.Staging, batches: Sequence[Batch]) -> tuple[Batch, ...]:
    """The batches, the small ones at the end made into one if there are more than ``MOST_SMALL``."""
    first = len(batches)
    while first and _is_small(batches[first - 1]):
        first -= 1
    if len(batches) - first <= MOST_SMALL:
        return tuple(batches)
    small = batches[first:]
    groups = [group for group in GROUPS if any(group.anchor in batch for batch in small)]
    for group in groups:
        _merge(organisation_id, staging, group, small)
    return *batches[:first], staging.seal([table for group in groups for table in group.tables])


def _is_small(batch: Batch) -> bool:
    return all(batch[group.anchor]["rows"] < _SMALL for group in GROUPS if group.anchor in batch)


def _merge(organisation_id: int, staging: store.Staging, group: Group, batches: Sequence[Batch]) -> None:
    """Write a group's rows, each owner as the last batch has it; the order of rows stays that of the batches."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    later: set[str] = set()
    kept: dict[str, list[pa.Table]] = {table: [] for table in group.tables}
    for batch in reversed(batches):
        if group.anchor not in batch:
            continue
        read = {
            t: pq.read_table(store.path_of(organisation_id, batch[t]["sha256"])) for t in group.tables if t in batch
        }
        known = pa.array(sorted(later), pa.string())
        for table, rows in read.items():
            kept[table].append(rows.filter(pc.invert(pc.is_in(rows[group.owner], known))))
        later.update(read[group.anchor][group.owner].to_pylist())
    for table, pieces in kept.items():
        for piece in reversed(pieces):
            staging.write_columns(table, piece)
