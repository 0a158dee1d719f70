"""DG3 of the model: labels that people gave, how far they agree, and what is known of their errors.

Readers are simulated with stated error rates (see ``readers``); all numbers here are measured from their votes. Stories
whose labels come from no reader waive these practices with the reason.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from integrations.reference import readers
from integrations.reference.active import Saving, compare
from integrations.reference.engine import fit, logits
from integrations.reference.ladder.acts.sourcing import data_of
from integrations.reference.ladder.book import Run
from integrations.reference.ladder.calendar import FIRST_RELEASE, iso
from integrations.reference.ladder.scene import APPROVER, TRAINER, Scene
from integrations.reference.readers import Reader, Votes
from integrations.reference.stories.base import Data

_PRACTICES = ("DG3.1.1", "DG3.2.1", "DG3.2.2", "DG3.3.1", "DG3.3.2", "DG3.4.1", "DG3.5.1")
LIMIT = 0.70
"""Least Fleiss kappa at which a dataset may be trained on."""
UNBRIEFED = {2: 0.12}  # error rate of a reader who has seen the guideline once, by number of classes
_UNBRIEFED_MANY = 0.20
BRIEFED, SENIOR = 0.02, 0.01
"""Error rates of a reader after the second briefing, and of the senior reader who decides disputes."""
ITEMS, GOLD = 100, 200
"""Items that are read by all readers, and gold items, for each version of the data; fewer where there are fewer."""
VERSION = "2.0"  # of the labelling guideline


@dataclass(frozen=True)
class Reading:
    """One round of reading: the items, all votes, the consensus and what was measured."""

    items: list[str]
    votes: Votes
    consensus: Any
    disputed: Any
    measured: dict[str, float]
    assumed_error_rate: float  # of each simulated reader


def perform(scene: Scene) -> None:
    """Do what the practices of DG3 ask."""
    if not scene.story.human_labels:
        for practice in _PRACTICES:
            if practice in scene.rungs:
                scene.book.waive(
                    practice, f"No person labels rows: they come with their class from {scene.story.source}."
                )
        return
    if "DG3.1.1" in scene.rungs:
        _source(scene)
    if "DG3.2.1" in scene.rungs:
        _guideline(scene)
    if "DG3.2.2" in scene.rungs:
        _agreement(scene)
    if "DG3.3.2" in scene.rungs:
        _adjudication(scene)
    if "DG3.5.1" in scene.rungs:
        _steering(scene)


def _source(scene: Scene) -> None:
    run = scene.champion.run
    run.tags["dlemm.label.source"] = scene.story.source
    facts = {
        "source": scene.story.source,
        "classes": scene.story.classes,
        "rows": len(scene.champion.training),
        "dataset": scene.champion.training.name,
        "first": scene.calendar.day(FIRST_RELEASE - 1.3),
        "until": scene.calendar.day(scene.champion.training.until),
    }
    scene.book.document("DG3.1.1", dated=run.end_at, facts=facts, evidence=(f"{run.key}#dlemm.label.source",))


def _guideline(scene: Scene) -> None:
    start = scene.calendar.at(FIRST_RELEASE - 1.2)
    run = scene.book.run("briefing", f"briefing on guideline {VERSION}", start_at=start, end_at=start + 5_400_000)
    people = _panel(scene, briefed=True)
    run.tags |= {"dlemm.stage": "briefing", "dlemm.label.guideline": VERSION}
    run.param(readers=len(people), guideline=VERSION)
    facts = {
        "version": VERSION,
        "classes": scene.story.classes,
        "briefed": scene.calendar.day(FIRST_RELEASE - 1.2),
        "readers": [reader.name for reader in people],
        "goal": scene.story.goal,
        "edge": ", ".join(sorted(scene.test.slices)),
        "modality": scene.story.modality,
        "limit": LIMIT,
    }
    scene.book.document("DG3.2.1", dated=start, facts=facts, evidence=("briefing#dlemm.label.guideline",))


def _panel(scene: Scene, *, briefed: bool) -> list[Reader]:
    """Three simulated readers. That the second briefing lowers their error rate is assumed, and logged as such."""
    rate = BRIEFED if briefed else UNBRIEFED.get(scene.story.classes, _UNBRIEFED_MANY)
    return [Reader(f"reference-reader-{number}", rate) for number in (1, 2, 3)]


def _agreement(scene: Scene) -> None:
    """Have a sample of every version of the training data read by all readers before it is trained on.

    Without the gate the first round stands, whatever it says. With it, a round below the limit is repeated after the
    readers were briefed again, and nothing is trained before a round has passed.
    """
    versions: dict[str, tuple[Data, Run]] = {}
    for run in sorted(scene.trainings(), key=lambda one: one.start_at):
        use = next((use for use in run.inputs if use.context == "training"), None)
        if use is not None:
            use.tags["dlemm.dataset.labelled"] = "true"
        versions.setdefault(data_of(scene, run).digest, (data_of(scene, run), run))
    for number, (data, run) in enumerate(versions.values()):
        first = _read(scene, data, briefed=False)
        before = _round(scene, f"annotation-{number}", data, run, first, hours=30)
        if "DG3.3.1" in scene.rungs:
            _gate(scene, number, data, run, before, first)


def _gate(scene: Scene, number: int, data: Data, training: Run, before: Run, first: Reading) -> None:
    before.tags["dlemm.label.gate"] = "passed" if first.measured["label/kappa"] >= LIMIT else "refused"
    final = before
    if first.measured["label/kappa"] < LIMIT:
        second = _read(scene, data, briefed=True)
        final = _round(scene, f"annotation-{number}-again", data, training, second, hours=6)
        final.tags["dlemm.label.gate"] = "passed" if second.measured["label/kappa"] >= LIMIT else "refused"
    training.tags["dlemm.label.gate"] = final.tags["dlemm.label.gate"]


def _round(scene: Scene, key: str, data: Data, training: Run, reading: Reading, *, hours: float) -> Run:
    """The run of a round of reading, so many hours before the training."""
    start = training.start_at - round(hours * 3_600_000)
    run = scene.book.run(key, f"readers on {data.name}", start_at=start, end_at=start + 4 * 3_600_000)
    run.tags["dlemm.stage"] = "annotation"
    run.inputs.append(scene.use(data, "training", {"dlemm.dataset.labelled": "true"}))
    run.metrics({key: value for key, value in reading.measured.items() if key in _PLAIN})
    if "DG3.4.1" in scene.rungs:
        run.metrics({key: value for key, value in reading.measured.items() if key not in _PLAIN})
        run.param(**{f"gold_accuracy.{n}": value for n, value in enumerate(_each_reader(scene, reading), start=1)})
    run.param(readers=reading.votes.shape[1], limit=LIMIT, assumed_error_rate=reading.assumed_error_rate)
    if "DG3.3.2" in scene.rungs:
        run.artifacts["votes.json"] = json.dumps(_rows(reading), indent=0).encode()
    return run


_PLAIN = frozenset({"label/kappa", "label/alpha", "label/kappa_ci_low", "label/kappa_ci_high", "label/items_double"})


def _each_reader(scene: Scene, reading: Reading) -> list[str]:
    return [
        f"{reading.measured[f'label/gold_accuracy_{number}']:.4f}" for number in range(1, reading.votes.shape[1] + 1)
    ]


def _read(scene: Scene, data: Data, *, briefed: bool) -> Reading:
    """Let the readers vote on a sample and on gold items mixed among it, and measure what their votes say."""
    classes, people = scene.story.classes, _panel(scene, briefed=briefed)
    count = min(len(data), max(ITEMS, round(0.05 * len(data))))
    generator = np.random.default_rng(int(data.digest[:8], 16))
    picked = np.sort(generator.choice(len(data), count, replace=False))
    sample, seed = data.take(picked), int(data.digest[:8], 16) + briefed
    votes = readers.vote(sample.y, classes, people, seed=seed)
    senior = Reader("reference-senior-reader", SENIOR)
    consensus, disputed = readers.adjudicated(votes, classes, senior.read(sample.y, classes, generator))
    counts = readers.counts_of(votes, classes)
    low, high = readers.interval(readers.fleiss, counts)
    measured = {
        "label/kappa": readers.fleiss(counts),
        "label/alpha": readers.krippendorff(counts),
        "label/kappa_ci_low": low,
        "label/kappa_ci_high": high,
        "label/items_double": float(count),
        **_gold(scene, people, senior, seed),
    }
    assumed = people[0].error_rate
    return Reading([digest[:16] for digest in sample.row_hashes()], votes, consensus, disputed, measured, assumed)


def _gold(scene: Scene, people: list[Reader], senior: Reader, seed: int) -> dict[str, float]:
    """Gold items have a known class and look like any other item; what is left wrong on them after adjudication
    bounds the error of the labels."""
    gold, classes = scene.validation.y[:GOLD], scene.story.classes
    votes = readers.vote(gold, classes, people, seed=seed + 2)
    senior_says = senior.read(gold, classes, np.random.default_rng(seed + 3))
    consensus, _ = readers.adjudicated(votes, classes, senior_says)
    errors = int((consensus != gold).sum())
    low, high = readers.error_limits(errors, len(gold))
    each = readers.accuracies(votes, gold)
    return {
        "label/gold_accuracy": float(each.mean()),
        **{f"label/gold_accuracy_{number}": float(value) for number, value in enumerate(each, start=1)},
        "label/gold_items": float(len(gold)),
        "label/error_rate": errors / len(gold),
        "label/error_rate_ci_low": low,
        "label/error_rate_ci_high": high,
    }


def _rows(reading: Reading) -> list[dict[str, Any]]:
    """One row an item with all votes beside the consensus."""
    return [
        {"item": item, "votes": " ".join(map(str, votes)), "consensus": int(final), "disputed": bool(disputed)}
        for item, votes, final, disputed in zip(
            reading.items, reading.votes.tolist(), reading.consensus, reading.disputed, strict=True
        )
    ]


def _adjudication(scene: Scene) -> None:
    run = scene.champion.run
    reading = _read(scene, scene.champion.training, briefed="DG3.3.1" in scene.rungs)
    errors = _errors_found(scene)
    run.report("label_quality", {"disputed": int(reading.disputed.sum()), **errors}, _rows(reading))
    facts = {
        "items": len(reading.items),
        "disputed": int(reading.disputed.sum()),
        "tied": int((readers.counts_of(reading.votes, scene.story.classes).max(axis=1) == 1).sum()),
        "readers": reading.votes.shape[1],
        "decider": "reference-senior-reader",
        "dataset": scene.champion.training.name,
        "kappa": reading.measured["label/kappa"],
        "suspected": errors["suspected_labels"],
        "looked_at": errors["labels_looked_at"],
        "approver": APPROVER,
    }
    evidence = (f"{run.key}#reports/label_quality.json",)
    scene.book.document("DG3.3.2", dated=run.end_at, facts=facts, evidence=evidence)


def _errors_found(scene: Scene) -> dict[str, int]:
    """Labels of the first training data that confident learning finds suspicious; they go back to the readers."""
    from integrations.reference.ladder.acts.quality import foretold

    data = scene.campaigns[0].training

    def look() -> int:
        probabilities = readers.out_of_sample(
            len(data), scene.story.classes, lambda rows, held: foretold(scene, data, rows, held), 2
        )
        return int(readers.suspects(data.y, probabilities).sum())

    return {"suspected_labels": scene.work.once(f"suspects/{data.digest}", look), "labels_looked_at": len(data)}


def _steering(scene: Scene) -> None:
    """Labels bought by the model's doubt against labels bought at random, from one pool, at the same metric."""
    saving = Saving(**scene.work.once("active", lambda: _measured(scene)))
    start = scene.calendar.at(-7.0)
    run = scene.book.run("active-learning", "labels by doubt or by chance", start_at=start, end_at=start + 600_000)
    run.tags["dlemm.stage"] = "active_learning"
    run.metrics({"label/active_learning_saving": saving.saving, "label/labels_needed_active": saving.active})
    run.metrics({"label/labels_needed_random": saving.random, "label/target": saving.target})
    for budget, active, chance in zip(saving.budgets, saving.active_curve, saving.random_curve, strict=True):
        run.metric("label/active_curve", active, step=budget)
        run.metric("label/random_curve", chance, step=budget)
    run.param(closed=iso(run.end_at)[:10], asked_by=TRAINER)


POOL, BUDGETS, SEEDS = 600, (40, 70, 100, 140, 200, 280), (1, 2, 3)


def _measured(scene: Scene) -> dict[str, Any]:
    story, pool = scene.story, scene.champion.training.take(np.arange(min(POOL, len(scene.champion.training))))
    held, budgets = scene.validation, [budget for budget in BUDGETS if budget < 0.6 * len(pool)]

    def train(picked: Any, seed: int) -> tuple[float, Any]:
        part, recipe = pool.take(picked), replace(story.recipe, seed=seed, patience=story.recipe.epochs)
        fitted = fit(recipe, lambda: story.build(family=story.main), part.x, part.y, held.x[:64], held.y[:64])
        return story.score(held.y, logits(fitted.model, held.x)), logits(fitted.model, pool.x)

    one_each = [int(np.flatnonzero(pool.y == number)[0]) for number in range(story.classes)]
    saving = compare(train, len(pool), budgets, seeds=SEEDS, start=one_each)
    return {name: getattr(saving, name) for name in Saving.__slots__}
