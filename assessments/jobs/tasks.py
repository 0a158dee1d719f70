"""The one Celery task: run the job with this number.

Where the worker is a thread of the site's own process, the work is done by a child process, so that the site stays
small and quick; a worker of its own does it itself.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from celery import shared_task
from django.conf import settings

_children: set[subprocess.Popen[bytes]] = set()


@shared_task(name="assessments.run_job", ignore_result=True)  # type: ignore[untyped-decorator]  # Celery has no types
def run_job(number: int) -> None:
    """Run a job; see ``work.run``."""
    from assessments.jobs.work import run

    if settings.JOBS_IN_CHILD:
        _run_in_child(number)
    else:
        run(number)


def _run_in_child(number: int) -> None:
    from assessments.jobs.work import lost_worker

    command = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "run_job", str(number)]
    child = subprocess.Popen(command)  # noqa: S603 - our own command line
    _children.add(child)
    try:
        status = _wait(child, number)
    finally:
        _children.discard(child)
    lost_worker(number, f"The process of the job ended without a word (status {status}).")


def _wait(child: subprocess.Popen[bytes], number: int) -> int:
    """Wait for the child; when the job is asked to stop, end it even in the middle of a question."""
    from assessments.jobs.models import Job

    asked = False
    while True:
        try:
            return child.wait(timeout=1)
        except subprocess.TimeoutExpired:
            if not asked and Job.objects.filter(pk=number, cancel_requested=True).exists():
                asked = True
                child.terminate()


def end_children() -> None:
    """End the child processes that run jobs; each job waits then, and goes on with the next start of the site."""
    for child in list(_children):
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=5)
