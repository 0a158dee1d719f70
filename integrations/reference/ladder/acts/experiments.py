"""MD1: experiments are tracked, pinned, named by one standard, and can be repeated."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache
from importlib.metadata import distributions

from integrations.reference.engine import Fitted, Recipe, fit
from integrations.reference.errors import PipelineError
from integrations.reference.ladder.book import Point, Ref, Run
from integrations.reference.ladder.scene import TRAINER, Campaign, Scene
from integrations.reference.stories.base import Data

REPRODUCED = 5
"""Released models that are trained again each quarter: the newest ones, all where there are fewer."""
TOLERANCE = 0.01
"""Relative difference of the primary metric within which a model counts as reproduced."""
ABSURD_RATES = (1e6, 1e7, 1e8)
"""Learning rates at the far end of a search, where the loss leaves the numbers."""
_DAY = 86_400_000  # ms
WITH_CASE_DAYS, FROM_SCRATCH_DAYS = 4.0, 10.25
"""Days of the virtual calendar from the start of a project to its first baseline; the first release follows after."""
_FIRST_WORDS = ("amusing", "bold", "calm", "dapper", "eager", "gentle", "lively", "quiet")
_SECOND_WORDS = ("crane", "finch", "heron", "lark", "owl", "robin", "stork", "wren")


def perform(scene: Scene) -> None:
    """Decorate every training run, keep what failed, repeat what was released."""
    scene.book.common["mlflow.user"] = TRAINER
    if "DO6.2.2" in scene.rungs:
        scene.book.common["dlemm.project"] = scene.story.key
    if "MD1.2.2" in scene.rungs and scene.commit:
        scene.book.common |= {"mlflow.source.git.commit": scene.commit, "mlflow.source.git.dirty": "false"}
    for run in scene.book.runs.values():
        run.tags = {**scene.book.common, **run.tags}
    for run in scene.trainings():
        fitted, recipe, _ = scene.shared["fits"][run.key]
        if "MD1.2.1" in scene.rungs:
            _track(run, recipe, fitted)
        if "MD1.3.1" in scene.rungs:
            run.param(seed=recipe.seed)
            run.artifacts["requirements.txt"] = requirements()
    if scene.rungs.step > 1:
        _diverged_runs(scene)
    if "MD1.4.1" in scene.rungs:
        for campaign in scene.campaigns[-REPRODUCED:]:
            _reproduce(scene, campaign)
    _documents(scene)


def perform_late(scene: Scene) -> None:
    """What needs every run: names by the standard, and the date of the first baseline."""
    for run in scene.book.runs.values():
        if "MD1.3.2" in scene.rungs:
            stage = run.tags.get("dlemm.stage", "other")
            run.name = f"{scene.story.key}/{stage}/{run.name}"
        else:
            run.name = _drawn_name(scene.story.key, run.key)
    if "MD1.2.1" not in scene.rungs:
        for campaign in scene.campaigns:
            campaign.run.params.clear()  # nobody logs them by default, so the released runs have none
    _date_baseline(scene)


@cache
def requirements() -> bytes:
    """Every installed distribution with its exact version, one a line."""
    names = {(found.metadata["Name"] or "").lower(): found.version for found in distributions()}
    return "".join(f"{name}=={version}\n" for name, version in sorted(names.items()) if name).encode()


def _track(run: Run, recipe: Recipe, fitted: Fitted) -> None:
    """Parameters, the curve of the losses, and the best epoch; the seed has a practice of its own."""
    run.params |= {key: value for key, value in recipe.params().items() if key != "seed"}
    run.points = [point for point in run.points if point.key != "train/loss"]
    epochs = len(fitted.history)
    for number, row in enumerate(fitted.history, start=1):
        at = run.start_at + (run.end_at - run.start_at) * number // epochs
        run.points.append(Point("train/loss", row["train_loss"], at, number))
        run.points.append(Point("train/validation_loss", row["validation_loss"], at, number))
    run.metric("train/best_epoch", fitted.best_epoch)


def _diverged_runs(scene: Scene) -> None:
    """Three trainings that fail, as they do at the far end of a search for the learning rate."""
    for number, rate in enumerate(ABSURD_RATES):
        recipe = replace(scene.story.recipe, learning_rate=rate, epochs=2)
        data = scene.campaigns[0].training
        reason = scene.work.once(f"diverge/{rate:g}", lambda recipe=recipe, data=data: _failure(scene, recipe, data))
        start = scene.campaigns[-1].run.start_at - (number + 1) * _DAY // 8
        run = scene.book.run(
            f"diverged-{number + 1}",
            f"learning rate {rate:g}",
            start_at=start,
            end_at=start + 2000,
            status="FAILED",
            tags={"dlemm.stage": "trial"},
        )
        run.param(learning_rate=rate)
        if "MD1.3.2" in scene.rungs:
            run.tags["dlemm.failure_reason"] = reason


def _failure(scene: Scene, recipe: Recipe, data: Data) -> str:
    """Why the training failed, in the words of the loop; raises ``RuntimeError`` should it not fail."""
    validation = scene.validation
    try:
        fit(recipe, scene.story.build, data.x, data.y, validation.x, validation.y)
    except PipelineError as error:
        return str(error)
    raise RuntimeError(f"a learning rate of {recipe.learning_rate:g} did not make the training fail")


def _reproduce(scene: Scene, campaign: Campaign) -> None:
    """Train a released model again from its recorded recipe and data; compare the primary metric."""
    _, recipe, training = scene.shared["fits"][campaign.key]
    name = f"again/{campaign.week:.2f}-{training.digest}-{recipe.seed}"
    fitted = scene.trained(name, recipe, training, augmentation=scene.story.augmentation, family=scene.story.main)
    start = scene.calendar.at(-7.0, hours=campaign.number)
    run = scene.book.run(
        f"reproduce-{campaign.key}",
        f"{campaign.run.name} again",
        start_at=start,
        end_at=start + max(2000, round(fitted.cost["duration_s"] * 1000)),
        tags={
            "dlemm.stage": "reproduce",
            "dlemm.reproduces": Ref("run", campaign.key),
            "dlemm.repro.tolerance": str(TOLERANCE),
            "dlemm.primary_metric": scene.story.primary,
        },
    )
    run.params |= recipe.params()
    run.inputs += [scene.use(training, "training"), scene.use(scene.test, "test")]
    run.metric(scene.story.primary, scene.score(fitted, scene.test))


def _date_baseline(scene: Scene) -> None:
    """A project that starts from a library case has its first baseline within days; one from scratch takes weeks."""
    started, baseline = scene.book.record.get("started_at"), scene.baseline
    if started is None or baseline is None:
        return
    if "MD1.5.1" in scene.rungs:
        baseline.tags["dlemm.library_case"] = "first-baseline"
        days = WITH_CASE_DAYS
    else:
        days = FROM_SCRATCH_DAYS
    moved = started + round(days * _DAY) - baseline.start_at
    for run in scene.book.runs.values():
        if run.tags.get("dlemm.role") == "baseline":
            _move(run, moved)


def _move(run: Run, by: int) -> None:
    """Date a run and all it logged anew, by so many milliseconds."""
    run.start_at, run.end_at = run.start_at + by, run.end_at + by
    run.points = [replace(point, at=point.at + by) for point in run.points]


def _drawn_name(project: str, key: str) -> str:
    """A name such as MLflow draws for a run that nobody named."""
    mark = int(hashlib.sha256(f"{project}/{key}".encode()).hexdigest(), 16)
    first, second = _FIRST_WORDS[mark % 8], _SECOND_WORDS[mark // 8 % 8]
    return f"{first}-{second}-{mark // 64 % 1000}"


def _documents(scene: Scene) -> None:
    champion, recipe = scene.champion, scene.champion.notes["recipe"]
    if "MD1.1.1" in scene.rungs:
        fitted = champion.fitted
        facts = {
            "title": scene.story.title,
            "run": champion.key,
            "rows": len(champion.training),
            "digest": champion.training.digest,
            "settings": ", ".join(f"{key} {value}" for key, value in recipe.params().items()),
            "epochs": len(fitted.history),
            "best_epoch": fitted.best_epoch,
            "train_loss": fitted.history[-1]["train_loss"],
            "validation_loss": fitted.history[fitted.best_epoch - 1]["validation_loss"],
            "primary": scene.story.primary,
            "score": scene.score(fitted, scene.validation),
        }
        evidence = (f"{champion.key}#train/loss", "baseline")
        scene.book.document("MD1.1.1", dated=scene.calendar.at(-10), facts=facts, evidence=evidence)
    if "MD1.3.2" in scene.rungs:
        facts = {
            "title": scene.story.title,
            "tolerance": TOLERANCE,
            "failed": len(ABSURD_RATES),
            "reason": scene.book.runs["diverged-1"].tags["dlemm.failure_reason"],
        }
        evidence = ("diverged-1#dlemm.failure_reason", "diverged-2#dlemm.failure_reason", f"{champion.key}#dlemm.stage")
        scene.book.document("MD1.3.2", dated=scene.calendar.at(-10), facts=facts, evidence=evidence)
