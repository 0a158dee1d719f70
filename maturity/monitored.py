"""Named conditions that a system beside the tracking server can show: traces, monitoring and data lineage.

Each takes the ``Populations`` and an id; gives True, False, or None when a source that may know could not be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from maturity.facts import Reading
from maturity.keyed import DAY, present
from maturity.populations import Populations

_QUALITY_DAYS = 60
_WEEK = 7 * DAY


def traced_lately(world: Populations, version: str) -> bool | None:
    """A trace of the last 30 days names the version, or the logged model the version names."""
    if not world.traced.isdisjoint({version, str(world.version_fields["logged_model"].get(version))}):
        return True
    return False if world.read(version, "traces") else _unless_unread(world, "traces")


def drift_watched(world: Populations, week: str) -> bool | None:
    """A monitoring system measured ``drift/<feature or score>`` of the week's version on a day of the week."""
    version, monday = world.weeks[week]
    days = (day for name, day in world.service_days.get(version, ()) if name.startswith("drift/"))
    return any(monday <= day < monday + _WEEK for day in days) or _unless_unread(world, "service_levels")


def quality_watched(world: Populations, version: str) -> bool | None:
    """A monitoring system measured ``live/primary`` or ``live/proxy`` of the version in the last 60 days."""
    since, names = world.as_of - _QUALITY_DAYS * DAY, ("live/primary", "live/proxy")
    days = (day for name, day in world.service_days.get(version, ()) if name in names)
    return any(since <= day for day in days) or _unless_unread(world, "service_levels")


def schema_in_lineage(world: Populations, key: str) -> bool | None:
    """A lineage event gives the schema of the dataset of that name whose version is the input's digest."""
    name, digest = (world.input_rows[key][column] for column in ("name", "digest"))
    known = present(name) and present(digest) and (name.strip(), digest.strip()) in world.described
    return known or _unless_unread(world, "lineage")


def described_inputs(world: Populations) -> Iterable[str]:
    """The inputs ``schema_in_lineage`` can hold for; all of them where a source could not be read."""
    return world.input_rows if world.described or _unless_unread(world, "lineage") is None else ()


def _unless_unread(world: Populations, stream: str) -> bool | None:
    """No; unknown while a source that may have the stream could not be read."""
    states = [statement.stream(stream).state for statement in world.facts.statements.values()]
    return None if Reading.COULD_NOT_LOOK in states else False


HOLDS: Mapping[str, Callable[[Populations, str], bool | None]] = {
    "traced_lately": traced_lately,
    "drift_watched": drift_watched,
    "quality_watched": quality_watched,
    "schema_in_lineage": schema_in_lineage,
}

CANDIDATES: Mapping[str, Callable[[Populations], Iterable[str]]] = {"schema_in_lineage": described_inputs}
"""The things a condition can hold for, or of which it can be unknown."""
