"""schedule: collecting as a job, asked for by a person or because a source's time has come.

Takes sources with how often they are to be read; gives jobs of the kind ``collect``, at most one open for a source. A
source counts from its last attempt, whatever became of it, so one that fails is tried again at its next time.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.core.signing import BadSignature
from django.utils import timezone
from django.utils.translation import gettext

from assessments.evidence import store
from assessments.evidence.collect import AlreadyCollecting, being_collected, collect
from assessments.evidence.models import AUDIT_HOURS, Collection, Source
from assessments.evidence.telling import collection_lines, stream_name
from assessments.jobs.models import Job
from assessments.jobs.work import JobFailed, Report, note, request
from integrations.connectors.base import ConfigError

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

KIND = "collect"
SMALL = 20_000
"""Of a source with at most so many runs, everything is read again when a person asks for it."""

_EARLY = timedelta(
    seconds=30
)  # the clock ticks once a minute: a source that just misses a tick would wait for the next
MOST_MINUTES = 31 * 24 * 60
MOST_AUDIT_HOURS = 365 * 24


def ask(source: Source, *, by: AbstractBaseUser | None, everything: bool = False) -> Job:
    """The open job that collects a source, or a new one. ``everything``: verify also what is held."""
    verify = everything or (by is not None and runs_held(source) <= SMALL)
    return request(source.organisation, KIND, by=by, subject=source.key, options={"everything": verify})


def runs_held(source: Source) -> int:
    """How many runs the facts in force of a source hold; 0 when there are none."""
    used = Collection.objects.in_force(source, until=timezone.now())
    statement = used.read_statement() if used else None
    return statement.counts.get("runs", 0) if statement else 0


def collect_source(job: Job, report: Report) -> None:
    """The work of a job ``collect``: read the source that it is about. Raises ``JobFailed`` when nothing was read."""
    source = job.organisation.sources.filter(key=job.subject).first()
    if source is None:
        raise JobFailed(gettext("The source %(key)s is not there any more.") % {"key": job.subject})
    try:
        collection = collect(
            source,
            progress=lambda done, total, what: report(done, total, stream_name(what)),
            everything=bool(job.options.get("everything")),
        )
    except AlreadyCollecting as error:
        why = gettext("Nothing was done: this source is being read already (%(detail)s).") % {"detail": error}
        raise JobFailed(why) from error
    except (BadSignature, ConfigError, store.EvidenceDamaged) as error:
        raise JobFailed(f"{source.key}: {error}") from error
    for line in collection_lines(collection):
        note(job, line)
    if collection.state == Collection.State.FAILED:
        raise JobFailed(gettext("The source could not be read; what was known before stays in force."))


def collect_due(now: datetime) -> list[Job]:
    """Queue the sources whose time has come; gives their jobs."""
    scheduled = Source.objects.filter(every_minutes__isnull=False).select_related("organisation")
    return [ask(source, by=None) for source in scheduled if is_due(source, now)]


def is_due(source: Source, now: datetime) -> bool:
    """Whether the source is to be collected now: it has a schedule, its time has come, and nobody is at it."""
    if source.every_minutes is None or open_job(source) is not None or being_collected(source):
        return False
    last = last_attempt(source)
    return last is None or now - last >= timedelta(minutes=source.every_minutes) - _EARLY


def last_attempt(source: Source) -> datetime | None:
    """When it was last tried to collect the source, by a job or by hand."""
    jobs = Job.objects.filter(organisation=source.organisation_id, kind=KIND, subject=source.key)
    tried = [
        jobs.order_by("-requested_at").values_list("requested_at", flat=True).first(),
        source.collections.values_list("started_at", flat=True).first(),
    ]
    return max((time for time in tried if time is not None), default=None)


def open_job(source: Source) -> Job | None:
    """The job that waits to collect the source or does so."""
    return Job.objects.open().filter(organisation=source.organisation_id, kind=KIND, subject=source.key).first()


def set_schedule(source: Source, *, every_minutes: int | None, audit_hours: int | None = None) -> None:
    """Set how often a source is collected (None: only when asked for) and within how long everything is read again.

    Raises ``ValidationError`` with a sentence for each number out of bounds; nothing is changed then.
    """
    hours = AUDIT_HOURS if audit_hours is None else audit_hours
    faults = []
    if every_minutes is not None and not 1 <= every_minutes <= MOST_MINUTES:
        faults.append(gettext("Minutes between two collections must be from 1 to %(most)s.") % {"most": MOST_MINUTES})
    if not 1 <= hours <= MOST_AUDIT_HOURS:
        faults.append(
            gettext("Hours within which all is read must be from 1 to %(most)s.") % {"most": MOST_AUDIT_HOURS}
        )
    if faults:
        raise ValidationError(faults)
    source.every_minutes, source.audit_hours = every_minutes, hours
    source.save(update_fields=["every_minutes", "audit_hours"])
