"""The road from a real MLflow server to a finding, with everything odd that real servers hold."""

from __future__ import annotations

import itertools
import time
from datetime import timedelta

import mlflow
import pytest
from django.utils import timezone
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from assessments.evidence.collect import collect
from assessments.evidence.models import Collection, Source
from assessments.organisations.models import Project
from assessments.ratings.assess import assess
from assessments.ratings.results import ShownFinding, latest
from tests.assessments.conftest import World
from tests.integrations.servers import MlflowServer

pytestmark = [pytest.mark.server, pytest.mark.django_db(transaction=True)]
DAY = 86_400_000
_LOSSES = itertools.count()  # no two runs are copies of each other
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def client(mlflow_server: MlflowServer) -> MlflowClient:
    mlflow.set_tracking_uri(mlflow_server.url)
    return MlflowClient(mlflow_server.url)


def train(client: MlflowClient, experiment: str, *, start: int, name: str = "train", commit: str = COMMIT) -> str:
    tags = {"dlemm.stage": "train", "mlflow.source.git.commit": commit}
    run = client.create_run(experiment, start_time=start, run_name=name, tags={k: v for k, v in tags.items() if v})
    client.log_batch(run.info.run_id, metrics=[Metric("loss", next(_LOSSES), start + 1000, 0)])
    client.set_terminated(run.info.run_id, "FINISHED", end_time=start + 60_000)
    return str(run.info.run_id)


def finding_of(world: World, server: MlflowServer, capability: str, indicator: str) -> ShownFinding:
    source = world.acme.sources.get()
    Source.objects.filter(pk=source.pk).update(config={"base_url": server.url})
    source.refresh_from_db()
    assert collect(source).state == Collection.State.COMPLETE
    assess(world.acme, as_of=timezone.now())
    return latest(world.acme).capability(capability).findings[(indicator, "odd")]


def test_odd_runs_end_in_a_correct_number(world: World, mlflow_server: MlflowServer, client: MlflowClient) -> None:
    Project.objects.create(organisation=world.acme, key="odd", name="Odd", experiments=["odd-*"])
    now = int(time.time() * 1000)
    experiment = client.create_experiment("odd-runs")
    good = [train(client, experiment, start=now - n * DAY, name="one name for all") for n in range(1, 6)]
    client.log_batch(good[0], metrics=[Metric("val/loss", float("nan"), now, 0)])
    client.set_tag(good[1], "note", "x" * 5000)
    bare = train(client, experiment, start=now - DAY, commit="")
    train(client, experiment, start=now + 30 * DAY)
    train(client, experiment, start=now - 400 * DAY)
    client.delete_run(train(client, experiment, start=now - DAY, commit=""))
    gone = client.create_experiment("odd-deleted")
    train(client, gone, start=now - DAY, commit="")
    client.delete_experiment(gone)

    shown = finding_of(world, mlflow_server, "MD1", "EXP-02")
    assert (shown.finding.numerator, shown.finding.denominator) == (5, 6)
    assert shown.finding.failing == (f"mlflow:{bare}",)
    notes = Collection.objects.first().read_statement().notes
    assert any(note.startswith("runs_in_future:") for note in notes)


def test_a_run_that_is_added_later_is_found_by_the_next_collection(
    world: World, mlflow_server: MlflowServer, client: MlflowClient
) -> None:
    Project.objects.create(organisation=world.acme, key="odd", name="Odd", experiments=["later-*"])
    now = int(time.time() * 1000)
    experiment = client.create_experiment("later-runs")
    for _ in range(5):
        train(client, experiment, start=now - DAY)
    before = finding_of(world, mlflow_server, "MD1", "EXP-02").finding
    train(client, experiment, start=now - int(timedelta(hours=1).total_seconds() * 1000), commit="")
    after = finding_of(world, mlflow_server, "MD1", "EXP-02").finding
    assert (before.numerator, before.denominator) == (5, 5)
    assert (after.numerator, after.denominator) == (5, 6)
