"""The acts of data governance, on a story small enough to be told in a second."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pandera")
pytest.importorskip("cleanlab")

from integrations.reference.ladder.acts import campaigns, flywheel, labels, preparation, privacy, quality, sourcing
from integrations.reference.ladder.book import Book
from integrations.reference.ladder.calendar import Calendar
from integrations.reference.ladder.duels import duel, unseen, weeks_after
from integrations.reference.ladder.rungs import Rungs
from integrations.reference.ladder.scene import Scene, Whole
from integrations.reference.ladder.walk import faults_of, found, text_of
from integrations.reference.ladder.workshop import Workshop
from tests.integrations.reference.tiny import SOURCE, Tiny

pytestmark = pytest.mark.torch

NOW = 1_780_000_000_000
ACTS = (campaigns, sourcing, quality, labels, preparation, privacy, flywheel)


@pytest.fixture(scope="module")
def tell(tmp_path_factory):
    """Tell the acts of data governance at a step; ``without`` names broken rungs. Work is shared."""
    folder, told = tmp_path_factory.mktemp("work"), {}

    def tell(step: int, *without: str) -> Scene:
        if (step, without) not in told:
            story, rungs = Tiny(), Rungs.to(step, without)
            book = Book("tiny", model="reference-tiny")
            scene = Scene(story, rungs, Calendar(NOW), Workshop(folder, story.fingerprint()), book, "c" * 40)
            for act in ACTS:
                act.perform(scene)
            sourcing.perform_late(scene)
            told[step, without] = scene
        return told[step, without]

    return tell


def contexts(run) -> list[str]:
    return [use.context for use in run.inputs]


def report(run, kind: str) -> dict:
    return json.loads(run.artifacts[f"reports/{kind}.json"])


def test_every_training_names_its_dataset_and_its_source(tell):
    for run in tell(3).trainings():
        assert all(use.dataset.name and use.dataset.digest for use in run.inputs)
        assert {use.dataset.source for use in run.inputs} == {SOURCE}


def test_without_the_practice_inputs_stay_but_name_no_source(tell):
    runs = tell(2, "DG1.2.1").trainings()
    assert all(run.inputs and not any(use.dataset.source for use in run.inputs) for run in runs)


@pytest.mark.parametrize("broken", ["DG1.3.1", "DG1.3.2"])
def test_without_snapshots_or_lineage_the_model_in_service_cannot_be_traced(tell, broken):
    scene = tell(3, broken)
    sources = {run.key: {use.dataset.source for use in run.inputs} for run in scene.trainings()}
    assert sources.pop(scene.champion.key) == {""}
    assert all(source == {SOURCE} for source in sources.values())


def test_a_snapshot_read_back_has_the_digest_of_the_data(tell):
    scene = tell(3)
    rows = report(scene.champion.run, "data_manifest")["rows"]
    assert {row["recorded_sha256"] for row in rows} >= {scene.champion.training.sha256}
    assert all(row["recorded_sha256"] == row["computed_sha256"] for row in rows)
    assert (scene.work.folder / "snapshots" / rows[0]["file"]).exists()


def test_a_manifest_says_only_what_its_practices_promise(tell):
    without_snapshots = report(tell(3, "DG1.3.1").champion.run, "data_manifest")["rows"]
    without_loader = report(tell(3, "DG4.3.2").champion.run, "data_manifest")["rows"]
    assert all("file" not in row and row["loader_version"] for row in without_snapshots)
    assert all("unit" not in row and row["file"] for row in without_loader)


def test_splits_are_kept_apart_and_their_overlap_is_counted(tell):
    run = tell(2).champion.run
    assert contexts(run) == ["training", "validation", "test"]
    assert run.value("dq/train_eval_overlap") == 0
    loose = tell(2, "DG2.2.2").champion.run
    assert contexts(loose) == ["training"]
    with pytest.raises(KeyError):
        loose.value("dq/train_eval_overlap")


def test_the_gate_has_spoken_before_anything_is_learned(tell):
    for run in tell(3).trainings():
        checked = next(point.at for point in run.points if point.key == "dq/expectations_failed")
        learned = [point.at for point in run.points if point.key.startswith("train/")]
        assert run.tags["dlemm.dq.status"] == "passed"
        assert checked <= min(learned)


def test_nothing_of_the_gate_is_left_when_it_is_switched_off(tell):
    scene = tell(3, "DG2.3.1")
    assert all("dlemm.dq.status" not in run.tags for run in scene.trainings())
    assert "gate_self_test" not in report(scene.champion.run, "data_quality")["values"]
    assert report(tell(3).champion.run, "data_quality")["values"]["gate_self_test"]["status"] == "blocked"


def test_a_data_experiment_changes_nothing_but_the_data(tell):
    book = tell(5).book
    for name in ("cleaning", "feedback"):
        arms = [book.runs[f"data-{name}-{arm}"] for arm in ("control", "tested")]
        digests = {next(use.dataset.digest for use in arm.inputs if use.context == "training") for arm in arms}
        assert arms[0].params == arms[1].params
        assert len(digests) == 2
        assert book.runs[f"data-{name}"].value("eval/primary_delta_ci_low") <= book.runs[f"data-{name}"].value(
            "eval/primary_delta"
        )


def test_data_that_readers_do_not_agree_on_are_read_again_before_training(tell):
    scene = tell(3)
    rounds = {key: run for key, run in scene.book.runs.items() if key.startswith("annotation")}
    again = [run for key, run in rounds.items() if key.endswith("again")]
    assert len(again) == len(rounds) / 2
    assert all(run.value("label/kappa") >= labels.LIMIT for run in again)
    assert {run.tags["dlemm.label.gate"] for run in again} == {"passed"}
    assert all(run.start_at < scene.book.runs["baseline"].start_at or "0" not in run.key for run in again)


def test_without_the_gate_data_are_trained_on_whatever_the_agreement(tell):
    runs = [run for key, run in tell(3, "DG3.3.1").book.runs.items() if key.startswith("annotation")]
    assert min(run.value("label/kappa") for run in runs) < labels.LIMIT
    assert not any("dlemm.label.gate" in run.tags for run in runs)


def test_gold_items_bound_the_error_of_labels(tell):
    run = next(run for key, run in tell(4).book.runs.items() if key.endswith("again"))
    assert run.value("label/gold_items") >= 30
    assert run.value("label/error_rate") <= run.value("label/error_rate_ci_high") <= 0.05


def test_raw_votes_stay_beside_the_consensus(tell):
    rows = report(tell(3).champion.run, "label_quality")["rows"]
    assert len(rows) >= labels.ITEMS
    assert all(len(row["votes"].split()) == 3 and str(row["consensus"]) in "01" for row in rows)


def test_a_story_without_readers_waives_the_practices_it_has_climbed(tmp_path):
    class Unread(Tiny):
        human_labels = False

    story = Unread()
    book = Book("tiny", model="reference-tiny")
    scene = Scene(story, Rungs.to(2), Calendar(NOW), Workshop(tmp_path, "unread"), book)
    labels.perform(scene)
    assert [waiver.on for waiver in book.waivers] == ["DG3.1.1", "DG3.2.1", "DG3.2.2"]


def test_training_and_service_prepare_the_golden_sample_alike(tell):
    scene = tell(3)
    assert report(scene.champion.run, "parity")["values"]["transform"] == {"samples": 32, "max_abs_diff": 0.0}
    rerun = report(scene.champion.run, "data_quality")["values"]["rerun"]
    assert rerun["first"] == rerun["second"]
    assert rerun["first"]["input_digest"] == preparation.digest_of(scene.story.raw(32))


def test_a_search_after_new_data_names_its_trigger_and_verifies_the_gain(tell):
    run = tell(5).book.runs["policy-search"]
    rows = report(run, "augmentation")["rows"]
    assert {row["trigger"] for row in rows} == {"data"}
    assert sum(row["chosen"] for row in rows) == 1
    assert run.value("search/ci_low") <= run.value("search/delta")


def test_a_deletion_leaves_no_requested_row_and_names_the_models(tell):
    run = tell(5).book.runs["deletion"]
    assert run.value("deletion/rows_asked") == privacy.DELETED
    assert run.value("deletion/rows_left") == 0
    assert run.value("deletion/versions_touched") >= 1
    assert run.tags["dlemm.decision"] == "retrain"


def test_leakage_is_measured_on_every_release(tell):
    scene = tell(4)
    for campaign in scene.campaigns:
        assert 0.3 < campaign.run.value("privacy/mia_auc") <= privacy.LEAKAGE_LIMIT


def test_an_intake_without_an_answer_is_refused():
    given = {"purpose": "p", "necessity": "n", "affected": "a", "retention": " "}
    with pytest.raises(privacy.IntakeRefusedError, match="retention"):
        privacy.intake(given)
    privacy.intake({**given, "retention": "two years"})


def test_feedback_is_part_of_the_training_and_was_not_known_at_the_first_release(tell):
    scene = tell(3)
    first = set(scene.campaigns[0].training.row_hashes())
    for campaign in scene.campaigns[1:]:
        rows = set(flywheel.feedback(scene, campaign).row_hashes())
        assert rows
        assert rows <= set(campaign.training.row_hashes())
        assert not rows & first
        origins = [use.tags.get("dlemm.dataset.origin") for use in campaign.run.inputs]
        assert origins.count("production_feedback") == 1


@pytest.mark.parametrize("broken", ["DG6.3.1", "DG6.3.2"])
def test_feedback_is_not_trained_on_while_no_hard_cases_are_set_aside(tell, broken):
    scene = tell(3, broken)
    assert not any("dlemm.dataset.origin" in use.tags for run in scene.trainings() for use in run.inputs)


def test_the_lag_of_feedback_lies_between_the_delay_of_labels_and_the_time_between_trainings(tell):
    scene = tell(4)
    for before, campaign in zip(scene.campaigns, scene.campaigns[1:], strict=False):
        between = (campaign.run.start_at - before.run.start_at) / 86_400_000
        assert 0.2 * 7 <= campaign.run.value("dq/feedback_lag_days") <= between + 0.2 * 7 + 1e-6


def test_listed_errors_are_errors(tell):
    scene = tell(1)
    listed = flywheel.mistakes(scene, -2)
    traffic = scene.story.stream(-2)
    by_input = dict(zip([digest[:16] for digest in traffic.row_hashes()], traffic.y, strict=True))
    assert listed
    assert all(row["predicted"] != row["known"] == by_input[row["input"]] for row in listed)


def test_the_first_release_has_no_champion_to_fight(tell):
    scene = tell(3)
    with pytest.raises(ValueError, match="no champion"):
        duel(scene, scene.campaigns[0])


def test_a_duel_pairs_rows_and_its_interval_holds_the_difference(tell):
    scene = tell(3)
    found = duel(scene, scene.champion)
    assert found["ci_low"] <= found["delta"] <= found["ci_high"]
    assert found["backward_transfer"] == pytest.approx(
        scene.score(scene.champion.fitted, scene.test) - scene.score(scene.campaigns[-2].fitted, scene.test)
    )


def test_a_duel_leaves_out_rows_that_one_of_the_two_has_learned_from(tell):
    scene = tell(3)
    campaign = scene.champion
    whole = unseen(scene, campaign)
    kept, campaign.training = campaign.training, scene.story.stream(weeks_after(campaign.week)[0])
    try:
        assert len(unseen(scene, campaign)) == len(whole) - 200
    finally:
        campaign.training = kept


def test_once_for_the_organisation_a_prediction_is_traced_and_access_and_intake_are_checked(tell):
    scene = tell(5)
    whole = Whole(scene.rungs, scene.calendar, Book(""), {"tiny": scene})
    for run in scene.trainings():
        run.tags["mlflow.source.git.commit"] = "c" * 40
    sourcing.perform_once(whole)
    privacy.perform_once(whole)
    drill = whole.book.runs["trace-drill"]
    assert drill.value("drill/trace_seconds") > 0
    assert drill.params["digest"] in {campaign.training.digest for campaign in scene.campaigns}
    assert drill.value("lineage/coverage") == 1.0
    assert whole.book.runs["intake-refused"].tags["dlemm.intake"] == "refused"
    assert whole.book.runs["intake-tiny"].tags["dlemm.intake"] == "passed"
    for document in whole.book.documents.values():
        assert not faults_of(text_of(document, ""))
        assert all(found(whole.book, where) for where in document.evidence)


def test_every_document_can_be_read_and_names_traces_that_are_there(tell):
    book = tell(5).book
    assert len(book.documents) >= 15
    for document in book.documents.values():
        assert not faults_of(text_of(document, "tiny")), document.practice
        assert all(found(book, where) for where in document.evidence), document.practice


def test_at_the_first_step_nothing_of_higher_levels_is_logged(tell):
    scene = tell(1)
    assert {key[:5] for key in scene.book.documents} <= {f"DG{number}.1" for number in range(1, 7)}
    assert not any(point.key.startswith("dq/") for run in scene.book.runs.values() for point in run.points)
    assert np.all([contexts(run) == ["training"] for run in scene.trainings()])
