"""One capability: its practices, how each was rated, and the very runs that pass and fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import get_language

from assessments.evidence.links import FactLink
from assessments.evidence.telling import with_reason_in
from assessments.ratings.models import CapabilityResult
from assessments.ratings.results import CapabilityView, Result, ShownFinding, latest
from assessments.web.access import organisation_of
from maturity.check_words import check_sentence
from maturity.schema import Check, Indicator, Model, Practice
from maturity.scorecard import LeafRating, Outcome, PracticeRating, PracticeResult
from maturity.telling import deciding_rule
from maturity.words import rule_sentence, sentence

Findings = Mapping[tuple[str, str | None], ShownFinding]


@dataclass(frozen=True, slots=True)
class Cited:
    """An id shown to the reader, with its address on the server when there is one."""

    id: str
    url: str | None


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One check of one project: the finding in words, the formula, and the ids behind it."""

    check: Check | None
    indicator: Indicator | None
    leaf: LeafRating
    outcome: str
    sentence: str
    rule: str
    passing: tuple[Cited, ...]
    failing: tuple[Cited, ...]
    passing_count: int
    failing_count: int

    @property
    def all_count(self) -> int:
        """How many facts stand behind the finding."""
        return self.passing_count + self.failing_count


@dataclass(frozen=True, slots=True)
class ProjectRating:
    rating: PracticeRating
    rule: str
    checks: tuple[CheckRow, ...]


@dataclass(frozen=True, slots=True)
class PracticeCard:
    practice: Practice
    result: PracticeResult
    rule: str
    projects: tuple[ProjectRating, ...]


def page(request: HttpRequest, key: str, capability: str) -> HttpResponse:
    """The page of a capability of the newest assessment; 404 when there is none."""
    organisation = organisation_of(request, key)
    result = latest(organisation)
    if result is None:
        raise Http404
    try:
        view = result.capability(capability)
    except CapabilityResult.DoesNotExist as error:
        raise Http404 from error
    return render(request, "pages/capability.html", {"organisation": organisation, **_context(result, view)})


def _context(result: Result, view: CapabilityView) -> dict[str, object]:
    language = get_language() or "en"
    model = result.model
    keys = list(model.capabilities)
    place = keys.index(view.level.capability)
    return {
        "result": result,
        "capability": model.capabilities[view.level.capability],
        "level": view.level,
        "blocked": [rule_sentence(rule.key, rule.details, language) for rule in view.level.blocked_by],
        "practices": [_practice(model, row, view, language) for row in view.level.practices],
        "before": model.capabilities[keys[place - 1]] if place else None,
        "after": model.capabilities[keys[place + 1]] if place + 1 < len(keys) else None,
        "levels": model.levels,
    }


def _practice(model: Model, result: PracticeResult, view: CapabilityView, language: str) -> PracticeCard:
    practice = model.practices[result.practice]
    projects = tuple(_project(model, rating, view, language) for rating in result.ratings)
    return PracticeCard(practice, result, deciding_rule(result.rule, language), projects)


def _project(model: Model, rating: PracticeRating, view: CapabilityView, language: str) -> ProjectRating:
    checks = tuple(_check(model, leaf, view.findings, view.link, language) for leaf in rating.leaves)
    return ProjectRating(rating, deciding_rule(rating.rule, language), checks)


def _check(model: Model, leaf: LeafRating, findings: Findings, link: FactLink, language: str) -> CheckRow:
    check = model.checks.get(leaf.check)
    indicator = model.indicators.get(check.indicator) if check and check.indicator else None
    shown = findings.get((leaf.finding.indicator, leaf.finding.project)) if leaf.finding else None
    outcome = leaf.outcome or (Outcome.NO_EVIDENCE if not leaf.evident else None)
    return CheckRow(
        check=check,
        indicator=indicator,
        leaf=leaf,
        outcome=outcome.value if outcome else "",
        sentence=_sentence(check, indicator, shown, language),
        rule=deciding_rule(leaf.rule, language),
        passing=_cited(shown, link, passing=True),
        failing=_cited(shown, link, passing=False),
        passing_count=shown.passing if shown else 0,
        failing_count=shown.failing if shown else 0,
    )


def _sentence(check: Check | None, indicator: Indicator | None, shown: ShownFinding | None, language: str) -> str:
    if check is None or shown is None:
        return ""
    finding = with_reason_in(shown.finding, language)
    if indicator is None:
        return check_sentence(finding, check, language)
    return sentence(finding, indicator, language, op=check.op, target=check.target)


def _cited(shown: ShownFinding | None, link: FactLink, *, passing: bool) -> tuple[Cited, ...]:
    if shown is None:
        return ()
    finding = shown.finding
    ids = finding.passing if passing else finding.failing
    return tuple(Cited(fact.partition(":")[2], link(finding.unit, fact)) for fact in ids)
