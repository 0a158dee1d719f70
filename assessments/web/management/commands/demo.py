"""manage.py demo: everything on one machine, ending in a site with a real result."""

from __future__ import annotations

import contextlib
import signal
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from assessments.jobs.work import JobFailed
from assessments.web import demonstration
from assessments.web.serving import NoPort, addresses, free_socket, serve


class Command(BaseCommand):
    """Runs the demonstration and serves the site until Ctrl-C."""

    help = "Start an MLflow server, run the reference pipeline, collect, assess, and serve the site."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="0.0.0.0", help="address the site listens on")  # noqa: S104
        parser.add_argument("--port", type=int, default=8000, help="port of the site, or the next free one")
        parser.add_argument("--no-serve", action="store_true", help="stop after printing the levels")

    def handle(self, *args: Any, **options: Any) -> None:
        for sign in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, sign):
                signal.signal(getattr(signal, sign), demonstration.interrupt)
        try:
            demonstration.check_installed()
            with demonstration.only_one():
                with self._step("database"):
                    call_command("migrate", verbosity=0)
                self._run(options)
        except (demonstration.DemonstrationError, JobFailed, NoPort) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.stdout.write("\nStopped; nothing is left running. What was done is kept for the next time.")

    def _run(self, options: dict[str, Any]) -> None:
        with contextlib.ExitStack() as stack:
            with self._step("MLflow server"):
                address = stack.enter_context(demonstration.mlflow_server())
            with self._step("reference pipeline"):
                demo = demonstration.organisation()
                demonstration.run_pipeline(demo, address)
            with self._step("collect"):
                demonstration.run_command("collect", demo.key)
            with self._step("assess"):
                demonstration.run_command("assess", demo.key)
            if options["no_serve"]:
                return
            listener = stack.enter_context(free_socket(options["host"], options["port"]))
            name, password = demonstration.account(demo)
            self.stdout.write("")
            for url in addresses(listener):
                self.stdout.write(self.style.SUCCESS(f"Site    {url}"))
            self.stdout.write(f"Sign in as {name} with the password {password} (valid until the next demo)")
            self.stdout.write("The page Reference of the site climbs further, up to level 5.")
            self.stdout.write(f"MLflow  {address}  (this machine only)\nStop with Ctrl-C.")
            self.stdout.flush()
            serve(listener)
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self.stdout.write(self.style.MIGRATE_HEADING(f"== {name}"))
        self.stdout.flush()
        started = time.monotonic()
        yield
        self.stdout.write(f"   {name}: {time.monotonic() - started:.1f} s")
