"""The sources of an organisation with their completeness statements, and how often each is collected."""

from __future__ import annotations

from dataclasses import dataclass

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from assessments.evidence import schedule
from assessments.evidence.models import Collection, Source
from assessments.evidence.telling import count_names, note_sentences
from assessments.jobs.models import Job
from assessments.organisations.models import Organisation
from assessments.web.access import is_owner, may_change, organisation_of, owned_organisation_of
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
    job: Job | None
    most_minutes: int = schedule.MOST_MINUTES
    most_audit_hours: int = schedule.MOST_AUDIT_HOURS


class ScheduleForm(forms.Form):
    """How often a source is collected; an empty field means only when asked for."""

    every_minutes = forms.IntegerField(required=False)
    audit_hours = forms.IntegerField()


def page(request: HttpRequest, key: str) -> HttpResponse:
    """All sources; what each contributed stands in its statement."""
    return _page(request, organisation_of(request, key))


@require_POST
def set_schedule(request: HttpRequest, key: str, source: str) -> HttpResponse:
    """Set how often a source is collected; the page says what is wrong with numbers out of bounds."""
    organisation = owned_organisation_of(request, key)
    found = get_object_or_404(organisation.sources, key=source)
    form = ScheduleForm(request.POST)
    if not form.is_valid():
        return _page(request, organisation, [str(error) for errors in form.errors.values() for error in errors])
    try:
        schedule.set_schedule(found, **form.cleaned_data)
    except ValidationError as error:
        return _page(request, organisation, error.messages)
    return redirect("sources", organisation.key)


def _page(request: HttpRequest, organisation: Organisation, faults: list[str] | None = None) -> HttpResponse:
    context = {
        "organisation": organisation,
        "rows": [_row(source) for source in organisation.sources.all()],
        "may_change": may_change(request, organisation),
        "is_owner": is_owner(request, organisation),
        "faults": faults,
    }
    return render(request, "pages/sources.html", context, status=400 if faults else 200)


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
        job=schedule.open_job(source),
    )
