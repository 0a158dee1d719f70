"""DG2 of the model: the data of every training held to versioned expectations before it is used.

Counts come from validating the very rows of the run. The gate is tested with a batch that was broken on purpose; weekly
intake is held to limits; at the top, experiments change nothing but the data.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from integrations.reference.checks import Checked, Expectations, check, gate, learn, profile, self_test
from integrations.reference.ladder.acts.sourcing import coverage_of_groups, data_of
from integrations.reference.ladder.book import Run
from integrations.reference.ladder.calendar import FIRST_RELEASE, iso
from integrations.reference.ladder.duels import paired
from integrations.reference.ladder.scene import TRAINER, Scene
from integrations.reference.readers import out_of_sample
from integrations.reference.stories.base import Data, Values

_LIMIT_SD = 0.5  # standard deviations that the weekly mean of a watched feature may be off
_FEWEST_DROPPED = 0.01  # share of the rows that the cleaning experiment drops at least


def perform(scene: Scene) -> None:
    """Do what the practices of DG2 ask."""
    if "DG2.1.1" in scene.rungs:
        _profile(scene)
    if scene.rungs.step == 1:
        return
    for run in scene.trainings():
        _judge(scene, run, checked(scene, data_of(scene, run)))
    expectations = _expectations(scene)
    _keep(scene, expectations)
    if "DG2.3.2" in scene.rungs:
        _coverage(scene)
    if "DG2.4.1" in scene.rungs:
        _control(scene, expectations)
    if "DG2.5.1" in scene.rungs:
        _experiments(scene)


def let_through(scene: Scene, data: Data) -> None:
    """The gate, before anything is learned from some data; raises ``BadBatchError`` where it does not let them pass."""
    if "DG2.3.1" in scene.rungs:
        gate(checked(scene, data))


def checked(scene: Scene, data: Data) -> Checked:
    """Training data held to the expectations, once."""
    known: dict[str, Checked] = scene.shared.setdefault("checked", {})
    if data.digest not in known:
        known[data.digest] = check(scene.story, _expectations(scene), data, (scene.validation, scene.test))
    return known[data.digest]


def _expectations(scene: Scene) -> Expectations:
    """Learned once, from the first labelled batch."""
    if "expectations" not in scene.shared:
        scene.shared["expectations"] = learn(scene.story, scene.story.training(FIRST_RELEASE - 1.0))
    known: Expectations = scene.shared["expectations"]
    return known


def _keep(scene: Scene, expectations: Expectations) -> None:
    """The expectations beside the model that they let pass, and the gate tried with a batch broken on purpose."""
    if "DG2.2.1" in scene.rungs:
        for run in scene.trainings():
            run.tags["dlemm.dq.expectations"] = expectations.version
        scene.champion.run.artifacts["expectations.json"] = expectations.text().encode()
    if "DG2.3.1" in scene.rungs:
        test = self_test(scene.story, expectations, scene.champion.training)
        scene.champion.run.report("data_quality", {"gate_self_test": test})


def _judge(scene: Scene, run: Run, checked: Checked) -> None:
    """What the check of its data says of a run; logged when the run begins, before anything is learned."""
    if "DG2.2.2" in scene.rungs:
        run.metric("dq/train_eval_overlap", checked.overlap, at=run.start_at)
    if "DG2.3.1" in scene.rungs:
        run.tags["dlemm.dq.status"] = checked.status
        run.metric("dq/expectations_failed", len(checked.failed), at=run.start_at)
        _trained_after(scene, run)
    if "DG2.3.2" in scene.rungs:
        run.metric("dq/subgroup_min_share", checked.smallest_group, at=run.start_at)
    if "DG2.4.1" in scene.rungs:
        run.metric("dq/expectations_passed", checked.passed, at=run.start_at)


def _trained_after(scene: Scene, run: Run) -> None:
    """The last training loss, so that the times of check and training can be compared."""
    if not any(point.key == "train/loss" for point in run.points):
        run.metric("train/loss", scene.shared["fits"][run.key][0].history[-1]["train_loss"])


def _profile(scene: Scene) -> None:
    run, found = scene.champion.run, profile(scene.story, scene.champion.training)
    run.report("data_quality", {"profile": found})
    ranges = [f"{name} {values['low']:.3g} to {values['high']:.3g}" for name, values in found["ranges"].items()]
    facts = {
        "dataset": scene.champion.training.name,
        "digest": scene.champion.training.digest,
        "rows": found["rows"],
        "missing": found["missing"],
        "duplicates": found["duplicates"],
        "ranges": ranges,
        "classes": [f"{name}: {share:.1%}" for name, share in found["class_balance"].items()],
        "rarest": min(found["class_balance"].values()),
    }
    scene.book.document("DG2.1.1", dated=run.end_at, facts=facts, evidence=(f"{run.key}#reports/data_quality.json",))


def _coverage(scene: Scene) -> None:
    """Training data of every release against the population it serves, by declared group."""
    population = scene.story.stream(-1)
    run = scene.champion.run
    facts = {
        "population": coverage_of_groups(population),
        "training": coverage_of_groups(scene.champion.training),
        "rows": len(population),
        "releases": len(scene.campaigns),
        "least": run.value("dq/subgroup_min_share"),
        "unit": scene.story.unit,
    }
    evidence = tuple(f"{campaign.key}#dq/subgroup_min_share" for campaign in scene.campaigns)
    scene.book.document("DG2.3.2", dated=run.end_at, facts=facts, evidence=evidence)


def _control(scene: Scene, expectations: Expectations) -> None:
    """Every week of intake against its limits; a breach is open until the intake is within them again."""
    reference = scene.features(scene.champion.training)
    weeks = range(int(np.ceil(scene.champion.week)), 0)
    found = {week: _off(scene, reference, scene.story.stream(week)) for week in weeks}
    rows, opened = [], None
    for week in weeks:
        if found[week] and opened is None:
            opened = week
        if opened is not None and not found[week]:
            rows.append((opened, week, found[opened]))
            opened = None
    start = scene.calendar.at(-1, hours=150)
    run = scene.book.run("quality-control", "quality of the weekly intake", start_at=start, end_at=start + 60_000)
    run.tags["dlemm.stage"] = "data_quality"
    run.metrics({"dq/weeks_checked": len(weeks), "dq/breaches_closed": len(rows)})
    run.metrics({"dq/breaches_open": float(opened is not None)})
    run.param(limit_sd=_LIMIT_SD, expectations=expectations.version)
    days = [(scene.calendar.day(begin + 1), scene.calendar.day(end + 1), what) for begin, end, what in rows]
    table = "".join(f"{begin},{end},{what}\n" for begin, end, what in days)
    run.artifacts["breaches.csv"] = ("opened,closed,feature\n" + table).encode()
    facts = {
        "weeks": len(weeks),
        "limit": _LIMIT_SD,
        "version": expectations.version,
        "breaches": "\n".join(f"| {begin} | {end} | {what} |" for begin, end, what in days) or "| none | none | none |",
        "open": "one" if opened is not None else "none",
        "owner": TRAINER,
        "runs": len(scene.trainings()),
    }
    evidence = ("quality-control#breaches.csv", "quality-control#dq/breaches_closed")
    scene.book.document("DG2.4.1", dated=run.end_at, facts=facts, evidence=evidence)


def _off(scene: Scene, reference: dict[str, Values], data: Data) -> str:
    """The watched feature whose weekly mean is further off than the limit; empty when none is."""
    for name, values in scene.features(data).items():
        usual = reference[name]
        if abs(float(values.mean() - usual.mean())) > _LIMIT_SD * max(float(usual.std()), 1e-9):
            return name
    return ""


# Experiments that change only the data.


def _experiments(scene: Scene) -> None:
    """Two experiments: leave out rows that look mislabelled, and take in what came back from production."""
    data = scene.champion.training
    cleaned = data.take(scene.work.once(f"clean/{data.digest}", lambda: _kept(scene, data).tolist()), "cleaned")
    first = scene.campaigns[0].training
    _experiment(scene, "cleaning", -8.0, data, replace(cleaned, name=f"{data.name}-cleaned"))
    _experiment(scene, "feedback", -5.0, first, data)


def _kept(scene: Scene, data: Data) -> Any:
    """Rows that are kept: without those whose label another model, which has not seen them, finds least likely."""
    labels = data.y
    probabilities = out_of_sample(
        len(data), scene.story.classes, lambda rows, held: foretold(scene, data, rows, held), 2
    )
    own = probabilities[np.arange(len(data)), labels]
    surer = (probabilities.argmax(axis=1) != labels) & (own < 0.1)
    dropped = max(min(int(surer.sum()), len(data) // 10), round(len(data) * _FEWEST_DROPPED), 1)
    return np.sort(np.argsort(own, kind="stable")[dropped:])


def foretold(scene: Scene, data: Data, rows: Any, held: Any) -> Values:
    """Probabilities (held, classes) by the story's network trained on ``rows`` of the data, at half the epochs."""
    recipe = replace(scene.story.recipe, epochs=max(3, scene.story.recipe.epochs // 2))
    name = f"fold/{data.digest}-{int(held[0])}-{len(held)}"
    fitted = scene.trained(name, recipe, data.take(rows), family=scene.story.main)
    logits = scene.logits(fitted, data.take(held)).astype(np.float64)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Values = shifted / shifted.sum(axis=1, keepdims=True)
    return found


def _experiment(scene: Scene, name: str, week: float, control: Data, tested: Data) -> None:
    """Train the same recipe on both versions of the data and compare them on the fixed test set, row by row."""
    recipe = replace(scene.story.recipe, seed=11)
    begin, arms = scene.calendar.at(week), {"control": control, "tested": tested}
    parent = scene.book.run(f"data-{name}", f"data experiment: {name}", start_at=begin, end_at=begin + 600_000)
    parent.tags["dlemm.stage"] = "data_experiment"
    logits = {}
    for number, (arm, data) in enumerate(arms.items()):
        fitted = scene.trained(
            f"data/{data.digest}", recipe, data, augmentation=scene.story.augmentation, family=scene.story.main
        )
        logits[arm] = scene.logits(fitted, scene.test)
        start = begin + 1000 * (number + 1)
        child = scene.book.run(
            f"data-{name}-{arm}",
            f"{name}: {arm}",
            start_at=start,
            end_at=start + max(1000, round(fitted.cost["duration_s"] * 1000)),
            parent=parent.key,
        )
        child.tags |= {"dlemm.stage": "trial", "dlemm.arm": arm}
        child.params |= recipe.params()
        child.inputs += [scene.use(data, "training"), scene.use(scene.test, "test")]
        child.metrics({scene.story.primary: scene.story.score(scene.test.y, logits[arm]), "data/rows": len(data)})
    gain = paired(scene, scene.test.y, logits["control"], logits["tested"])
    parent.metrics({"eval/primary_delta": gain["delta"], "eval/primary_delta_ci_low": gain["ci_low"]})
    parent.metrics({"eval/primary_delta_ci_high": gain["ci_high"]})
    parent.param(closed=iso(parent.end_at)[:10])
