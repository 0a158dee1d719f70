"""manage.py add_source: make a server known as a source of evidence."""

from __future__ import annotations

import getpass
import os
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from assessments.evidence.collect import connect
from assessments.evidence.models import Source
from assessments.organisations.models import Organisation
from integrations.connectors.base import ConfigError


class Command(BaseCommand):
    """Adds or changes a source; asks the server once whether it answers."""

    help = "Add a source of evidence, such as an MLflow server, to an organisation."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organisation", help="key of the organisation")
        parser.add_argument("url", help="address of the server, such as https://mlflow.example:5000")
        parser.add_argument("--key", default="mlflow", help="short name of the source inside the organisation")
        parser.add_argument("--kind", default="mlflow", help="kind of source")
        parser.add_argument("--username", default="", help="user name for basic authentication")
        parser.add_argument("--password-from", metavar="VARIABLE", help="environment variable that holds the password")
        parser.add_argument("--token-from", metavar="VARIABLE", help="environment variable that holds the token")
        parser.add_argument("--ca", default="", help="file with the certificate of a private authority")
        parser.add_argument("--web-url", default="", help="address for links, if people reach the server elsewhere")

    def handle(self, *args: Any, **options: Any) -> None:
        organisation = Organisation.objects.filter(key=options["organisation"]).first()
        if organisation is None:
            raise CommandError(f"There is no organisation with the key {options['organisation']!r}.")
        config = {"base_url": options["url"].rstrip("/"), "ca_path": options["ca"], "web_url": options["web_url"]}
        source = Source.objects.filter(organisation=organisation, key=options["key"]).first() or Source(
            organisation=organisation, key=options["key"]
        )
        twin = (
            organisation.sources.exclude(key=options["key"]).filter(config__base_url=options["url"].rstrip("/")).first()
        )
        if twin is not None:
            raise CommandError(f"{twin.key} is the same server already; its runs would count twice.")
        source.kind, source.config = options["kind"], {name: value for name, value in config.items() if value}
        source.set_secret(_secrets(options))
        try:
            check = connect(source).check()
            source.full_clean()
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        except (ConfigError, KeyError) as error:
            raise CommandError(str(error)) from error
        source.save()
        self.stdout.write(f"Source {source.key} saved.")
        if check.ok:
            self.stdout.write(f"It answers: MLflow {check.server_version}. Next: manage.py collect {organisation.key}")
        else:
            self.stderr.write(f"It does not answer yet: {check.reason}")


def _secrets(options: dict[str, Any]) -> dict[str, str]:
    secrets = {"token": _variable(options["token_from"])} if options["token_from"] else {}
    if options["username"]:
        named = options["password_from"]
        password = _variable(named) if named else _asked(options["username"])
        secrets |= {"username": options["username"], "password": password}
    return secrets


def _asked(username: str) -> str:
    try:
        return getpass.getpass(f"Password of {username}: ")
    except EOFError as error:
        raise CommandError("There is no terminal to ask for the password; use --password-from VARIABLE.") from error


def _variable(name: str) -> str:
    if not os.environ.get(name):
        raise CommandError(f"The environment variable {name} is not set or empty.")
    return os.environ[name]
