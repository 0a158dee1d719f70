"""Whether delivery is dated, measured by one definition, and compared on enough releases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from integrations.reference.ladder.acts import delivery
from integrations.reference.ladder.book import Book
from integrations.reference.ladder.rungs import Rungs
from integrations.reference.ladder.scene import Whole
from integrations.reference.ladder.walk import faults_of, text_of, verdicts
from tests.integrations.reference.ladder.small_story import told

pytestmark = pytest.mark.torch
Organisation = Callable[..., Whole]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture
def organisation(folder: Path) -> Organisation:
    def make(step: int, *without: str) -> Whole:
        scenes = {}
        for name in ("one", "two", "three"):
            scenes[name] = told(folder, step, *without, acts=[delivery])
            scenes[name].book.project = name
        rungs = Rungs.to(step, without)
        whole = Whole(rungs, scenes["one"].calendar, Book(""), scenes)
        delivery.perform_once(whole)
        return whole

    return make


def test_the_idea_is_dated_from_the_second_step_on_and_before_the_work(folder: Path) -> None:
    assert "idea_at" not in told(folder, 1, acts=[delivery]).book.record
    record = told(folder, 2, acts=[delivery]).book.record
    assert record["idea_at"] < record["started_at"] < record["data_ready_at"] < record["production_at"]


def test_one_comparison_is_kept_at_the_fourth_step_and_a_second_at_the_fifth(organisation: Organisation) -> None:
    assert not organisation(3).book.comparisons
    assert [row["comparison"] for row in organisation(4).book.comparisons] == ["lead-time-1"]
    rows = organisation(5).book.comparisons
    assert [row["comparison"] for row in rows] == ["lead-time-1", "lead-time-2"]
    assert rows[0]["closed_at"] < rows[1]["closed_at"]


def test_comparisons_rest_on_five_releases_a_side_that_came_faster(organisation: Organisation) -> None:
    for row in organisation(5).book.comparisons:
        assert min(row["n_before"], row["n_after"]) >= 5
        assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"] < 1


def test_a_release_after_a_failed_one_is_rework(folder: Path) -> None:
    scene = told(folder, 2, acts=[delivery])
    assert scene.campaigns[0].version is not None
    assert delivery._change(scene, scene.campaigns[1]) == "update"
    scene.campaigns[0].version.tags["dlemm.outcome"] = "rolled_back"
    assert delivery._change(scene, scene.campaigns[1]) == "rework"


def test_the_backlog_names_practices_of_the_next_level_with_owner_and_date(organisation: Organisation) -> None:
    whole = organisation(3)
    text = text_of(whole.book.documents["DO6.3.2"], "")
    assert "| DO6.4.1 | Improvement judged statistically | reference-operations-owner | 20" in text
    assert "DO6.5.1" not in text


def test_a_practice_that_was_left_out_comes_first_in_the_backlog(organisation: Organisation) -> None:
    text = text_of(organisation(4, "DG2.4.1").book.documents["DO6.3.2"], "")
    assert text.index("| DG2.4.1 | take up what was left out") < text.index("| DG1.5.1 |")


def test_the_papers_of_the_organisation_are_whole_and_walked_through(organisation: Organisation) -> None:
    whole = organisation(5)
    books = {"": whole.book, **{key: scene.book for key, scene in whole.scenes.items()}}
    given = {(one["practice"], one["kind"]) for one in verdicts(books) if "project" not in one}
    assert given == {(practice, kind) for practice in ("DO6.3.1", "DO6.3.2") for kind in ("document", "interview")}
    assert all(faults_of(text_of(document, "")) == [] for document in whole.book.documents.values())
