"""MD3: what trainings cost is known, compared on three axes, bounded, and lowered by search."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from integrations.reference import counting, pictures
from integrations.reference.ladder.book import Run
from integrations.reference.ladder.scene import Scene, Whole
from integrations.reference.ladder.trials import design, open_study, study_data, trial
from integrations.reference.parallel import parity
from integrations.reference.studies import cheapest_as_good, search, technique_variants

RATE_PER_CPU_HOUR = 0.05
"""Declared price of one hour of one core, in units of account."""
BUDGET_CPU_SECONDS = 120.0
"""Declared budget of one training."""
LOSS_TOLERANCE = 0.05
"""Relative difference of the first epoch's loss within which a technique leaves the training as it was."""
QUALITY_TOLERANCE = 0.01
"""Difference of the primary metric below which two designs count as equally good."""
TRIALS = 10
PARITY_KINDS = ("ddp",)
_UNITS = {
    "size": "size_mb",
    "throughput": "throughput_rows_per_s",
    "memory": "memory_mb",
    "generalisation_gap": "generalisation_gap",
}


def perform(scene: Scene) -> None:
    """Costs of every training, the matrix of techniques, parity with a single process, and the search."""
    for run in scene.trainings():
        _cost(scene, run)
    if "MD3.1.1" in scene.rungs:
        _cost_log(scene)
    if "MD3.3.1" in scene.rungs:
        _matrix(scene)
    if "MD3.3.2" in scene.rungs:
        _parity(scene)
    if "MD3.4.1" in scene.rungs and scene.champion.fitted.device == "cpu":
        scene.book.waive("MD3.4.1/1", "no accelerator on this machine: every training ran on the processor")
    if "MD3.5.1" in scene.rungs:
        _tuning(scene)


def _cost(scene: Scene, run: Run) -> None:
    """What one training took, as far as it is asked for."""
    fitted, recipe, _ = scene.shared["fits"][run.key]
    if "MD3.1.1" in scene.rungs:
        run.tags |= {"device": fitted.device, "dlemm.hardware": hardware()}
    if "MD3.2.1" in scene.rungs:
        run.metric("train/throughput_samples_per_s", fitted.cost["samples_per_s"])
        run.metric("train/peak_memory_mb", fitted.cost["peak_memory_mb"])
    if "MD3.2.2" in scene.rungs:
        run.params |= {"opt.amp": recipe.amp, "opt.grad_accum_steps": str(recipe.grad_accum_steps)}
    if "MD3.4.1" in scene.rungs:
        run.metric("cost/amount", fitted.cost["cpu_s"] / 3600 * RATE_PER_CPU_HOUR)
        run.metric("cost/budget_amount", BUDGET_CPU_SECONDS / 3600 * RATE_PER_CPU_HOUR)
        for number, sample in enumerate(fitted.extra.get("system", [])):  # a processor has no such samples
            for key in (key for key in sample if key.startswith("system/gpu_")):
                run.metric(key, sample[key], step=number)
        run.tags["dlemm.cost.rate"] = f"{RATE_PER_CPU_HOUR} units of account per CPU hour, declared"


def perform_once(whole: Whole) -> None:
    """The report of what the same quality costs now."""
    if "MD3.5.1" not in whole.rungs:
        return
    lines, falls = [], []
    for key, scene in whole.scenes.items():
        run = scene.book.runs["tuning"]
        falls.append(100 * run.value("tuning/cost_fall"))
        lines.append(
            f"| {key} | {scene.story.primary} | {run.value('tuning/quality_before'):.4f} | "
            f"{run.value('tuning/quality_after'):.4f} | {run.value('tuning/flops_before'):.3g} | "
            f"{run.value('tuning/flops_after'):.3g} | {falls[-1]:.0f} % |"
        )
    whole.book.document(
        "MD3.5.1",
        dated=whole.calendar.at(-10),
        facts={
            "table": "\n".join(lines),
            "mean_fall": f"{sum(falls) / len(falls):.0f}",
            "tolerance": QUALITY_TOLERANCE,
            "trials": TRIALS,
        },
        evidence=tuple(f"{key}/tuning#tuning/cost_fall" for key in whole.scenes),
    )


def hardware() -> str:
    """Processor and number of cores, without the name of the machine."""
    return f"{platform.machine()}, {os.cpu_count()} cores"


def _cost_log(scene: Scene) -> None:
    rows = []
    for run in scene.trainings():
        fitted, _, data = scene.shared["fits"][run.key]
        rows.append(
            f"| {run.name} | {fitted.device} | {len(data)} | {len(fitted.history)} | "
            f"{fitted.cost['duration_s']:.2f} | {fitted.cost['cpu_s']:.2f} |"
        )
    facts = {"title": scene.story.title, "hardware": hardware(), "table": "\n".join(rows)}
    evidence = tuple(f"{run.key}#device" for run in scene.trainings())
    scene.book.document("MD3.1.1", dated=scene.calendar.at(-10), facts=facts, evidence=evidence)


def _matrix(scene: Scene) -> None:
    """Every technique of training on the same rows: size, throughput, memory, gap, and the loss of the first epoch."""
    data = study_data(scene)
    variants = technique_variants(design(scene))
    name = "techniques of training"
    study = open_study(scene, "optimisation", name, data, trainings=len(variants), hours=9)
    rows, plain = [], 0.0
    for technique, variant in variants.items():
        values = trial(scene, variant, data)
        plain = plain or values["train/loss_first_epoch"]
        run = study.child(technique, variant, values)
        run.param(opt_technique=technique)
        row: dict[str, Any] = {
            "technique": technique,
            "size": values["model/size_mb"],
            "throughput": values["train/throughput_samples_per_s"],
            "memory": values["train/peak_memory_mb"],
            "generalisation_gap": values["eval/generalisation_gap"],
        }
        if "MD3.3.2" in scene.rungs:
            row["loss_diff"] = abs(values["train/loss_first_epoch"] - plain)
            row["loss_tolerance"] = LOSS_TOLERANCE * plain
        rows.append(row)
    scene.champion.run.report("optimisation_matrix", {"rows_trained": len(data)}, rows)
    shown = [{_UNITS.get(key, key): row[key] for key in ("technique", *_UNITS)} for row in rows]
    study.parent.artifacts["figures/optimisation_matrix.png"] = scene.picture(pictures.optimisation_matrix, shown)


def _parity(scene: Scene) -> None:
    """Split trainings against the single process, and the standard that says when to split."""
    found = scene.work.once(f"parity/{'-'.join(PARITY_KINDS)}", _split_trainings)
    columns = ["technique", "loss_diff", "loss_tolerance", "world"]
    if "MD3.3.1" in scene.rungs:
        columns += ["size", "throughput", "memory", "generalisation_gap"]
    rows = [{column: row[column] for column in columns} for row in found]
    scene.champion.run.report("optimisation_matrix", {"parity_network": "small transformer on digits"}, rows)
    scene.champion.run.metrics({f"parity/{row['technique']}_loss_diff": row["loss_diff"] for row in found})
    largest = max(
        (counting.size_bytes(fit[0].model) / counting.MB for fit in scene.shared["fits"].values()), default=0.0
    )
    facts = {
        "title": scene.story.title,
        "rows": "\n".join(_told(row) for row in found),
        "largest_mb": largest,
        "tolerance": LOSS_TOLERANCE,
        "rows_trained": len(scene.champion.training),
        "duration": scene.champion.fitted.cost["duration_s"],
    }
    evidence = tuple(f"{scene.champion.key}#parity/{row['technique']}_loss_diff" for row in found)
    scene.book.document("MD3.3.2", dated=scene.calendar.at(-10), facts=facts, evidence=evidence)


@cache
def _split_trainings() -> list[dict[str, Any]]:
    """The parity test; it says nothing of a story, so projects told by one process share it."""
    return parity(PARITY_KINDS)


def _told(row: Mapping[str, Any]) -> str:
    return (
        f"| {row['technique']} | {row['world']} | {row['loss_single']:.6f} | {row['loss_parallel']:.6f} | "
        f"{row['loss_diff']:.2g} | {row['loss_tolerance']:.2g} |"
    )


def _tuning(scene: Scene) -> None:
    """An automatic search over quality, cost and size; the manual design is its first trial."""
    data, story = study_data(scene), scene.story
    base = design(scene)
    epochs = story.recipe.epochs
    space = {
        "learning_rate": [story.recipe.learning_rate, 2 * story.recipe.learning_rate, 4 * story.recipe.learning_rate],
        "width": [0.5, 0.75, 1.0, 1.25],
        "epochs": sorted({epochs, max(2, epochs // 2), max(2, 3 * epochs // 4)}),
    }
    rows = scene.work.once(f"search/tuning-{TRIALS}", lambda: search(story, data, base, space, trials=TRIALS, seed=2))
    tags = {"dlemm.hpo.engine": "optuna", "dlemm.stage": "search"}
    study = open_study(scene, "tuning", "quality, cost and size", data, trainings=TRIALS, hours=12, tags=tags)
    for number, row in enumerate(rows, start=1):
        variant = base
        for factor, value in row["chosen"].items():
            variant = variant.changed(factor, value)
        run = study.child(f"trial {number}", variant, row["values"])
        run.tags["dlemm.pareto"] = str(row["front"]).lower()
    study.parent.artifacts["figures/pareto_front.png"] = _front(scene, rows)
    before, after = rows[0]["values"], cheapest_as_good(story, rows, QUALITY_TOLERANCE)["values"]
    study.parent.metrics(
        {
            "tuning/quality_before": before[story.primary],
            "tuning/quality_after": after[story.primary],
            "tuning/flops_before": before["train/flops"],
            "tuning/flops_after": after["train/flops"],
            "tuning/cost_fall": 1 - after["train/flops"] / before["train/flops"],
            "tuning/front_size": sum(row["front"] for row in rows),
        }
    )


def _front(scene: Scene, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The trials by training cost and quality, as a picture."""
    primary = scene.story.primary
    points = [
        {"name": f"trial {number}", "operations": row["values"]["train/flops"], primary: row["values"][primary]}
        for number, row in enumerate(rows, start=1)
    ]
    return scene.picture(pictures.pareto_front, points, cost="operations", quality=primary, chosen="trial 1")
