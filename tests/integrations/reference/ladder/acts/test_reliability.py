from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.torch
pytest.importorskip("torch")

from integrations.reference.ladder import walk  # noqa: E402
from integrations.reference.ladder.acts import campaigns, reliability  # noqa: E402
from integrations.reference.ladder.book import Book  # noqa: E402
from integrations.reference.ladder.calendar import Calendar  # noqa: E402
from integrations.reference.ladder.rungs import Rungs  # noqa: E402
from integrations.reference.ladder.scene import Scene  # noqa: E402
from integrations.reference.ladder.weeks import in_service, weekly, weeks_in_service  # noqa: E402
from integrations.reference.ladder.workshop import Workshop  # noqa: E402
from tests.integrations.reference.ladder.small_story import NOW, Small  # noqa: E402


def _scene(folder: Path, step: int, *without: str) -> Scene:
    rungs = Rungs.to(step, without)
    scene = Scene(Small(), rungs, Calendar(NOW), Workshop(folder, "reliability"), Book("small", "reference-small"))
    campaigns.perform(scene)
    for campaign in scene.campaigns:
        campaign.version = scene.book.version(campaign.key, campaign.run.key)
    return scene


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def told(folder: Path) -> Scene:
    """Everything up to step 3 but the load test, which takes seconds and is tried by ``test_service``."""
    scene = _scene(folder, 3, "DO3.3.1")
    reliability.perform(scene)
    return scene


def test_every_week_was_answered_by_the_version_in_service(told: Scene) -> None:
    seen = told.shared["service"]["weeks"]

    assert list(seen) == list(weeks_in_service(told)) == list(range(-23, 0))
    for week, found in seen.items():
        rows = len(told.story.stream(week))
        assert found["version"] == in_service(told, week).key
        assert found["probabilities"].shape == (rows, 2)
        assert found["predictions_logged"] == rows
        assert (found["ops/error_rate"], found["ops/availability"]) == (0.0, 1.0)


def test_what_was_served_is_what_the_network_says(told: Scene) -> None:
    week = -5
    campaign = in_service(told, week)
    logits = told.logits(campaign.fitted, told.story.stream(week)).astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    assert np.allclose(told.shared["service"]["weeks"][week]["probabilities"].numpy(), shares, atol=1e-4)


def test_the_watch_of_a_week_is_one_run_of_the_version_in_service(told: Scene) -> None:
    run = weekly(told, -3)

    assert weekly(told, -3) is run
    assert run.tags["dlemm.model_version"].key == told.champion.key
    assert told.calendar.at(-3) <= run.start_at < told.calendar.at(-2)
    assert run.value("ops/latency_p95_ms") > 0


def test_nothing_is_in_service_before_the_first_release(told: Scene) -> None:
    with pytest.raises(ValueError, match="nothing was in service"):
        in_service(told, -24)


def test_the_rollback_was_measured_in_both_directions(told: Scene) -> None:
    run = told.book.runs["rollback-drill"]

    assert 0 < run.value("drill/rollback_minutes") < 1
    assert 0 < run.value("drill/forward_minutes") < 1


def test_an_incident_names_a_version_and_ends_after_it_began(told: Scene) -> None:
    rows = {row["incident"]: row for row in told.book.incidents}

    assert {"small-wrong-weights", "small-stale-version"} <= rows.keys()
    assert {f"small-drift{week}" for week in told.story.drift_weeks} <= rows.keys()
    for row in rows.values():
        assert row["version"].key in told.book.versions
        if row["restored_at"] is not None:
            assert row["opened_at"] < row["restored_at"] < row["closed_at"]
    assert told.book.runs["incident-wrong-weights"].value("incident/quality_drop") > 0.2


def test_every_document_can_be_read_and_its_traces_are_there(told: Scene) -> None:
    assert told.book.documents.keys() == {"DO3.1.1", "DO3.2.2", "DO3.3.2"}
    for document in told.book.documents.values():
        assert walk.faults_of(walk.text_of(document, "small")) == []
        assert [where for where in document.evidence if not walk.found(told.book, where)] == []


def test_what_is_switched_off_leaves_no_trace(folder: Path) -> None:
    scene = _scene(folder, 3, "DO3.2.1", "DO3.2.2", "DO3.3.1", "DO3.3.2")
    reliability.perform(scene)

    assert scene.book.incidents == []
    assert not any(point.key.startswith(("ops/", "drill/")) for run in scene.book.runs.values() for point in run.points)
    assert not any(key.startswith("dlemm.slo") for version in scene.book.versions.values() for key in version.tags)
