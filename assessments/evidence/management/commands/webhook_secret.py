"""manage.py webhook_secret: let an MLflow server tell of its registry by itself, or stop it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from assessments.evidence.models import Source
from assessments.evidence.registry_events import forget_secret, new_secret


class Command(BaseCommand):
    """Makes the secret of a source's webhook, in place of an earlier one, and shows it once with the address."""

    help = "Make the secret with which an MLflow server signs what it tells of its model registry."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organisation", help="key of the organisation")
        parser.add_argument("source", help="key of the source")
        parser.add_argument("--site", default="https://SITE", help="address of this site as the MLflow server sees it")
        parser.add_argument("--remove", action="store_true", help="accept no more deliveries instead")

    def handle(self, *args: Any, **options: Any) -> None:
        source = Source.objects.filter(organisation__key=options["organisation"], key=options["source"]).first()
        if source is None:
            raise CommandError(f"There is no source {options['source']!r} in {options['organisation']!r}.")
        if options["remove"]:
            forget_secret(source)
            self.stdout.write(f"{source.key} accepts no more deliveries.")
            return
        try:
            secret = new_secret(source)
        except ValueError as error:
            raise CommandError(f"{source.key}: {error}") from error
        path = reverse("api-registry-events", args=[options["organisation"], source.key])
        self.stderr.write("This secret is shown only once; an earlier one is void.")
        self.stdout.write(f"URL: {options['site'].rstrip('/')}{path}")
        self.stdout.write(f"Secret: {secret}")
