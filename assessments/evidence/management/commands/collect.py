"""manage.py collect: read the sources of an organisation now."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from assessments.evidence.collect import AlreadyCollecting, accept, collect
from assessments.evidence.models import Collection, Source
from assessments.evidence.telling import collection_lines


class Command(BaseCommand):
    """Collects from every source of an organisation, or from one."""

    help = "Collect evidence from the sources of an organisation."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organisation", help="key of the organisation")
        parser.add_argument("--source", help="key of one source; all of them if left out")
        parser.add_argument(
            "--accept-losses",
            action="store_true",
            help="experiments that vanished since the last complete collection are really gone",
        )

        parser.add_argument(
            "--everything", action="store_true", help="verify also what is held already, however long that takes"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        sources = Source.objects.filter(organisation__key=options["organisation"])
        if options["source"]:
            sources = sources.filter(key=options["source"])
        if not sources:
            raise CommandError("No such source. Add one with: manage.py add_source ORGANISATION URL")
        states = [self._collect(source, options) for source in sources]
        if any(state == Collection.State.FAILED for state in states):
            raise CommandError("A source could not be read; what was known before stays in force.", returncode=3)

    def _collect(self, source: Source, options: dict[str, Any]) -> str:
        try:
            collection = collect(source, everything=options["everything"] or None)
        except AlreadyCollecting as error:
            raise CommandError(str(error)) from error
        if options["accept_losses"] and collection.state == Collection.State.SUSPECT:
            accept(collection)
        for line in collection_lines(collection):
            self.stdout.write(line)
        return str(collection.state)
