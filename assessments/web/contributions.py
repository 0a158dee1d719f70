"""What all sources contribute together: who feeds what, what nobody tells, and what to connect next."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.functional import Promise

from assessments.evidence.kinds import KINDS
from assessments.ratings.results import Result, latest
from assessments.web.access import is_owner, organisation_of
from assessments.web.source import FedPractice, fed_practices
from maturity.contributions import Contributions, SourceUse, Wanted, contributions
from maturity.structure import Practice


@dataclass(frozen=True, slots=True)
class SourceSum:
    """One source in numbers."""

    use: SourceUse
    practices: int
    met: int


@dataclass(frozen=True, slots=True)
class WantedRow:
    """A stream that nobody gave, with the kinds of source that would and the practices that ask for it."""

    wanted: Wanted
    kinds: tuple[str | Promise, ...]
    practices: list[FedPractice]


def page(request: HttpRequest, key: str) -> HttpResponse:
    """What each source of the newest result was good for."""
    organisation = organisation_of(request, key)
    result = latest(organisation)
    context: dict[str, object] = {
        "organisation": organisation,
        "result": result,
        "is_owner": is_owner(request, organisation),
    }
    if result is not None:
        context |= _context(result, contributions(result.model, result.statements))
    return render(request, "pages/contributions.html", context)


def _context(result: Result, found: Contributions) -> dict[str, object]:
    unfed: list[Practice] = [result.model.practices[key] for key in found.unfed]
    return {
        "rows": [_sum(use, result) for use in found.sources],
        "unfed": unfed,
        "wanted": [_wanted(one, result) for one in found.wanted],
    }


def _sum(use: SourceUse, result: Result) -> SourceSum:
    met = sum(1 for need in use.feeds if result.outcomes.get(need.check) == "met")
    return SourceSum(use, len(use.practices), met)


def _wanted(wanted: Wanted, result: Result) -> WantedRow:
    kinds = tuple(kind.name for kind in KINDS.values() if wanted.stream in kind.streams)
    return WantedRow(wanted, kinds, fed_practices(result.model, wanted.asked, result))
