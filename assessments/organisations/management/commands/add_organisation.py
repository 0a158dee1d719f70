"""manage.py add_organisation: an organisation with its projects and its first owner."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from assessments.organisations.models import Membership, Organisation, Project


class Command(BaseCommand):
    """Adds an organisation, or adds projects and owners to one that exists."""

    help = "Add an organisation with its projects and its owner."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("key", help="short key, such as acme")
        parser.add_argument("name", help="name as shown")
        parser.add_argument(
            "--project",
            action="append",
            default=[],
            metavar="KEY[=PATTERN,…]",
            help="a project and the name patterns of its experiments, such as fraud=fraud-*; may be repeated",
        )
        parser.add_argument("--owner", help="user name of an account that becomes the owner")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            organisation = _organisation(options["key"], options["name"])
            for text in options["project"]:
                _project(organisation, text)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        if options["owner"]:
            user = get_user_model().objects.filter(username=options["owner"]).first()
            if user is None:
                raise CommandError(
                    f"There is no account {options['owner']!r}; make one with manage.py createsuperuser."
                )
            Membership.objects.update_or_create(
                organisation=organisation, user=user, defaults={"role": Membership.Role.OWNER}
            )
        self.stdout.write(f"{organisation.name} ({organisation.key}): {organisation.projects.count()} project(s).")


def _organisation(key: str, name: str) -> Organisation:
    organisation = Organisation.objects.filter(key=key).first() or Organisation(key=key)
    organisation.name = name
    organisation.full_clean()
    organisation.save()
    return organisation


def _project(organisation: Organisation, text: str) -> None:
    key, _, patterns = text.partition("=")
    project = Project.objects.filter(organisation=organisation, key=key).first() or Project(
        organisation=organisation, key=key, name=key
    )
    project.experiments = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()] or project.experiments
    project.full_clean()
    project.save()
