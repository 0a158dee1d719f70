"""manage.py set_schedule: how often a source is collected by itself."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from assessments.evidence.models import Source
from assessments.evidence.schedule import set_schedule


class Command(BaseCommand):
    """Sets or ends the schedule of a source; says the present one when nothing is to be changed."""

    help = "Set how often a source is collected by itself."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organisation", help="key of the organisation")
        parser.add_argument("source", help="key of the source")
        when = parser.add_mutually_exclusive_group()
        when.add_argument("--every", type=int, metavar="MINUTES", help="collect again after so many minutes")
        when.add_argument("--never", action="store_true", help="collect only when asked for")
        parser.add_argument(
            "--audit-hours", type=int, metavar="HOURS", help="read everything again within so many hours"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        source = Source.objects.filter(organisation__key=options["organisation"], key=options["source"]).first()
        if source is None:
            raise CommandError(f"There is no source {options['source']!r} in {options['organisation']!r}.")
        every = None if options["never"] else source.every_minutes if options["every"] is None else options["every"]
        audit = source.audit_hours if options["audit_hours"] is None else options["audit_hours"]
        try:
            set_schedule(source, every_minutes=every, audit_hours=audit)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        when = "only when asked for" if every is None else f"every {every} minute(s)"
        self.stdout.write(f"{source.key} is collected {when}; everything is read again within {audit} hour(s).")
