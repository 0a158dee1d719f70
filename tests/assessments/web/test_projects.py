from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from assessments.evidence.collect import collect
from assessments.evidence.inventory import Experiment, Inventory, RegisteredModel, inventory
from assessments.evidence.scope import scope
from assessments.organisations.models import Project
from tests.assessments.conftest import Scripted, World
from tests.assessments.ratings.test_assess import START, rows

Use = Callable[[Scripted], None]
FORM = {"name": "Churn", "experiments": "churn-*\n\nfraud", "registered_models": "", "idea_at": "", "started_at": ""}


@pytest.fixture
def collected(world: World, scripted: Use) -> World:
    given = rows(3, seeded=0)
    given["experiments"] += [
        {"experiment": "2", "name": "churn-a", "lifecycle": "active"},
        {"experiment": "3", "name": "<i>other</i>", "lifecycle": "deleted"},
        {"experiment": "4", "name": "tagged", "lifecycle": "active"},
    ]
    given["runs"].append({**given["runs"][0], "run": "t", "experiment": "4"})
    given["run_tags"].append({"run": "t", "key": "dlemm.project", "value": "fraud"})
    given["registered_models"] = [{"name": "fraud-net"}, {"name": "lone"}]
    given["model_versions"] = [{"version": "lone/1", "name": "lone", "number": "1", "created_at": START}]
    given["registered_model_tags"] = [{"name": "fraud-net", "key": "dlemm.project", "value": "fraud"}]
    scripted(Scripted(given, now=START))
    collect(world.acme.sources.get())
    return world


def address(name: str, **more: object) -> str:
    return reverse(name, kwargs={"key": "acme", **more})


def test_the_inventory_lists_experiments_and_models_with_their_runs_versions_and_tags(collected: World) -> None:
    found, _ = inventory(collected.acme)
    assert found is not None
    assert [(one.name, one.runs, dict(one.tagged)) for one in found.experiments] == [
        ("<i>other</i>", 0, {}),
        ("churn-a", 0, {}),
        ("fraud", 3, {}),
        ("tagged", 1, {"fraud": 1}),
    ]
    assert [(one.name, one.versions, dict(one.tagged)) for one in found.models] == [
        ("fraud-net", 0, {"fraud": 1}),
        ("lone", 1, {}),
    ]


def test_the_page_shows_what_is_in_no_project(signed_in: Client, collected: World) -> None:
    html = signed_in.get(address("projects")).content.decode()
    rest = html[html.index("In no project") :]
    assert all(name in rest for name in ("churn-a", "&lt;i&gt;other&lt;/i&gt;", "lone"))
    assert "tagged" not in rest
    assert "<i>other" not in html


def test_a_project_is_added_and_what_two_match_goes_to_the_first(signed_in: Client, collected: World) -> None:
    assert signed_in.post(address("project-add"), {"key": "churn", **FORM}).status_code == 302
    project = Project.objects.get(organisation=collected.acme, key="churn")
    assert project.experiments == ["churn-*", "fraud"]
    html = signed_in.get(address("projects")).content.decode()
    assert "Matched by several projects" in html
    assert "<strong>churn</strong>, fraud" in html


def test_a_preview_shows_what_would_match_and_saves_nothing(signed_in: Client, collected: World) -> None:
    draft = signed_in.get(address("project-draft"), {"key": "zebra", **FORM}).content.decode()
    assert "churn-a" in draft
    assert "goes to fraud" in draft
    without_scripts = signed_in.post(address("project-add"), {"key": "zebra", **FORM, "preview": "1"})
    assert "churn-a" in without_scripts.content.decode()
    changed = signed_in.get(address("project-preview", project="fraud"), {**FORM, "experiments": "tag*"})
    assert "tagged" in changed.content.decode()
    assert Project.objects.filter(organisation=collected.acme).count() == 1
    assert Project.objects.get(organisation=collected.acme).experiments == ["fraud*"]


def test_a_project_is_changed_and_its_key_stays(signed_in: Client, world: World) -> None:
    form = {"key": "other", **FORM, "idea_at": "2026-01-01", "started_at": "2026-02-01"}
    assert signed_in.post(address("project", project="fraud"), form).status_code == 302
    project = Project.objects.get(organisation=world.acme)
    assert (project.key, project.name) == ("fraud", "Churn")
    assert project.as_fact()["idea_at"] == 1_767_225_600_000
    shown = signed_in.get(address("project", project="fraud")).content.decode()
    assert 'value="2026-01-01"' in shown


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"experiments": "*" * 1000}, "at most"),
        ({"experiments": "\n".join(map(str, range(51)))}, "At most 50 patterns"),
        ({"registered_models": "x" * 201}, "at most 200"),
        ({"key": "Not a key"}, "small letters"),
        ({"key": "fraud"}, "already"),
        ({"idea_at": "2026-02-01", "started_at": "2026-01-01"}, "before the request"),
        ({"idea_at": "soon"}, "valid date"),
    ],
)
def test_what_cannot_be_is_refused_in_words(signed_in: Client, world: World, wrong: dict[str, str], said: str) -> None:
    answer = signed_in.post(address("project-add"), {"key": "churn", **FORM, **wrong})
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert Project.objects.filter(organisation=world.acme).count() == 1


def test_a_hostile_pattern_in_the_preview_is_told_and_not_tried(signed_in: Client, world: World) -> None:
    answer = signed_in.get(address("project-draft"), {"key": "churn", **FORM, "experiments": "*a" * 500})
    assert "at most" in answer.content.decode()


def test_a_foreign_project_does_not_exist(client: Client, world: World) -> None:
    client.force_login(world.charlie)
    for name in ("project", "project-preview"):
        assert client.get(reverse(name, kwargs={"key": "globex", "project": "fraud"})).status_code == 404


def test_names_match_letter_by_letter_and_by_the_first_project() -> None:
    projects = [Project(key="b", experiments=["F*"]), Project(key="a", experiments=["F[ab]*"])]
    held = Inventory(0, experiments=(Experiment("s", "1", "Fa", "active", 1), Experiment("s", "2", "fa", "active", 1)))
    found = scope(projects, held)
    assert [share.count for share in found.shares] == [(1, 0), (0, 0)]
    assert [one.name for one in found.experiments] == ["fa"]
    assert [keys for _, keys in found.several] == [("a", "b")]
    assert scope([], Inventory(0, models=(RegisteredModel("s", "m", 1),))).models[0].name == "m"
