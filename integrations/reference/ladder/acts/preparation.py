"""DG4 of the model: raw rows become training rows by code, the same code for training and serving, and augmentations
are chosen by what they gain and what they cost.

Every figure is measured: the transform is run twice and compared, the study trains each method, and the search at the
top starts by itself when the data have changed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from integrations.reference import pictures
from integrations.reference.engine import Recipe
from integrations.reference.ladder.acts.sourcing import data_of
from integrations.reference.ladder.book import Run
from integrations.reference.ladder.duels import paired
from integrations.reference.ladder.scene import APPROVER, Scene
from integrations.reference.stories.base import Data, Rows
from integrations.reference.studies import effect

GOLDEN = 32
"""Raw rows of the golden sample."""
LOADER = "1.0"
"""Version of the loaders; a change of their contract is a new one."""
STUDY_ROWS, STUDY_EPOCHS = 160, 8
METHODS, REPEATS = 6, (1, 2, 3)
"""Methods that are compared at least, and seeds of each."""
MOST_TIME_PCT = 50.0
"""Training time that a method may add, in per cent, by the written rule."""
_NONE = "none"


@dataclass(frozen=True)
class Trial:
    """One training of the study: a method under one seed, and its score and seconds an epoch."""

    method: str
    seed: int
    score: float
    epoch_s: float


def perform(scene: Scene) -> None:
    """Do what the practices of DG4 ask."""
    run = scene.champion.run
    if "DG4.1.1" in scene.rungs:
        run.tags["dlemm.prepare.output"] = digest_of(scene.story.prepare(scene.story.raw(GOLDEN)))
    if "DG4.2.1" in scene.rungs:
        run.report("parity", {"transform": _parity(scene)})
    if "DG4.3.1" in scene.rungs:
        rerun = {"first": _prepared(scene), "second": _prepared(scene)}
        run.report("data_quality", {"rerun": rerun})
    _manifest(scene)
    _augmentations(scene)
    if "DG4.5.1" in scene.rungs:
        _search(scene)


def digest_of(rows: Rows) -> str:
    """Digest of shape and content of rows."""
    content = hashlib.sha256(repr((rows.shape, str(rows.dtype))).encode())
    content.update(np.ascontiguousarray(rows).tobytes())
    return content.hexdigest()


def _parity(scene: Scene) -> dict[str, float]:
    """The golden sample as the evaluation has it against the same rows prepared from raw, as the service does."""
    offline, online = scene.test.x[:GOLDEN], scene.story.prepare(scene.story.raw(GOLDEN))
    return {"samples": len(online), "max_abs_diff": float(np.abs(offline - online).max())}


def _prepared(scene: Scene) -> dict[str, str]:
    """One pass of the preparation from raw rows: digest of what went in and of what came out."""
    raw = scene.story.raw(GOLDEN).copy()
    return {"input_digest": digest_of(raw), "output_digest": digest_of(scene.story.prepare(raw))}


def _manifest(scene: Scene) -> None:
    """Rows of ``data_manifest``: the snapshots with what their loader promises of them."""
    rows: list[dict[str, Any]] = scene.shared.get("manifest", [])
    if "DG4.3.2" in scene.rungs:
        story = scene.story
        promised = {"source": story.source, "modality": story.modality, "unit": story.unit, "loader_version": LOADER}
        rows = [{**row, **promised} for row in rows or [{"dataset": scene.champion.training.name}]]
        _loader(scene)
    if rows:
        scene.champion.run.report("data_manifest", rows=rows)


def _loader(scene: Scene) -> None:
    run, data = scene.champion.run, scene.champion.training
    for training in scene.trainings():
        training.tags["dlemm.data.loader"] = LOADER
    facts = {
        "version": LOADER,
        "modality": scene.story.modality,
        "unit": scene.story.unit,
        "shape": str(tuple(data.x.shape[1:])),
        "dtype": str(data.x.dtype),
        "low": float(data.x.min()),
        "high": float(data.x.max()),
        "classes": scene.story.classes,
        "schema": data.schema,
    }
    evidence = (f"{run.key}#dlemm.data.loader", f"{run.key}#reports/data_manifest.json")
    scene.book.document("DG4.3.2", dated=run.start_at, facts=facts, evidence=evidence)


# Augmentations.


def _augmentations(scene: Scene) -> None:
    """The study of augmentations: small from level 2 on, six methods under three seeds from level 4 on."""
    if scene.story.augmentation == _NONE:
        for practice in ("DG4.2.2", "DG4.4.1"):
            if practice in scene.rungs:
                scene.book.waive(
                    practice, "No augmentation is in use: every column is a measured fact about one payment."
                )
        return
    if "DG4.2.2" in scene.rungs:
        for run in scene.trainings():
            run.param(augmentation=_NONE if run is scene.baseline else scene.story.augmentation)
        _study(scene, _trials(scene, [scene.story.augmentation], REPEATS[:2]), "augmentation", -11.9)
    if "DG4.4.1" in scene.rungs:
        others = [name for name in scene.story.augmentations if name != scene.story.augmentation]
        trials = _trials(scene, [scene.story.augmentation, *others[: METHODS - 1]], REPEATS)
        _study(scene, trials, "augmentation-choice", -9.0)
        _choice(scene, trials)


def _trials(scene: Scene, methods: list[str], seeds: tuple[int, ...]) -> list[Trial]:
    """Each method and none, under each seed, on the same few rows with the same number of epochs."""
    data, found = _study_data(scene), []
    for seed in seeds:
        epochs = min(STUDY_EPOCHS, scene.story.recipe.epochs)
        recipe = replace(scene.story.recipe, seed=seed, epochs=epochs, patience=epochs)
        for method in (_NONE, *methods):
            score, seconds = _trained(scene, f"augment/{method}-{seed}", recipe, data, method)
            found.append(Trial(method, seed, score, seconds))
    return found


def _study_data(scene: Scene) -> Data:
    data = scene.story.training(-24.0)
    return data.take(np.arange(min(STUDY_ROWS, len(data))))


def _trained(scene: Scene, name: str, recipe: Recipe, data: Data, method: str) -> tuple[float, float]:
    """Validation score and the least seconds an epoch took, by one training."""
    fitted = scene.trained(name, recipe, data, augmentation=method, family=scene.story.main)
    return scene.score(fitted, scene.validation), min(row["step_s"] for row in fitted.history)


def _study(scene: Scene, trials: list[Trial], key: str, week: float) -> None:
    """The study as a parent run with one child a training; gains and costs against none under the same seed."""
    start, step = scene.calendar.at(week), 60_000
    parent = scene.book.run(key, "study of augmentations", start_at=start, end_at=start + step * (len(trials) + 1))
    parent.tags["dlemm.stage"] = "augmentation"
    parent.param(rows=STUDY_ROWS, epochs=STUDY_EPOCHS, trials=len(trials))
    parent.inputs += [scene.use(_study_data(scene), "training"), scene.use(scene.validation, "validation")]
    without = {trial.seed: trial for trial in trials if trial.method == _NONE}
    for number, trial in enumerate(trials):
        begin = start + step * number
        child = scene.book.run(
            f"{key}-{trial.method}-{trial.seed}",
            f"{trial.method}, seed {trial.seed}",
            start_at=begin,
            end_at=begin + step,
            parent=key,
        )
        child.tags["dlemm.stage"] = "trial"
        child.param(augmentation=trial.method, seed=trial.seed, budget=STUDY_EPOCHS)
        child.metrics({scene.story.primary: trial.score, "train/epoch_s": trial.epoch_s})
        if trial.method != _NONE:
            child.metrics(_against(trial, without[trial.seed]))


def _against(trial: Trial, none: Trial) -> dict[str, float]:
    """Gain of the primary metric and of the training time, in per cent of what they are without augmentation."""
    return {
        "aug/accuracy_delta_pct": 100 * (trial.score / max(none.score, 1e-9) - 1),
        "aug/train_time_delta_pct": 100 * (trial.epoch_s / max(none.epoch_s, 1e-9) - 1),
    }


def _choice(scene: Scene, trials: list[Trial]) -> None:
    """The written rule: of the methods that add no more time than allowed, the one with the greatest mean gain."""
    without = {trial.seed: trial for trial in trials if trial.method == _NONE}
    means: dict[str, tuple[float, float]] = {}
    for method in dict.fromkeys(trial.method for trial in trials if trial.method != _NONE):
        gains = [_against(trial, without[trial.seed]) for trial in trials if trial.method == method]
        gain, cost = (
            float(np.mean([one[f"aug/{key}_delta_pct"] for one in gains])) for key in ("accuracy", "train_time")
        )
        means[method] = gain, cost
    allowed = {method: gain for method, (gain, cost) in means.items() if cost <= MOST_TIME_PCT}
    best = max(allowed, key=lambda method: allowed[method]) if allowed else _NONE
    run = scene.book.runs["augmentation-choice"]
    run.artifacts["figures/augmentations.png"] = _table(scene, trials, without, best)
    run.tags["dlemm.augmentation.chosen"] = best if allowed.get(best, 0.0) > 0 else _NONE
    facts = {
        "table": "\n".join(f"| {name} | {gain:+.2f} | {cost:+.1f} |" for name, (gain, cost) in means.items()),
        "seeds": len(REPEATS),
        "rows": STUDY_ROWS,
        "epochs": STUDY_EPOCHS,
        "most": MOST_TIME_PCT,
        "metric": scene.story.primary,
        "used": scene.story.augmentation,
        "chosen": str(run.tags["dlemm.augmentation.chosen"]),
        "approver": APPROVER,
    }
    evidence = ("augmentation-choice#dlemm.augmentation.chosen",)
    scene.book.document("DG4.4.1", dated=run.end_at, facts=facts, evidence=evidence)


def _table(scene: Scene, trials: list[Trial], without: dict[int, Trial], chosen: str) -> bytes:
    """Every method with its gain (95 % interval by Student's t over the seeds) and its cost, as a picture."""
    rows = []
    for method in dict.fromkeys(trial.method for trial in trials if trial.method != _NONE):
        own = [trial for trial in trials if trial.method == method]
        gain, low, _ = effect([without[trial.seed].score for trial in own], [trial.score for trial in own])
        times = [trial.epoch_s / max(without[trial.seed].epoch_s, 1e-9) - 1 for trial in own]
        rows.append({"method": method, "gain": gain, "gain_error": gain - low, "time_change": float(np.mean(times))})
    return scene.picture(pictures.augmentation_table, rows, metric=scene.story.primary, chosen=chosen)


# The search that starts by itself.


def _search(scene: Scene) -> None:
    """After the last change of the data: try policies on them, take the best, verify its gain on the test set."""
    for run in scene.trainings():
        run.metric("train/input_stall_share", scene.shared["fits"][run.key][0].cost["input_stall_share"])
    old, new = scene.campaigns[-2].training, data_of(scene, scene.champion.run)
    if old.digest == new.digest:
        return  # nothing has changed, so nothing is searched
    start = scene.champion.run.start_at - 7_200_000
    run = scene.book.run("policy-search", "search after new data", start_at=start, end_at=start + 3_600_000)
    run.tags |= {"dlemm.stage": "augmentation_search", "dlemm.trigger": "data", "dlemm.data.before": old.digest}
    run.inputs.append(scene.use(new, "training"))
    rows = _tried(scene, new)
    best = max(rows, key=lambda row: row["validation_score"])
    run.metrics(_verified(scene, run, rows, best))
    report = [{**row, "trigger": "data", "chosen": row is best, "dataset": new.digest} for row in rows]
    run.report("augmentation", rows=[{key: value for key, value in row.items() if key != "work"} for row in report])


def _tried(scene: Scene, data: Data) -> list[dict[str, Any]]:
    """Every policy trained on the new data for half the epochs. Without augmentations the policy is the batch size."""
    epochs = max(3, scene.story.recipe.epochs // 2)
    recipe = replace(scene.story.recipe, epochs=epochs, patience=epochs, seed=21)
    policies: list[tuple[str, Recipe, str]] = [("as it is", recipe, scene.story.augmentation)]
    if scene.story.augmentation == _NONE:
        policies += [
            (f"batch size {size}", replace(recipe, batch_size=size), _NONE)
            for size in (recipe.batch_size // 2, recipe.batch_size * 2)
        ]
    else:
        others = [name for name in scene.story.augmentations if name != scene.story.augmentation]
        policies += [(f"augmentation {name}", recipe, name) for name in (_NONE, *others[:1])]
    rows = []
    for policy, setting, method in policies:
        name = f"policy/{policy}-{data.digest}"
        fitted = scene.trained(name, setting, data, augmentation=method, family=scene.story.main)
        stall = fitted.cost["input_stall_share"]
        score = scene.score(fitted, scene.validation)
        rows.append({"policy": policy, "validation_score": score, "input_stall_share": stall, "work": fitted})
    return rows


def _verified(scene: Scene, run: Run, rows: list[dict[str, Any]], best: dict[str, Any]) -> dict[str, float]:
    """The gain of the chosen policy over the one in use, on the test set, with a paired interval."""
    used, chosen = (scene.logits(row["work"], scene.test) for row in (rows[0], best))
    gain = paired(scene, scene.test.y, used, chosen)
    run.tags["dlemm.policy.chosen"] = str(best["policy"]) if gain["ci_low"] > 0 else str(rows[0]["policy"])
    return {f"search/{name}": value for name, value in gain.items()}
