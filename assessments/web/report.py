"""The report page and its files: PDF and JSON in either language, and the evidence pack."""

from __future__ import annotations

import logging

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from assessments.evidence.store import EvidenceDamaged
from assessments.ratings.results import Result, latest
from assessments.reports import pdf
from assessments.reports.render import report_of
from assessments.web.access import organisation_of

_log = logging.getLogger(__name__)
KINDS = {"pdf": "application/pdf", "json": "application/json", "dlemm": "application/zip"}


def page(request: HttpRequest, key: str) -> HttpResponse:
    """What can be downloaded, and how to check it offline."""
    organisation = organisation_of(request, key)
    return render(request, "pages/report.html", {"organisation": organisation, "result": latest(organisation)})


def file(request: HttpRequest, key: str, language: str, kind: str) -> HttpResponse:
    """One file of the newest result; 404 for a kind or language that does not exist."""
    organisation = organisation_of(request, key)
    result = latest(organisation)
    if result is None or kind not in KINDS or language not in ("en", "zh"):
        raise Http404
    try:
        content = _content(result, language, kind)
    except (EvidenceDamaged, pdf.ReportError) as error:
        _log.exception("no %s for assessment %s", kind, result.assessment.pk)
        return render(request, "pages/problem.html", {"organisation": organisation, "problem": str(error)}, status=500)
    name = f"dlemm-{organisation.key}-{result.assessment.as_of:%Y-%m-%d}-{language}.{kind}"
    disposition = "inline" if kind == "pdf" else "attachment"
    return HttpResponse(
        content, content_type=KINDS[kind], headers={"Content-Disposition": f'{disposition}; filename="{name}"'}
    )


def _content(result: Result, language: str, kind: str) -> bytes:
    if kind == "dlemm":
        return result.pack()
    document = report_of(result, language)
    return pdf.render(document) if kind == "pdf" else document.to_bytes()
