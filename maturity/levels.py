"""Levels and indexes: what the practices of a capability, a dimension and the whole model amount to.

Takes the results of practices; gives ``CapabilityLevel``, ``DimensionLevel`` and the figures of the whole.

- ``A(l) = Σ w·R / Σ w`` over the applicable practices of level l.
- Capability level: the largest l such that for every level m <= l ``A(m) > 0.50`` and no applicable practice of m is
  0.15 or less, and ``A(k) > 0.85`` for all k < l. A level without applicable practices passes and is never the top.
- Capability index: ``100 × mean over applicable levels of min(A(1)…A(l))``.
- Dimension level: the largest l with all rated capabilities at l-1 or above and at least two thirds at l or above.
- Overall level: the smallest dimension level. Indexes upwards are weighted means.

Decisions where the method leaves room, each on the strict side:

- A practice is applicable as soon as it applies in one project; the share of weight that is N/A counts by project.
- The weights of an organisation touch indexes alone: confidence and coverage, which decide whether a level is
  provisional, use the weights of the model.
- With a dimension not rated neither level nor index of the whole is given.
- An index is None when every weight under it is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from maturity.leaves import ONE, ZERO, exact
from maturity.schema import Capability, Dimension, Model, Parameters, Practice
from maturity.scorecard import CapabilityLevel, DimensionLevel, LevelAchievement, PerView, PracticeResult, Rule, View

Weighted = tuple[Fraction, Fraction]
"""A weight and a value."""


@dataclass(frozen=True, slots=True)
class LevelState:
    """One level of a capability that has applicable practices: A(l) and the smallest practice."""

    level: int
    achievement: Fraction
    smallest: Fraction


def weighted_mean(pairs: Iterable[Weighted]) -> Fraction | None:
    """The weighted mean; None when the weights sum to nothing."""
    pairs = list(pairs)
    total = sum((weight for weight, _ in pairs), ZERO)
    return sum((weight * value for weight, value in pairs), ZERO) / total if total else None


def level_states(capability: Capability, values: Mapping[str, Fraction]) -> list[LevelState]:
    """The levels that have applicable practices. ``values`` holds the applicable practices alone."""
    states = []
    for level in sorted({practice.level for practice in capability.practices}):
        applicable = [practice for practice in capability.at_level(level) if practice.id in values]
        achievement = weighted_mean((practice.weight, values[practice.id]) for practice in applicable)
        if achievement is not None:
            states.append(LevelState(level, achievement, min(values[practice.id] for practice in applicable)))
    return states


def capability_level(states: Sequence[LevelState], parameters: Parameters) -> int:
    """The largest level reached; 0 when the first is not."""
    reached = 0
    for state in states:
        if state.achievement <= parameters.level_gate or state.smallest <= parameters.veto_at_or_below:
            break
        reached = state.level
        if state.achievement <= parameters.base_gate:
            break
    return reached


def capability_index(states: Sequence[LevelState]) -> Fraction:
    """0 to 100: skipped lower levels limit the credit for higher ones."""
    lowest, total = ONE, ZERO
    for state in states:
        lowest = min(lowest, state.achievement)
        total += lowest
    return 100 * total / len(states)


def dimension_level(levels: Sequence[int], parameters: Parameters) -> int:
    """The level of a dimension from those of its rated capabilities: their smallest or one above."""
    smallest = min(levels)
    for level in range(smallest + parameters.dimension_slack, smallest, -1):
        if sum(reached >= level for reached in levels) >= parameters.dimension_share * len(levels):
            return level
    return smallest


def confidence_band(confidence: Fraction, parameters: Parameters) -> Literal["high", "medium", "low"]:
    """How a confidence is called."""
    if confidence >= parameters.confidence_high:
        return "high"
    return "medium" if confidence >= parameters.confidence_medium else "low"


def is_provisional(confidence: Fraction, coverage: Fraction, parameters: Parameters) -> bool:
    """Whether a level rests on too little evidence, or on too few answers, to be final."""
    return (
        confidence < parameters.provisional_if_confidence_below
        or coverage < parameters.provisional_if_answer_coverage_below
    )


def rate_capability(model: Model, capability: Capability, results: Mapping[str, PracticeResult]) -> CapabilityLevel:
    """The level and index of a capability from the results of its practices."""
    parameters = model.parameters
    own = [(practice, results[practice.id]) for practice in capability.practices]
    applicable = [(practice, result) for practice, result in own if result.applicable]
    states = PerView.of(lambda view: level_states(capability, _values(applicable, view)))
    share = _share(own)
    rated = share >= parameters.min_applicable_weight_share and bool(states.rated)
    confidence = weighted_mean((p.weight, r.confidence) for p, r in applicable) or ZERO
    coverage = weighted_mean((p.weight, r.coverage) for p, r in applicable) or ZERO
    return CapabilityLevel(
        capability=capability.id,
        level=states.map(lambda s: capability_level(s, parameters)) if rated else None,
        index=states.map(capability_index) if rated else None,
        achievements=tuple(_achievement(capability, level.number, states, results) for level in model.levels[1:]),
        confidence=confidence,
        coverage=coverage,
        provisional=is_provisional(confidence, coverage, parameters),
        blocked_by=_capability_blocks(model, states.rated, applicable)
        if rated
        else (Rule("not_rated", {"share": exact(share), "least": exact(parameters.min_applicable_weight_share)}),),
        practices=tuple(result for _, result in own),
    )


def _values(applicable: Iterable[tuple[Practice, PracticeResult]], view: View) -> dict[str, Fraction]:
    return {practice.id: result.values[view] for practice, result in applicable if result.values is not None}


def _share(own: Sequence[tuple[Practice, PracticeResult]]) -> Fraction:
    """The share of a capability's weight that applies."""
    return weighted_mean((practice.weight, ONE if result.applicable else ZERO) for practice, result in own) or ZERO


def _achievement(
    capability: Capability, level: int, states: PerView[list[LevelState]], results: Mapping[str, PracticeResult]
) -> LevelAchievement:
    practices = tuple(practice.id for practice in capability.at_level(level) if results[practice.id].applicable)
    place = next((number for number, state in enumerate(states.rated) if state.level == level), None)
    if place is None:
        return LevelAchievement(level, None, practices)
    return LevelAchievement(level, states.map(lambda of_view: of_view[place].achievement), practices)


def _capability_blocks(
    model: Model, states: Sequence[LevelState], applicable: Iterable[tuple[Practice, PracticeResult]]
) -> tuple[Rule, ...]:
    """All that keeps a capability from the next level that has applicable practices."""
    parameters = model.parameters
    reached = capability_level(states, parameters)
    goal = next((state for state in states if state.level > reached), None)
    if goal is None:
        highest = reached == model.levels[-1].number
        return (Rule("highest_level" if highest else "levels_above_empty", {"level": str(reached)}),)
    level, rules = {"level": str(goal.level)}, []
    for base in (state for state in states if state.level < goal.level):
        if base.achievement <= parameters.base_gate:
            details = {"base": str(base.level), "achievement": exact(base.achievement)}
            rules.append(Rule("base_not_above_gate", {**level, **details, "gate": exact(parameters.base_gate)}))
    if goal.achievement <= parameters.level_gate:
        details = {"achievement": exact(goal.achievement), "gate": exact(parameters.level_gate)}
        rules.append(Rule("achievement_not_above_gate", {**level, **details}))
    veto = parameters.veto_at_or_below
    for practice, result in applicable:
        if practice.level == goal.level and result.values is not None and result.values.rated <= veto:
            details = {"practice": practice.id, "value": exact(result.values.rated), "veto": exact(veto)}
            rules.append(Rule("practice_at_or_below_veto", {**level, **details}))
    return tuple(rules)


def rate_dimension(
    model: Model, dimension: Dimension, capabilities: Sequence[CapabilityLevel], weights: Mapping[str, Fraction]
) -> DimensionLevel:
    """The level and index of a dimension; ``weights`` by capability are those of the organisation."""
    parameters = model.parameters
    rated = [(c, c.level, c.index) for c in capabilities if c.level is not None and c.index is not None]
    share = Fraction(len(rated), len(capabilities))
    level = index = None
    if share >= parameters.min_applicable_weight_share:
        level = PerView.of(lambda view: dimension_level([levels[view] for _, levels, _ in rated], parameters))
        index = index_over([(weights[c.capability], index) for c, _, index in rated])
    own_weight = {capability.id: capability.weight for capability in dimension.capabilities}
    confidence = weighted_mean((own_weight[c.capability], c.confidence) for c, _, _ in rated) or ZERO
    coverage = coverage_over(model, (practice for c in capabilities for practice in c.practices))
    return DimensionLevel(
        dimension=dimension.id,
        level=level,
        index=index,
        confidence=confidence,
        coverage=coverage,
        provisional=is_provisional(confidence, coverage, parameters),
        lowest=lowest_capability(capabilities),
        blocked_by=_dimension_blocks(model, capabilities, level.rated)
        if level
        else (Rule("not_rated", {"share": exact(share), "least": exact(parameters.min_applicable_weight_share)}),),
        capabilities=tuple(capabilities),
    )


def _dimension_blocks(model: Model, capabilities: Sequence[CapabilityLevel], reached: int) -> tuple[Rule, ...]:
    if reached == model.levels[-1].number:
        return (Rule("highest_level", {"level": str(reached)}),)
    goal, parameters = reached + 1, model.parameters
    levels = {c.capability: c.level.rated for c in capabilities if c.level is not None}
    least = goal - parameters.dimension_slack
    rules = [
        Rule(
            "capability_too_low",
            {"level": str(goal), "capability": key, "capability_level": str(level), "least": str(least)},
        )
        for key, level in levels.items()
        if level < least
    ]
    count = sum(level >= goal for level in levels.values())
    if count < parameters.dimension_share * len(levels):
        details = {"count": str(count), "rated": str(len(levels)), "share": exact(parameters.dimension_share)}
        rules.append(Rule("too_few_capabilities", {"level": str(goal), **details}))
    return tuple(rules)


def index_over(pairs: Sequence[tuple[Fraction, PerView[Fraction]]]) -> PerView[Fraction] | None:
    """The weighted mean of indexes in every view; None when the weights sum to nothing."""
    total = sum((weight for weight, _ in pairs), ZERO)
    if not total:
        return None
    return PerView.of(lambda view: sum((weight * index[view] for weight, index in pairs), ZERO) / total)


def coverage_over(model: Model, results: Iterable[PracticeResult]) -> Fraction:
    """The share of applicable practice weight that is answered or evidenced."""
    practices = model.practices
    pairs = ((practices[r.practice].weight, r.coverage) for r in results if r.applicable)
    return weighted_mean(pairs) or ZERO


def lowest_capability(capabilities: Iterable[CapabilityLevel]) -> str | None:
    """The rated capability of the lowest level, then the lowest index, then the first id."""
    rated = [(c.level.rated, c.index.rated, c.capability) for c in capabilities if c.level and c.index]
    return min(rated)[2] if rated else None


def overall_blocks(model: Model, dimensions: Sequence[DimensionLevel]) -> tuple[Rule, ...]:
    """What keeps the whole from the next level: dimensions that are not rated, else the lowest ones."""
    missing = [d.dimension for d in dimensions if d.level is None]
    if missing:
        return tuple(Rule("dimension_not_rated", {"dimension": key}) for key in missing)
    levels = {d.dimension: d.level.rated for d in dimensions if d.level is not None}
    reached = min(levels.values())
    if reached == model.levels[-1].number:
        return (Rule("highest_level", {"level": str(reached)}),)
    lowest = [key for key, level in levels.items() if level == reached]
    return tuple(Rule("dimension_lowest", {"level": str(reached + 1), "dimension": key}) for key in lowest)
