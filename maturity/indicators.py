"""Measures the indicators of a model over facts: facts in, findings out, the same bytes every time.

``measure_all`` looks at every indicator for each project and for the whole organisation (project None); ``measure`` at
one. No clock, no network: ``as_of`` says what time it is. A finding either has a value, or says which of these it is:
could not look (a stream was not read, or most of the population could not be judged), not supported (no source has
such facts, or nobody says how to measure it), no evidence (nothing to observe), not applicable (the indicator's own
``not_applicable_if_all`` holds for everyone). Members that could not be judged are left out of a share and counted in
``details["unknown"]``; when they are more than half of those asked about, there is no value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from maturity import outcomes
from maturity.backfill import tags_of
from maturity.checks import measure_checks
from maturity.columns import Exact
from maturity.conditions import Judge, Verdict
from maturity.facts import Facts, Reading, Statement
from maturity.functions import FUNCTIONS, Tally, median, share
from maturity.keyed import DAY
from maturity.measures import Condition, How, Measure, Unit
from maturity.other_tables import OTHER_TABLES
from maturity.populations import Populations
from maturity.rolls import Ids, in_order
from maturity.schema import Indicator, Model
from maturity.scorecard import Finding, Outcome
from maturity.values import keys_of

_BASE = ("experiments", "runs", "registry")
_APART = frozenset(table.stream for table in OTHER_TABLES) - {"projects"}
"""Streams that no tracking server has: any source may give them, whether or not it has runs."""
_FUNCTIONS = {**FUNCTIONS, **outcomes.FUNCTIONS}


@dataclass(frozen=True, slots=True)
class _Why:
    """Why there is no value: an outcome, the key of a sentence in ``words``, and its details."""

    outcome: Outcome
    reason: str
    details: Mapping[str, str]


def measure_all(model: Model, facts: Facts, *, as_of: int, projects: Iterable[str]) -> tuple[Finding, ...]:
    """Every indicator for the whole organisation and for each project, ordered by indicator, then project.

    After them the pipeline and repository checks, named by their keys. ``as_of`` is in milliseconds since 1970-01-01.
    """
    judge = Judge(Populations(model, facts, as_of))
    names = sorted(set(projects))
    indicators = tuple(
        _measured(judge, one, project) for _, one in sorted(model.indicators.items()) for project in (None, *names)
    )
    return indicators + measure_checks(judge.world, names)


def measure(model: Model, indicator: Indicator, facts: Facts, *, as_of: int, project: str | None) -> Finding:
    """One indicator for one project, or for the whole organisation (None)."""
    return _measured(Judge(Populations(model, facts, as_of)), indicator, project)


def _measured(judge: Judge, indicator: Indicator, project: str | None) -> Finding:
    world = judge.world
    empty = Finding(indicator.id, project, Outcome.NOT_SUPPORTED, window=(world.since, world.as_of))
    if indicator.measure is None:
        return replace(empty, reason="no_source_yet")
    why = _unreadable(world, indicator.measure, project)
    if why and not _certain(judge, indicator.measure, project, why):
        return replace(empty, outcome=why.outcome, reason=why.reason, details=why.details)
    found = _tally(judge, indicator.measure, project)
    bad = indicator.type == "bound_le" and indicator.measure.how is How.SHARE  # the share of what should not be
    base = replace(empty, read_at=_read_at(world, indicator.measure, project))
    if isinstance(found, _Why):
        return replace(base, outcome=found.outcome, reason=found.reason, details=found.details)
    return replace(
        base,
        outcome=None if found.value is not None else Outcome.NO_EVIDENCE,
        value=found.value,
        n=found.n,
        numerator=found.numerator,
        denominator=found.denominator,
        unit=found.unit,
        passing=found.failing if bad else found.passing,
        failing=found.passing if bad else found.failing,
        reason="" if found.value is not None else "nothing_observed" if found.failing else "empty_population",
        details=_details(world, indicator.measure, project)
        | _back_filled(world, indicator.measure, found, found.failing if bad else found.passing)
        | dict(found.details),
    )


# whether the sources could be read


def _relevant(world: Populations, project: str | None, stream: str) -> list[str]:
    """Sources that matter for a stream: those with runs or versions that count, and those that may hide some."""
    if stream in _APART:
        return _giving(world.facts.statements, stream)
    having = world.sources(project)
    hidden = {
        source
        for source, statement in world.facts.statements.items()
        if any(statement.stream(base).state is Reading.COULD_NOT_LOOK for base in _BASE)
    }
    known = world.facts.statements.keys()
    chosen = sorted((having | hidden) & known)
    return chosen or (sorted(known) if stream in _BASE else [])


def _giving(statements: Mapping[str, Statement], stream: str) -> list[str]:
    """The sources that have a stream; all of them when none has it."""
    states = {source: statement.stream(stream).state for source, statement in statements.items()}
    return sorted(s for s, state in states.items() if state is not Reading.NOT_SUPPORTED) or sorted(states)


def _unreadable(
    world: Populations, measure: Measure, project: str | None, without: frozenset[str] = frozenset()
) -> _Why | None:
    """Why the streams that a measure needs cannot carry it, or None when they can."""
    if not world.facts.statements:
        return _Why(Outcome.COULD_NOT_LOOK, "no_source", {})
    if why := _unassigned(world, measure, project):
        return why
    for stream in sorted(measure.streams - {"projects"} - without):
        sources = _asked(world, measure, project, stream)
        readings = {source: world.facts.statements[source].stream(stream) for source in sources}
        for source, reading in readings.items():
            if reading.state is Reading.COULD_NOT_LOOK:
                details = {"stream": stream, "source": source, "why": reading.reason}
                return _Why(Outcome.COULD_NOT_LOOK, "stream_not_read", details)
        missing = [reading for reading in readings.values() if reading.state is Reading.NOT_SUPPORTED]
        if stream in measure.must and readings and len(missing) == len(readings):
            details = {"stream": stream, "source": ", ".join(sources), "why": missing[0].reason}
            return _Why(Outcome.NOT_SUPPORTED, "stream_not_supported", details)
    return None


def _certain(judge: Judge, measure: Measure, project: str | None, why: _Why) -> bool:
    """Whether a share is sure although a source beside the tracking servers could not be read: everyone passes anyway.

    Such a source is one of two ways to pass, so that one which is down takes nothing from what the other shows.
    """
    apart = (measure.streams - measure.must) & _APART
    if why.details.get("stream") not in apart or measure.how is not How.SHARE:
        return False
    if _unreadable(judge.world, measure, project, without=apart):
        return False
    found = _tally(judge, measure, project)
    return isinstance(found, Tally) and bool(found.passing) and not found.failing and "unknown" not in found.details


def _unassigned(world: Populations, measure: Measure, project: str | None) -> _Why | None:
    """Why nobody knows what belongs to a project: runs and versions may have theirs only through what was not read.

    A version may have its project through its source run, a run through the name of its experiment.
    """
    if (project is None and "projects" not in measure.streams) or measure.streams.isdisjoint(_BASE):
        return None
    for stream, sources in world.unassigned.items():
        if stream == "runs" and "registry" not in measure.streams:
            continue
        for source in sorted(sources & world.facts.statements.keys()):
            reading = world.facts.statements[source].stream(stream)
            if reading.state is Reading.COULD_NOT_LOOK:
                details = {"stream": stream, "source": source, "why": reading.reason}
                return _Why(Outcome.COULD_NOT_LOOK, "stream_not_read", details)
    return None


def _asked(world: Populations, measure: Measure, project: str | None, stream: str) -> list[str]:
    """The sources a stream must be read from. Logged models settle only which runs without a stage are trainings."""
    sources = _relevant(world, project, stream)
    if stream not in measure.asked:
        return [source for source in sources if source in world.untagged_sources]
    return sources


def _read_at(world: Populations, measure: Measure, project: str | None) -> int | None:
    """The oldest end of a reading among the sources that the measure rests on."""
    streams = measure.streams - {"projects"}
    sources = {source for stream in streams for source in _relevant(world, project, stream)}
    sources = {
        s for s in sources if any(world.facts.statements[s].stream(name).state is Reading.READ for name in streams)
    }
    return min((world.facts.statements[source].finished_at for source in sources), default=None)


# measuring


def _tally(judge: Judge, measure: Measure, project: str | None) -> Tally | _Why:
    if measure.how is How.FUNCTION or measure.population is None:
        return _FUNCTIONS[measure.function](judge.world, project)
    unit, members = measure.population.unit, judge.world.ids_of(measure.population.name, project)
    none_of_it = measure.not_applicable_if_all
    if none_of_it is not None and members and not members - judge.verdict(unit, none_of_it).yes:
        return _Why(Outcome.NOT_APPLICABLE, "not_applicable", {"population": measure.population.name})
    where = judge.verdict(unit, measure.where) if measure.where else Verdict(members)
    chosen, unsure = members & where.yes, members & where.unknown
    if measure.condition is not None:
        return _counted(judge, measure, unit, measure.condition, chosen, len(unsure))
    return _aggregated(judge, measure, unit, chosen)


def _counted(
    judge: Judge, measure: Measure, unit: Unit, condition: Condition, chosen: AbstractSet[str], unsure: int
) -> Tally | _Why:
    verdict = judge.verdict(unit, condition)
    passing = in_order(chosen & verdict.yes)
    unknown = len(chosen & verdict.unknown) + unsure
    asked = len(chosen) + unsure
    if 2 * unknown > asked:
        return _Why(Outcome.COULD_NOT_LOOK, "mostly_unknown", {"unknown": str(unknown), "of": str(asked)})
    failing = in_order(chosen - verdict.yes - verdict.unknown)
    details = {"unknown": str(unknown), "of": str(asked)} if unknown else {}
    if measure.how is How.SHARE:
        return share(unit.value, passing, failing, **details)
    n = len(passing) + len(failing)
    return Tally(Fraction(len(passing)) if n else None, n, unit.value, passing, failing, details=details)


def _aggregated(judge: Judge, measure: Measure, unit: Unit, chosen: AbstractSet[str]) -> Tally:
    """Median, minimum, maximum or latest of a term. Passing: those that have a value; failing: those that have none."""
    assert measure.term is not None  # noqa: S101 - parse_measure gives every aggregate a term
    numbers = judge.numbers(unit, measure.term)
    held = chosen & keys_of(numbers)
    having, lacking = in_order(held), in_order(chosen - held)
    if not having:
        return Tally(None, 0, unit.value, (), lacking)
    if measure.how is How.MEDIAN:
        return Tally(_median(held, numbers), len(having), unit.value, having, lacking)
    decider = _decider(judge, measure.how, having, numbers)
    return Tally(numbers[decider], len(having), unit.value, having, lacking, details={"decided_by": decider})


def _median(held: AbstractSet[str], numbers: Mapping[str, Fraction]) -> Fraction:
    """The median of the numbers of these ids; of many metrics only the middle ones are made exact."""
    if isinstance(held, Ids) and isinstance(numbers, Exact):
        ordered = np.sort(numbers.numbers[held.mask])
        middle = ordered[(len(ordered) - 1) // 2 : len(ordered) // 2 + 1]
        return median([Fraction(repr(float(number))) for number in middle])
    return median([numbers[i] for i in held])


def _decider(judge: Judge, how: How, having: tuple[str, ...], numbers: Mapping[str, Fraction]) -> str:
    if how is How.LATEST:
        return judge.world.newest_first(having)[0]
    if isinstance(numbers, Exact):  # decimals and the floats next to them stand in the same order
        values = numbers.numbers[numbers.roll.only(having).mask]
        return having[int(values.argmin() if how is How.MIN else values.argmax())]
    return (min if how is How.MIN else max)(having, key=lambda i: numbers[i])


def _back_filled(world: Populations, measure: Measure, found: Tally, passing: Iterable[str]) -> dict[str, str]:
    """How many passing runs got a tag that decides here only after the work was over."""
    if not world.late_tags or found.unit != Unit.RUN:
        return {}
    deciding = tags_of(measure)
    late = sum(not deciding.isdisjoint(world.late_tags.get(run, ())) for run in passing)
    return {"back_filled": str(late)} if late else {}


def _details(world: Populations, measure: Measure, project: str | None) -> dict[str, str]:
    """Where releases count, how many production times are intervals only, and the widest of these in days."""
    names = {measure.population.name} if measure.population else set()
    if not names & {"RELEASED", "MODELS"} and measure.function not in ("lead_time_known", "rank_correlation"):
        return {}
    seen = [live for v in world.members("RELEASED", project) if not (live := world.go_live[v]).exact]
    if not seen:
        return {}
    widths = [live.at - live.after for live in seen if live.after is not None]
    widest = "open" if len(widths) < len(seen) else str(-(-max(widths) // DAY))
    return {"seen_only": str(len(seen)), "widest_interval_days": widest}


__all__ = ["measure", "measure_all"]
