"""MD2: the design of the network is chosen by comparison, ablation and search, each on real trainings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from integrations.reference import counting, judging
from integrations.reference.ladder.scene import Scene, Whole
from integrations.reference.ladder.trials import SEEDS, design, open_study, study_data, trial
from integrations.reference.studies import Variant, arms_of, effect, search

TRIALS = 10
"""Trainings of a search; the manual design is the first of them."""


def perform(scene: Scene) -> None:
    """The studies of one project."""
    if "MD2.1.1" in scene.rungs:
        _choice(scene)
    if "MD2.2.1" in scene.rungs:
        _baseline(scene)
    if "MD2.2.2" in scene.rungs:
        for run in scene.trainings():
            model = scene.shared["fits"][run.key][0].model
            run.metric("model/param_count", counting.parameters(model))
            run.metric("model/flops", counting.flops(model, scene.story.shape))
    if "MD2.3.1" in scene.rungs:
        _ablation(scene)
    if "MD2.3.2" in scene.rungs:
        _comparison(scene)
    if "MD2.5.1" in scene.rungs:
        _informed_search(scene)


def perform_once(whole: Whole) -> None:
    """The knowledge base of all projects, and what the searches that cite it gained."""
    if "MD2.5.1" not in whole.rungs:
        return
    entries = [entry for scene in whole.scenes.values() for entry in scene.shared["knowledge"]]
    gains = [_gain(scene) for scene in whole.scenes.values()]
    whole.book.document(
        "MD2.5.1",
        dated=whole.calendar.at(-10),
        facts={
            "entries": "\n".join(f"- {entry['id']}: {entry['finding']}" for entry in entries),
            "searches": "\n".join(gains),
            "trials": TRIALS,
        },
        evidence=tuple(f"{key}/search#knowledge_base.json" for key in whole.scenes),
    )


def _choice(scene: Scene) -> None:
    """Why the main family was chosen and the simple one rejected, by their validation figures."""
    simple, main = scene.shared["fits"]["baseline"][0], scene.campaigns[0].fitted
    story = scene.story
    facts = {
        "title": story.title,
        "goal": story.goal,
        "main": story.main,
        "simple": story.families[0],
        "primary": story.primary,
        "main_score": scene.score(main, scene.validation),
        "simple_score": scene.score(simple, scene.validation),
        "main_parameters": counting.parameters(main.model),
        "simple_parameters": counting.parameters(simple.model),
        "main_seconds": main.cost["duration_s"],
        "simple_seconds": simple.cost["duration_s"],
        "rows": len(scene.campaigns[0].training),
    }
    dated = scene.calendar.at(-10)
    scene.book.document("MD2.1.1", dated=dated, facts=facts, evidence=("baseline", scene.campaigns[0].key))


def _baseline(scene: Scene) -> None:
    """The simple baseline judged on the same rows as every release."""
    if scene.baseline is None:
        return
    story, fitted = scene.story, scene.shared["fits"]["baseline"][0]
    scene.baseline.tags["dlemm.role"] = "baseline"
    scene.baseline.param(model_family=story.families[0])
    start = scene.baseline.end_at + 60_000
    run = scene.book.run(
        "evaluate-baseline",
        "simple baseline on the test rows",
        start_at=start,
        end_at=start + 2000,
        tags={"dlemm.stage": "evaluate", "dlemm.role": "baseline", "dlemm.primary_metric": story.primary},
    )
    run.inputs.append(scene.use(scene.test, "test"))
    run.metrics(judging.ordinary(story, scene.test, scene.logits(fitted, scene.test)))
    for campaign in scene.campaigns:  # what a release is compared by is said where it was trained
        campaign.run.tags |= {
            "dlemm.primary_metric": story.primary,
            "dlemm.primary_metric.greater_is_better": "true",
        }


def _ablation(scene: Scene) -> None:
    """One factor at a time against the control; with effect sizes over three seeds once they are asked for."""
    data, arms, metric = study_data(scene), arms_of(scene.story), scene.story.primary
    seeds = SEEDS if "MD2.4.1" in scene.rungs else SEEDS[:1]
    factors = tuple(arms)
    study = open_study(scene, "ablation", "one factor at a time", data, trainings=(len(arms) + 1) * len(seeds))
    control = []
    for seed in seeds:
        values = trial(scene, design(scene, seed), data)
        control.append(values[metric])
        name = f"control, seed {seed}"
        study.child(name, design(scene, seed), values, factors=factors, tags={"dlemm.role": "control"})
    rows: list[dict[str, Any]] = []
    for factor, value in arms.items():
        tested = []
        for seed in seeds:
            variant = design(scene, seed).changed(factor, value)
            values = trial(scene, variant, data)
            tested.append(values[metric])
            tags = {"dlemm.ablation.factor": factor}
            study.child(f"{factor} {value}, seed {seed}", variant, values, factors=factors, tags=tags)
        common = {"factor": factor, "control": design(scene).value(factor), "tested": str(value), "metric": metric}
        found = [{**common, "seed": seed, "value": score} for seed, score in zip(seeds, tested, strict=True)]
        if "MD2.4.1" in scene.rungs:
            mean, low, high = effect(control, tested)
            found = [{**row, "effect": mean, "ci_low": low, "ci_high": high} for row in found]
        rows += found
    scene.champion.run.report("ablation", {"rows_trained": len(data)}, rows)
    scene.shared["ablation"] = rows


def _comparison(scene: Scene) -> None:
    """All model families on the same rows with the same budget of optimiser steps."""
    data, story = study_data(scene), scene.story
    budget = story.recipe.epochs * -(-len(data) // story.recipe.batch_size)
    study = open_study(scene, "comparison", "model families", data, trainings=len(story.families), hours=3)
    told = []
    for family in story.families:
        recipe = replace(design(scene).recipe, patience=story.recipe.epochs)  # no family stops early
        variant = Variant(recipe, "none", {"family": family})
        values = trial(scene, variant, data)
        run = study.child(family, variant, values)
        run.param(model_family=family, budget=budget)
        told.append(
            f"- {family}: {story.primary} {values[story.primary]:.4f}, generalisation gap "
            f"{values['eval/generalisation_gap']:.4f}, {values['model/param_count']:,.0f} parameters, "
            f"{values['train/cpu_seconds']:.2f} CPU seconds"
        )
    facts = {
        "title": story.title,
        "results": "\n".join(told),
        "budget": budget,
        "rows": len(data),
        "validation_rows": len(scene.validation),
        "primary": story.primary,
        "main": story.main,
    }
    evidence = ("comparison", f"comparison-1#{story.primary}", f"comparison-2#{story.primary}")
    scene.book.document("MD2.3.2", dated=scene.calendar.at(-10), facts=facts, evidence=evidence)


def _informed_search(scene: Scene) -> None:
    """A search whose space follows from the ablation; the manual design is its first trial, at the same budget."""
    data, story = study_data(scene), scene.story
    entries = knowledge(scene)
    space = informed_space(scene, entries)
    rows = scene.work.once(
        f"search/informed-{TRIALS}",
        lambda: search(story, data, design(scene), space, trials=TRIALS, seed=1),
    )
    tags = {"dlemm.hpo.engine": "optuna", "dlemm.stage": "search"}
    study = open_study(scene, "search", "search from the knowledge base", data, trainings=TRIALS, hours=6, tags=tags)
    for number, row in enumerate(rows, start=1):
        variant = design(scene)
        for factor, value in row["chosen"].items():
            variant = variant.changed(factor, value)
        study.child(f"trial {number}", variant, row["values"])
    best = max(rows, key=lambda row: row["values"][story.primary])
    study.parent.param(space=json.dumps(space), cites=",".join(entry["id"] for entry in entries))
    study.parent.metrics(
        {
            "search/manual": rows[0]["values"][story.primary],
            "search/best": best["values"][story.primary],
            "search/gain": best["values"][story.primary] - rows[0]["values"][story.primary],
        }
    )
    study.parent.artifacts["knowledge_base.json"] = (json.dumps(entries, indent=1) + "\n").encode()
    scene.shared["knowledge"] = entries


def knowledge(scene: Scene) -> list[dict[str, Any]]:
    """The findings of the ablation as entries: which factor, its effect with interval, and what follows from it."""
    entries = []
    for row in {row["factor"]: row for row in scene.shared["ablation"]}.values():
        harmful = row["ci_high"] < 0
        follows = "leave it at its default" if harmful else "let the search vary it"
        entries.append(
            {
                "id": f"KB-{scene.story.key}-{row['factor']}",
                "factor": row["factor"],
                "tested": row["tested"],
                "varied": not harmful,
                "finding": (
                    f"{row['factor']} {row['tested']} against {row['control']} changes {row['metric']} by "
                    f"{row['effect']:+.4f} (95 % interval {row['ci_low']:+.4f} to {row['ci_high']:+.4f}); {follows}"
                ),
            }
        )
    return entries


def informed_space(scene: Scene, entries: list[dict[str, Any]]) -> Mapping[str, list[Any]]:
    """Rate and batch always, and of the factors that were ablated those that did no proven harm."""
    base, arms = design(scene), arms_of(scene.story)
    rate, batch = base.recipe.learning_rate, base.recipe.batch_size
    space: dict[str, list[Any]] = {
        "learning_rate": [rate, 2 * rate, 4 * rate],
        "batch_size": [batch // 2, batch, 2 * batch],
    }
    for entry in entries:
        if entry["varied"]:
            space[entry["factor"]] = [base.value(entry["factor"]), arms[entry["factor"]]]
    return space


def _gain(scene: Scene) -> str:
    run = scene.book.runs["search"]
    return (
        f"- {scene.story.title}: manual design {run.value('search/manual'):.4f}, best of the search "
        f"{run.value('search/best'):.4f} ({scene.story.primary} on the validation rows)"
    )
