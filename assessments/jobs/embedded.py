"""embedded: a worker and the clock of the schedules inside the site's process, for machines without a broker."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from celery.beat import EmbeddedService, Scheduler

from assessments.celery import app
from assessments.jobs.tasks import end_children
from assessments.jobs.work import requeue_orphans

BROKER = "memory://"


@contextlib.contextmanager
def embedded_worker() -> Iterator[None]:
    """A worker and a clock in threads for as long as the block runs, if the broker is the embedded one; else nothing.

    The queue is lost with the process, so what an earlier one left behind is queued again first.
    """
    if app.conf.broker_url != BROKER:
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
    requeue_orphans()
    # The plain scheduler keeps its times in memory: the sources themselves know when they were last collected.
    clock = EmbeddedService(app, thread=True, scheduler_cls=Scheduler)
    clock.start()
    try:
        yield
    finally:
        clock.stop()
        end_children()
        worker.stop()
        thread.join(timeout=10)
