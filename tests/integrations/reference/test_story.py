"""One interrupted story and one finished story on a real server, then what they left behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("mlflow")

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from integrations.reference.case import find_case
from integrations.reference.errors import AlreadyRunningError, DeletedExperimentError
from integrations.reference.pipeline import run_story
from integrations.reference.progress import StepDone, StoryDone
from integrations.reference.steps import STEPS, StepKey
from integrations.reference.tracking import Tracker, quiet_libraries

pytestmark = [pytest.mark.torch, pytest.mark.server]

ROOT = Path(__file__).parents[3]
PREFIX = "story-test"
MODEL = "story-test-shop"
CASE = find_case("digits-quick")


class Recording:
    """A display that remembers the ends of steps."""

    def __init__(self) -> None:
        self.ends: list[StepDone] = []

    def begin(self, key: StepKey) -> None: ...

    def tell(self, text: str) -> None: ...

    def end(self, done: StepDone) -> None:
        self.ends.append(done)

    def close(self, done: StoryDone) -> None: ...


@dataclass(frozen=True)
class Story:
    """What is on the server after an interrupted and a finished story."""

    url: str
    client: MlflowClient
    interrupted: subprocess.CompletedProcess[str]
    ends: list[StepDone]
    run_id: str
    runs: list[Run]  # of the finished story
    leftovers: list[Run]  # of the interrupted one
    versions: dict[str, ModelVersion]

    def of_stage(self, stage: str) -> list[Run]:
        return [run for run in self.runs if run.data.tags["dlemm.stage"] == stage]


def _command(url: str, *more: str) -> list[str]:
    where = ["--tracking-uri", url, "--experiment-prefix", PREFIX, "--project", "shop"]
    return [sys.executable, "-m", "integrations.reference", "run", CASE.key, *where, *more]


def _interrupted(url: str) -> subprocess.CompletedProcess[str]:
    """Start a story as a process of its own and end it by SIGTERM as soon as the training begins."""
    process = subprocess.Popen(
        _command(url, "--json"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, first + out, err)


@pytest.fixture(scope="session")
def story(mlflow_server) -> Story:
    interrupted = _interrupted(mlflow_server.url)
    display = Recording()
    with quiet_libraries():
        tracker = Tracker(mlflow_server.url, case=CASE, project="shop", prefix=PREFIX)
        told = run_story(tracker, display)
        client = tracker.client
        runs = list(client.search_runs([tracker.experiment_id], max_results=1000))
        versions = {v.version: v for v in client.search_model_versions(f"name = '{MODEL}'")}
    mine = [run for run in runs if told.story in (run.info.run_id, run.data.tags.get("dlemm.story"))]
    rest = [run for run in runs if run not in mine]
    return Story(mlflow_server.url, client, interrupted, display.ends, told.story, mine, rest, versions)


def test_an_interrupted_story_ends_its_runs_as_killed_and_exits_with_130(story: Story) -> None:
    assert story.interrupted.returncode == 130
    last = json.loads(story.interrupted.stdout.splitlines()[-1])
    assert (last["event"], last["state"]) == ("story", "interrupted")
    assert story.interrupted.stderr == ""
    statuses = {run.info.status for run in story.leftovers}
    assert "KILLED" in statuses
    assert "RUNNING" not in statuses
    killed = [run for run in story.leftovers if run.info.status == "KILLED"]
    assert all(run.data.tags["dlemm.failure_reason"] == "interrupted" for run in killed)


def test_an_interrupted_story_is_marked_and_told_again(story: Story) -> None:
    (outermost,) = (run for run in story.leftovers if run.data.tags["dlemm.stage"] == "pipeline")
    assert outermost.data.tags["dlemm.story.superseded_by"] == story.run_id
    assert [end.key for end in story.ends] == [step.key for step in STEPS]
    assert {end.state for end in story.ends} == {"done"}


def test_every_run_finished_and_carries_the_common_tags(story: Story) -> None:
    for run in story.runs:
        tags = run.data.tags
        assert run.info.status == "FINISHED"
        assert run.info.end_time >= run.info.start_time
        assert (tags["dlemm.origin"], tags["dlemm.project"]) == ("reference", "shop")
        assert tags["dlemm.pipeline"] == CASE.pipeline
        assert len(tags["dlemm.code.sha256"]) == 64
        assert tags["mlflow.note.content"]
        assert ("mlflow.source.git.commit" in tags) == ("mlflow.source.git.dirty" in tags)
        assert "dlemm.git.commit" not in tags


def test_training_runs_carry_inputs_parameters_costs_and_the_data_check(story: Story) -> None:
    trainings = story.of_stage("train") + story.of_stage("retrain")
    assert len(trainings) >= 5
    assert {run.data.params["model_family"] for run in trainings} == {"linear", "cnn"}
    wanted = {"model/param_count", "model/flops", "train/throughput_samples_per_s", "train/peak_memory_mb"}
    wanted |= {"dq/expectations_failed", "dq/train_eval_overlap", "dq/subgroup_min_share", "eval/accuracy"}
    for run in trainings:
        assert wanted <= set(run.data.metrics)
        assert {"seed", "opt.amp", "opt.grad_accum_steps", "device", "augmentation"} <= set(run.data.params)
        assert run.data.tags["dlemm.dq.status"] == "passed"
        inputs = story.client.get_run(run.info.run_id).inputs.dataset_inputs
        contexts = {tag.value: given.dataset.digest for given in inputs for tag in given.tags if "context" in tag.key}
        assert set(contexts) == {"training", "validation", "test"}
        assert len(set(contexts.values())) == 3
        assert all(given.dataset.name and given.dataset.source and given.dataset.schema for given in inputs)
        assert "requirements.txt" in {file.path for file in story.client.list_artifacts(run.info.run_id)}


def test_the_data_check_was_logged_before_the_first_training_step(story: Story) -> None:
    for run in story.of_stage("train"):
        checked = story.client.get_metric_history(run.info.run_id, "dq/expectations_failed")
        losses = story.client.get_metric_history(run.info.run_id, "train/loss")
        assert checked[0].timestamp <= min(loss.timestamp for loss in losses)
        assert len(losses) == run.data.metrics["train/epochs"]


def test_the_repetition_gave_the_very_same_weights(story: Story) -> None:
    (again,) = (run for run in story.runs if "dlemm.reproduces" in run.data.tags)
    original = story.client.get_run(again.data.tags["dlemm.reproduces"])
    assert again.data.metrics["repro/same_weights"] == 1
    assert again.data.tags["dlemm.weights.sha256"] == original.data.tags["dlemm.weights.sha256"]
    assert again.data.metrics["eval/accuracy"] == original.data.metrics["eval/accuracy"]


def test_the_study_compares_three_techniques_under_one_parent(story: Story) -> None:
    (study,) = story.of_stage("optimisation")
    members = [run for run in story.runs if run.data.tags.get("mlflow.parentRunId") == study.info.run_id]
    assert {run.data.params["opt_technique"] for run in members} == {"none", "grad_accum", "amp"}
    assert all("eval/generalisation_gap" in run.data.metrics for run in members)


def test_evaluations_hold_interval_slices_and_robustness_and_name_their_version(story: Story) -> None:
    evaluations = story.of_stage("evaluate")
    baseline = [run for run in evaluations if run.data.tags.get("dlemm.role") == "baseline"]
    linked = {run.data.tags["dlemm.model_version"]: run for run in evaluations if run not in baseline}
    assert len(baseline) == 1
    assert set(linked) == {f"{MODEL}/{number}" for number in story.versions}
    for run in linked.values():
        metrics = run.data.metrics
        assert run.data.tags["dlemm.primary_metric"] == "eval/accuracy"
        assert metrics["eval/primary_ci_low"] <= metrics["eval/accuracy"] <= metrics["eval/primary_ci_high"]
        assert sum(name.startswith("eval/slice/") and name.endswith("/recall") for name in metrics) == 10
        assert sum(name.startswith("eval/robust/") for name in metrics) >= 2


def test_the_undertrained_version_is_registered_and_never_released(story: Story) -> None:
    refused = [v for v in story.versions.values() if v.tags["dlemm.gate.status"] == "failed"]
    assert len(refused) == 1
    assert "eval/accuracy" in refused[0].tags["dlemm.gate.broken"]
    assert "dlemm.deployed_at" not in refused[0].tags


def test_two_releases_passed_the_gate_first_and_the_second_replaced_the_first(story: Story) -> None:
    released = sorted(
        (v for v in story.versions.values() if "dlemm.deployed_at" in v.tags), key=lambda v: int(v.version)
    )
    assert len(released) == 2
    for version in released:
        assert version.tags["dlemm.gate.status"] == "passed"
        assert version.tags["dlemm.gate.policy"] == "digits-gate/1"
        assert version.tags["dlemm.gate.at"] < version.tags["dlemm.deployed_at"]
        assert version.tags["dlemm.release.actor"] == "pipeline"
        assert version.tags["dlemm.decision.evidence"] in {run.info.run_id for run in story.of_stage("evaluate")}
        assert "dlemm.approved_by" not in version.tags
    first, second = released
    assert first.tags["dlemm.retired_at"] >= second.tags["dlemm.deployed_at"]
    assert "dlemm.retired_at" not in second.tags
    champion = story.client.get_model_version_by_alias(MODEL, "champion")
    assert champion.version == second.version


def test_packages_carry_signature_example_pinned_requirements_and_no_pickle(story: Story, tmp_path: Path) -> None:
    import mlflow

    champion = story.client.get_model_version_by_alias(MODEL, "champion")
    folder = Path(
        mlflow.artifacts.download_artifacts(
            f"models:/{MODEL}/{champion.version}", dst_path=str(tmp_path), tracking_uri=story.url
        )
    )
    description = mlflow.models.Model.load(str(folder / "MLmodel"))
    assert description.signature.inputs is not None
    assert description.signature.outputs is not None
    assert description.saved_input_example_info is not None
    assert all("==" in line for line in (folder / "requirements.txt").read_text().split())
    assert (folder / "data" / "model.pt2").exists()
    assert not [file for file in folder.rglob("*") if file.suffix in {".pth", ".pkl", ".pt"}]


def test_the_model_card_tells_the_measured_numbers(story: Story, tmp_path: Path) -> None:
    champion = story.client.get_model_version_by_alias(MODEL, "champion")
    card = Path(story.client.download_artifacts(champion.run_id, "model_card.md", str(tmp_path))).read_text()
    source = story.client.get_run(champion.run_id)
    assert f"{source.data.metrics['eval/accuracy']:.2%}" in card
    assert all(f"## {heading}" in card for heading in ("Intended use", "Data", "Metrics", "Limits"))


def test_released_versions_were_served_and_measured(story: Story) -> None:
    benchmarks = story.of_stage("benchmark")
    assert len(benchmarks) == 2
    for run in benchmarks:
        metrics = run.data.metrics
        assert 0 < metrics["perf/latency_p50_ms"] <= metrics["perf/latency_p95_ms"]
        assert metrics["perf/throughput_rps"] > 0
        assert metrics["parity/max_abs_diff"] <= 1e-4
        assert run.data.tags["dlemm.perf.hardware"]


def test_the_watch_sees_the_fresh_window_calm_and_the_disturbed_one_drift(story: Story) -> None:
    windows = {run.data.params["window"]: run for run in story.of_stage("monitor")}
    fresh, moved, later = windows["window-1"], windows["window-2-disturbed"], windows["window-3-disturbed"]
    assert fresh.data.metrics["drift/max"] < 0.25 < moved.data.metrics["drift/max"]
    assert fresh.data.metrics["live/primary"] > 0.9
    assert moved.data.metrics["live/primary"] < later.data.metrics["live/primary"]
    assert moved.data.tags["dlemm.alert_at"] <= moved.data.tags["dlemm.decision_at"]
    assert moved.data.tags["dlemm.decision"] == "retrain"
    assert "dlemm.alert_at" not in fresh.data.tags
    for run in windows.values():
        assert run.data.metrics["ops/predictions_logged"] == CASE.window_rows
        assert run.data.metrics["ops/availability"] == 1.0
        assert run.data.metrics["ops/error_rate"] == 0.0
        assert run.data.metrics["ops/latency_p95_ms"] > 0
        assert run.data.tags["dlemm.stream"] == "simulated"


def test_the_retraining_names_its_trigger_its_opponent_and_its_gain(story: Story) -> None:
    (retraining,) = story.of_stage("retrain")
    assert retraining.data.tags["dlemm.trigger"] == "drift"
    assert retraining.data.tags["dlemm.challenger_of"].startswith(f"{MODEL}/")
    assert (
        0
        < retraining.data.metrics["eval/delta_vs_champion_ci_low"]
        <= retraining.data.metrics["eval/delta_vs_champion"]
    )
    assert retraining.data.metrics["eval/backward_transfer"] >= -0.02


def test_the_rollback_drill_was_timed(story: Story) -> None:
    (drill,) = story.of_stage("drill")
    assert 0 < drill.data.metrics["drill/rollback_minutes"] < 1


def test_nothing_is_left_running(story: Story) -> None:
    mine = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
    children = Path(mine).read_text().split() if Path(mine).exists() else []
    commands = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children]
    assert not [command for command in commands if b"integrations.reference" in command]


def test_a_second_run_finds_the_story_and_does_nothing(story: Story) -> None:
    before = story.client.search_experiments(filter_string=f"name LIKE '{PREFIX}/%'")
    finished = subprocess.run(
        _command(story.url, "--json"), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 0
    (line,) = (json.loads(text) for text in finished.stdout.splitlines())
    assert (line["state"], line["story"]) == ("already finished", story.run_id)
    assert finished.stderr == ""
    runs = story.client.search_runs([experiment.experiment_id for experiment in before], max_results=1000)
    assert len(runs) == len(story.runs) + len(story.leftovers)


@pytest.fixture
def tracker(mlflow_server) -> Callable[[str], Tracker]:
    return lambda prefix: Tracker(mlflow_server.url, case=CASE, project="shop", prefix=prefix)


def test_a_story_that_a_live_process_tells_is_not_told_twice(tracker: Callable[[str], Tracker]) -> None:
    with quiet_libraries(), tracker("live-test").open_story():
        second = tracker("live-test")
        with pytest.raises(AlreadyRunningError, match="right now"):
            run_story(second, Recording())
        assert second.story == ""  # and it left nothing


def test_a_deleted_experiment_is_not_brought_back(tracker: Callable[[str], Tracker]) -> None:
    with quiet_libraries():
        first = tracker("deleted-test")
        first.client.delete_experiment(first.experiment_id)
        with pytest.raises(DeletedExperimentError, match="restore it there"):
            run_story(tracker("deleted-test"), Recording())


def test_a_failing_block_ends_its_run_as_failed_with_the_reason(tracker: Callable[[str], Tracker]) -> None:
    with quiet_libraries():
        mine = tracker("failing-test")
        run = mine.run("broken", stage="train", note="a run that breaks")
        with pytest.raises(RuntimeError), run:
            raise RuntimeError("no luck")
        ended = mine.client.get_run(run.id)
    assert ended.info.status == "FAILED"
    assert ended.data.tags["dlemm.failure_reason"] == "RuntimeError: no luck"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "sqlite:///story.db", "{server}/nothing-here"])
def test_an_address_without_a_tracking_server_is_told_in_one_sentence(mlflow_server, url: str) -> None:
    from integrations.reference.errors import ServerUnreachableError

    with quiet_libraries(), pytest.raises(ServerUnreachableError) as caught:
        Tracker(url.format(server=mlflow_server.url), case=CASE, project="shop", prefix=PREFIX)
    assert "\n" not in str(caught.value)
