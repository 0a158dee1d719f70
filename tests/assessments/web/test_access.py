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
    "report": {},
    "job": {"number": 1},
    "report-file": {"language": "en", "kind": "json"},
    "api-scorecard": {},
}
POST_ONLY = {"sign-out", "set_language", "job-start", "job-cancel"}


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
    assert names(get_resolver().url_patterns) == OPEN | SIGNED_IN | set(MEMBERS) | POST_ONLY


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


@pytest.mark.parametrize("name", ["overview", "sources", "report"])
@pytest.mark.parametrize("person", ["alice", "bob"])
def test_a_member_sees_the_pages(client: Client, world: World, name: str, person: str) -> None:
    client.force_login(getattr(world, person))
    response = client.get(reverse(name, kwargs={"key": world.acme.key}))
    assert response.status_code == 200
    assert "Acme" in response.content.decode() or name != "overview"


@pytest.mark.parametrize(("name", "more"), [("job-start", {}), ("job-cancel", {"number": 1})])
def test_a_foreign_organisation_cannot_be_changed(
    client: Client, world: World, name: str, more: dict[str, int]
) -> None:
    client.force_login(world.charlie)
    assert client.post(reverse(name, kwargs={"key": world.acme.key, **more})).status_code == 404


def test_a_job_is_found_only_under_its_own_organisation(client: Client, world: World) -> None:
    job = Job.objects.create(organisation=world.acme, kind="refresh")
    client.force_login(world.charlie)
    assert client.get(reverse("job", kwargs={"key": "globex", "number": job.pk})).status_code == 404


def test_a_list_shows_only_the_own_organisations(client: Client, world: World) -> None:
    client.force_login(world.charlie)
    listed = client.get(reverse("api-organisations")).json()
    assert [organisation["key"] for organisation in listed] == ["globex"]
