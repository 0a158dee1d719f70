"""Starting, watching and stopping a job. The page reloads itself until the job is over, with or without scripts."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_POST

from assessments.evidence import schedule
from assessments.jobs.models import Job
from assessments.jobs.work import cancel
from assessments.jobs.work import request as ask
from assessments.web.access import editable_organisation_of, organisation_of

RELOAD_SECONDS = 2


@require_POST
def start(request: HttpRequest, key: str) -> HttpResponse:
    """Ask for collecting and assessing now; shows the job that is open already when there is one."""
    organisation = editable_organisation_of(request, key)
    job = ask(organisation, "refresh", by=request.user if request.user.is_authenticated else None)
    return redirect("job", organisation.key, job.pk)


@require_POST
def collect(request: HttpRequest, key: str, source: str) -> HttpResponse:
    """Ask for collecting one source now; with ``everything`` also what is held is read again."""
    organisation = editable_organisation_of(request, key)
    found = get_object_or_404(organisation.sources, key=source)
    by = request.user if request.user.is_authenticated else None
    job = schedule.ask(found, by=by, everything="everything" in request.POST)
    return redirect("job", organisation.key, job.pk)


def page(request: HttpRequest, key: str, number: int) -> HttpResponse:
    """How far a job is."""
    organisation = organisation_of(request, key)
    job = get_object_or_404(Job, organisation=organisation, pk=number)
    left = job.seconds_left(timezone.now())
    context = {"organisation": organisation, "job": job, "left": "" if left is None else duration(left)}
    response = render(request, "pages/job.html", context)
    if not job.ended:
        response["Refresh"] = str(RELOAD_SECONDS)
    return response


@require_POST
def stop(request: HttpRequest, key: str, number: int) -> HttpResponse:
    """Ask a job to stop."""
    organisation = editable_organisation_of(request, key)
    cancel(get_object_or_404(Job, organisation=organisation, pk=number))
    return redirect("job", organisation.key, number)


def duration(seconds: int) -> str:
    """A time that is only roughly known, in words."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return gettext("less than a minute left")
    if minutes < 90:
        return ngettext("about %(count)s minute left", "about %(count)s minutes left", minutes) % {"count": minutes}
    hours = round(minutes / 60)
    return ngettext("about %(count)s hour left", "about %(count)s hours left", hours) % {"count": hours}
