"""The Celery application, and the worker that runs inside the site's process when there is no broker.

With ``memory://`` (the default) jobs run in threads of the one process; with Redis or RabbitMQ in workers of their own,
started by ``celery -A assessments worker``.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "assessments.settings")

app = Celery("assessments")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["assessments.jobs"])

EMBEDDED = "memory://"


@contextlib.contextmanager
def embedded_worker() -> Iterator[None]:
    """A worker in a thread for as long as the block runs, if the broker is the embedded one; else nothing."""
    if app.conf.broker_url != EMBEDDED:
        yield
        return
    worker = app.WorkController(
        pool="threads",
        concurrency=1,
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        loglevel="WARNING",
    )
    thread = threading.Thread(target=worker.start, name="jobs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(timeout=10)
