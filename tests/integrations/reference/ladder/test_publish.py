"""Books put on a real tracking server, broken off in the middle, and put there again."""

from __future__ import annotations

import pytest

pytest.importorskip("mlflow")

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from integrations.reference.errors import DeletedExperimentError
from integrations.reference.ladder.book import Book, Dataset, Package, Ref, Use
from integrations.reference.ladder.publish import KEY, publish

pytestmark = pytest.mark.server

DAY = 86_400_000
BEGIN = 1_780_000_000_000


def a_book(project: str = "digits", *, accuracy: float = 0.9) -> Book:
    book = Book(project, common={"dlemm.origin": "reference"})
    study = book.run("study", "a study", start_at=BEGIN, end_at=BEGIN + DAY)
    study.report("ablation", rows=[{"factor": "width", "seed": 1}])
    arm = book.run("arm", "an arm", start_at=BEGIN, end_at=BEGIN + DAY, parent="study")
    arm.inputs = [Use(Dataset("d", "abc", "a file", '{"a": 1}'), "training", {"dlemm.dataset.labelled": "true"})]
    train = book.run("train", "a training", start_at=BEGIN, end_at=BEGIN + DAY)
    train.param(opt__amp="off", seed=1)
    train.metric("eval/accuracy", accuracy)
    train.package = Package({"MLmodel": b"flavors: {}\n", "requirements.txt": b"numpy==2.0.0\n"})
    failed = book.run("failed", "one that failed", start_at=BEGIN, end_at=BEGIN + 1000, status="FAILED")
    failed.tags["dlemm.failure_reason"] = "loss was not a number"
    watch = book.run("watch", "a watch", start_at=BEGIN, end_at=BEGIN + DAY)
    watch.tags |= {"dlemm.model_version": Ref("version", "train"), "dlemm.reproduces": Ref("run", "train")}
    version = book.version("train", "train", tags={"dlemm.gate.evidence": Ref("run", "watch")})
    version.aliases = ("champion",)
    return book


def active(client: MlflowClient, prefix: str, project: str = "digits") -> dict[str, object]:
    experiment = client.get_experiment_by_name(f"{prefix}/{project}")
    return {run.data.tags[KEY]: run for run in client.search_runs([experiment.experiment_id])}


@pytest.fixture
def client(mlflow_server) -> MlflowClient:
    return MlflowClient(mlflow_server.url)


class Breaking:
    """A client whose server goes away at the n-th use of one method."""

    def __init__(self, client: MlflowClient, method: str, after: int) -> None:
        self._client, self._method, self._left = client, method, after

    def __getattr__(self, name: str):
        found = getattr(self._client, name)
        if name != self._method:
            return found

        def guarded(*given, **named):
            self._left -= 1
            if self._left < 0:
                raise MlflowException("API request failed with exception: Max retries exceeded")
            return found(*given, **named)

        return guarded


def test_a_book_is_on_the_server_with_its_times_parents_inputs_reports_and_references(client):
    published = publish({"digits": a_book()}, client, prefix="whole")
    runs = active(client, "whole")
    assert set(runs) == {"study", "arm", "train", "failed", "watch"}
    assert (runs["study"].info.start_time, runs["study"].info.end_time) == (BEGIN, BEGIN + DAY)
    assert runs["arm"].data.tags["mlflow.parentRunId"] == runs["study"].info.run_id
    assert runs["failed"].info.status == "FAILED"
    assert runs["train"].data.params == {"opt.amp": "off", "seed": "1"}
    assert runs["watch"].data.tags["dlemm.model_version"] == "whole-digits/1"
    assert runs["watch"].data.tags["dlemm.reproduces"] == runs["train"].info.run_id
    (given,) = client.get_run(runs["arm"].info.run_id).inputs.dataset_inputs
    assert given.dataset.digest == "abc"
    assert {tag.key: tag.value for tag in given.tags}["mlflow.data.context"] == "training"
    listed = client.list_artifacts(runs["study"].info.run_id, "reports")
    assert [item.path for item in listed] == ["reports/ablation.json"]
    version = client.get_model_version_by_alias("whole-digits", "champion")
    assert version.run_id == runs["train"].info.run_id
    assert version.tags["dlemm.gate.evidence"] == runs["watch"].info.run_id
    assert published.versions["digits", "train"] == "whole-digits/1"


def test_publishing_the_same_again_writes_nothing(client):
    first = publish({"digits": a_book()}, client, prefix="again")
    second = publish({"digits": a_book()}, client, prefix="again")
    assert second.runs == first.runs
    assert second.versions == first.versions
    assert second.kept == len(first.runs)


def test_what_changed_is_replaced_and_what_is_no_longer_done_is_removed(client):
    before = publish({"digits": a_book()}, client, prefix="changed")
    changed = a_book(accuracy=0.8)
    del changed.runs["failed"]
    after = publish({"digits": changed}, client, prefix="changed")
    runs = active(client, "changed")
    assert "failed" not in runs
    assert after.runs["digits", "train"] != before.runs["digits", "train"]
    assert after.runs["digits", "study"] == before.runs["digits", "study"]
    versions = client.search_model_versions("name = 'changed-digits'")
    assert [version.run_id for version in versions] == [after.runs["digits", "train"]]
    assert client.get_model_version_by_alias("changed-digits", "champion").version == versions[0].version


def test_a_run_that_stays_names_the_version_that_took_the_place_of_the_one_it_named(client):
    publish({"digits": a_book()}, client, prefix="renamed")
    changed = a_book()
    changed.versions["train"].description = "another"
    after = publish({"digits": changed}, client, prefix="renamed")
    watch = active(client, "renamed")["watch"]
    assert watch.data.tags["dlemm.model_version"] == after.versions["digits", "train"] != "renamed-digits/1"


@pytest.mark.parametrize(
    ("method", "after"),
    [("log_batch", 1), ("log_artifacts", 0), ("create_model_version", 0), ("set_model_version_tag", 0)],
)
def test_a_server_lost_in_the_middle_leaves_no_open_run_and_no_half_version_and_the_next_try_ends_it(
    client, method, after
):
    prefix = f"lost-{method.replace('_', '-')}"
    with pytest.raises(MlflowException):
        publish({"digits": a_book()}, Breaking(client, method, after), prefix=prefix)
    assert all(run.info.status != "RUNNING" for run in active(client, prefix).values())
    assert client.search_model_versions(f"name = '{prefix}-digits'") == []
    publish({"digits": a_book()}, client, prefix=prefix)
    assert set(active(client, prefix)) == set(a_book().runs)
    assert client.get_model_version_by_alias(f"{prefix}-digits", "champion").tags["dlemm.origin"] == "reference"


def test_an_experiment_that_somebody_deleted_is_left_deleted(client):
    publish({"digits": a_book()}, client, prefix="gone")
    client.delete_experiment(client.get_experiment_by_name("gone/digits").experiment_id)
    with pytest.raises(DeletedExperimentError, match="gone/digits"):
        publish({"digits": a_book()}, client, prefix="gone")


def test_runs_of_other_people_in_the_experiment_are_not_touched(client):
    publish({"digits": a_book()}, client, prefix="shared")
    experiment = client.get_experiment_by_name("shared/digits").experiment_id
    other = client.create_run(experiment, run_name="somebody's")
    publish({"digits": a_book(accuracy=0.7)}, client, prefix="shared")
    assert client.get_run(other.info.run_id).info.lifecycle_stage == "active"
