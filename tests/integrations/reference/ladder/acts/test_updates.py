"""What updates say of themselves, and who may approve them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from integrations.reference.ladder.acts import updates
from integrations.reference.ladder.book import Ref
from tests.integrations.reference.ladder.small_story import told

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


def test_every_training_names_its_pipeline_from_the_second_step_on(folder: Path) -> None:
    assert all(run.tags["dlemm.pipeline"] for run in told(folder, 2, acts=[updates]).trainings())
    assert not any("dlemm.pipeline" in run.tags for run in told(folder, 1, acts=[updates]).trainings())


def test_a_version_declares_the_age_of_its_data_and_the_limit_that_was_tested(folder: Path) -> None:
    scene = told(folder, 2, acts=[updates])
    version = scene.champion.version
    assert version is not None
    assert version.tags["dlemm.data.until"] == scene.calendar.text(scene.champion.training.until)
    assert int(str(version.tags["dlemm.max_staleness_days"])) == scene.book.runs["staleness"].value(
        "staleness/limit_days"
    )


def test_an_update_says_what_triggered_it(folder: Path) -> None:
    for campaign in told(folder, 3, acts=[updates]).campaigns[1:]:
        run = campaign.run
        drifted, new = run.value("trigger/drift_max") > 0.25, run.value("trigger/new_rows_share") >= updates.NEW_ROWS
        assert run.tags["dlemm.trigger"] == ("drift" if drifted else "data" if new else "schedule")


def test_three_ways_to_update_are_judged_on_the_same_later_traffic(folder: Path) -> None:
    book = told(folder, 3, acts=[updates]).book
    children = [run for run in book.runs.values() if run.parent == "update-modes"]
    assert {run.params["update.mode"] for run in children} == {"full", "sliding", "incremental"}
    judged = {use.dataset.digest for run in children for use in run.inputs if use.context == "eval"}
    assert len(judged) == 1
    trained = {use.dataset.digest for run in children for use in run.inputs if use.context == "training"}
    assert len(trained) == 2  # the window, and everything
    assert trained.isdisjoint(judged)
    assert book.runs["update-modes"].artifacts["figures/update_modes.png"].startswith(b"\x89PNG")
    rows = json.loads(book.runs["update-modes"].artifacts["reports/update_strategy.json"])["rows"]
    assert all(row["time_ordered"] and row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows)


def test_a_retrained_model_names_its_champion(folder: Path) -> None:
    scene = told(folder, 4, acts=[updates])
    for before, campaign in zip(scene.campaigns, scene.campaigns[1:], strict=False):
        assert campaign.run.tags["dlemm.challenger_of"] == Ref("version", before.key)
        assert campaign.run.value("eval/delta_vs_champion_ci_low") <= campaign.run.value("eval/delta_vs_champion")


def test_the_policy_approves_what_meets_its_conditions_and_nothing_early(folder: Path) -> None:
    scene = told(folder, 5, acts=[updates])
    for campaign in scene.campaigns:
        assert campaign.version is not None
        by_policy = campaign.version.tags["dlemm.approved_by"] == updates.POLICY
        assert not by_policy or campaign.number >= updates.FIRST_BY_POLICY
    assert scene.champion.version is not None
    assert scene.champion.version.tags["dlemm.approved_by"] == updates.POLICY


def test_without_an_automatic_trigger_the_policy_leaves_the_approval_to_a_person(folder: Path) -> None:
    scene = told(folder, 5, "DO5.3.1", acts=[updates])
    assert {str(one.tags["dlemm.approved_by"]) for one in scene.book.versions.values()} == {"reference-approver"}
