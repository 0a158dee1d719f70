"""The overview of an organisation: level, dimensions, radar, heatmap, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import get_language, gettext

from assessments.ratings.results import Result, latest
from assessments.reports.charts import Axis, Series, radar
from assessments.web.access import organisation_of
from maturity.schema import Model, Text
from maturity.scorecard import CapabilityLevel, DimensionLevel, LevelAchievement, Scorecard, View
from maturity.telling import first_steps, gap_sentence

SHOWN_GAPS = 8


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the heatmap: percent of a level achieved, its shade 0–5, and whether the level is reached."""

    level: int
    percent: int | None
    shade: int
    reached: bool


@dataclass(frozen=True, slots=True)
class CapabilityRow:
    id: str
    name: Text
    result: CapabilityLevel
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class DimensionCard:
    id: str
    name: Text
    result: DimensionLevel
    rows: tuple[CapabilityRow, ...]


def page(request: HttpRequest, key: str) -> HttpResponse:
    """The overview; before the first assessment it says how to get one."""
    organisation = organisation_of(request, key)
    result = latest(organisation)
    context: dict[str, object] = {"organisation": organisation, "result": result}
    if result is not None:
        context |= _context(result)
    return render(request, "pages/overview.html", context)


def _context(result: Result) -> dict[str, object]:
    language = get_language() or "en"
    model, scorecard = result.model, result.summary
    gaps = [(gap, gap_sentence(model, gap, language)) for gap in first_steps(result.gaps, SHOWN_GAPS)]
    return {
        "scorecard": scorecard,
        "levels": model.levels,
        "dimensions": [_card(model, dimension) for dimension in scorecard.dimensions],
        "radar": _radar(model, scorecard, language),
        "gaps": gaps,
    }


def _card(model: Model, result: DimensionLevel) -> DimensionCard:
    dimension = next(d for d in model.dimensions if d.id == result.dimension)
    rows = tuple(
        CapabilityRow(c.capability, model.capabilities[c.capability].name, c, tuple(_cells(c)))
        for c in result.capabilities
    )
    return DimensionCard(dimension.id, dimension.name, result, rows)


def _cells(capability: CapabilityLevel) -> list[Cell]:
    reached = capability.level.rated if capability.level else 0
    return [_cell(achievement, reached) for achievement in capability.achievements]


def _cell(achievement: LevelAchievement, reached: int) -> Cell:
    if achievement.achievement is None:
        return Cell(achievement.level, None, 0, False)
    value = achievement.achievement.rated
    # Rounded down: a cell never shows 100 % for what is not wholly achieved.
    return Cell(achievement.level, int(100 * value), min(5, int(6 * value)), achievement.level <= reached)


def _radar(model: Model, scorecard: Scorecard, language: str) -> str:
    rated = [capability for capability in scorecard.capabilities if capability.level is not None]
    axes = [Axis(c.capability, model.capabilities[c.capability].name.in_(language)) for c in rated]
    names: dict[View, str] = {
        "claimed": gettext("claimed"),
        "evidenced": gettext("evidenced"),
        "rated": gettext("rated"),
    }
    levels = [capability.level for capability in rated if capability.level is not None]
    series = [Series(name, view, tuple(float(level[view]) for level in levels)) for view, name in names.items()]
    return radar(
        axes,
        series,
        title=gettext("Level of each capability"),
        description=gettext("Levels 0 to 5 on one axis per capability; the same numbers stand in the table beside it."),
    )
