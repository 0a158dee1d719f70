"""The facts behind one finding: a table with filters, fifty a page, links to the very runs, and the same as CSV."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils.text import slugify
from django.utils.translation import get_language, gettext

from assessments.evidence.links import FactLink, fact_link
from assessments.evidence.store import EvidenceDamaged
from assessments.organisations.models import Organisation
from assessments.ratings.browsing import OUTCOMES, PAGE, Browser, FactRow, Found, Wish
from assessments.ratings.results import Result, latest
from assessments.web.access import organisation_of
from maturity.schema import Model

_log = logging.getLogger(__name__)
_LONGEST = 200
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table, ready to be shown."""

    row: FactRow
    source: str
    id: str
    url: str | None
    of: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for."""

    indicator: str
    project: str | None
    wish: Wish

    @property
    def words(self) -> dict[str, str]:
        """The same as it stands in an address, without the page."""
        named = {
            "finding": self.indicator,
            "of": self.project or "",
            "outcome": self.wish.outcome,
            "project": self.wish.project,
            "q": self.wish.text,
        }
        return {name: value for name, value in named.items() if value}


def page(request: HttpRequest, key: str) -> HttpResponse:
    """One page of the table; 404 for a finding that does not exist."""
    organisation = organisation_of(request, key)
    result, asked = _asked(request, organisation)
    if result.browsing is None:
        return render(request, "pages/facts.html", {"organisation": organisation, "missing": True, "asked": asked})
    try:
        with Browser(organisation.pk, result.browsing) as browser:
            found = browser.find(asked.indicator, asked.project, asked.wish)
            if found is None:
                raise Http404
            pages = max(1, -(-len(found.places) // PAGE))
            number = min(_page_number(request), pages)
            rows = list(browser.rows(found, (number - 1) * PAGE, PAGE))
    except EvidenceDamaged as error:
        return _damaged(request, organisation, error)
    context = _context(result, asked, found, number, pages)
    link = fact_link(organisation, {row.id: row.of for row in rows if row.of})
    lines = [_line(row, found, link) for row in rows]
    return render(request, "pages/facts.html", {"organisation": organisation, "lines": lines, **context})


def file(request: HttpRequest, key: str) -> HttpResponseBase:
    """All rows that fit the filter as CSV."""
    organisation = organisation_of(request, key)
    result, asked = _asked(request, organisation)
    if result.browsing is None:
        raise Http404
    try:
        browser = Browser(organisation.pk, result.browsing)
    except EvidenceDamaged as error:
        return _damaged(request, organisation, error)
    found = browser.find(asked.indicator, asked.project, asked.wish)
    if found is None:
        browser.__exit__()
        raise Http404
    name = f"{organisation.key}-{slugify(asked.indicator.replace('/', '-'))}.csv"
    return StreamingHttpResponse(
        _csv(browser, found),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _asked(request: HttpRequest, organisation: Organisation) -> tuple[Result, Asked]:
    result = latest(organisation)
    indicator = request.GET.get("finding", "")
    if result is None or not indicator:
        raise Http404
    outcome = request.GET.get("outcome", "")
    wish = Wish(
        outcome if outcome in OUTCOMES else "",
        request.GET.get("project", "")[:_LONGEST],
        request.GET.get("q", "").strip()[:_LONGEST].replace("\0", ""),
    )
    return result, Asked(indicator[:_LONGEST], request.GET.get("of") or None, wish)


def _page_number(request: HttpRequest) -> int:
    text = request.GET.get("page", "1")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else 1


def _context(result: Result, asked: Asked, found: Found, number: int, pages: int) -> dict[str, object]:
    check = result.model.checks.get(asked.indicator)
    indicator = result.model.indicators.get(asked.indicator)
    capability = _capability(result.model, asked.indicator)
    return {
        "asked": asked,
        "check": check,
        "indicator": indicator,
        "capability": capability,
        "unit": unit_name(found.unit),
        "found": found,
        "matching": len(found.places),
        "counted": found.counts["fails"] + found.counts["passes"],
        "outcomes": [(name, outcome_word(name), found.counts[name]) for name in OUTCOMES],
        "projects": result.summary.projects if asked.project is None else (),
        "number": number,
        "pages": pages,
        "before": urlencode({**asked.words, "page": number - 1}) if number > 1 else "",
        "after": urlencode({**asked.words, "page": number + 1}) if number < pages else "",
        "download": urlencode(asked.words),
        "language": get_language() or "en",
    }


def _capability(model: Model, indicator: str) -> str | None:
    """The capability whose page shows the finding."""
    for practice in model.practices.values():
        if any(indicator in (check.key, check.indicator) for check in practice.checks):
            return practice.capability
    return None


def _line(row: FactRow, found: Found, link: FactLink) -> Line:
    source, colon, bare = row.id.partition(":")
    at = datetime.fromtimestamp(row.at / 1000, tz=UTC) if row.at is not None and 0 <= row.at < 2**47 else None
    of = row.experiment or (row.of or "").partition(":")[2]
    return Line(row, source if colon else "", bare or source, link(found.unit, row.id), of, at)


def unit_name(unit: str) -> str:
    """What the facts are, in the plural and in the language of the page."""
    names = {
        "run": gettext("runs"),
        "version": gettext("model versions"),
        "model": gettext("registered models"),
        "dataset input": gettext("dataset inputs"),
        "logged model": gettext("logged models"),
        "dataset": gettext("datasets"),
        "week": gettext("weeks of versions"),
        "incident": gettext("incidents"),
        "report": gettext("reports"),
        "repository": gettext("repositories"),
        "change request": gettext("change requests"),
        "project": gettext("projects"),
        "experiment": gettext("experiments"),
    }
    return names.get(unit, unit)


def outcome_word(outcome: str) -> str:
    """What a finding makes of a fact."""
    return {"fails": gettext("fails"), "passes": gettext("passes"), "left": gettext("not counted")}[outcome]


class _Echo:
    def write(self, text: str) -> str:
        return text


def _csv(browser: Browser, found: Found) -> Iterator[str]:
    """Lines of CSV, with a mark in front so that spreadsheets see that it is UTF-8."""
    writer = csv.writer(_Echo())
    with browser:
        yield "\ufeff" + writer.writerow(("outcome", "source", "id", "name", "of", "project", "time", "who", "status"))
        for row in browser.rows(found):
            source, _, bare = row.id.partition(":")
            line = _line(row, found, lambda unit, fact: None)
            time = line.at.isoformat() if line.at else ""
            cells = (row.outcome, source, bare, row.name, line.of, row.project, time, row.who, row.status)
            yield writer.writerow([harmless(cell) for cell in cells])


def harmless(cell: str | None) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = (cell or "").replace("\0", "")
    return f"'{text}" if text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text


def _damaged(request: HttpRequest, organisation: Organisation, error: EvidenceDamaged) -> HttpResponse:
    _log.error("facts of %s cannot be browsed: %s", organisation.key, error)
    context = {"organisation": organisation, "problem": str(error)}
    return render(request, "pages/problem.html", context, status=500)
