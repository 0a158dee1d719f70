"""MD5: what a model is for, how it decides, whom it serves less well, and the file that proves it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from integrations.reference import counting, export, judging, pictures
from integrations.reference.explain import grad_cam, integrated_gradients, overlap, random_maps, spatial
from integrations.reference.ladder.book import Run
from integrations.reference.ladder.packages import program
from integrations.reference.ladder.scene import Campaign, Scene, Whole
from integrations.reference.stories.base import Data, Flags

FAIRNESS_LIMIT = 0.10
"""Declared upper bound of the gap of the primary metric between two groups."""
FIXED_SAMPLE = 8
"""Cases explained for every release: always the same ones."""
EXPERT_CASES = 60


SAME = 1e-6
"""Difference of a metric between a network and its stored program that is none."""


def perform(scene: Scene) -> None:
    """Cards, explanations and fairness of every release."""
    story = scene.story
    if "MD5.1.1" in scene.rungs:
        _intended_use(scene)
    for campaign in scene.campaigns:
        if "MD5.2.1" in scene.rungs:
            campaign.run.artifacts["model_card.md"] = model_card(scene, campaign).encode()
        if story.high_impact:
            _explain(scene, campaign)
        if story.affects_people and campaign.evaluation is not None:
            _fairness(scene, campaign, campaign.evaluation)
        if "MD5.5.1" in scene.rungs:
            _technical_file(scene, campaign)
    if "MD5.3.1" in scene.rungs and story.high_impact:
        _expert_record(scene)
    _waive(scene)


def perform_once(whole: Whole) -> None:
    """The yearly review of the technical files."""
    if "MD5.5.1" not in whole.rungs:
        return
    checked, actions = [], []
    for key, scene in whole.scenes.items():
        agreeing, figures = _recomputed(scene)
        checked.append(f"| {key} | {len(scene.campaigns)} | {figures} | {agreeing} |")
        first, last = (json.loads(c.run.artifacts["reports/technical_file.json"])["rows"] for c in _ends(scene))
        open_then = sum(not row["filled"] for row in first)
        open_now = sum(not row["filled"] for row in last)
        actions.append(f"| {key} | {open_then} | {open_now} |")
    whole.book.document(
        "MD5.5.1",
        dated=whole.calendar.at(-8),
        facts={"checked": "\n".join(checked), "actions": "\n".join(actions), "limit": FAIRNESS_LIMIT},
        evidence=tuple(f"{key}/{scene.champion.key}#technical_file/index.md" for key, scene in whole.scenes.items()),
    )


def _ends(scene: Scene) -> tuple[Campaign, Campaign]:
    return scene.campaigns[0], scene.champion


def _waive(scene: Scene) -> None:
    """What the model asks of high-impact models, or of those that affect people, where this story is neither."""
    story, rungs = scene.story, scene.rungs
    lower = "a wrong answer costs a correction, harms nobody and is undone"
    if not story.high_impact and "MD5.2.2" in rungs:
        scene.book.waive("MD5.2.2", f"{story.title}: no high-impact model; {lower}")
    if not story.high_impact and "MD5.3.1" in rungs:
        scene.book.waive("MD5.3.1", f"{story.title}: no high-impact model; {lower}")
    if not story.affects_people and "MD5.3.2" in rungs:
        scene.book.waive("MD5.3.2", f"{story.title}: the rows describe no people, and nobody is treated by the answer")
    if "MD5.4.1" in rungs and not story.high_impact:
        on = "MD5.4.1/1" if story.affects_people else "MD5.4.1"
        scene.book.waive(on, f"{story.title}: no high-impact model, so no expert marks regions; {lower}")


def _intended_use(scene: Scene) -> None:
    story, champion = scene.story, scene.champion
    predict, test = judging.predictor(champion.fitted.model), scene.test
    slices = _primary_of(judging.by_slice(story, test, predict(test.x)), story.primary)
    stresses = judging.under_stress(story, predict)
    weakest, hardest = min(slices, key=lambda k: slices[k]), min(stresses, key=lambda k: stresses[k])
    facts = {
        "title": story.title,
        "goal": story.goal,
        "modality": story.modality,
        "unit": story.unit,
        "source": story.source,
        "primary": story.primary,
        "score": scene.score(champion.fitted, test),
        "weakest": weakest.split("/")[2],
        "weakest_score": slices[weakest],
        "hardest": judging.name_of(hardest),
        "hardest_score": stresses[hardest],
        "classes": story.classes,
    }
    scene.book.document("MD5.1.1", dated=scene.calendar.at(-10), facts=facts, evidence=(champion.key,))


def _primary_of(metrics: Mapping[str, float], primary: str) -> dict[str, float]:
    return {key: value for key, value in metrics.items() if judging.name_of(key) == judging.name_of(primary)}


def model_card(scene: Scene, campaign: Campaign) -> str:
    """The card of a release in Markdown: use, data, metrics, limits, every figure as it was logged."""
    story, fitted, run = scene.story, campaign.fitted, campaign.evaluation
    logged = {point.key: point.value for point in run.points} if run else {}
    shown = [f"| {key} | {value:.4f} |" for key, value in sorted(logged.items()) if key.startswith("eval/")]
    weak = _primary_of({key: v for key, v in logged.items() if "/slice/" in key}, story.primary)
    limits = (
        f"Weakest on the slice {min(weak, key=lambda k: weak[k]).split('/')[2]} ({min(weak.values()):.4f})."
        if weak
        else "Its quality on parts of the test rows was not measured."
    )
    return CARD.format(
        title=story.title,
        run=campaign.key,
        goal=story.goal,
        modality=story.modality,
        source=story.source,
        rows=len(campaign.training),
        digest=campaign.training.digest,
        test_rows=len(scene.test),
        test_digest=scene.test.digest,
        metrics="\n".join(shown),
        limits=limits,
        classes=story.classes,
        parameters=counting.parameters(fitted.model),
        flops=counting.flops(fitted.model, story.shape),
        epochs=len(fitted.history),
        seconds=fitted.cost["duration_s"],
        device=fitted.device,
    )


CARD = """# {title}: {run}

## Intended use

{goal} Input: {modality}.

## Data

Trained on {rows} rows (digest {digest}) of {source}. Judged on {test_rows} fixed rows (digest {test_digest}), of which
none was trained on.

## Metrics

| Metric | Value |
|---|---|
{metrics}

## Size and cost

{parameters} parameters, {flops} floating-point operations a row, {epochs} epochs in {seconds:.2f} s on {device}.

## Limits

{limits} The model always answers with one of {classes} classes, also for inputs that belong to none. Inputs from other
sources than the one above were not tested. It gives an order of attention; it decides nothing by itself.
"""


def _explain(scene: Scene, campaign: Campaign) -> None:
    """Explanations of the fixed sample, and how far they agree with what experts marked."""
    if "MD5.2.2" in scene.rungs:
        campaign.run.artifacts |= _explained(scene, campaign)
    if "MD5.3.1" in scene.rungs and campaign.evaluation is not None:
        campaign.evaluation.metrics(_expert_overlap(scene, campaign))


def _explained(scene: Scene, campaign: Campaign) -> dict[str, bytes]:
    """Maps of what speaks for class 1 in the fixed sample, by integrated gradients and by Grad-CAM, as pictures too."""
    marked, regions = _marked(scene)
    sample = marked.take(np.arange(FIXED_SAMPLE))
    model = campaign.fitted.model
    maps = spatial(integrated_gradients(model, sample.x, 1))
    file = io.BytesIO()
    np.save(file, maps.astype(np.float32))
    about = {
        "method": "integrated gradients",
        "cases": sample.row_hashes(),
        "strongest_point": [list(map(int, np.unravel_index(one.argmax(), one.shape))) for one in maps],
    }
    found = {"explain/maps.npy": file.getvalue(), "explain/sample.json": (json.dumps(about, indent=1) + "\n").encode()}
    if campaign is scene.champion:
        for name, shown in (("integrated_gradients", maps), ("grad_cam", grad_cam(model, sample.x, 1, pointwise=True))):
            found[f"explain/{name}.png"] = _overlays(scene, sample, shown, regions, name)
    return found


def _overlays(scene: Scene, sample: Data, maps: Any, regions: Flags, name: str) -> bytes:
    """The fixed sample under its maps, with the regions that the generator of the phantoms marked."""
    names = [f"case {number}" for number in range(1, FIXED_SAMPLE + 1)]
    title = {"grad_cam": "Grad-CAM", "integrated_gradients": "Integrated gradients"}[name]
    return scene.picture(
        pictures.map_overlays,
        sample.x[:, 0],
        maps,
        names,
        regions=regions[:FIXED_SAMPLE],
        title=f"{title}, marks in green",
    )


def _marked(scene: Scene) -> tuple[Data, Flags]:
    """The cases that experts marked, with the regions; raises ``ValueError`` for a story without them."""
    found = scene.story.regions()
    if found is None:
        raise ValueError(f"{scene.story.key} is of high impact, but no expert has marked its cases")
    return found


def _expert_overlap(scene: Scene, campaign: Campaign) -> dict[str, float]:
    """The pointing game on the first marked cases, with points drawn at random as its control."""
    data, regions = _marked(scene)
    x, marked = data.x[:EXPERT_CASES], regions[:EXPERT_CASES]

    def work() -> dict[str, float]:
        found = overlap(spatial(integrated_gradients(campaign.fitted.model, x, 1)), marked)
        chance = overlap(random_maps(marked.shape), marked)
        return {
            "explain/cases": float(len(marked)),
            "explain/expert_overlap": found.hit_rate,
            "explain/expert_iou": found.mean_iou,
            "explain/control_random": chance.hit_rate,
        }

    seed = campaign.notes["recipe"].seed
    return dict(scene.work.once(f"experts/{campaign.training.digest}-{seed}", work))


def _expert_record(scene: Scene) -> None:
    rows = []
    for campaign in scene.campaigns:
        found = _expert_overlap(scene, campaign)
        rows.append(f"| {campaign.run.name} | {found['explain/cases']:.0f} | {found['explain/expert_overlap']:.3f} |")
    facts = {"title": scene.story.title, "table": "\n".join(rows)}
    evidence = tuple(f"evaluate-{campaign.key}#explain/expert_overlap" for campaign in scene.campaigns)
    scene.book.document("MD5.3.1", dated=scene.calendar.at(-10), facts=facts, evidence=evidence)


def _fairness(scene: Scene, campaign: Campaign, run: Run) -> None:
    """Metrics of every declared group, and the largest gap between two of them against its limit."""
    if "MD5.3.2" not in scene.rungs:
        return
    test = scene.test
    found = judging.by_group(scene.story, test, scene.logits(campaign.fitted, test))
    run.metrics(found)
    if "MD5.4.1" in scene.rungs:
        run.metric("fairness/max_gap", judging.largest_gap(scene.story, found))
        run.tags["dlemm.fairness.limit"] = str(FAIRNESS_LIMIT)


def _technical_file(scene: Scene, campaign: Campaign) -> None:
    """The technical file of a release, generated from what its runs hold; every section says where it is from."""
    sections = technical_sections(scene, campaign)
    rows = [
        {"section": name, "required": True, "filled": bool(text), "characters": len(text)}
        for name, text in sections.items()
    ]
    campaign.run.report("technical_file", {"source_run": campaign.key}, rows)
    body = "\n".join(
        f"## {name}\n\n{text or 'Nothing is tracked for this section.'}\n" for name, text in sections.items()
    )
    page = f"# Technical file: {scene.story.title}, {campaign.key}\n\nGenerated from the tracked runs.\n\n{body}"
    campaign.run.artifacts["technical_file/index.md"] = page.encode()


def technical_sections(scene: Scene, campaign: Campaign) -> dict[str, str]:
    """The required sections with what the tracked runs hold for them; empty where they hold nothing."""
    story, run, evaluation = scene.story, campaign.run, campaign.evaluation
    logged: dict[str, Any] = {point.key: point.value for point in evaluation.points} if evaluation else {}

    def table(prefix: str) -> str:
        return "\n".join(f"- {key}: {value:.4f}" for key, value in sorted(logged.items()) if key.startswith(prefix))

    released = dict(campaign.version.tags) if campaign.version else {}
    return {
        "Purpose": f"{story.goal} Input: {story.modality}." if story.goal else "",
        "Training data": "\n".join(f"- {u.context}: {u.dataset.name}, digest {u.dataset.digest}" for u in run.inputs),
        "Method and settings": "\n".join(f"- {key}: {value}" for key, value in sorted(run.params.items())),
        "Code": str(run.tags.get("mlflow.source.git.commit", "")),
        "Quality": table(story.primary) + "\n" + table("eval/primary_ci") if logged else "",
        "Slices": table("eval/slice/"),
        "Robustness": table("eval/robust/"),
        "Release": "\n".join(f"- {key}: {value}" for key, value in sorted(released.items()) if isinstance(value, str)),
    }


def _recomputed(scene: Scene) -> tuple[int, int]:
    """How many primary figures of the releases agree with the networks judged again, and how many there are."""
    agreeing = 0
    for campaign in scene.campaigns:
        stored = export.load_program(program(scene, campaign.fitted))
        again = scene.story.score(scene.test.y, stored(scene.test.x))
        logged = campaign.evaluation.value(scene.story.primary) if campaign.evaluation else float("nan")
        agreeing += abs(again - logged) < SAME
    return agreeing, len(scene.campaigns)
