"""Write the report of an organisation's newest result: ``manage.py report ORGANISATION --format pdf --output FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from assessments.evidence.store import EvidenceDamaged
from assessments.organisations.models import Organisation
from assessments.ratings.results import latest
from assessments.reports import pdf
from assessments.reports.render import report_of


class Command(BaseCommand):
    """Draws the report of the newest result."""

    help = "Write the report of an organisation's newest result as PDF or JSON, in English or Chinese."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("organisation", help="key of the organisation")
        parser.add_argument("--format", choices=("pdf", "json"), default="pdf", help="PDF to read, JSON to process")
        parser.add_argument("--language", choices=("en", "zh"), default="en", help="language of the report")
        parser.add_argument("--output", type=Path, required=True, help="file to write")

    def handle(self, *args: Any, **options: Any) -> None:
        key, language, output = options["organisation"], options["language"], options["output"]
        organisation = Organisation.objects.filter(key=key).first()
        if organisation is None:
            raise CommandError(f"there is no organisation {key!r}")
        result = latest(organisation)
        if result is None:
            raise CommandError(f"{key} has no result yet; run: manage.py assess {key}")
        document = report_of(result, language)
        try:
            content = document.to_bytes() if options["format"] == "json" else pdf.render(document)
            output.write_bytes(content)
        except (pdf.ReportError, EvidenceDamaged, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"written {output} ({len(content):,} bytes)")
