"""manage.py remove_source: forget a source and what was read from it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from assessments.evidence.models import Source


class Command(BaseCommand):
    """Removes a source; results made with it stay, and so do their packs."""

    help = "Remove a source from an organisation. Results that were made with it stay as they are."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organisation", help="key of the organisation")
        parser.add_argument("source", help="key of the source")

    def handle(self, *args: Any, **options: Any) -> None:
        found = Source.objects.filter(organisation__key=options["organisation"], key=options["source"])
        removed, _ = found.delete()
        if not removed:
            raise CommandError(f"There is no source {options['source']!r} in {options['organisation']!r}.")
        self.stdout.write(f"Source {options['source']} removed. Next: manage.py assess {options['organisation']}")
