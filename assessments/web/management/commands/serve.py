"""manage.py serve: run the site."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from assessments.web.serving import NoPort, addresses, free_socket, serve


class Command(BaseCommand):
    """Serves the site with waitress, on every interface unless told otherwise."""

    help = "Run the site in one process."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="0.0.0.0", help="address to listen on; all of them by default")  # noqa: S104
        parser.add_argument("--port", type=int, default=8000, help="port, or the next free one")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            listener = free_socket(options["host"], options["port"])
        except NoPort as error:
            raise CommandError(str(error)) from error
        for address in addresses(listener):
            self.stdout.write(f"Serving {address}")
        self.stdout.write("Stop with Ctrl-C.")
        serve(listener)
