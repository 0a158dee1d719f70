"""What keeps each capability from its next level, down to the leaf, in order of gain.

Takes a model and a scorecard; gives ``Gap`` values. A capability misses its next level because a lower level is not
above the base gate, because the next level is not above its own gate, or because a practice of the next level is not
achieved at all. The practices behind that are taken apart into leaves, and each leaf that is not F is a gap.
Closing every gap of a capability lifts it by at least one level.

A gap says what kind of effort would close it, from the cheapest:

- *connect*: a source that could tell is not connected, could not be read, or was read too long ago;
- *affirm*: an assessor has to see a document or an export of a system that nothing here reads, interview somebody, or
  confirm that something does not apply;
- *log*: the work may be done, but nothing or too little of it was recorded;
- *improve*: what was seen falls short.

The gain of a gap is found by rating again with its leaves at 1, by the same functions that rate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from maturity.leaves import HUMAN, ONE
from maturity.levels import LevelState, capability_index, capability_level, dimension_level, level_states
from maturity.rating import combine, over_projects, split
from maturity.schema import Model, Practice
from maturity.scorecard import (
    CapabilityLevel,
    DimensionLevel,
    Finding,
    LeafRating,
    PracticeRating,
    PracticeResult,
    Rule,
    Scorecard,
)


class GapKind(StrEnum):
    """The effort that would close a gap, the cheapest first."""

    CONNECT = "connect"
    AFFIRM = "affirm"
    LOG = "log"
    IMPROVE = "improve"


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A leaf that is not F in one project: its value, and what was measured with the ids that fail."""

    project: str | None
    value: Fraction
    rule: Rule
    measured: Fraction | None = None
    n: int | None = None
    unit: str = ""
    failing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """One leaf of one practice that stands between a capability and ``level``, wherever it falls short.

    ``check`` is the key of a machine check or ``"human"``; ``indicator``, ``op`` and ``target`` tell what an indicator
    has to reach. ``gain`` is what the capability index would win, ``weight`` that of practice and capability.
    """

    kind: GapKind
    dimension: str
    capability: str
    level: int
    practice: str
    check: str
    value: Fraction
    lifts_capability: bool
    lifts_dimension: bool
    weight: Fraction
    gain: Fraction
    shortfalls: tuple[Shortfall, ...]
    indicator: str | None = None
    op: str | None = None
    target: Fraction | None = None


_KINDS = {
    **dict.fromkeys(("no_source", "could_not_look", "undated", "dated_later"), GapKind.CONNECT),
    **dict.fromkeys(("expired", "met"), GapKind.CONNECT),
    **dict.fromkeys(("nothing_found", "too_few", "absence_counts"), GapKind.LOG),
    **dict.fromkeys(("not_applicable_unwaived", "not_supported"), GapKind.AFFIRM),
    **dict.fromkeys(("below_target", "bound_missed"), GapKind.IMPROVE),
}
"""By the rule of a machine leaf. One that met its target and is still not F is old, or only a document says so."""

_Places = tuple[str, GapKind]
_CHEAPEST_FIRST = {kind: rank for rank, kind in enumerate(GapKind)}


def gaps(model: Model, scorecard: Scorecard) -> tuple[Gap, ...]:
    """Every gap of every rated capability below its highest level, the most worthwhile first.

    In order of: lifts its capability alone, lifts its dimension alone, weight, effort, gain in index, practice, check.
    """
    findings = {(finding.indicator, finding.project): finding for finding in scorecard.findings}
    found = [
        gap
        for dimension in scorecard.dimensions
        for capability in dimension.capabilities
        if capability.level is not None
        for gap in _Search(model, scorecard, dimension, capability, findings).gaps()
    ]
    return tuple(sorted(found, key=_order))


def _order(gap: Gap) -> tuple[bool, bool, Fraction, int, Fraction, str, str]:
    effort = _CHEAPEST_FIRST[gap.kind]
    return not gap.lifts_capability, not gap.lifts_dimension, -gap.weight, effort, -gap.gain, gap.practice, gap.check


@dataclass(frozen=True, slots=True)
class _Search:
    """The search for the gaps of one capability."""

    model: Model
    scorecard: Scorecard
    dimension: DimensionLevel
    capability: CapabilityLevel
    findings: Mapping[tuple[str, str | None], Finding]

    def gaps(self) -> Iterator[Gap]:
        goal = next_level(self.capability)
        if goal is not None:
            for result in blocking(self.model, self.capability, goal):
                yield from self._of_practice(result, goal)

    def _of_practice(self, result: PracticeResult, goal: int) -> Iterator[Gap]:
        """The leaves of a practice that are not F, gathered by check and kind over its projects."""
        gathered: defaultdict[_Places, list[tuple[PracticeRating, LeafRating]]] = defaultdict(list)
        for rating in result.ratings:
            for leaf in rating.leaves:
                if leaf.values is not None and self.model.code(leaf.values.rated) != self._best:
                    gathered[leaf.check, self._kind(leaf)].append((rating, leaf))
        for (check, kind), places in sorted(gathered.items()):
            yield self._gap(result, goal, check, kind, places)

    @property
    def _best(self) -> str:
        return self.model.rating_scale[-1].code

    def _gap(
        self,
        result: PracticeResult,
        goal: int,
        check: str,
        kind: GapKind,
        places: list[tuple[PracticeRating, LeafRating]],
    ) -> Gap:
        asked = self.model.checks.get(check)
        level, gain = self._if_closed(result, check, {rating.project for rating, _ in places})
        own = self.capability.level.rated if self.capability.level else 0
        return Gap(
            kind=kind,
            dimension=self.dimension.dimension,
            capability=self.capability.capability,
            level=goal,
            practice=result.practice,
            check=check,
            value=result.values.rated if result.values else Fraction(0),
            lifts_capability=level > own,
            lifts_dimension=self._lifts_dimension(level),
            weight=self._practice(result).weight * self.scorecard.weights.capabilities[self.capability.capability],
            gain=gain,
            shortfalls=tuple(self._shortfall(leaf) for _, leaf in places),
            indicator=asked.indicator if asked else None,
            op=asked.op if asked else None,
            target=asked.target if asked else None,
        )

    def _practice(self, result: PracticeResult) -> Practice:
        return self.model.practices[result.practice]

    def _kind(self, leaf: LeafRating) -> GapKind:
        if leaf.check != HUMAN:
            return _KINDS[leaf.rule.key]
        codes = [leaf.rule.details[name] for name in ("code", "document", "interview") if name in leaf.rule.details]
        return GapKind.AFFIRM if all(code == self._best for code in codes) else GapKind.IMPROVE

    def _shortfall(self, leaf: LeafRating) -> Shortfall:
        place = (leaf.finding.indicator, leaf.finding.project) if leaf.finding else None
        finding = self.findings.get(place) if place else None
        details = leaf.rule.details
        # Where an export or a substitute document counted, the ids of the finding are not those behind the value.
        counted = finding if finding is not None and not leaf.verdicts else None
        return Shortfall(
            project=leaf.project,
            value=leaf.values.rated if leaf.values else Fraction(0),
            rule=leaf.rule,
            measured=Fraction(details["value"]) if "value" in details else None,
            n=int(details["n"]) if details.get("n") else None,
            unit=counted.unit if counted else "",
            failing=counted.failing if counted else (),
        )

    def _if_closed(self, result: PracticeResult, check: str, projects: set[str | None]) -> tuple[int, Fraction]:
        """The level of the capability, and what its index would win, if the leaf were worth 1 in these projects."""
        values = {r.practice: r.values.rated for r in self.capability.practices if r.values is not None}
        before = capability_index(self._states(values))
        values[result.practice] = self._practice_if_closed(result, check, projects)
        states = self._states(values)
        return capability_level(states, self.model.parameters), capability_index(states) - before

    def _states(self, values: Mapping[str, Fraction]) -> list[LevelState]:
        return level_states(self.model.capabilities[self.capability.capability], values)

    def _practice_if_closed(self, result: PracticeResult, check: str, projects: set[str | None]) -> Fraction:
        scale, parameters = self.model.rating_scale, self.model.parameters
        each = [
            self._rating_if_closed(rating, check) if rating.project in projects else rating.values.rated
            for rating in result.ratings
            if rating.values is not None
        ]
        return over_projects(each, scale[0].high, parameters.organisation_cap_if_any_project_N)

    def _rating_if_closed(self, rating: PracticeRating, check: str) -> Fraction:
        closed = [leaf for leaf in rating.leaves if leaf.check == check]
        machine, human = split([leaf for leaf in rating.leaves if leaf.check != check], "rated")
        if closed[0].check == HUMAN:
            human = ONE
        else:
            machine = [*machine, ONE]
        practice = self.model.practices[rating.practice]
        return combine(practice.combine, machine, human, self.model.rating_scale[-2].high)

    def _lifts_dimension(self, level: int) -> bool:
        if self.dimension.level is None:
            return False
        levels = [
            level if c.capability == self.capability.capability else c.level.rated
            for c in self.dimension.capabilities
            if c.level is not None
        ]
        return dimension_level(levels, self.model.parameters) > self.dimension.level.rated


def next_level(capability: CapabilityLevel) -> int | None:
    """The next level of a capability that has applicable practices; None at the top or when it is not rated."""
    if capability.level is None:
        return None
    reached = capability.level.rated
    return next((a.level for a in capability.achievements if a.level > reached and a.achievement), None)


def blocking(model: Model, capability: CapabilityLevel, goal: int) -> Iterator[PracticeResult]:
    """The practices that keep a capability from ``goal``: of a lower level below the base gate those that are not F, of
    the goal those at or below its gate while the level is, and those that are not achieved."""
    parameters = model.parameters
    limits: dict[str, Fraction] = {}
    for state in capability.achievements:
        if state.achievement is None or state.level > goal:
            continue
        if state.level < goal and state.achievement.rated <= parameters.base_gate:
            limits.update(dict.fromkeys(state.practices, parameters.base_gate))
        if state.level == goal:
            missed = state.achievement.rated <= parameters.level_gate
            limit = parameters.level_gate if missed else parameters.veto_at_or_below
            limits.update(dict.fromkeys(state.practices, limit))
    for result in capability.practices:
        if result.values is not None and result.practice in limits and result.values.rated <= limits[result.practice]:
            yield result
