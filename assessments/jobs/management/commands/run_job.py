"""manage.py run_job: run one queued job in this process (used by the embedded worker)."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand

from assessments.jobs.work import Cancelled, run


class Command(BaseCommand):
    """Runs the job with a number; being told to end counts as cancelling it."""

    help = "Run one queued job."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("number", type=int, help="number of the job")

    def handle(self, *args: Any, **options: Any) -> None:
        signal.signal(signal.SIGTERM, _cancel)
        signal.signal(signal.SIGINT, _cancel)
        run(options["number"])


def _cancel(signum: int, frame: FrameType | None) -> None:
    # Ctrl-C reaches a child twice, from the terminal and from its parent; the second must not break the tidying up.
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, signal.SIG_IGN)
    raise Cancelled
