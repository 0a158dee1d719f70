"""manage.py ladder: climb the ladder of the reference pipeline to a level, collect, assess and print the levels."""

from __future__ import annotations

import contextlib
import signal
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from assessments.jobs.work import JobFailed
from assessments.ratings.ladder import STEPS, climb_aloud, folder_of, take
from assessments.web import demonstration


class Command(BaseCommand):
    """Does the whole road once, with a tracking server of its own unless one is named."""

    help = "Run the reference pipeline at a level, then collect and assess it by the ordinary road."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("step", type=int, choices=STEPS, help="the level to climb to")
        parser.add_argument("--tracking-uri", default="", help="MLflow server to write to; one is started if left out")
        parser.add_argument("--organisation", default=demonstration.KEY, help="its key (default: %(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        signal.signal(signal.SIGTERM, demonstration.interrupt)
        try:
            demonstration.check_installed()
            with demonstration.only_one():
                call_command("migrate", verbosity=0)
                self._climb(options)
        except (demonstration.DemonstrationError, JobFailed) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.stdout.write("\nStopped; nothing is left running. What was done is kept for the next time.")

    def _climb(self, options: dict[str, Any]) -> None:
        organisation = demonstration.organisation(options["organisation"])
        with contextlib.ExitStack() as stack:
            address = options["tracking_uri"] or stack.enter_context(demonstration.mlflow_server())
            begin = time.monotonic()
            climb_aloud(options["step"], address, folder_of(organisation))
            self.stdout.write(f"reference pipeline: {time.monotonic() - begin:.1f} s")
            take(organisation, folder_of(organisation), address)
            demonstration.run_command("collect", organisation.key)
            demonstration.run_command("assess", organisation.key)
