from pathlib import Path

import pytest

pytestmark = pytest.mark.torch
pytest.importorskip("torch")

from integrations.reference import export  # noqa: E402
from integrations.reference.ladder.acts import campaigns, packaging, release  # noqa: E402
from integrations.reference.ladder.book import Book, Ref  # noqa: E402
from integrations.reference.ladder.calendar import Calendar  # noqa: E402
from integrations.reference.ladder.rungs import Rungs  # noqa: E402
from integrations.reference.ladder.scene import APPROVER, TRAINER, Scene, Whole  # noqa: E402
from integrations.reference.ladder.workshop import Workshop  # noqa: E402
from tests.integrations.reference.ladder.small_story import NOW, Small  # noqa: E402

SLOW = ("DO2.1.1", "DO2.2.2", "DO2.3.1", "DO2.3.2", "DO2.4.1", "DO2.5.1")
"""Practices of packaging that convert or start processes; ``test_export`` and ``test_compress`` try those."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


def _told(folder: Path, step: int, *without: str) -> Scene:
    rungs = Rungs.to(step, [one for one in (*SLOW, *without) if int(one.split(".")[1]) <= step])
    scene = Scene(Small(), rungs, Calendar(NOW), Workshop(folder, "release"), Book("small", "reference-small"))
    campaigns.perform(scene)
    packaging.perform(scene)
    release.perform(scene)
    return scene


def test_at_step_1_one_version_is_live_without_an_alias_or_an_approval(folder: Path) -> None:
    (version,) = _told(folder, 1).book.versions.values()

    assert "dlemm.deployed_at" in version.tags
    assert (version.run, version.aliases, "dlemm.approved_by" in version.tags) == ("train-1", (), False)


def test_only_the_newest_version_is_live_and_carries_the_alias(folder: Path) -> None:
    versions = list(_told(folder, 2).book.versions.values())

    assert [version.aliases for version in versions] == [(), (), ("champion",)]
    assert ["dlemm.retired_at" in version.tags for version in versions] == [True, True, False]
    retired, deployed = versions[0].tags["dlemm.retired_at"], versions[1].tags["dlemm.deployed_at"]
    assert retired == deployed


def test_the_approver_looks_again_and_is_not_the_trainer(folder: Path) -> None:
    scene = _told(folder, 2)

    for campaign in scene.campaigns:
        look = scene.book.runs[f"approve-{campaign.number}"]
        assert look.value("approval/found") == pytest.approx(look.value("approval/claimed"))
        assert campaign.version is not None
        assert campaign.version.tags["dlemm.approved_by"] == APPROVER
        assert campaign.run.tags["mlflow.user"] == TRAINER


def test_a_package_that_is_not_what_was_trained_is_not_approved(folder: Path) -> None:
    scene = _told(folder, 2, "DO1.2.2")
    campaign, other = scene.champion, scene.campaigns[0]
    assert campaign.version is not None
    assert campaign.run.package is not None
    assert other.run.package is not None
    right = campaign.run.package.files[export.PROGRAM]
    campaign.run.package.files[export.PROGRAM] = export.to_program(
        scene.story.build(family=scene.story.families[0]), scene.test.x
    )
    scene.work = Workshop(folder, "tampered")

    release._approve(scene, campaign, campaign.version)

    assert scene.book.runs[f"approve-{campaign.number}"].tags["dlemm.approval"] == "refused"
    assert "dlemm.approved_by" not in campaign.version.tags
    with pytest.raises(release.ReleaseStoppedError, match="package unchanged"):
        release._release_by_pipeline(scene, campaign, campaign.version)
    campaign.run.package.files[export.PROGRAM] = right


def test_an_update_is_tested_against_the_version_before_it(folder: Path) -> None:
    scene = _told(folder, 3)

    against = [scene.book.runs[f"rollout-{campaign.number}"].params["against"] for campaign in scene.campaigns]
    assert against == ["baseline", *(campaign.key for campaign in scene.campaigns[:-1])]
    for version in scene.book.versions.values():
        assert version.tags["dlemm.rollout"] == "shadow"
        assert isinstance(version.tags["dlemm.release.pipeline"], Ref)


def test_without_signature_the_package_is_kept_and_says_less(folder: Path) -> None:
    full, bare = _told(folder, 2).champion.run.package, _told(folder, 2, "DO2.2.1").champion.run.package

    assert full is not None
    assert bare is not None
    assert (full.has_signature, full.has_example, full.pinned) == (True, True, True)
    assert (bare.has_signature, bare.has_example, bare.pinned) == (False, False, False)
    assert bare.files[export.PROGRAM] == full.files[export.PROGRAM]


def test_every_kept_training_of_a_network_has_a_package_from_step_2_on(folder: Path) -> None:
    assert sum(run.package is not None for run in _told(folder, 1).trainings()) == 1
    assert all(run.package is not None for run in _told(folder, 2).trainings())


def test_the_policy_and_the_inventory_stand_on_every_version(folder: Path) -> None:
    scene = _told(folder, 5)
    whole = Whole(scene.rungs, scene.calendar, Book(""), {"small": scene})
    release.perform_once(whole)

    for version in scene.book.versions.values():
        assert version.tags["dlemm.decision.policy"].startswith("lifecycle/")
        assert version.tags["dlemm.decision.evidence"].key in scene.book.runs
        assert {"dlemm.owner", "dlemm.risk_tier", "dlemm.outcome"} <= version.tags.keys()
    assert whole.book.documents["DO1.4.1"].facts["releases"] == 7
    assert whole.book.documents["DO1.5.1"].facts["retirements"] == 6
