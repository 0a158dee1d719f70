"""MD6 of the ladder: exactly the step, and one less without a practice of it. What jobs say is given here."""

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

pytest.importorskip("torch")

from integrations.reference.ladder import repository_checks
from integrations.reference.ladder.acts import engineering
from integrations.reference.ladder.book import Book
from integrations.reference.ladder.calendar import Calendar
from integrations.reference.ladder.repository import build
from integrations.reference.ladder.rungs import Rungs
from integrations.reference.ladder.scene import Scene, Whole
from integrations.reference.ladder.workshop import Workshop
from integrations.reference.stories import find_story
from maturity.scorecard import Scorecard
from tests.integrations.reference.ladder.facts import repository_parts, score

pytestmark = pytest.mark.torch

CALENDAR = Calendar(1_790_500_000_000)
SAID = {
    "coverage": "18 passed in 1 s\n",
    "components.smoke": json.dumps({"digits": {"train/loss": 1.5, "eval/accuracy": 0.5}}) + "\n",
    "components.usage": json.dumps({"projects": {"digits": {"loader": 1}}, "not_imported_by_a_project": ["smoke"]}),
}
RESULTS = {
    "results/junit.xml": '<testsuites><testsuite tests="18" failures="0" errors="0"/></testsuites>',
    "results/coverage.xml": '<coverage line-rate="0.71"/>',
}


def told(commands, tree):
    """What a job that passes would have said."""
    files = RESULTS if commands[0][0] == "coverage" else {}
    said = SAID.get(commands[0][0], "")
    return {"seconds": 1.0, "passed": True, "said": said, "coverage": 0.71 if files else None, "files": files}


@cache
def told_and_scored(step: int, without: str = "") -> tuple[Scorecard, Whole]:
    rungs, folder = Rungs.to(step, [without] if without else []), Path(mkdtemp()) / "repository"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repository_checks, "_ran", told)
        commit = build(folder, rungs, CALENDAR, projects=("digits",))
    book = Book("digits", model="reference-digits", record={"started_at": CALENDAR.at(-24.0)})
    work = Workshop(folder.parent / "work", "engineering")
    scene = Scene(find_story("digits"), rungs, CALENDAR, work, book, commit)
    whole = Whole(rungs, CALENDAR, Book(""), {"digits": scene}, folder)
    engineering.perform(scene)
    engineering.perform_once(whole)
    parts = repository_parts(folder, ["digits"], CALENDAR.now)
    return score(rungs, {"": whole.book, "digits": book}, CALENDAR, parts), whole


def level(step: int, without: str = "") -> int | None:
    card, _ = told_and_scored(step, without)
    [found] = [one for one in card.capabilities if one.capability == "MD6"]
    return found.level.rated if found.level else None


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_engineering_gets_exactly_the_step(step):
    assert level(step) == step


@pytest.mark.parametrize("practice", ["MD6.1.1", "MD6.2.1", "MD6.2.2", "MD6.3.1", "MD6.3.2", "MD6.4.1", "MD6.5.1"])
def test_without_one_practice_engineering_is_one_lower(practice):
    step = int(practice[4])
    assert level(step, practice) == step - 1


def test_the_report_of_a_smoke_training_names_its_job_and_run():
    _, whole = told_and_scored(3)
    run = whole.scenes["digits"].book.runs["ci-smoke"]
    values = json.loads(run.artifacts["reports/eval.json"])["values"]
    assert values["ci"]["job"] == "smoke_training"
    assert values["ci"]["run"] == f"{values['ci']['commit'][:12]}-smoke_training"
    assert run.value("smoke/eval_accuracy") == 0.5


def test_a_job_that_nobody_ran_leaves_no_row():
    assert told_and_scored(3)[1].book.ci_runs == []
    rows = told_and_scored(4)[1].book.ci_runs
    assert {row["job"] for row in rows} == {"tests", "smoke_training", "secrets_scan"}
    assert len({row["ci_run"] for row in rows}) == len(rows)
