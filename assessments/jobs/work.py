"""work: ask for a job, run it, stop it.

``request`` makes the row and puts its number on the queue once the row is committed; ``run`` is what the worker calls
and may be called twice without harm; a job that is to be stopped hears of it at its next word of progress.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from django.utils.translation import get_language, gettext, override
from kombu.exceptions import OperationalError

from assessments.jobs.models import Job
from assessments.jobs.processes import is_gone, this_process
from assessments.organisations.models import Organisation

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

KINDS: Mapping[str, str] = {
    "refresh": "assessments.ratings.refresh:refresh",
    "collect": "assessments.evidence.schedule:collect_source",
    "ladder": "assessments.ratings.ladder:climb",
}
"""Kind → function(job, report), loaded on first use; upper layers add a line here."""

Report = Callable[[int, int | None, str], None]
_EVERY_SECONDS = 0.5
BEAT_SECONDS = 30
MOST_LOST = 3
"""A job that lost its process so often is not tried again by itself: it may be what ended them."""

_log = logging.getLogger(__name__)


class Cancelled(BaseException):
    """The job is to stop, or its process. No error, so nothing that catches errors may swallow it."""


class JobFailed(Exception):
    """The job cannot be done; the message says why, in the words of the one who asked for it."""


def request(
    organisation: Organisation,
    kind: str,
    *,
    by: AbstractBaseUser | None,
    subject: str = "",
    options: Mapping[str, Any] | None = None,
) -> Job:
    """The open job of this kind about this subject, or a new one that is queued. One that lost its worker has failed.

    ``subject``: what the job is about, such as the key of a source; ``options``: what its function wants to know.
    """
    same = Job.objects.filter(organisation=organisation, kind=kind, subject=subject)
    same.silent().update(state=Job.State.FAILED, finished_at=timezone.now())
    try:
        with transaction.atomic():
            job = Job.objects.create(
                organisation=organisation,
                kind=kind,
                subject=subject,
                options=dict(options or {}),
                requested_by_id=by.pk if by else None,
                language=get_language() or "en",
            )
    except IntegrityError:
        return same.latest("requested_at", "pk")
    transaction.on_commit(lambda: _enqueue(job))
    return job


def _enqueue(job: Job) -> None:
    """Put the job on the queue; when the broker is out of reach the job has failed and says so."""
    from assessments.jobs.tasks import run_job

    try:
        run_job.delay(job.pk)
    except OperationalError as error:
        _log.exception("job %s could not be queued", job.pk)
        _finish(job, Job.State.FAILED, f"The message broker could not be reached: {error}")


def requeue_orphans() -> int:
    """Queue again what a process that ended left behind, and all that waits; gives the number of jobs.

    For the start of a site with the embedded queue, which is lost with its process.
    """
    waiting = Job.objects.filter(state=Job.State.QUEUED)
    orphans = [job for job in [*waiting, *_left_alone()] if _take_back(job)]
    for job in orphans:
        _enqueue(job)
    return len(orphans)


def requeue_lost() -> int:
    """Queue again the running jobs whose process ended; gives the number of jobs. Those that wait are in the queue.

    One that lost its process too often has failed instead.
    """
    found = 0
    for job in _left_alone():
        if job.lost >= MOST_LOST:
            _finish(job, Job.State.FAILED, gettext("The process of the job ended several times without a word."))
        elif _take_back(job, lost=job.lost + 1):
            _enqueue(job)
            found += 1
    return found


def _left_alone() -> list[Job]:
    """The running jobs that nobody works on."""
    silent = set(Job.objects.silent())
    return [job for job in Job.objects.filter(state=Job.State.RUNNING) if job in silent or is_gone(job.process)]


def _take_back(job: Job, **changes: Any) -> bool:
    """Whether nobody had touched the job meanwhile when it was set back to waiting."""
    untouched = Job.objects.filter(pk=job.pk, state=job.state, heartbeat_at=job.heartbeat_at)
    return bool(untouched.update(state=Job.State.QUEUED, **changes))


def run(number: int) -> None:
    """Run a queued job to its end. Does nothing when another worker took it or it is over."""
    now = timezone.now()
    taken = Job.objects.filter(pk=number, state=Job.State.QUEUED).update(
        state=Job.State.RUNNING, started_at=now, heartbeat_at=now, process=this_process(), done=0, total=None, doing=""
    )
    if not taken:
        return
    job = Job.objects.select_related("organisation").get(pk=number)
    try:
        with override(job.language), _beating(job):
            _function(job.kind)(job, _reporter(job))
        state, last = Job.State.DONE, ""
    except Cancelled:
        state, last = _stopped(job), ""
    except JobFailed as error:
        state, last = Job.State.FAILED, str(error)
    except Exception as error:  # the worker must live on; the reason is kept for the reader and in the server's log
        _log.exception("job %s failed", job.pk)
        state, last = Job.State.FAILED, f"{type(error).__name__}: {error}"
    _finish(job, state, last)


def _stopped(job: Job) -> Job.State:
    """What a job is that was stopped: cancelled by a person, or waiting because only its process was to end."""
    asked = Job.objects.filter(pk=job.pk, cancel_requested=True).exists()
    return Job.State.CANCELLED if asked else Job.State.QUEUED


def _finish(job: Job, state: Job.State, last: str) -> None:
    """End an open job; one that was ended by somebody else meanwhile stays as it is."""
    if last:
        note(job, last)
    ended = None if state == Job.State.QUEUED else timezone.now()
    Job.objects.open().filter(pk=job.pk).update(state=state, finished_at=ended)


def lost_worker(number: int, reason: str) -> None:
    """Note that the process of a job ended without a word."""
    for job in Job.objects.filter(pk=number, state=Job.State.RUNNING):
        _finish(job, Job.State.FAILED, reason)


@contextlib.contextmanager
def _beating(job: Job) -> Iterator[None]:
    """Tell that the job is alive, also while it works for minutes without a word of progress."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            Job.objects.filter(pk=job.pk).update(heartbeat_at=timezone.now())
        connection.close()

    thread = threading.Thread(target=beat, name=f"job-{job.pk}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


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
    """Takes words of progress; writes them at most twice a second and raises ``Cancelled`` when asked to stop.

    A step counts from the last word of the step before: its own first word comes when part of it is done.
    """
    written, heard, since, step = 0.0, timezone.now(), timezone.now(), ("", 0)

    def report(done: int, total: int | None, doing: str) -> None:
        nonlocal written, heard, since, step
        if doing != step[0] or done < step[1]:
            since = heard
        heard, step = timezone.now(), (doing, done)
        if time.monotonic() - written < _EVERY_SECONDS:
            return
        written = time.monotonic()
        Job.objects.filter(pk=job.pk).update(
            done=done, total=total, doing=doing[:200], doing_since=since, heartbeat_at=heard
        )
        if Job.objects.filter(pk=job.pk, cancel_requested=True).exists():
            raise Cancelled

    return report


def _function(kind: str) -> Callable[[Job, Report], None]:
    module, _, name = KINDS[kind].partition(":")
    function: Callable[[Job, Report], None] = getattr(import_module(module), name)
    return function
