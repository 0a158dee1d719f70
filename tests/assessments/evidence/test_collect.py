from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from assessments.evidence import store
from assessments.evidence.collect import AlreadyCollecting, accept, collect
from assessments.evidence.facts import collections_in_force, parts_of, project_table
from assessments.evidence.manifest import Manifest
from assessments.evidence.models import Change, Collection, Source
from assessments.organisations.models import Organisation
from maturity.assembly import assemble
from maturity.facts import Facts
from tests.assessments.conftest import Scripted, World

HOUR = 3_600_000
START = 1_700_000_000_000
FAR = datetime(2030, 1, 1, tzinfo=UTC)
Use = Callable[[Scripted], None]


def facts_of(organisation: Organisation) -> tuple[Facts, list[Collection]]:
    """The facts an assessment would look at in the far future, and the collections behind them."""
    collections = collections_in_force(organisation, until=FAR)
    return assemble([one.part for one in parts_of(collections)], project_table(organisation)), collections


def experiment(number: str) -> dict[str, object]:
    return {"experiment": number, "name": f"fraud-{number}", "lifecycle": "active", "created_at": START}


def run(name: str) -> dict[str, object]:
    return {
        "run": name,
        "experiment": "1",
        "name": name,
        "status": "FINISHED",
        "lifecycle": "active",
        "start_at": START,
    }


def files_of(collection: Collection) -> set[str]:
    """The hashes of every stored table of a collection."""
    batches = Manifest.from_json(collection.manifest).all_batches
    return {entry["sha256"] for batch in batches for entry in batch.values()}


def file_of(collection: Collection, table: str) -> str:
    batches = Manifest.from_json(collection.manifest).all_batches
    return next(str(batch[table]["sha256"]) for batch in batches if table in batch)


def source_of(world: World):
    return world.acme.sources.get()


def test_what_was_read_can_be_read_back_with_its_project(world: World, scripted: Use) -> None:
    scripted(Scripted({"experiments": [experiment("1")], "runs": [run("a"), run("b")]}))
    collection = collect(source_of(world))
    facts, used = facts_of(world.acme)
    assert collection.state == Collection.State.COMPLETE
    assert used == [collection]
    assert list(facts["runs"]["run"]) == ["mlflow:a", "mlflow:b"]
    assert set(facts["runs"]["project"]) == {"fraud"}


def test_equal_content_is_one_file(world: World, scripted: Use) -> None:
    scripted(Scripted({"runs": [run("a")]}))
    first, second = collect(source_of(world)), collect(source_of(world))
    assert files_of(first) == files_of(second)
    assert len(list(store.folder(world.acme.pk).glob("*.parquet"))) == len(files_of(first))


def test_a_server_that_is_down_leaves_the_last_facts_in_force(world: World, scripted: Use) -> None:
    scripted(Scripted({"experiments": [experiment("1")], "runs": [run("a")]}))
    good = collect(source_of(world))
    unread = dict.fromkeys(("experiments", "runs", "logged_models", "artifacts", "registry"), "unreachable: down")
    scripted(Scripted(unread=unread, now=START + HOUR))
    failed = collect(source_of(world))
    facts, used = facts_of(world.acme)
    assert failed.state == Collection.State.FAILED
    assert used == [good]
    assert list(facts["runs"]["run"]) == ["mlflow:a"]


def test_rows_of_a_stream_that_broke_off_are_thrown_away(world: World, scripted: Use) -> None:
    scripted(Scripted({"experiments": [experiment("1")], "runs": [run("a")]}, unread={"runs": "server_error: 500"}))
    collection = collect(source_of(world))
    facts, _ = facts_of(world.acme)
    assert collection.state == Collection.State.PARTIAL
    assert len(facts["runs"]) == 0
    assert len(facts["experiments"]) == 1


def test_an_experiment_that_vanished_is_an_alarm_and_not_a_smaller_organisation(world: World, scripted: Use) -> None:
    scripted(Scripted({"experiments": [experiment("1"), experiment("2")], "runs": [run("a")]}))
    good = collect(source_of(world))
    scripted(Scripted({"experiments": [experiment("1")]}, now=START + HOUR))
    suspect = collect(source_of(world))
    assert suspect.state == Collection.State.SUSPECT
    assert suspect.lost_experiments == ["2"]
    assert facts_of(world.acme)[1] == [good]
    accept(suspect)
    assert facts_of(world.acme)[1] == [suspect]


def test_an_interrupted_collection_keeps_nothing_and_loses_nothing(world: World, scripted: Use) -> None:
    scripted(Scripted({"runs": [run("a")]}))
    good = collect(source_of(world))
    files = set(store.folder(world.acme.pk).iterdir())
    scripted(Scripted({"runs": [run("a"), run("b")]}, interrupt=True, now=START + HOUR))
    with pytest.raises(KeyboardInterrupt):
        collect(source_of(world))
    assert Collection.objects.first().state == Collection.State.INTERRUPTED
    assert set(store.folder(world.acme.pk).iterdir()) == files
    assert facts_of(world.acme)[1] == [good]


def test_a_source_is_read_by_one_process_at_a_time(world: World, scripted: Use) -> None:
    scripted(Scripted())
    Collection.objects.create(source=source_of(world), started_at=timezone.now(), process="another-machine:1")
    with pytest.raises(AlreadyCollecting, match="mlflow is being collected"):
        collect(source_of(world))


def test_a_collection_whose_process_died_does_not_block_the_next(world: World, scripted: Use) -> None:
    import socket
    import subprocess

    process = subprocess.Popen(["true"])
    process.wait()
    left = Collection.objects.create(
        source=source_of(world), started_at=timezone.now(), process=f"{socket.gethostname()}:{process.pid}"
    )
    scripted(Scripted())
    assert collect(source_of(world)).state == Collection.State.COMPLETE
    left.refresh_from_db()
    assert left.state == Collection.State.INTERRUPTED


def test_an_alias_is_dated_by_the_readings_before_and_after_it_came(world: World, scripted: Use) -> None:
    alias = {"name": "m", "alias": "champion", "version": "m/1"}
    scripted(Scripted())
    collect(source_of(world))
    scripted(Scripted({"aliases": [alias]}, now=START + HOUR))
    collect(source_of(world))
    scripted(Scripted({"aliases": [alias]}, now=START + 2 * HOUR))
    collect(source_of(world))
    sighting = Change.objects.get(entity="alias")
    assert round(sighting.after.timestamp() * 1000) == START - 1000  # when the reading before it began
    assert int(sighting.before.timestamp() * 1000) == START + HOUR


def test_an_altered_file_is_noticed(world: World, scripted: Use) -> None:
    scripted(Scripted({"runs": [run("a")]}))
    collection = collect(source_of(world))
    path = store.path_of(world.acme.pk, file_of(collection, "runs"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(store.EvidenceDamaged, match="altered"):
        facts_of(world.acme)


def test_a_secret_opens_only_for_the_address_it_was_given_for(world: World) -> None:
    from django.core.signing import BadSignature

    source = source_of(world)
    source.set_secret({"token": "hidden-token"})
    source.save()
    assert source.full_config()["token"] == "hidden-token"
    assert "hidden-token" not in source.secret
    source.config = {"base_url": "http://elsewhere.example"}
    with pytest.raises(BadSignature):
        source.full_config()


@pytest.mark.parametrize("process", ["replaced-container:8", "{host}:1"])
def test_a_collection_that_fell_silent_long_ago_does_not_block_the_source(
    world: World, scripted: Use, process: str
) -> None:
    import socket

    long_ago = timezone.now() - timedelta(days=400)
    process = process.format(host=socket.gethostname())
    Collection.objects.create(source=source_of(world), started_at=long_ago, heartbeat_at=long_ago, process=process)
    scripted(Scripted())
    assert collect(source_of(world)).state == Collection.State.COMPLETE


def test_registered_models_that_vanished_are_an_alarm_too(world: World, scripted: Use) -> None:
    scripted(Scripted({"registered_models": [{"name": "fraud"}, {"name": "churn"}]}))
    good = collect(source_of(world))
    scripted(Scripted({"registered_models": [{"name": "fraud"}]}, now=START + HOUR))
    suspect = collect(source_of(world))
    assert (suspect.state, suspect.lost_models) == (Collection.State.SUSPECT, ["churn"])
    assert facts_of(world.acme)[1] == [good]


@pytest.mark.parametrize("table", ["experiments", "aliases"])
def test_a_damaged_file_of_the_last_collection_does_not_stop_the_next(world: World, scripted: Use, table: str) -> None:
    alias = {"name": "m", "alias": "champion", "version": "m/1"}
    scripted(Scripted({"experiments": [experiment("1")], "aliases": [alias]}))
    first = collect(source_of(world))
    store.path_of(world.acme.pk, file_of(first, table)).unlink()
    scripted(Scripted({"experiments": [experiment("2")], "aliases": [alias]}, now=START + HOUR))
    second = collect(source_of(world))
    assert second.state in (Collection.State.COMPLETE, Collection.State.SUSPECT)
    assert Change.objects.filter(entity="alias").count() == 1


def test_a_new_source_that_is_down_does_not_hide_what_another_one_told(world: World, scripted: Use) -> None:
    scripted(Scripted({"experiments": [experiment("1")], "runs": [run("a")]}))
    collect(source_of(world))
    second = Source.objects.create(organisation=world.acme, key="second", config={"base_url": "http://127.0.0.1:9"})
    streams = ("experiments", "runs", "logged_models", "artifacts", "registry")
    scripted(Scripted(unread=dict.fromkeys(streams, "unreachable: down"), now=START + HOUR))
    collect(second)
    facts, used = facts_of(world.acme)
    assert list(facts.statements) == ["mlflow"]
    assert len(used) == 2
