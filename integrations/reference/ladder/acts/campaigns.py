"""The trainings that are released, and the simple baseline: what every other act adds its traces to.

At every step the baseline is trained first and then one network for each release of the calendar, each on the labelled
data of its week. What is written here is the bare minimum of any MLflow user: a run with a name, its status and times.
"""

from __future__ import annotations

from dataclasses import replace

from integrations.reference.ladder.book import Run
from integrations.reference.ladder.calendar import FIRST_RELEASE, release_weeks
from integrations.reference.ladder.scene import Campaign, Scene

LEAD_WEEKS = 0.4
"""Weeks between a training and the release that follows it."""
REPEATS = (101, 102)
"""Seeds of the repeated first training."""


def perform(scene: Scene) -> None:
    """Train the baseline and one network a release."""
    story, weeks = scene.story, release_weeks(scene.rungs.step)
    early = FIRST_RELEASE - 1.0
    data = story.training(early)
    simple = scene.trained("baseline", story.recipe, data, family=story.families[0])
    scene.baseline = _run(scene, "baseline", "simple baseline", early, simple.cost["duration_s"])
    scene.baseline.tags["dlemm.stage"] = "train"
    scene.shared["fits"] = {"baseline": (simple, story.recipe, data)}
    _repeat(scene)
    for number, week in enumerate(weeks, start=1):
        training = story.training(week - LEAD_WEEKS)
        recipe = replace(story.recipe, seed=number)
        fitted = scene.trained(
            f"release{week:.2f}", recipe, training, augmentation=story.augmentation, family=story.main
        )
        stage = "retrain" if number > 1 else "train"
        key = f"{stage}-{number}"
        run = _run(scene, key, f"{stage} {number}", week - LEAD_WEEKS, fitted.cost["duration_s"])
        run.tags["dlemm.stage"] = stage
        run.metrics({"train/loss": fitted.history[-1]["train_loss"]})
        scene.shared["fits"][key] = (fitted, recipe, training)
        scene.campaigns.append(Campaign(number, week, training, fitted, run, notes={"recipe": recipe}))


def _repeat(scene: Scene) -> None:
    """From step 2 on the first network is trained with other seeds too, so that one lucky seed does not decide."""
    story, week = scene.story, FIRST_RELEASE - 0.8
    for seed in REPEATS if scene.rungs.step > 1 else ():
        recipe = replace(story.recipe, seed=seed)
        data = story.training(week)
        fitted = scene.trained(f"repeat{seed}", recipe, data, augmentation=story.augmentation, family=story.main)
        run = _run(scene, f"repeat-{seed}", f"seed {seed}", week + seed / 1000, fitted.cost["duration_s"])
        run.tags["dlemm.stage"] = "train"
        run.metrics({"train/loss": fitted.history[-1]["train_loss"]})
        scene.shared["fits"][run.key] = (fitted, recipe, data)


def _run(scene: Scene, key: str, name: str, week: float, seconds: float) -> Run:
    start = scene.calendar.at(week)
    return scene.book.run(key, name, start_at=start, end_at=start + max(2000, round(seconds * 1000)))
