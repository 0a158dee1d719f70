"""manage.py answer: take claims, verdicts and waivers from a file."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from assessments.organisations.models import Organisation
from assessments.ratings.models import AnswerSet
from maturity.answers import parse_answers
from maturity.reader import ModelError
from maturity.schema import load_model


class Command(BaseCommand):
    """Reads an answers file; it replaces the answers before it, which are kept."""

    help = "Take claims, assessors' verdicts and waivers from a YAML file (format: python -m pydoc maturity.answers)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organisation", help="key of the organisation")
        parser.add_argument("file", type=Path, help="answers file")

    def handle(self, *args: Any, **options: Any) -> None:
        organisation = Organisation.objects.filter(key=options["organisation"]).first()
        if organisation is None:
            raise CommandError(f"There is no organisation with the key {options['organisation']!r}.")
        file: Path = options["file"]
        try:
            answers = parse_answers(file.read_text(encoding="utf-8"), file.name, load_model())
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{file} cannot be read: {error}") from error
        except ModelError as error:
            raise CommandError(f"{len(error.faults)} fault(s); nothing was taken:\n{error}") from error
        AnswerSet.objects.create(organisation=organisation, content=answers.to_json(), origin=file.name[:200])
        self.stdout.write(
            f"Taken: {len(answers.claims)} claims, {len(answers.verdicts)} verdicts, {len(answers.waivers)} waivers."
        )
