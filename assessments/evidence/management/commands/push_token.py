"""manage.py push_token: let a program send facts to an organisation, or stop it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from assessments.evidence import pushed
from assessments.evidence.models import Source
from assessments.organisations.models import Organisation


class Command(BaseCommand):
    """Makes a token and shows it once; lists or revokes the tokens there are."""

    help = "Make a token with which a program may send facts; the source is added if it is not there yet."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organisation", help="key of the organisation")
        parser.add_argument("source", help="key of the source that receives the facts")
        parser.add_argument("--label", default="", help="what the token is for, such as the name of a pipeline")
        parser.add_argument("--list", action="store_true", help="list the tokens instead")
        parser.add_argument("--revoke", type=int, metavar="NUMBER", help="revoke the token of this number instead")

    def handle(self, *args: Any, **options: Any) -> None:
        source = self._source(options)
        if options["list"]:
            for token in source.push_tokens.all():
                state = "revoked" if token.revoked_at else "valid"
                used = f"{token.used_at:%Y-%m-%d %H:%M}" if token.used_at else "never"
                self.stdout.write(f"{token.pk}: {state}, last used {used} {token.label}".rstrip())
        elif options["revoke"] is not None:
            open_ones = source.push_tokens.filter(pk=options["revoke"], revoked_at=None)
            if not open_ones.update(revoked_at=timezone.now()):
                raise CommandError(f"{source.key} has no valid token {options['revoke']}.")
            self.stdout.write(f"Token {options['revoke']} is revoked.")
        else:
            self._make(source, options["label"])

    def _make(self, source: Source, label: str) -> None:
        try:
            if source._state.adding:
                source.full_clean(exclude=["config"])
                source.save()
            token = pushed.new_token(source, label[:100])
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        except ValueError as error:
            raise CommandError(f"{source.key}: {error}") from error
        self.stderr.write("This token is shown only once:")
        self.stdout.write(token)

    def _source(self, options: dict[str, Any]) -> Source:
        """The source; a new one when a token is wanted and there is none of that key."""
        organisation = Organisation.objects.filter(key=options["organisation"]).first()
        if organisation is None:
            raise CommandError(f"There is no organisation with the key {options['organisation']!r}.")
        source = organisation.sources.filter(key=options["source"]).first()
        if source is None and (options["list"] or options["revoke"] is not None):
            raise CommandError(f"There is no source with the key {options['source']!r}.")
        return source or Source(organisation=organisation, key=options["source"], kind=pushed.KIND)
