"""manage.py set_project: what MLflow cannot know of a project."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from assessments.organisations.models import Project


class Command(BaseCommand):
    """Sets the dates and the registered models of a project."""

    help = "Set when a project's request was accepted, when work started, and which registered models are its own."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organisation", help="key of the organisation")
        parser.add_argument("project", help="key of the project")
        parser.add_argument("--idea-at", metavar="DATE", help="when the request was accepted for work")
        parser.add_argument("--started-at", metavar="DATE", help="when work started")
        parser.add_argument("--models", metavar="PATTERN,…", help="name patterns of its registered models")

    def handle(self, *args: Any, **options: Any) -> None:
        found = Project.objects.filter(organisation__key=options["organisation"], key=options["project"])
        project = found.select_related("organisation").first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r} in {options['organisation']!r}.")
        if options["idea_at"]:
            project.idea_at = _time(options["idea_at"])
        if options["started_at"]:
            project.started_at = _time(options["started_at"])
        if options["models"] is not None:
            project.registered_models = [name.strip() for name in options["models"].split(",") if name.strip()]
        try:
            project.full_clean()
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        project.save()
        self.stdout.write(f"{project.key} saved. Next: manage.py assess {project.organisation.key}")


def _time(text: str) -> datetime:
    """A date or a time; a date alone is its first moment, UTC or the site's time zone."""
    try:
        day, time = parse_date(text), parse_datetime(text)
    except ValueError:
        day = time = None
    if time is None and day is not None:
        time = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - made aware below
    if time is None:
        raise CommandError(f"{text!r} is not a date; write it such as 2026-03-31")
    return time if timezone.is_aware(time) else timezone.make_aware(time)
