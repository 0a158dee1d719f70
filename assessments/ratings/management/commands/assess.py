"""manage.py assess: compute the levels of an organisation now."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from assessments.evidence.store import EvidenceDamaged
from assessments.organisations.models import Organisation
from assessments.ratings.assess import NothingToAssess, assess
from assessments.ratings.results import Result
from maturity.telling import first_steps, gap_lines, level_lines


class Command(BaseCommand):
    """Assesses an organisation and prints its levels and what blocks the next ones."""

    help = "Measure and score an organisation from everything collected and answered so far."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organisation", help="key of the organisation")
        parser.add_argument("--as-of", help="time such as 2026-03-31T12:00Z; now if left out")
        parser.add_argument("--language", choices=("en", "zh"), default="en", help="language of the output")

    def handle(self, *args: Any, **options: Any) -> None:
        organisation = Organisation.objects.filter(key=options["organisation"]).first()
        if organisation is None:
            raise CommandError(f"There is no organisation with the key {options['organisation']!r}.")
        try:
            result = Result(assess(organisation, as_of=_time(options["as_of"])))
        except (NothingToAssess, EvidenceDamaged) as error:
            raise CommandError(str(error)) from error
        for line in level_lines(result.model, result.summary, options["language"]):
            self.stdout.write(line)
        for line in gap_lines(result.model, first_steps(result.gaps, 10), options["language"]):
            self.stdout.write(line)


def _time(text: str | None) -> datetime:
    if not text:
        return timezone.now()
    try:
        time = parse_datetime(text)
    except ValueError:
        time = None
    if time is None:
        raise CommandError(f"{text!r} is not a time; write it such as 2026-03-31T12:00Z")
    time = time if timezone.is_aware(time) else timezone.make_aware(time)
    if time > timezone.now():
        raise CommandError(f"{text!r} lies in the future; nobody can have looked then")
    return time
