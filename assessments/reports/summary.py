"""The first pages of a report: the result in a sentence, where everything stands, radar and heatmap.

Takes a ``Teller`` and the scorecard; gives the parts that ``document`` puts together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from assessments.reports.details import Teller, interval_sentence, outcome_of
from assessments.reports.figures import NOTHING, number, percent, percent_down
from assessments.reports.parts import (
    HeatCell,
    HeatGroup,
    HeatRow,
    OutcomeCount,
    Radar,
    RadarSeries,
    Reading,
    Result,
    Standing,
    Term,
)
from maturity.leaves import HUMAN
from maturity.levels import confidence_band
from maturity.scorecard import CapabilityLevel, DimensionLevel, LevelAchievement, Outcome, Scorecard, View

_RADAR_VIEWS: tuple[View, ...] = ("claimed", "evidenced", "rated")


def result(teller: Teller, scorecard: Scorecard) -> Result:
    """The result in sentences, with the standing of the whole and of every dimension."""
    level = scorecard.level.rated if scorecard.level else None
    named = teller.model.levels[level] if level is not None else None
    dimensions = tuple(_dimension_standing(teller, dimension) for dimension in scorecard.dimensions)
    parts = teller.word("between").join(
        teller.word("dimension_part", id=one.id, level=one.level.rated if one.level else NOTHING) for one in dimensions
    )
    key = "not_rated_sentence" if level is None else "level_sentence"
    return Result(
        sentence=teller.word(key, level=level, dimensions=parts),
        interval=interval_sentence(teller, scorecard.level),
        level_name=named.name.in_(teller.language) if named else "",
        meaning=named.meaning.in_(teller.language) if named else "",
        index=_index_sentence(teller, scorecard),
        flags=tuple(_flags(teller, scorecard)),
        blocked=tuple(map(teller.rule, scorecard.blocked_by)),
        overall=_standing(teller, scorecard, "", teller.word("overall"), scorecard.lowest),
        dimensions=dimensions,
        checks=_check_counts(teller, scorecard),
    )


def _index_sentence(teller: Teller, scorecard: Scorecard) -> str:
    if scorecard.index is None or scorecard.lowest is None:
        return teller.word("no_index_sentence")
    lowest = f"{scorecard.lowest} {capability_name(teller, scorecard.lowest)}"
    return teller.word("index_sentence", index=number(scorecard.index.rated, 1).shown, lowest=lowest)


def _flags(teller: Teller, scorecard: Scorecard) -> Iterator[Term]:
    limits = teller.model.parameters
    if scorecard.provisional:
        text = teller.word(
            "provisional_text",
            confidence=percent(scorecard.confidence, teller.language).shown,
            confidence_limit=percent(limits.provisional_if_confidence_below, teller.language).shown,
            coverage=percent(scorecard.coverage, teller.language).shown,
            coverage_limit=percent(limits.provisional_if_answer_coverage_below, teller.language).shown,
        )
        yield Term("provisional", teller.word("provisional"), text)
    if scorecard.restricted_scope:
        share, limit = (
            percent(scorecard.na_share, teller.language).shown,
            percent(limits.restricted_scope_if_na_weight_above, teller.language).shown,
        )
        yield Term("restricted", teller.word("restricted"), teller.word("restricted_text", share=share, limit=limit))
    if scorecard.waivers:
        yield Term("waived", teller.word("waived"), teller.word("waived_text", count=scorecard.waivers))


def _check_counts(teller: Teller, scorecard: Scorecard) -> tuple[OutcomeCount, ...]:
    counts = Counter(outcome_of(leaf) for _, _, leaf in scorecard.leaves() if leaf.check != HUMAN)
    return tuple(OutcomeCount(o.value, teller.word(o.value), counts[o.value]) for o in Outcome)


def capability_name(teller: Teller, key: str) -> str:
    """The name of a capability in the language of the report."""
    return teller.model.capabilities[key].name.in_(teller.language)


def _dimension_standing(teller: Teller, result: DimensionLevel) -> Standing:
    name = next(d.name for d in teller.model.dimensions if d.id == result.dimension).in_(teller.language)
    return _standing(teller, result, result.dimension, name, result.lowest)


def capability_standing(teller: Teller, result: CapabilityLevel) -> Standing:
    """Where a capability stands."""
    return _standing(teller, result, result.capability, capability_name(teller, result.capability), None)


def _standing(
    teller: Teller, result: Scorecard | DimensionLevel | CapabilityLevel, key: str, name: str, lowest: str | None
) -> Standing:
    band = confidence_band(result.confidence, teller.model.parameters)
    return Standing(
        id=key,
        name=name,
        shown=str(result.level.rated) if result.level else teller.word("not_rated"),
        level=result.level,
        index=result.index.map(lambda value: number(value, 1)) if result.index else None,
        lowest=lowest,
        lowest_name=capability_name(teller, lowest) if lowest else "",
        confidence=percent(result.confidence, teller.language),
        band=teller.word(band),
        coverage=percent(result.coverage, teller.language),
        provisional=result.provisional,
    )


def reading(teller: Teller) -> Reading:
    """How to read the report: the codes, levels and views of the model."""
    model, language = teller.model, teller.language
    codes = []
    for rating in model.rating_scale:
        key = "code_range" if rating.low else "code_first"
        text = teller.word(key, low=number(rating.low).shown, high=number(rating.high).shown)
        codes.append(Term(rating.code, rating.name.in_(language), text))
    levels = (Term(str(one.number), one.name.in_(language), one.meaning.in_(language)) for one in model.levels)
    views = ("claimed", "evidenced", "rated", "lower", "upper")
    numbers = (Term(view, teller.word(view), teller.word(f"{view}_text")) for view in views)
    return Reading(tuple(codes), tuple(levels), tuple(numbers))


def radar(teller: Teller, scorecard: Scorecard) -> Radar:
    """The levels of all rated capabilities in three views."""
    rated = [(c.capability, c.level) for c in scorecard.capabilities if c.level is not None]
    levels = {view: tuple(level[view] for _, level in rated) for view in _RADAR_VIEWS}
    told = {str(view): ", ".join(f"{key} {level[view]}" for key, level in rated) or NOTHING for view in _RADAR_VIEWS}
    return Radar(
        title=teller.word("radar"),
        description=teller.word("radar_text", top=teller.model.levels[-1].number, **told),
        axes=tuple(Term(key, capability_name(teller, key), "") for key, _ in rated),
        series=tuple(RadarSeries(view, teller.word(view), levels[view]) for view in _RADAR_VIEWS),
    )


def heat_group(teller: Teller, dimension: DimensionLevel, standings: Mapping[str, Standing]) -> HeatGroup:
    """The achievements of a dimension's capabilities, level by level."""
    rows = tuple(
        _heat_row(teller, capability, standings[capability.capability]) for capability in dimension.capabilities
    )
    return HeatGroup(dimension.dimension, _dimension_standing(teller, dimension).name, rows)


def _heat_row(teller: Teller, capability: CapabilityLevel, standing: Standing) -> HeatRow:
    level = capability.level.rated if capability.level else None
    cells = tuple(_heat_cell(teller, achievement, level or 0) for achievement in capability.achievements)
    return HeatRow(standing.id, standing.name, standing.shown, level, cells)


def _heat_cell(teller: Teller, state: LevelAchievement, reached: int) -> HeatCell:
    if state.achievement is None:
        return HeatCell(state.level, None, False)
    return HeatCell(state.level, percent_down(state.achievement.rated, teller.language), state.level <= reached)
