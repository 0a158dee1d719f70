"""The one Celery task: run the job with this number."""

from __future__ import annotations

from celery import shared_task


@shared_task(name="assessments.run_job", ignore_result=True)  # type: ignore[untyped-decorator]  # Celery has no types
def run_job(number: int) -> None:
    """Run a job; see ``work.run``."""
    from assessments.jobs.work import run

    run(number)
