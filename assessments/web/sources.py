"""The sources of an organisation with their completeness statements."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from assessments.evidence.models import Collection, Source
from assessments.evidence.telling import count_names, note_sentences
from assessments.web.access import may_change, organisation_of
from maturity.facts import Statement


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A source, its last collection, and the collection that results rest on."""

    source: Source
    last: Collection | None
    used: Collection | None
    statement: Statement | None
    seconds: float
    counts: list[tuple[str, int]]
    notes: list[str]


def page(request: HttpRequest, key: str) -> HttpResponse:
    """All sources; what each contributed stands in its statement."""
    organisation = organisation_of(request, key)
    rows = [_row(source) for source in organisation.sources.all()]
    context = {"organisation": organisation, "rows": rows, "may_change": may_change(request, organisation)}
    return render(request, "pages/sources.html", context)


def _row(source: Source) -> SourceRow:
    last = source.collections.first()
    statement = last.read_statement() if last else None
    seconds = (statement.finished_at - statement.started_at) / 1000 if statement else 0.0
    return SourceRow(
        source=source,
        last=last,
        used=Collection.objects.in_force(source, until=timezone.now()),
        statement=statement,
        seconds=seconds,
        counts=count_names(statement) if statement else [],
        notes=note_sentences(statement) if statement else [],
    )
