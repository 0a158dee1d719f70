"""Books put on a real tracking server, broken off in the middle, and put there again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("mlflow")

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from integrations.reference.errors import AlreadyRunningError, DeletedExperimentError
from integrations.reference.ladder.book import Book, Dataset, Package, Ref, Use
from integrations.reference.ladder.hold import HELD
from integrations.reference.ladder.publish import DONE, KEY, PARENT, publish
from integrations.reference.ladder.verify import MANIFEST, faults, manifest

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[4]

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


def experiment(client: MlflowClient, prefix: str, project: str = "digits") -> str:
    return client.get_experiment_by_name(f"{prefix}/{project}").experiment_id


def active(client: MlflowClient, prefix: str, project: str = "digits") -> dict[str, object]:
    runs = client.search_runs([experiment(client, prefix, project)])
    return {run.data.tags[KEY]: run for run in runs}


def is_whole(client: MlflowClient, prefix: str) -> bool:
    """Is the book of ``prefix/digits`` there, with nothing that is unfinished or there twice?"""
    runs = client.search_runs([experiment(client, prefix)])
    models = client.search_logged_models([experiment(client, prefix)])
    versions = client.search_model_versions(f"name = '{prefix}-digits'")
    wanted = {key: (run.status, run.end_at) for key, run in a_book().runs.items()}
    return (
        {run.data.tags[KEY]: (run.info.status, run.info.end_time) for run in runs} == wanted
        and len(runs) == len(wanted)
        and [(model.source_run_id, str(model.status)) for model in models] == [(versions[0].run_id, "READY")]
        and [version.tags.get(DONE) for version in versions] == ["true"]
        and held(client, prefix) == ""
    )


def held(client: MlflowClient, prefix: str, project: str = "digits") -> str:
    return client.get_experiment(experiment(client, prefix, project)).tags[HELD]


@pytest.fixture
def client(mlflow_server) -> MlflowClient:
    return MlflowClient(mlflow_server.url)


class Breaking:
    """A client whose server goes away at the n-th use of one method, for good or for a number of uses."""

    def __init__(self, client: MlflowClient, method: str, after: int, uses: float = float("inf")) -> None:
        self._client, self._method, self._left, self._uses = client, method, after, uses

    def __getattr__(self, name: str):
        found = getattr(self._client, name)
        if name != self._method:
            return found

        def guarded(*given, **named):
            self._left -= 1
            if -self._uses <= self._left < 0:
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


@pytest.mark.parametrize(
    ("method", "uses"),
    [
        ("set_terminated", 1),
        ("set_terminated", float("inf")),
        ("create_logged_model", float("inf")),
        ("log_model_artifacts", float("inf")),
        ("finalize_logged_model", 1),
    ],
)
def test_what_a_lost_server_kept_half_done_is_whole_once_the_same_is_published_again(client, method, uses):
    prefix = f"half-{method.replace('_', '-')}-{uses}"
    with pytest.raises(MlflowException):
        publish({"digits": a_book()}, Breaking(client, method, 0, uses), prefix=prefix)
    assert held(client, prefix) == ""
    publish({"digits": a_book()}, client, prefix=prefix)
    assert is_whole(client, prefix)
    assert client.get_model_version_by_alias(f"{prefix}-digits", "champion").tags["dlemm.origin"] == "reference"


def test_a_run_that_stays_is_a_child_of_the_run_that_took_the_place_of_its_parent(client):
    before = publish({"digits": a_book()}, client, prefix="orphan")
    changed = a_book()
    changed.runs["study"].param(seeds=3)
    after = publish({"digits": changed}, client, prefix="orphan")
    assert after.runs["digits", "arm"] == before.runs["digits", "arm"]
    assert active(client, "orphan")["arm"].data.tags[PARENT] == after.runs["digits", "study"]


class Narrow:
    """A client whose searches give two rows a page."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def __getattr__(self, name: str):
        found = getattr(self._client, name)
        if name not in {"search_runs", "search_logged_models"}:
            return found
        return lambda *given, **named: found(*given, **{**named, "max_results": 2})


def test_what_fills_several_pages_is_recognised_and_removed_all_the_same(client):
    book = a_book()
    for number in range(3):
        book.run(f"more{number}", "one more", start_at=BEGIN, end_at=BEGIN).package = book.runs["train"].package
    publish({"digits": book}, client, prefix="pages")
    assert publish({"digits": book}, Narrow(client), prefix="pages").kept == len(book.runs)
    publish({"digits": a_book(accuracy=0.8)}, Narrow(client), prefix="pages")
    assert set(active(client, "pages")) == set(a_book().runs)
    assert is_whole(client, "pages")


def test_a_run_whose_model_somebody_deleted_is_done_again(client):
    before = publish({"digits": a_book()}, client, prefix="unmodelled")
    (model,) = client.search_logged_models([experiment(client, "unmodelled")])
    client.delete_logged_model(model.model_id)
    after = publish({"digits": a_book()}, client, prefix="unmodelled")
    assert after.runs["digits", "train"] != before.runs["digits", "train"]
    assert is_whole(client, "unmodelled")


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


# Two at once.


ANOTHER = """
import sys
from mlflow import MlflowClient
from integrations.reference.ladder.publish import publish
from tests.integrations.reference.ladder.test_publish import a_book

def say(text):
    print(text, flush=True)
    if text.endswith("versions"):
        sys.stdin.readline()

publish({"digits": a_book()}, MlflowClient(sys.argv[1]), prefix=sys.argv[2], say=say)
"""
"""A process that publishes, and waits for a line when its runs are open."""


@contextlib.contextmanager
def another(client: MlflowClient, prefix: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", ANOTHER, client.tracking_uri, prefix],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert [process.stdout.readline().strip() for _ in range(2)] == ["digits: 5 runs", "digits: 1 versions"]
        yield process
    finally:
        process.kill()
        process.communicate()


def test_who_publishes_where_another_process_does_is_refused_and_changes_nothing(client):
    with another(client, "both") as process:
        before = active(client, "both")
        with pytest.raises(AlreadyRunningError) as refused:
            publish({"digits": a_book(accuracy=0.7)}, client, prefix="both")
        assert re.fullmatch(
            rf"Process {process.pid} on \S+ has been publishing to the experiment both/digits since 20\S+; "
            "wait for it, or give another --experiment-prefix.",
            str(refused.value),
        )
        assert {run.info.status for run in before.values()} == {"RUNNING"}
        assert [run.info for run in active(client, "both").values()] == [run.info for run in before.values()]
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait(timeout=60) == 0
    assert is_whole(client, "both")
    assert publish({"digits": a_book()}, client, prefix="both").kept == len(a_book().runs)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_the_hold_of_a_process_that_was_killed_is_taken_over_even_before_it_is_reaped(client):
    with another(client, "dead") as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert json.loads(held(client, "dead"))["process"] == process.pid
        publish({"digits": a_book()}, client, prefix="dead")
    assert is_whole(client, "dead")


def hold(since: datetime, host: str = "elsewhere") -> str:
    return json.dumps({"host": host, "process": 1, "started": "1", "since": since.isoformat()})


def test_the_hold_of_another_machine_counts_for_an_hour(client):
    publish({"digits": a_book()}, client, prefix="far")
    recent = hold(datetime.now(UTC) - timedelta(minutes=50))
    client.set_experiment_tag(experiment(client, "far"), HELD, recent)
    with pytest.raises(AlreadyRunningError, match=r"Process 1 on elsewhere .* \(an hour at the most"):
        publish({"digits": a_book()}, client, prefix="far")
    assert held(client, "far") == recent
    client.set_experiment_tag(experiment(client, "far"), HELD, hold(datetime.now(UTC) - timedelta(minutes=70)))
    publish({"digits": a_book()}, client, prefix="far")
    assert held(client, "far") == ""


@pytest.mark.parametrize("text", ["somebody", "[]", "{}", '{"host": 1, "process": "x", "started": 1, "since": "x"}'])
def test_a_hold_that_no_ladder_wrote_does_not_count(client, text):
    publish({"digits": a_book()}, client, prefix="foreign")
    client.set_experiment_tag(experiment(client, "foreign"), HELD, text)
    publish({"digits": a_book()}, client, prefix="foreign")
    assert held(client, "foreign") == ""


def test_who_is_refused_by_one_project_lets_go_of_the_others(client):
    books = {"digits": a_book(), "fraud": a_book("fraud")}
    publish(books, client, prefix="partly")
    client.set_experiment_tag(experiment(client, "partly", "fraud"), HELD, hold(datetime.now(UTC)))
    with pytest.raises(AlreadyRunningError, match="partly/fraud"):
        publish(books, client, prefix="partly")
    assert held(client, "partly") == ""


class Overtaken:
    """A client for which another machine writes its hold at the same moment, a little later."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def __getattr__(self, name: str):
        return getattr(self._client, name)

    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> None:
        self._client.set_experiment_tag(experiment_id, key, value)
        if value:
            self._client.set_experiment_tag(experiment_id, key, hold(datetime.now(UTC)))


def test_of_two_who_find_an_experiment_free_at_once_the_later_one_has_it(client):
    with pytest.raises(AlreadyRunningError, match="elsewhere"):
        publish({"digits": a_book()}, Overtaken(client), prefix="overtaken")
    assert json.loads(held(client, "overtaken"))["host"] == "elsewhere"
    assert active(client, "overtaken") == {}


# Verified.


def test_a_champion_that_is_another_or_none_is_named(client, tmp_path):
    book = a_book()
    book.version("next", "train")
    published = publish({"digits": book}, client, prefix="alias")
    told = manifest({"digits": book}, published.runs, published.versions)
    (tmp_path / MANIFEST).write_text(json.dumps(told))
    assert list(faults(tmp_path, client)) == []
    client.set_registered_model_alias("alias-digits", "champion", "2")
    assert list(faults(tmp_path, client)) == ["digits: the champion is alias-digits/2, not alias-digits/1"]
    client.delete_registered_model_alias("alias-digits", "champion")
    assert list(faults(tmp_path, client)) == ["digits: no version carries the alias champion"]


@pytest.mark.torch
def test_a_champion_that_does_not_answer_as_recorded_is_named(client, tmp_path):
    torch = pytest.importorskip("torch")
    from integrations.reference.stories import find_story

    story = find_story("digits")
    test = story.test()
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()
    rows = torch.from_numpy(test.x)
    torch.export.save(torch.export.export(model, (rows,)), tmp_path / "model.pt2")
    score = story.score(test.y, model(rows).detach().numpy())
    book = a_book(accuracy=score)
    book.runs["train"].tags["dlemm.primary_metric"] = "eval/accuracy"
    book.runs["train"].package.files["data/model.pt2"] = (tmp_path / "model.pt2").read_bytes()
    published = publish({"digits": book}, client, prefix="answers")
    told = manifest({"digits": book}, published.runs, published.versions)
    (tmp_path / MANIFEST).write_text(json.dumps(told))
    assert list(faults(tmp_path, client)) == []
    told["champions"][0]["primary"] = score - 0.01
    (tmp_path / MANIFEST).write_text(json.dumps(told))
    (fault,) = faults(tmp_path, client)
    assert fault == f"digits: the champion scores {score:.6f}, recorded was {score - 0.01:.6f}"
