"""work: ask for a job, run it, stop it.

``request`` makes the row and puts its number on the queue once the row is committed; ``run`` is what the worker calls
and may be called twice without harm; a job that is to be stopped hears of it at its next word of progress.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import get_language, override

from assessments.jobs.models import Job
from assessments.organisations.models import Organisation

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

KINDS: Mapping[str, str] = {"refresh": "assessments.ratings.refresh:refresh"}
"""Kind → function(job, report), loaded on first use; upper layers add a line here."""

Report = Callable[[int, int | None, str], None]
_EVERY_SECONDS = 0.5
_log = logging.getLogger(__name__)


class Cancelled(BaseException):
    """Somebody asked the job to stop. No error, so nothing that catches errors may swallow it."""


def request(organisation: Organisation, kind: str, *, by: AbstractBaseUser | None) -> Job:
    """The open job of this kind, or a new one that is queued. One that lost its worker counts as failed."""
    from assessments.jobs.tasks import run_job

    Job.objects.filter(organisation=organisation, kind=kind).silent().update(
        state=Job.State.FAILED, finished_at=timezone.now()
    )
    try:
        with transaction.atomic():
            job = Job.objects.create(
                organisation=organisation,
                kind=kind,
                requested_by_id=by.pk if by else None,
                language=get_language() or "en",
            )
    except IntegrityError:
        return Job.objects.open().get(organisation=organisation, kind=kind)
    run_job.delay_on_commit(job.pk)
    return job


def requeue_orphans() -> int:
    """Queue again what a process that ended left behind; gives the number of jobs."""
    from assessments.jobs.tasks import run_job

    orphans = list(Job.objects.orphaned())
    for job in orphans:
        Job.objects.filter(pk=job.pk).update(state=Job.State.QUEUED)
        run_job.delay(job.pk)
    return len(orphans)


def run(number: int) -> None:
    """Run a queued job to its end. Does nothing when another worker took it or it is over."""
    taken = Job.objects.filter(pk=number, state=Job.State.QUEUED).update(
        state=Job.State.RUNNING, started_at=timezone.now(), heartbeat_at=timezone.now()
    )
    if not taken:
        return
    job = Job.objects.select_related("organisation").get(pk=number)
    try:
        with override(job.language):
            _function(job.kind)(job, _reporter(job))
        state, last = Job.State.DONE, ""
    except Cancelled:
        state, last = Job.State.CANCELLED, ""
    except Exception as error:  # the worker must live on; the reason is kept for the reader and in the server's log
        _log.exception("job %s failed", job.pk)
        state, last = Job.State.FAILED, f"{type(error).__name__}: {error}"
    job.refresh_from_db()
    job.state, job.finished_at, job.log = state, timezone.now(), "\n".join(filter(None, [job.log, last]))
    job.save(update_fields=["state", "finished_at", "log"])


def cancel(job: Job) -> None:
    """Ask a job to stop; one that still waits is stopped at once."""
    if not Job.objects.filter(pk=job.pk, state=Job.State.QUEUED).update(
        state=Job.State.CANCELLED, finished_at=timezone.now()
    ):
        Job.objects.filter(pk=job.pk).update(cancel_requested=True)


def note(job: Job, line: str) -> None:
    """Add a line to the job's log."""
    job.refresh_from_db(fields=["log"])
    job.log = "\n".join(filter(None, [job.log, line]))
    job.save(update_fields=["log"])


def _reporter(job: Job) -> Report:
    """Takes words of progress; writes them at most twice a second and raises ``Cancelled`` when asked to stop."""
    last = 0.0

    def report(done: int, total: int | None, doing: str) -> None:
        nonlocal last
        if time.monotonic() - last < _EVERY_SECONDS:
            return
        last = time.monotonic()
        Job.objects.filter(pk=job.pk).update(done=done, total=total, doing=doing[:200], heartbeat_at=timezone.now())
        if Job.objects.filter(pk=job.pk, cancel_requested=True).exists():
            raise Cancelled

    return report


def _function(kind: str) -> Callable[[Job, Report], None]:
    module, _, name = KINDS[kind].partition(":")
    function: Callable[[Job, Report], None] = getattr(import_module(module), name)
    return function
