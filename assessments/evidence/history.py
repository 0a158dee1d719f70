"""history: what changed between two readings of a source.

Takes rows as they were held and as they are now, with the times of both readings; gives ``Change`` rows. Runs are
compared one by one, the registry and the experiments as wholes. What the source itself told of (a webhook) is not told
a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from assessments.evidence.models import Change, Source

Row = Mapping[str, Any]
Tables = Mapping[str, Sequence[Row]]

_TAGS = {
    "experiment": ("experiment_tags", "experiment"),
    "registered_model": ("registered_model_tags", "name"),
    "model_version": ("version_tags", "version"),
}
_FIELDS = {
    "experiment": ("experiments", "experiment", ("name", "lifecycle")),
    "registered_model": ("registered_models", "name", ("description",)),
    "model_version": ("model_versions", "version", ("stage", "description", "status")),
}
SNAPSHOT_TABLES = frozenset({*(table for table, _ in _TAGS.values()), *(row[0] for row in _FIELDS.values()), "aliases"})
TOLD = ("alias", "model_version", "registered_model")
"""The entities that a source with a webhook tells of itself."""

_AHEAD = timedelta(minutes=5)  # by so much the clock of a source may be ahead of ours
_BATCH = 2000


@dataclass(frozen=True, slots=True)
class Difference:
    """One change, before it has times."""

    entity: str
    ident: str
    field: str
    key: str
    old: str | None
    new: str | None
    since: int | None = None  # the last reading with the old value (ms), where it is not the one compared with


def run_differences(run: str, held: Tables, now: Tables) -> Iterator[Difference]:
    """What changed of one run: tags, and whether it is deleted."""
    yield from _values("run", run, "tag", _pairs(held["run_tags"]), _pairs(now["run_tags"]))
    old, new = ((tables["runs"] or [{}])[0].get("lifecycle") for tables in (held, now))
    if old != new:
        yield Difference("run", run, "lifecycle", "", old, new)


def gone(entity: str, ident: str) -> Difference:
    """Something that was there and is not there any more."""
    return Difference(entity, ident, "existence", "", "present", None)


def snapshot_differences(held: Tables, now: Tables) -> Iterator[Difference]:
    """What changed in the tables that are read whole. Of a table missing on either side nothing is said."""
    for entity, (table, owner, fields) in _FIELDS.items():
        if table in held and table in now:
            yield from _of_entity(entity, owner, fields, held[table], now[table])
    for entity, (table, owner) in _TAGS.items():
        if table in held and table in now:
            before, after = _by(owner, held[table]), _by(owner, now[table])
            for ident in sorted(before.keys() | after.keys()):
                yield from _values(entity, ident, "tag", _pairs(before.get(ident, [])), _pairs(after.get(ident, [])))
    if "aliases" in now:
        yield from _aliases(held.get("aliases", ()), now["aliases"])


def _of_entity(
    entity: str, owner: str, fields: Sequence[str], held: Sequence[Row], now: Sequence[Row]
) -> Iterator[Difference]:
    before, after = ({row[owner]: row for row in rows} for rows in (held, now))
    for ident in sorted(before.keys() - after.keys()):
        yield gone(entity, ident)
    for ident in sorted(before.keys() & after.keys()):
        for field in fields:
            old, new = before[ident].get(field) or "", after[ident].get(field) or ""
            if old != new:
                yield Difference(entity, ident, field, "", old, new)


def _aliases(held: Sequence[Row], now: Sequence[Row]) -> Iterator[Difference]:
    before, after = ({(row["name"], row["alias"]): row["version"] for row in rows} for rows in (held, now))
    for name, alias in sorted(before.keys() | after.keys()):
        old, new = before.get((name, alias)), after.get((name, alias))
        if old != new:
            yield Difference("alias", name, "alias", alias, old, new)


def _values(
    entity: str, ident: str, field: str, held: Mapping[str, str], now: Mapping[str, str]
) -> Iterator[Difference]:
    for key in sorted(held.keys() | now.keys()):
        if held.get(key) != now.get(key):
            yield Difference(entity, ident, field, key, held.get(key), now.get(key))


def _pairs(rows: Iterable[Row]) -> dict[str, str]:
    return {row["key"]: row["value"] for row in rows}


def _by(owner: str, rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[owner], []).append(row)
    return found


def keep(
    source: Source,
    differences: Iterable[Difference],
    *,
    after: datetime | None,
    before: datetime,
    began: datetime | None = None,
) -> None:
    """Keep changes with the interval in which they happened; those already told by the source are left out.

    ``began``: when the reading began that ended at ``before``, for what the source may have told of meanwhile.
    """
    told, later = _told(source, after or began, before, began)
    noted = _noted(source, after)
    waiting: list[Change] = []
    for one in differences:
        thing = (one.entity, one.ident[:600], one.field, one.key[:600])
        old = noted.get(thing, one.old)
        if (*thing, one.new) in told or (thing in noted and old == one.new):
            continue
        # What was told while the reading ran came after what the reading saw of the same thing.
        seen_by = min(before, later[thing] - _MOMENT) if thing in later else before
        waiting.append(
            Change(
                source=source,
                entity=one.entity,
                ident=one.ident[:600],
                field=one.field,
                key=one.key[:600],
                old=old,
                new=one.new,
                after=after if one.since is None else datetime.fromtimestamp(one.since / 1000, tz=UTC),
                before=seen_by,
            )
        )
        if len(waiting) >= _BATCH:
            Change.objects.bulk_create(waiting)
            waiting = []
    Change.objects.bulk_create(waiting)


Thing = tuple[str, str, str, str]
_MOMENT = timedelta(milliseconds=1)


def _noted(source: Source, since: datetime | None) -> dict[Thing, str | None]:
    """What runs were seen to change to by collections after the one compared with: those that were not complete."""
    if since is None:
        return {}
    rows = source.changes.filter(entity="run", before__gt=since).order_by("before", "pk")
    told = rows.values_list("entity", "ident", "field", "key", "new")
    return {(entity, ident, field, key): new for entity, ident, field, key, new in told}


def _told(
    source: Source, since: datetime | None, until: datetime, began: datetime | None
) -> tuple[set[tuple[Any, ...]], dict[Thing, datetime]]:
    """The differences that are no news, and when each thing was first told of since the reading began.

    No news is what was told in the interval, and what the last word on a thing was: the interval alone does not do,
    because the registry is read early in a reading that may take hours, and clocks need not agree.
    """
    if not source.hook_secret and not source.deliveries.exists():
        return set(), {}
    told: set[tuple[Any, ...]] = set()
    last: dict[Thing, tuple[Any, ...] | None] = {}
    first: dict[Thing, datetime] = {}
    rows = source.changes.filter(entity__in=TOLD, before__lte=until + _AHEAD).order_by("before", "pk")
    for entity, ident, field, key, new, lower, upper in rows.values_list(
        "entity", "ident", "field", "key", "new", "after", "before"
    ):
        thing, by_source = (entity, ident, field, key), lower == upper
        last[thing] = (*thing, new) if by_source else None
        if by_source and since is not None and upper > since:
            told.add((*thing, new))
        if by_source and began is not None and upper > began:
            first.setdefault(thing, upper)
    return told | {one for one in last.values() if one}, first
