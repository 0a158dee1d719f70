import json
from dataclasses import replace
from importlib import import_module

import pytest

torch = pytest.importorskip("torch")

from integrations.reference.ladder.acts import efficiency  # noqa: E402 -- needs torch
from integrations.reference.ladder.book import Book  # noqa: E402
from integrations.reference.ladder.calendar import Calendar  # noqa: E402
from integrations.reference.ladder.rungs import Rungs  # noqa: E402
from integrations.reference.ladder.scene import Scene  # noqa: E402
from integrations.reference.ladder.walk import faults_of, found, text_of  # noqa: E402
from integrations.reference.ladder.workshop import Workshop  # noqa: E402
from integrations.reference.stories import find_story  # noqa: E402

pytestmark = pytest.mark.torch

NOW = 1_790_000_000_000
ACTS = ("campaigns", "experiments", "architecture", "efficiency", "evaluation", "explanation")
PARITY = {
    "technique": "ddp",
    "world": 2,
    "loss_single": 0.5,
    "loss_parallel": 0.5,
    "loss_diff": 0.0,
    "loss_tolerance": 1e-4,
    "throughput": 1.0,
    "memory": 1.0,
    "size": 1.0,
    "generalisation_gap": 0.0,
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory):
    """Tells a project as far as the acts of the model, with trainings of one epoch and no other processes.

    What was told is kept; a test that changes it asks for a fresh one.
    """
    torch.set_num_threads(1)
    folder, story, kept = tmp_path_factory.mktemp("work"), find_story("digits"), {}

    def tell(step: int, *without: str, fresh: bool = False) -> Scene:
        if fresh or (step, without) not in kept:
            work = Workshop(folder, story.fingerprint())
            book = Book("digits", model="reference-digits", common={"dlemm.origin": "reference"})
            scene = Scene(story, Rungs.to(step, without), Calendar(NOW), work, book, "f" * 40)
            for act in ACTS:
                import_module(f"integrations.reference.ladder.acts.{act}").perform(scene)
            kept[step, without] = scene
            if fresh:
                return kept.pop((step, without))
        return kept[step, without]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(story), "recipe", replace(story.recipe, epochs=1))
        patch.setattr(efficiency, "_split_trainings", lambda: [PARITY])
        yield tell


def test_training_runs_carry_seed_commit_and_exact_versions(told) -> None:
    for run in told(3).trainings():
        assert run.tags["mlflow.source.git.commit"] == "f" * 40
        assert run.params["seed"].isdigit()
        lines = run.artifacts["requirements.txt"].decode().splitlines()
        assert f"torch=={torch.__version__}" in lines
        assert all("==" in line for line in lines)


def test_a_failed_run_says_at_which_setting_it_failed_only_where_the_standard_is_kept(told) -> None:
    kept, broken = told(3), told(3, "MD1.3.2")
    failed = [run for run in kept.book.runs.values() if run.status == "FAILED"]
    assert len(failed) >= 3
    assert all(run.tags["dlemm.failure_reason"] for run in failed)
    assert not any("dlemm.failure_reason" in run.tags for run in broken.book.runs.values())


def test_runs_are_named_by_the_standard_or_as_the_server_would(told) -> None:
    experiments = import_module("integrations.reference.ladder.acts.experiments")
    scene, broken = told(3, fresh=True), told(3, "MD1.3.2", fresh=True)
    experiments.perform_late(scene)
    experiments.perform_late(broken)
    assert scene.champion.run.name.startswith("digits/retrain/")
    assert all(run.name.count("-") == 2 and run.name.rpartition("-")[2].isdigit() for run in broken.book.runs.values())


def test_every_child_of_the_ablation_differs_from_its_control_in_one_factor(told) -> None:
    runs = told(3).book.runs.values()
    children = [run for run in runs if run.parent == "ablation"]
    control = next(run for run in children if run.tags.get("dlemm.role") == "control")
    arms = [run for run in children if run is not control]
    assert len(arms) >= 2
    for run in arms:
        different = {key for key in run.params if run.params[key] != control.params.get(key)}
        assert different == {run.tags["dlemm.ablation.factor"]}


def test_the_ablation_gives_effects_with_intervals_only_where_seeds_are_repeated(told) -> None:
    def rows(scene: Scene) -> list[dict]:
        return json.loads(scene.champion.run.artifacts["reports/ablation.json"])["rows"]

    assert all("effect" not in row for row in rows(told(3)))
    repeated = rows(told(4))
    assert {row["seed"] for row in repeated} == {11, 12, 13}
    assert all(row["ci_low"] <= row["effect"] <= row["ci_high"] for row in repeated)


def test_families_are_compared_on_equal_budget_and_the_same_rows(told) -> None:
    children = [run for run in told(3).book.runs.values() if run.parent == "comparison"]
    assert len({run.params["model_family"] for run in children}) >= 2
    assert len({run.params["budget"] for run in children}) == 1
    assert len({use.dataset.digest for run in children for use in run.inputs if use.context == "eval"}) == 1


def test_the_matrix_holds_four_axes_and_parity_only_where_it_was_tested(told) -> None:
    def rows(scene: Scene) -> list[dict]:
        return json.loads(scene.champion.run.artifacts["reports/optimisation_matrix.json"])["rows"]

    both = rows(told(3))
    assert len({row["technique"] for row in both}) >= 4
    assert all(row["loss_diff"] <= row["loss_tolerance"] for row in both)
    assert all("loss_diff" not in row for row in rows(told(3, "MD3.3.2")))
    assert all("size" not in row for row in rows(told(3, "MD3.3.1")))


def test_the_gate_is_held_before_the_release_and_says_what_broke(told) -> None:
    scene = told(3)
    for campaign in scene.campaigns:
        tags = scene.shared["gates"][campaign.key]
        assert tags["dlemm.gate.at"] < scene.calendar.text(campaign.week)
        assert (tags["dlemm.gate.status"] == "passed") == ("dlemm.gate.reason" not in tags)
    assert told(3, "MD4.3.1").shared["gates"] == {}


def test_evaluations_grow_with_the_steps(told) -> None:
    def logged(step: int) -> set[str]:
        run = told(step).champion.evaluation
        return {point.key for point in run.points} if run else set()

    assert logged(1) == set()
    assert any(key.startswith("eval/slice/") for key in logged(2))
    assert not any(key.startswith("eval/robust/") for key in logged(2))
    assert sum(key.startswith("eval/robust/") for key in logged(3)) >= 2
    assert "eval/primary_ci_low" not in logged(3)
    assert "eval/primary_ci_low" in logged(4)


def test_a_model_trained_again_gives_the_figure_it_gave_before(told) -> None:
    scene = told(4)
    for campaign in scene.campaigns[-3:]:
        again = scene.book.runs[f"reproduce-{campaign.key}"]
        assert again.value(scene.story.primary) == campaign.run.value(scene.story.primary)


def test_a_closed_incident_becomes_a_test_within_days(told) -> None:
    scene = told(4, fresh=True)
    scene.rungs = Rungs.to(5)
    opened = scene.calendar.at(-8)
    scene.book.incidents.append({"incident": "INC-1", "opened_at": opened, "closed_at": opened + 1, "kind": "model"})
    scene.book.incidents.append({"incident": "INC-2", "opened_at": opened, "closed_at": None, "kind": "model"})
    import_module("integrations.reference.ladder.acts.evaluation").perform_late(scene)
    run = scene.book.runs["regression-INC-1"]
    assert run.tags["dlemm.stage"] == "evaluate"
    assert 0 <= run.start_at - opened <= 14 * 86_400_000
    assert 0 <= run.value("eval/regression/INC-1") <= 1
    assert "regression-INC-2" not in scene.book.runs


def test_every_document_is_complete_and_its_evidence_is_there(told) -> None:
    scene = told(4)
    own = [document for practice, document in scene.book.documents.items() if practice.startswith("MD")]
    assert len(own) >= 9
    for document in own:
        assert faults_of(text_of(document, "digits")) == []
        assert document.evidence
        assert all(found(scene.book, where) for where in document.evidence), document


def test_the_first_step_leaves_nothing_that_belongs_to_later_ones(told) -> None:
    scene = told(1)
    tags = {key for run in scene.book.runs.values() for key in run.tags}
    assert not tags & {"dlemm.primary_metric", "dlemm.role", "mlflow.source.git.commit", "dlemm.project"}
    assert all(run.artifacts == {} for run in scene.book.runs.values())


def test_a_model_card_states_the_figures_that_were_logged(told) -> None:
    scene = told(2)
    card = scene.champion.run.artifacts["model_card.md"].decode()
    assert all(f"## {heading}" in card for heading in ("Intended use", "Data", "Metrics", "Limits"))
    assert f"| {scene.story.primary} | {scene.champion.evaluation.value(scene.story.primary):.4f} |" in card
    assert "model_card.md" not in told(2, "MD5.2.1").champion.run.artifacts
