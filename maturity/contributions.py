"""contributions: what each source is good for, and what would be worth connecting next.

Takes the model, the completeness statement of each source and the outcome of each check; gives which checks each
stream of a source feeds, which it would feed if it could be read, and which practices nobody tells anything about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from maturity.facts import TABLES, Reading, Statement
from maturity.schema import Check, Model
from maturity.scorecard import Outcome, Scorecard

OWN_STREAMS = frozenset({"projects", "history"})
"""Streams that the application keeps itself, so that they are always there."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one check looks at: the streams it cannot do without, and all it uses."""

    check: str
    practice: str
    indicator: str | None
    must: frozenset[str]
    streams: frozenset[str]


@dataclass(frozen=True, slots=True)
class StreamUse:
    """One stream of a source: what became of it, its tables, the checks it feeds, and those it would feed if read."""

    stream: str
    state: Reading
    rows: int
    reason: str
    tables: tuple[str, ...]
    feeds: tuple[Need, ...]
    would_feed: tuple[Need, ...]


@dataclass(frozen=True, slots=True)
class SourceUse:
    """One source with its streams. ``feeds`` and ``would_feed`` name each check once."""

    source: str
    kind: str
    streams: tuple[StreamUse, ...]
    feeds: tuple[Need, ...]
    would_feed: tuple[Need, ...]

    @property
    def practices(self) -> tuple[str, ...]:
        """The practices it tells something about, in order."""
        return tuple(dict.fromkeys(need.practice for need in self.feeds))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A stream that no source gave: the checks that ask for it, and those that lack nothing else."""

    stream: str
    asked: tuple[Need, ...]
    at_once: tuple[Need, ...]


@dataclass(frozen=True, slots=True)
class Contributions:
    """All sources, the practices that machine evidence could tell of and does not, and the streams nobody gave."""

    sources: tuple[SourceUse, ...]
    unfed: tuple[str, ...]
    wanted: tuple[Wanted, ...]


def needs(model: Model) -> tuple[Need, ...]:
    """What every check that a machine can answer looks at, in the model's order."""
    return tuple(
        Need(check.key, practice.id, check.indicator, *streams)
        for practice in model.practices.values()
        for check in practice.checks
        if (streams := _streams(model, check)) is not None
    )


def _streams(model: Model, check: Check) -> tuple[frozenset[str], frozenset[str]] | None:
    if check.measure is not None:
        return frozenset({check.measure.stream}), frozenset({check.measure.stream, *check.measure.also})
    indicator = model.indicators.get(check.indicator or "")
    if indicator is None or indicator.measure is None:
        return None
    return indicator.measure.must - OWN_STREAMS, indicator.measure.streams - OWN_STREAMS


def contributions(model: Model, statements: Mapping[str, Statement]) -> Contributions:
    """What each source contributes. ``statements`` by key of the source."""
    every = needs(model)
    read = {stream.stream for one in statements.values() for stream in one.streams if stream.state is Reading.READ}
    fed = {need.check for need in every if need.must <= read and need.streams & read}
    sources = tuple(_source(key, statements[key], every, read, fed) for key in sorted(statements))
    told = {need.practice for need in every if need.check in fed}
    unfed = tuple(dict.fromkeys(need.practice for need in every if need.practice not in told))
    return Contributions(sources, unfed, _wanted(every, read))


def _source(key: str, statement: Statement, every: Iterable[Need], read: set[str], fed: set[str]) -> SourceUse:
    streams = []
    for one in statement.streams:
        is_read = one.state is Reading.READ
        uses = [need for need in every if one.stream in need.streams]
        feeds = tuple(need for need in uses if is_read and need.check in fed)
        more = tuple(n for n in uses if one.state is Reading.COULD_NOT_LOOK and n.must - read == {one.stream})
        tables = tuple(name for name, table in TABLES.items() if table.stream == one.stream)
        streams.append(StreamUse(one.stream, one.state, one.rows, one.reason, tables, feeds, more))
    return SourceUse(
        key,
        statement.kind,
        tuple(streams),
        _once(need for stream in streams for need in stream.feeds),
        _once(need for stream in streams for need in stream.would_feed),
    )


def _once(found: Iterable[Need]) -> tuple[Need, ...]:
    return tuple(sorted(set(found), key=lambda need: (need.practice, need.check)))


def _wanted(every: Iterable[Need], read: set[str]) -> tuple[Wanted, ...]:
    """Streams that are missing, the most useful first."""
    missing = sorted({stream for need in every for stream in need.must - read})
    found = [
        Wanted(
            stream,
            tuple(need for need in every if stream in need.must),
            tuple(need for need in every if need.must - read == {stream}),
        )
        for stream in missing
    ]
    return tuple(sorted(found, key=lambda one: (-len(one.at_once), -len(one.asked), one.stream)))


def outcomes(scorecard: Scorecard) -> dict[str, str]:
    """The outcome of each check over all projects: not met when it is so anywhere, else met, else why it is unknown."""
    order = [Outcome.NOT_MET, Outcome.MET, Outcome.COULD_NOT_LOOK, Outcome.NOT_SUPPORTED, Outcome.NOT_APPLICABLE]
    found: dict[str, list[Outcome]] = {}
    for _, _, leaf in scorecard.leaves():
        if leaf.outcome is not None:
            found.setdefault(leaf.check, []).append(leaf.outcome)
    return {
        check: next((one for one in order if one in seen), Outcome.NO_EVIDENCE).value
        for check, seen in sorted(found.items())
    }
