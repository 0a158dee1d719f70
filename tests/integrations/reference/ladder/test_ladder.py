"""The ladder whole: climbed to a step it scores exactly that step by the ordinary road, and every practice that is left
out costs its capability, and no other, one level.

The highest step is climbed first, by the command that a user types; the other steps and the broken rungs take the work
that is kept in its folder, so that a practice can be tried in seconds.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mlflow")

from integrations.reference.ladder import repository, repository_checks  # noqa: E402 -- needs torch
from integrations.reference.ladder.book import Book  # noqa: E402
from integrations.reference.ladder.calendar import Calendar  # noqa: E402
from integrations.reference.ladder.climb import workshop  # noqa: E402
from integrations.reference.ladder.rungs import STEPS, Rungs, level_of  # noqa: E402
from integrations.reference.ladder.tell import tell_organisation, tell_project  # noqa: E402
from integrations.reference.stories import KEYS, kept  # noqa: E402
from maturity import pack  # noqa: E402
from maturity.facts import Part  # noqa: E402
from maturity.schema import load_model  # noqa: E402
from maturity.signals import SignalKind, signals  # noqa: E402
from tests.integrations.reference.ladder.facts import inputs_of, repository_parts  # noqa: E402
from tests.integrations.reference.ladder.test_engineering import told as passing_job  # noqa: E402
from tests.project.tree import ROOT  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.server]

PRACTICES = load_model().practices
OVERALL = re.compile(r"^Level (\d) \(DG (\d), MD (\d), DO (\d)\)", re.MULTILINE)
CAPABILITY = re.compile(r"^  ((?:DG|MD|DO)\d) [^:]*: (\d) ", re.MULTILINE)
SUNDAY_NIGHT = round(datetime(2026, 11, 29, 23, tzinfo=UTC).timestamp() * 1000)
"""The end of a week, when the virtual calendar reaches back farthest."""
LONGEST_S = 1800
CLIMBED = (5, 3, 1)
"""Steps that are climbed for good; the others are told from the same work."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ladder")


def climbed(home: Path, step: int) -> str:
    """What the command prints; its server, its site's data and its work lie in the folder."""
    return printed(home, "ladder", str(step))


def printed(home: Path, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**environment, "DLEMM_DATA": str(home)},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("step", CLIMBED)
def test_climbed_to_a_step_the_ladder_is_assessed_at_exactly_that_level(home: Path, step: int) -> None:
    said = climbed(home, step)
    assert overall(said) == [step] * 4, said[-3000:]
    capabilities = {name: int(level) for name, level in CAPABILITY.findall(said)}
    assert capabilities == dict.fromkeys(load_model().capabilities, step), said[-3000:]


def overall(said: str) -> list[int]:
    """The level, then those of the three dimensions."""
    return [int(level) for level in next(iter(OVERALL.findall(said)), ())]


def test_the_demonstration_goes_on_with_the_step_that_was_climbed_last(home: Path) -> None:
    climbed(home, CLIMBED[-1])
    assert overall(printed(home, "demo", "--no-serve")) == [CLIMBED[-1]] * 4


# Broken rungs: told from the work that is kept. What the jobs of the repository say is given here, because it does not
# depend on the practice, and running them again for every one takes minutes.


@dataclass
class Rig:
    """Tells any rungs from the work of a climbed ladder, with one repository for all that it does not distinguish."""

    work: Path
    folder: Path
    calendar: Calendar = field(default_factory=lambda: Calendar(SUNDAY_NIGHT))
    built: dict[tuple[object, ...], tuple[Path, str, tuple[Part, ...]]] = field(default_factory=dict)
    whole: dict[tuple[int, tuple[str, ...]], dict[str, int]] = field(default_factory=dict)

    def inputs(self, rungs: Rungs, stories: tuple[str, ...]) -> pack.Inputs:
        place, commit, parts = self._repository(rungs, stories)
        scenes = {
            key: tell_project(key, rungs, self.calendar, workshop(self.work, key), commit=commit) for key in stories
        }
        organisation = tell_organisation(rungs, self.calendar, scenes, repository=place)
        books: dict[str, Book] = {"": organisation.book, **{key: scene.book for key, scene in scenes.items()}}
        return inputs_of(rungs, books, self.calendar, parts)

    def levels(self, rungs: Rungs, stories: tuple[str, ...]) -> dict[str, int]:
        card = pack.compute(self.inputs(rungs, stories))
        return {one.capability: one.level.rated for one in card.capabilities if one.level}

    def unbroken(self, step: int, stories: tuple[str, ...]) -> dict[str, int]:
        if (step, stories) not in self.whole:
            self.whole[step, stories] = self.levels(Rungs.to(step), stories)
        return self.whole[step, stories]

    def _repository(self, rungs: Rungs, stories: tuple[str, ...]) -> tuple[Path, str, tuple[Part, ...]]:
        asked = (rungs.step > 1, stories, *(one for one in sorted(repository.practices()) if one in rungs))
        if asked not in self.built:
            place = self.folder / f"repository-{len(self.built)}"
            commit = repository.build(place, rungs, self.calendar, projects=stories, kept=self.folder / "kept")
            self.built[asked] = place, commit, repository_parts(place, stories, self.calendar.now)
        return self.built[asked]


@pytest.fixture(scope="module")
def rig(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    work, before = home / "ladder" / "demo", torch.get_num_threads()
    if not (work / "work").exists():
        climbed(home, STEPS[-1])
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repository_checks, "_ran", passing_job)
        patch.setattr(kept, "folder", None)
        yield Rig(work, tmp_path_factory.mktemp("rig"))
    torch.set_num_threads(before)


def needed(practice: str) -> tuple[str, ...]:
    """The projects that show a practice: explanations concern the model of high impact, and delivery is compared over
    all projects; one project is enough for the rest."""
    if practice.startswith("DO6"):
        return KEYS
    return ("nodules",) if practice.startswith("MD5") else ("digits",)


@pytest.mark.parametrize("step", STEPS)
def test_told_to_a_step_all_projects_together_score_exactly_that_level(rig: Rig, step: int) -> None:
    assert rig.unbroken(step, KEYS) == dict.fromkeys(load_model().capabilities, step)


@pytest.mark.parametrize("practice", sorted(PRACTICES))
def test_without_one_practice_its_capability_and_no_other_loses_the_level(rig: Rig, practice: str) -> None:
    step, stories, capability = level_of(practice), needed(practice), PRACTICES[practice].capability
    before = rig.unbroken(step, stories)
    assert before[capability] == step
    after = rig.levels(Rungs.to(step, [practice]), stories)
    moved = {key: after.get(key) for key in before.keys() | after.keys() if after.get(key) != before.get(key)}
    assert moved == {capability: step - 1}


def test_no_run_of_the_ladder_is_a_copy_of_another_and_no_clock_is_wrong(rig: Rig) -> None:
    inputs = rig.inputs(Rungs.to(STEPS[-1]), KEYS)
    noticed = {one.kind: one.ids for one in signals(inputs.model, inputs.facts, inputs.parameters.as_of)}
    suspicious = {
        SignalKind.COPIED_RUNS,
        SignalKind.REPEATED_RUNS,
        SignalKind.STARTS_IN_FUTURE,
        SignalKind.ENDS_BEFORE_START,
    }
    assert {kind: ids for kind, ids in noticed.items() if kind in suspicious} == {}
