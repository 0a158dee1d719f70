"""The periodic Celery task: once a minute, queue what is due. Running it twice at once does no harm."""

from __future__ import annotations

from celery import shared_task


@shared_task(name="assessments.collect_due", ignore_result=True)  # type: ignore[untyped-decorator]  # Celery has no types
def collect_due() -> None:
    """Queue the sources whose time has come, and again the jobs whose process was lost."""
    from django.utils import timezone

    from assessments.evidence import schedule
    from assessments.jobs.work import requeue_lost

    requeue_lost()
    schedule.collect_due(timezone.now())
