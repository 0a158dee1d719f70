"""manage.py add_source: make a server, a file or a program known as a source of evidence."""

from __future__ import annotations

import getpass
import json
import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from assessments.evidence import adding
from assessments.evidence.kinds import KINDS, Form
from assessments.evidence.models import Source
from assessments.evidence.telling import reason_sentence
from assessments.organisations.models import Organisation


class Command(BaseCommand):
    """Adds or changes a source; asks the server once whether it answers."""

    help = "Add a source of evidence, such as an MLflow server, to an organisation."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organisation", help="key of the organisation")
        parser.add_argument("url", nargs="?", default="", help="address, such as https://mlflow.example:5000")
        parser.add_argument("--key", default="", help="short name of the source inside the organisation")
        parser.add_argument("--kind", default="mlflow", choices=sorted(KINDS), help="kind of source")
        parser.add_argument("--username", default="", help="user name for basic authentication")
        parser.add_argument("--password-from", metavar="VARIABLE", help="environment variable that holds the password")
        parser.add_argument("--token-from", metavar="VARIABLE", help="environment variable that holds the token")
        parser.add_argument("--ca", default="", help="file with the certificate of a private authority")
        parser.add_argument("--web-url", default="", help="address for links, if people reach the server elsewhere")
        parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any setting of the kind")
        parser.add_argument("--json", metavar="FILE", help="file with settings of the kind as a JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        organisation = Organisation.objects.filter(key=options["organisation"]).first()
        if organisation is None:
            raise CommandError(f"There is no organisation with the key {options['organisation']!r}.")
        key = options["key"] or options["kind"]
        source = organisation.sources.filter(key=key).first() or Source(organisation=organisation, key=key)
        source.kind = options["kind"]
        try:
            config, secrets = adding.read_settings(KINDS[source.kind], _texts(options))
            adding.prepare(source, {**_file(options["json"]), **config}, {**secrets, **_secrets(options)})
        except adding.SourceRefused as error:
            raise CommandError(str(error)) from error
        check = adding.check(source) if not adding.waits(source) else None
        source.save()
        self.stdout.write(f"Source {source.key} saved.")
        if check is None:
            self.stdout.write("It waits for its file; upload it on the page of the source.")
        elif check.ok:
            version = f": {source.kind} {check.server_version}" if check.server_version else ""
            self.stdout.write(f"It answers{version}. Next: manage.py collect {organisation.key}")
        else:
            self.stderr.write(f"It does not answer yet: {reason_sentence(check.reason)}")


def _texts(options: dict[str, Any]) -> dict[str, str]:
    """Settings that are given as options; ``--set`` takes any that is no secret."""
    texts = {"base_url": options["url"], "ca_path": options["ca"], "web_url": options["web_url"]}
    for pair in options["set"]:
        name, equals, value = pair.partition("=")
        setting = KINDS[options["kind"]].setting(name)
        if not equals:
            raise CommandError("--set takes NAME=VALUE.")
        if setting is not None and setting.form is Form.SECRET:
            raise CommandError(f"{name} is a secret; use --token-from or --password-from.")
        texts[name] = value
    return {name: value for name, value in texts.items() if value}


def _file(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CommandError(f"{path} cannot be read as JSON.") from error
    if not isinstance(found, dict):
        raise CommandError(f"{path} must hold a JSON object.")
    return found


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
