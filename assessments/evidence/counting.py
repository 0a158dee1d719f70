"""counting: what a collection holds, counted.

A connector counts what it read this time; readers want to know what is held in all. Takes the connector's statement and
the files; gives the statement with rows per stream and runs per state of everything held.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from assessments.evidence.manifest import Held
from maturity.batches import GROUP_OF, GROUPS
from maturity.facts import TABLES, Reading, Statement, StreamReading

_STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")


def counted(statement: Statement, held: Held) -> Statement:
    """The statement of what is held."""
    streams = tuple(_counted(stream, held) for stream in statement.streams)
    counts = {**statement.counts, **_runs(held)} if "runs" in held.manifest.names else statement.counts
    return replace(statement, streams=streams, counts=counts)


def still_read(statement: Statement, held: Held | None) -> Statement:
    """The statement of a later reading, in which what is held still counts as read.

    An older server shows by its runs alone that it has logged models; a reading that saw only a few new runs may find
    none of them and must not conclude that the server has no such thing.
    """
    if held is None:
        return statement
    known = {TABLES[group.anchor].stream for group in GROUPS if group.anchor in held.manifest.names}
    return replace(
        statement,
        streams=tuple(
            replace(stream, state=Reading.READ, reason="")
            if stream.state is Reading.NOT_SUPPORTED and stream.stream in known
            else stream
            for stream in statement.streams
        ),
    )


def _counted(stream: StreamReading, held: Held) -> StreamReading:
    if stream.state is not Reading.READ:
        return stream
    whole = sum(
        entry["rows"]
        for table, entry in held.manifest.tables.items()
        if table not in GROUP_OF and TABLES[table].stream == stream.stream
    )
    groups = [group for group in GROUPS if TABLES[group.anchor].stream == stream.stream]
    return replace(stream, rows=whole + sum(held.count(group) for group in groups))


def _runs(held: Held) -> dict[str, int]:
    runs = held.owners(GROUP_OF["runs"])
    states = Counter(status if status in _STATUSES else "other" for status in runs["status"].to_pylist())
    deleted = sum(lifecycle == "deleted" for lifecycle in runs["lifecycle"].to_pylist())
    return {"runs": len(runs), "runs_deleted": deleted, **{f"runs_{key.lower()}": n for key, n in states.items()}}
