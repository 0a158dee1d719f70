"""refresh: collect from every source of an organisation and assess it, as one job."""

from __future__ import annotations

from django.core.signing import BadSignature
from django.utils import timezone
from django.utils.translation import gettext

from assessments.evidence import store
from assessments.evidence.collect import AlreadyCollecting, collect
from assessments.evidence.telling import collection_lines, stream_name
from assessments.jobs.models import Job
from assessments.jobs.work import Report, note
from assessments.ratings.assess import assess
from integrations.connectors.base import ConfigError


def refresh(job: Job, report: Report) -> None:
    """The work of the job ``refresh``. A source that cannot be read is told in the log and does not end the job."""
    for source in job.organisation.sources.all():
        report(0, None, source.key)
        try:
            collection = collect(source, progress=lambda done, total, what: report(done, total, stream_name(what)))
        except (AlreadyCollecting, BadSignature, ConfigError, store.EvidenceDamaged) as error:
            note(job, f"{source.key}: {error}")
            continue
        for line in collection_lines(collection):
            note(job, line)
    report(0, None, gettext("assessing"))
    assess(job.organisation, as_of=timezone.now())
