"""What the watch leaves on record at each step, and what it does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from integrations.reference.ladder.acts import monitoring
from integrations.reference.ladder.scene import Scene
from integrations.reference.ladder.walk import faults_of, found, text_of
from tests.integrations.reference.ladder.small_story import told

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


def _weeks_with(scene: Scene, metric: str) -> set[int]:
    return {
        int(key.removeprefix("monitor"))
        for key, run in scene.book.runs.items()
        if key.startswith("monitor") and any(point.key == metric for point in run.points)
    }


def test_at_the_first_step_answers_are_looked_at_and_no_drift_is_measured(folder: Path) -> None:
    scene = told(folder, 1, acts=[monitoring])
    assert _weeks_with(scene, "outputs/largest_shift") == {-10, -6, -2}
    assert not _weeks_with(scene, "drift/max")


def test_drift_is_measured_every_second_week_before_it_is_in_every_week(folder: Path) -> None:
    assert _weeks_with(told(folder, 2, acts=[monitoring]), "drift/max") == {-11, -9, -7, -5, -3, -1}
    assert _weeks_with(told(folder, 3, acts=[monitoring]), "drift/max") == set(range(-11, 0))
    assert not _weeks_with(told(folder, 2, "DO4.2.1", acts=[monitoring]), "drift/max")


def test_only_the_declared_weeks_are_said_to_have_drifted(folder: Path) -> None:
    scene = told(folder, 3, acts=[monitoring])
    over = {week for week in range(-11, 0) if scene.book.runs[f"monitor{week}"].value("drift/features_over") > 0}
    assert over == set(scene.story.drift_weeks)


def test_live_quality_falls_in_a_declared_week(folder: Path) -> None:
    scene = told(folder, 3, acts=[monitoring])
    live = {week: scene.book.runs[f"monitor{week}"].value("live/primary") for week in range(-11, 0)}
    assert max(live[week] for week in scene.story.drift_weeks) < min(live[-11], live[-1], live[-4])


def test_the_drift_report_gives_every_feature_a_verdict_in_each_of_the_last_weeks(folder: Path) -> None:
    files = told(folder, 3, acts=[monitoring]).book.runs["monitor-1"].artifacts
    assert files["figures/drift.png"].startswith(b"\x89PNG")
    report = json.loads(files["reports/drift.json"])
    assert len(report["rows"]) == 4 * 3  # weeks, features with the confidence
    assert all({"feature", "statistic", "threshold", "verdict"} <= row.keys() for row in report["rows"])


def test_every_alert_rule_has_an_owner(folder: Path) -> None:
    params = told(folder, 2, acts=[monitoring]).book.runs["monitor-1"].params
    rules = {name.split(".")[1] for name in params if name.endswith(".threshold")}
    assert {"drift_across", "feed_missing_share", "feed_changed_dependencies"} <= rules
    assert all(params[f"alert.{rule}.owner"].startswith("reference-") for rule in rules)


def test_thresholds_that_learned_alert_less_often_in_vain(folder: Path) -> None:
    runs = told(folder, 5, acts=[monitoring]).book.runs
    before, after = runs["monitor-12"], runs["monitor-1"]
    assert float(before.params["alert.day_across.threshold"]) <= float(after.params["alert.day_across.threshold"])
    assert after.value("monitor/alert_precision") >= 0.8
    assert after.value("monitor/missed_weeks") == 0


def test_a_decision_follows_its_alert(folder: Path) -> None:
    pages = [run for key, run in told(folder, 4, acts=[monitoring]).book.runs.items() if key.startswith("alert")]
    assert len(pages) >= 3
    assert all(run.tags["dlemm.alert_at"] < run.tags["dlemm.decision_at"] for run in pages)


def test_the_first_weeks_of_every_release_have_live_quality_where_online_is_held_against_offline(folder: Path) -> None:
    assert _weeks_with(told(folder, 4, acts=[monitoring]), "live/primary") == set(range(-23, 0))
    assert _weeks_with(told(folder, 4, "MD4.4.1", acts=[monitoring]), "live/primary") == set(range(-11, 0))


def test_the_documents_are_whole_and_their_evidence_is_there(folder: Path) -> None:
    book = told(folder, 5).book
    for practice in ("DO4.1.1", "DO4.5.1", "DO5.1.1", "DO5.2.2", "DO5.5.1", "DO6.1.1"):
        document = book.documents[practice]
        assert faults_of(text_of(document, "small")) == []
        assert document.evidence
        assert all(found(book, where) for where in document.evidence)
