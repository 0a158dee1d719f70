from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from assessments.organisations.models import Membership, Organisation
from tests.assessments.conftest import Scripted, World

Use = Callable[[Scripted], None]


def run(*arguments: str, **options: object) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=out, **options)
    return out.getvalue()


def test_the_steps_of_the_demonstration_are_commands_of_their_own(world: World, scripted: Use) -> None:
    assert "1 project" in run(
        "add_organisation", "initech", "Initech", "--project", "loans=loans-*", "--owner", "alice"
    )
    assert "does not answer yet" in run("add_source", "initech", "http://127.0.0.1:9")
    scripted(Scripted())
    assert "experiments: read to the end" in run("collect", "initech")
    assert "Level 0" in run("assess", "initech")
    assert Membership.objects.get(organisation__key="initech").user == world.alice


def test_a_source_that_cannot_be_read_ends_with_a_status_of_its_own(world: World) -> None:
    with pytest.raises(CommandError, match="stays in force") as caught:
        run("collect", "acme")
    assert caught.value.returncode == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("add_organisation", "Not A Key", "X"), "small letters"),
        (("add_organisation", "x", "X", "--owner", "nobody"), "no account"),
        (("add_source", "nowhere", "http://a.example"), "no organisation"),
        (("add_source", "acme", "ftp://a.example"), "http"),
        (("add_source", "acme", "http://user:pw@a.example"), "sign-in details"),
        (("add_source", "acme", "http://127.0.0.1:9", "--token-from", "NO_SUCH_VARIABLE"), "not set"),
        (("collect", "nowhere"), "add_source"),
        (("add_source", "acme", "http://127.0.0.1:9/", "--key", "again"), "same server already"),
        (("remove_source", "acme", "no-such-source"), "no source"),
        (("assess", "nowhere"), "no organisation"),
        (("assess", "acme", "--as-of", "yesterday"), "is not a time"),
        (("assess", "acme", "--as-of", "2090-01-01T00:00Z"), "in the future"),
        (("set_project", "acme", "no-such-project"), "no project"),
        (("set_project", "acme", "fraud", "--idea-at", "soon"), "is not a date"),
        (("answer", "acme", "no-such-file.yaml"), "cannot be read"),
    ],
)
def test_a_mistake_is_answered_in_the_users_words(world: World, arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(CommandError, match=told):
        run(*arguments)


def test_a_faulty_answers_file_is_refused_whole_with_every_fault(world: World, tmp_path: Path) -> None:
    file = tmp_path / "answers.yaml"
    file.write_text("claims:\n  DG1.1.1: X\n  ZZ9.9.9: F\n")
    with pytest.raises(CommandError, match=r"(?s)2 fault.*DG1\.1\.1.*ZZ9\.9\.9"):
        run("answer", "acme", str(file))
    assert not Organisation.objects.get(key="acme").answer_sets.exists()


def test_what_mlflow_cannot_know_of_a_project_is_entered(world: World) -> None:
    run(
        "set_project",
        "acme",
        "fraud",
        "--idea-at",
        "2026-01-31",
        "--started-at",
        "2026-02-10",
        "--models",
        "fraud*, f-*",
    )
    project = world.acme.projects.get()
    assert project.idea_at.isoformat() == "2026-01-31T00:00:00+00:00"
    assert project.registered_models == ["fraud*", "f-*"]


def test_a_source_can_be_removed(world: World) -> None:
    assert "removed" in run("remove_source", "acme", "mlflow")
    assert not world.acme.sources.exists()


def test_a_source_with_many_settings_is_added_from_a_file_and_single_settings(world: World, tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"queries": [{"name": "availability", "query": "up"}], "days": 7}))
    told = run(
        "add_source", "acme", "http://127.0.0.1:9", "--kind", "prometheus", "--json", str(file), "--set", "days=9"
    )
    assert "does not answer yet" in told
    source = world.acme.sources.get(key="prometheus")
    assert (source.config["days"], source.config["queries"][0]["name"]) == (9, "availability")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--set", "token=x"), "is a secret"),
        (("--set", "nonsense=x"), "nonsense"),
        (("--set", "timeout"), "NAME=VALUE"),
        (("--json", "no-such-file.json"), "cannot be read"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(world: World, arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(CommandError, match=told):
        run("add_source", "acme", "http://a.example", "--key", "new", *arguments)
    assert world.acme.sources.count() == 1


def test_a_secret_in_a_file_of_settings_is_refused_and_not_repeated(world: World, tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"token": "very-secret"}))
    with pytest.raises(CommandError, match="is a secret") as caught:
        run("add_source", "acme", "http://a.example", "--key", "new", "--json", str(file))
    assert "very-secret" not in str(caught.value)
