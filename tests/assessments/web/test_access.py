"""Every address × every kind of reader. A new address that is not in the table fails the test."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from assessments.jobs.models import Job
from tests.assessments.conftest import World

OPEN = {"sign-in", "operators-sign-in", "help", "help-page", "health"}
SIGNED_IN = {"home", "api-organisations"}
MEMBERS = {
    "overview": {},
    "capability": {"capability": "DG1"},
    "sources": {},
    "facts": {},
    "facts-file": {},
    "signals": {},
    "contributions": {},
    "source": {"source": "mlflow"},
    "source-changes": {"source": "mlflow"},
    "source-add": {},
    "source-edit": {"source": "mlflow"},
    "source-remove": {"source": "mlflow"},
    "names": {},
    "names-count": {},
    "projects": {},
    "project": {"project": "fraud"},
    "project-add": {},
    "project-draft": {},
    "project-preview": {"project": "fraud"},
    "report": {},
    "job": {"number": 1},
    "report-file": {"language": "en", "kind": "json"},
    "api-scorecard": {},
    "reference": {},
    "reference-picture": {"project": "digits", "name": "monitor-1-drift.png"},
    "reference-document": {"project": "digits", "practice": "DG3.1.1"},
}
BY_TOKEN = {
    "api-facts": {},
    "api-registry-events": {"source": "mlflow"},
}  # no session opens these; see tests/assessments/api
POST_ONLY = {
    "sign-out",
    "set_language",
    "job-start",
    "job-cancel",
    "names-add",
    "reference-climb",
    "names-remove",
    "source-collect",
    "source-schedule",
    "source-check",
    "source-upload",
    "source-token",
    "source-token-revoke",
}


def names(patterns: list[URLPattern | URLResolver]) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            if pattern.app_name != "admin":
                found |= names(pattern.url_patterns)
        else:
            found.add(str(pattern.name))
    return found


def test_every_address_is_in_the_table() -> None:
    assert names(get_resolver().url_patterns) == OPEN | SIGNED_IN | set(MEMBERS) | POST_ONLY | set(BY_TOKEN)


@pytest.mark.parametrize("name", sorted(SIGNED_IN | set(MEMBERS)))
def test_a_stranger_without_an_account_is_sent_to_sign_in_or_refused(client: Client, world: World, name: str) -> None:
    kwargs = {"key": world.acme.key, **MEMBERS[name]} if name in MEMBERS else {}
    response = client.get(reverse(name, kwargs=kwargs))
    assert response.status_code == 403 if name.startswith("api-") else "/sign-in/" in response["Location"]


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_a_foreign_organisation_does_not_exist(client: Client, world: World, name: str) -> None:
    client.force_login(world.charlie)
    foreign = client.get(reverse(name, kwargs={"key": world.acme.key, **MEMBERS[name]}))
    absent = client.get(reverse(name, kwargs={"key": "no-such-one", **MEMBERS[name]}))
    assert foreign.status_code == absent.status_code == 404
    assert world.acme.name not in foreign.content.decode()


@pytest.mark.parametrize("name", ["overview", "sources", "report", "names", "projects"])
@pytest.mark.parametrize("person", ["alice", "bob"])
def test_a_member_sees_the_pages(client: Client, world: World, name: str, person: str) -> None:
    client.force_login(getattr(world, person))
    response = client.get(reverse(name, kwargs={"key": world.acme.key}))
    assert response.status_code == 200
    assert "Acme" in response.content.decode() or name != "overview"


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("job-start", {}),
        ("job-cancel", {"number": 1}),
        ("source-collect", {"source": "mlflow"}),
        ("source-schedule", {"source": "mlflow"}),
    ],
)
def test_a_foreign_organisation_cannot_be_changed(
    client: Client, world: World, name: str, more: dict[str, int | str]
) -> None:
    client.force_login(world.charlie)
    assert client.post(reverse(name, kwargs={"key": world.acme.key, **more})).status_code == 404


@pytest.mark.parametrize("name", sorted(BY_TOKEN))
def test_what_a_token_opens_a_session_does_not(client: Client, world: World, name: str) -> None:
    client.force_login(world.alice)
    for key in (world.acme.key, "no-such-one"):
        assert client.post(reverse(name, kwargs={"key": key, **BY_TOKEN[name]}), {}).status_code == 401


def test_a_job_is_found_only_under_its_own_organisation(client: Client, world: World) -> None:
    job = Job.objects.create(organisation=world.acme, kind="refresh")
    client.force_login(world.charlie)
    assert client.get(reverse("job", kwargs={"key": "globex", "number": job.pk})).status_code == 404


def test_a_list_shows_only_the_own_organisations(client: Client, world: World) -> None:
    client.force_login(world.charlie)
    listed = client.get(reverse("api-organisations")).json()
    assert [organisation["key"] for organisation in listed] == ["globex"]


OWNERS = {
    "source-add": {},
    "source-edit": {"source": "mlflow"},
    "source-remove": {"source": "mlflow"},
    "source-check": {"source": "mlflow"},
    "source-upload": {"source": "mlflow"},
    "source-token": {"source": "mlflow"},
    "source-token-revoke": {"source": "mlflow", "number": 1},
}


@pytest.mark.parametrize("name", sorted(OWNERS))
@pytest.mark.parametrize(("person", "status"), [("bob", 403), ("charlie", 404)])
def test_only_an_owner_may_change_sources(client: Client, world: World, name: str, person: str, status: int) -> None:
    client.force_login(getattr(world, person))
    assert client.post(reverse(name, kwargs={"key": "acme", **OWNERS[name]})).status_code == status
    assert world.acme.sources.count() == 1


def test_a_contributor_is_no_owner_and_may_not_change_sources(client: Client, world: World) -> None:
    world.acme.memberships.filter(user=world.bob).update(role="contributor")
    client.force_login(world.bob)
    assert client.post(reverse("source-remove", kwargs={"key": "acme", "source": "mlflow"})).status_code == 403
    assert world.acme.sources.count() == 1


def test_a_source_of_another_organisation_is_not_found_under_the_own(client: Client, world: World) -> None:
    world.acme.sources.update(key="secret-server")
    client.force_login(world.charlie)
    for name in ("source", "source-changes", "source-edit", "source-remove"):
        answer = client.get(reverse(name, kwargs={"key": "globex", "source": "secret-server"}))
        assert answer.status_code == 404
