"""Collections from MLflow's own database: the same facts as from the server, and nothing stored twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from assessments.evidence import store
from assessments.evidence.collect import collect
from assessments.evidence.facts import parts_of
from assessments.evidence.manifest import Manifest
from assessments.evidence.models import Change, Collection, Source
from integrations.connectors import mlflow_sql_cursors
from integrations.connectors.base import ConfigError
from maturity.batches import GROUP_OF
from maturity.facts import TABLES
from tests.assessments.conftest import World
from tests.integrations.connectors.test_mlflow_sql import Questions, fill
from tests.integrations.servers import MlflowServer, mlflow_server

pytestmark = [pytest.mark.server, pytest.mark.django_db(transaction=True)]
STREAMS = ("experiments", "runs", "logged_models", "registry")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("direct")) as given:
        fill(given.url)
        yield given


@pytest.fixture
def direct(world: World, server: MlflowServer, settings: Any) -> Source:
    settings.SOURCE_FOLDERS = [str(server.folder)]
    config = {"base_url": f"sqlite:///{server.folder}/mlflow.db"}
    return Source.objects.create(organisation=world.acme, key="direct", kind="mlflow-sql", config=config)


def tables_of(collection: Collection) -> dict[str, pd.DataFrame]:
    """What the collection read; what we saw change ourselves bears our own times."""
    (stored,) = parts_of([collection])
    seen = ("changes", "alias_sightings")
    return {n: found for n, found in stored.part.tables.items() if TABLES[n].stream in STREAMS and n not in seen}


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values(list(table.columns), ignore_index=True)


def same_facts(found: Collection, expected: Collection) -> None:
    left, right = tables_of(found), tables_of(expected)
    assert {"runs", "run_tags", "run_metrics", "run_inputs", "logged_models", "aliases"} <= left.keys()
    assert left.keys() == right.keys()
    for name in left:
        pd.testing.assert_frame_equal(in_order(left[name]), in_order(right[name]))


def files_of(source: Source) -> set[str]:
    return {path.name for path in store.folder(source.organisation_id).rglob("*.parquet")}


def batches_of(collection: Collection) -> int:
    return len(Manifest.from_json(collection.manifest).batches)


def test_the_database_and_the_server_give_the_same_facts(world: World, server: MlflowServer, direct: Source) -> None:
    rest = world.acme.sources.get(key="mlflow")
    rest.config = {"base_url": server.url, "artifact_lookups": 0}
    rest.save()
    by_server, by_database = collect(rest), collect(direct)
    assert by_database.state == by_server.state == Collection.State.COMPLETE
    assert len(tables_of(by_database)["runs"]) >= 9
    same_facts(by_database, by_server)


def test_a_second_reading_stores_only_what_is_new_and_notes_what_changed(
    server: MlflowServer, direct: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_sql_cursors._Cursors, "runs_at_once", 3)  # many chunks, each compared for itself
    monkeypatch.setattr("assessments.evidence.reading.BATCH_RUNS", 2)
    first = collect(direct)
    held, number = files_of(direct), batches_of(first)
    second = collect(direct)
    assert (second.state, batches_of(second)) == (Collection.State.COMPLETE, number)
    assert files_of(direct) == held
    assert Change.objects.count() == Change.objects.filter(entity="alias").count()
    same_facts(second, first)

    ask = Questions(server.url)
    run = str(tables_of(first)["runs"].query("name == 'rich'")["run"].iloc[0])
    ask("runs/set-tag", run_id=run, key="late", value="added later")
    third = collect(direct)
    change = Change.objects.exclude(entity="alias").get()
    assert (change.entity, change.ident, change.field, change.key) == ("run", run, "tag", "late")
    assert (change.old, change.new) == (None, "added later")
    began = second.started_at.replace(microsecond=second.started_at.microsecond // 1000 * 1000)
    assert (change.after, change.before) == (began, third.finished_at)
    new = Manifest.from_json(third.manifest).batches[number:]
    assert [batch["runs"]["rows"] for batch in new] == [1]
    assert {table for batch in new for table in batch} <= GROUP_OF.keys()


def test_a_file_outside_the_operators_folders_is_not_read(direct: Source, settings: Any, tmp_path: Path) -> None:
    settings.SOURCE_FOLDERS = [str(tmp_path)]
    with pytest.raises(ConfigError, match="not in a folder that this installation may read"):
        collect(direct)
