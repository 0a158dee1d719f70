"""The trainings that are released, and the simple baseline: what every other act adds its traces to.

At every step the baseline is trained first and then one network for each release of the calendar, each on the labelled
data of its week. What is written here is the bare minimum of any MLflow user: a run with a name, its status and times.
"""

from __future__ import annotations

from dataclasses import replace

from integrations.reference import pictures
from integrations.reference.ladder.acts.quality import let_through
from integrations.reference.ladder.book import Run
from integrations.reference.ladder.calendar import FIRST_RELEASE, release_weeks
from integrations.reference.ladder.scene import Campaign, Scene
from integrations.reference.stories import KEYS

LEADS_WEEKS = (0.75, 0.55, 0.4)
"""Weeks between a training and the release that follows it: slow at first, then quickened once, then twice."""
TURN_H = 6.0
"""Hours by which one project trains after the other, since they share a machine."""
REPEATS = (101, 102, 103, 104, 105, 106)
"""Seeds of the repeated first training."""


def perform(scene: Scene) -> None:
    """Train the baseline and one network a release."""
    story, weeks = scene.story, release_weeks(scene.rungs.step)
    early = FIRST_RELEASE - 1.0
    data = story.training(early)
    let_through(scene, data)
    simple = scene.trained("baseline", story.recipe, data, family=story.families[0])
    scene.baseline = _run(scene, "baseline", "simple baseline", early, simple.cost["duration_s"])
    scene.baseline.tags["dlemm.stage"] = "train"
    scene.shared["fits"] = {"baseline": (simple, story.recipe, data)}
    _repeat(scene)
    turn = KEYS.index(story.key) * TURN_H / 168.0 if story.key in KEYS else 0.0
    for number, week in enumerate(weeks, start=1):
        begin = week - lead_weeks(scene.rungs.step, number) + turn
        training = story.training(begin)
        let_through(scene, training)
        recipe = replace(story.recipe, seed=round(-week))  # of the week, so that every step trains the same one
        name = f"release{week:.0f}from{begin:.2f}"
        fitted = scene.trained(name, recipe, training, augmentation=story.augmentation, family=story.main)
        stage = "retrain" if number > 1 else "train"
        key = f"{stage}-{number}"
        run = _run(scene, key, f"{stage} {number}", begin, fitted.cost["duration_s"])
        run.tags["dlemm.stage"] = stage
        run.metrics({"train/loss": fitted.history[-1]["train_loss"]})
        scene.shared["fits"][key] = (fitted, recipe, training)
        if scene.rungs.step > 1 and week == weeks[-1]:
            curve = scene.picture(pictures.learning_curve, fitted.history, best_epoch=fitted.best_epoch, title=run.name)
            run.artifacts["figures/learning_curve.png"] = curve
        scene.campaigns.append(Campaign(number, week, training, fitted, run, notes={"recipe": recipe}))


def lead_weeks(step: int, number: int) -> float:
    """Weeks from the training of the release of that number to its going live.

    The reference organisation quickens its releases once at step 4, in their second half, and twice at step 5.
    """
    count = len(release_weeks(step))
    quickened = {4: (number - 1) * 2 // count, 5: (number - 1) * 3 // count}
    return LEADS_WEEKS[quickened.get(step, 0)]


def _repeat(scene: Scene) -> None:
    """From step 2 on the first network is trained with other seeds too, so that one lucky seed does not decide."""
    story, week = scene.story, FIRST_RELEASE - 0.8
    for seed in REPEATS if scene.rungs.step > 1 else ():
        recipe = replace(story.recipe, seed=seed)
        data = story.training(week)
        let_through(scene, data)
        fitted = scene.trained(f"repeat{seed}", recipe, data, augmentation=story.augmentation, family=story.main)
        run = _run(scene, f"repeat-{seed}", f"seed {seed}", week + seed / 1000, fitted.cost["duration_s"])
        run.tags["dlemm.stage"] = "train"
        run.metrics({"train/loss": fitted.history[-1]["train_loss"]})
        scene.shared["fits"][run.key] = (fitted, recipe, data)


def _run(scene: Scene, key: str, name: str, week: float, seconds: float) -> Run:
    start = scene.calendar.at(week)
    return scene.book.run(key, name, start_at=start, end_at=start + max(2000, round(seconds * 1000)))
