from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from assessments.evidence import inventory as keeping
from assessments.evidence import store
from assessments.evidence.collect import collect
from assessments.evidence.inventory import inventory, keep_inventory
from assessments.evidence.manifest import Manifest
from assessments.evidence.models import Collection
from assessments.organisations.models import NameMapping, names_of
from assessments.ratings.assess import assess
from assessments.ratings.results import latest
from maturity.names import Mapped, Place
from tests.assessments.conftest import Scripted, World
from tests.assessments.ratings.test_assess import AS_OF, START, rows

Use = Callable[[Scripted], None]
COMMIT = {"origin": "tag", "theirs": "git_sha", "ours": "mlflow.source.git.commit", "values": ""}


def their_rows(runs: int = 10) -> dict[str, list[dict[str, object]]]:
    """As ``rows``, but nine of ten commits stand under another name, and the seed is a random state."""
    given = rows(runs, seeded=1)
    given["run_tags"] += [{"run": f"r{n}", "key": "git_sha", "value": "b" * 40} for n in range(1, runs)]
    given["run_params"] = [{"run": f"r{n}", "key": "model__random_state", "value": "<b>7</b>"} for n in range(runs)]
    return given


@pytest.fixture
def collected(world: World, scripted: Use) -> World:
    scripted(Scripted(their_rows(), now=START))
    collect(world.acme.sources.get())
    return world


def address(name: str, **more: object) -> str:
    return reverse(name, kwargs={"key": "acme", **more})


def page(client: Client) -> str:
    return client.get(address("names")).content.decode()


def test_the_page_proposes_what_explains_runs_with_the_number_of_runs(signed_in: Client, collected: World) -> None:
    html = page(signed_in)
    assert "explains 9 of the 9 without it" in html
    assert "explains 10 of the 10 without it" in html
    assert "&lt;b&gt;7&lt;/b&gt;" in html
    assert "<b>7" not in html


def test_an_accepted_name_counts_in_the_next_assessment(signed_in: Client, collected: World) -> None:
    assess(collected.acme, as_of=AS_OF)
    before = latest(collected.acme).capability("MD1").findings[("EXP-02", "fraud")]
    assert signed_in.post(address("names-add"), COMMIT).status_code == 302
    assert "Assess now" in page(signed_in)
    assess(collected.acme, as_of=AS_OF)
    after = latest(collected.acme).capability("MD1").findings[("EXP-02", "fraud")]
    assert (before.passing, after.passing) == (1, 10)
    assert "Assess now" not in page(signed_in)


def test_who_added_and_who_removed_a_name_is_kept(signed_in: Client, collected: World) -> None:
    signed_in.post(address("names-add"), COMMIT)
    row = NameMapping.objects.get()
    assert (row.created_by, row.removed_at) == (collected.alice, None)
    assert "alice" in page(signed_in)
    signed_in.post(address("names-remove", number=row.pk))
    row.refresh_from_db()
    assert row.removed_by == collected.alice
    assert row.removed_at is not None
    assert names_of(collected.acme).rows == ()


def test_a_viewer_sees_the_names_and_changes_none(client: Client, collected: World) -> None:
    client.force_login(collected.bob)
    html = page(client)
    assert "git_sha" in html
    assert "names/add/" not in html
    assert client.post(address("names-add"), COMMIT).status_code == 403
    assert client.get(address("project-add")).status_code == 403


def test_a_mapping_of_another_organisation_cannot_be_removed(client: Client, collected: World) -> None:
    row = NameMapping.objects.create(organisation=collected.acme, place="tag", ours="x", origin="tag", theirs="y")
    client.force_login(collected.charlie)
    answer = client.post(reverse("names-remove", kwargs={"key": "globex", "number": row.pk}))
    assert answer.status_code == 404
    assert NameMapping.objects.get(pk=row.pk).removed_at is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ours": "no.such.name"}, "does not look for"),
        ({"ours": "git_sha"}, "does not look for"),
        ({"origin": "metric"}, "does not look for"),
        ({"theirs": "mlflow.source.git.commit"}, "cannot stand for one another"),
        ({"values": "no sign"}, "theirs = ours"),
        ({"theirs": "x" * 251}, "250"),
        ({"theirs": "a\x00b"}, "Null characters"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused_in_words(
    signed_in: Client, world: World, wrong: dict[str, str], said: str
) -> None:
    answer = signed_in.post(address("names-add"), {**COMMIT, **wrong})
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not NameMapping.objects.exists()


def test_a_name_is_mapped_once(signed_in: Client, collected: World) -> None:
    signed_in.post(address("names-add"), COMMIT)
    assert "stands for a name already" in signed_in.post(address("names-add"), COMMIT).content.decode()
    assert NameMapping.objects.count() == 1


def test_a_name_is_counted_before_it_is_added_with_and_without_scripts(signed_in: Client, collected: World) -> None:
    live = signed_in.get(address("names-count"), COMMIT).content.decode()
    assert "Held by 9; 9 of them lack our name" in live
    assert "Held by 9" in signed_in.post(address("names-add"), {**COMMIT, "count": "1"}).content.decode()
    assert not NameMapping.objects.exists()


def test_a_value_may_be_mapped_and_a_parameter_may_stand_for_a_tag(signed_in: Client, world: World) -> None:
    signed_in.post(
        address("names-add"),
        {"origin": "param", "theirs": "job", "ours": "dlemm.stage", "values": "fit = train\na=b = evaluate"},
    )
    assert names_of(world.acme).rows == (
        Mapped(Place.TAG, "dlemm.stage", "job", Place.PARAM, {"fit": "train", "a=b": "evaluate"}),
    )


def test_before_anything_was_collected_the_page_says_so(signed_in: Client, world: World) -> None:
    assert "Nothing has been counted yet" in page(signed_in)


def test_names_are_counted_on_the_newest_runs_and_the_page_says_so(
    signed_in: Client, world: World, scripted: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "COUNTED_RUNS", 4)
    scripted(Scripted(their_rows(), now=START))
    collect(world.acme.sources.get())
    found, _ = inventory(world.acme)
    assert found is not None
    assert (found.counted, found.runs) == (4, 10)
    assert found.held.of(Place.PARAM, "model__random_state").owners == 4
    assert "newest 4 of 10 runs" in page(signed_in)


def test_a_damaged_summary_is_made_again_and_never_harms_a_collection(
    world: World, scripted: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(Scripted(their_rows(), now=START))
    source = world.acme.sources.get()
    with monkeypatch.context() as patch:
        patch.setattr(keeping, "inventory_of", lambda collection: 1 / 0)
        assert collect(source).state == "complete"
    assert inventory(world.acme) == (None, None)
    keeping._path(source).write_text("{")
    keep_inventory(source)
    found, _ = inventory(world.acme)
    assert found is not None
    assert found.runs == 10


def test_a_failed_collection_leaves_the_summary_of_the_one_in_force(world: World, scripted: Use) -> None:
    scripted(Scripted(their_rows(), now=START))
    source = world.acme.sources.get()
    collect(source)
    unread: dict[str, Any] = dict.fromkeys(
        ("experiments", "runs", "logged_models", "artifacts", "registry"), "unreachable: down"
    )
    scripted(Scripted(unread=unread, now=START + 1000))
    collect(source)
    found, _ = inventory(world.acme)
    assert found is not None
    assert found.runs == 10


def test_a_run_that_was_read_again_counts_as_it_was_read_last(world: World) -> None:
    source = world.acme.sources.get()
    first = their_rows(3)
    again = [{**row, "key": "lr_seed"} for row in first["run_params"][:1]]
    with store.Staging(world.acme.pk) as staging:
        staging.write("experiments", first["experiments"])
        whole = staging.seal(["experiments"])
        batches = []
        for runs, params in ((first["runs"], first["run_params"]), (first["runs"][:1], again)):
            for table, given in (("runs", runs), ("run_params", params), ("run_tags", []), ("run_metrics", [])):
                staging.write(table, given)
            batches.append(staging.seal(["runs", "run_params", "run_tags", "run_metrics"]))
    now = timezone.now()
    Collection.objects.create(
        source=source,
        state=Collection.State.COMPLETE,
        started_at=now,
        finished_at=now,
        manifest=Manifest(whole, tuple(batches)).to_json(),
    )
    keep_inventory(source)
    found, _ = inventory(world.acme)
    assert found is not None
    counts = {name: held.owners for name, held in found.held.names[Place.PARAM].items()}
    assert (found.runs, counts) == (3, {"model__random_state": 2, "lr_seed": 1})
