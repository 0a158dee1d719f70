"""Starting, watching and stopping a job. The page reloads itself until the job is over, with or without scripts."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

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


def page(request: HttpRequest, key: str, number: int) -> HttpResponse:
    """How far a job is."""
    organisation = organisation_of(request, key)
    job = get_object_or_404(Job, organisation=organisation, pk=number)
    response = render(request, "pages/job.html", {"organisation": organisation, "job": job})
    if not job.ended:
        response["Refresh"] = str(RELOAD_SECONDS)
    return response


@require_POST
def stop(request: HttpRequest, key: str, number: int) -> HttpResponse:
    """Ask a job to stop."""
    organisation = editable_organisation_of(request, key)
    cancel(get_object_or_404(Job, organisation=organisation, pk=number))
    return redirect("job", organisation.key, number)
