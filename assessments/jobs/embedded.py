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
STOP_SECONDS = 4


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
        end_children()
        # Either may wait for the other's last message: the process must end all the same.
        enders = [threading.Thread(target=part.stop, daemon=True) for part in (clock, worker)]
        for ender in enders:
            ender.start()
        for ender in (*enders, thread):
            ender.join(timeout=STOP_SECONDS)
