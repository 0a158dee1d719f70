"""DO5: updates of the model. Scripted, triggered, in a chosen mode, held against the champion, approved by policy.

What triggers an update follows from what was measured before it: drift of the last full week, else new labelled rows,
else the calendar.
"""

from __future__ import annotations

import json
from math import ceil, floor
from statistics import mean
from typing import Any

from integrations.reference import pictures, staleness
from integrations.reference.ladder.book import Ref, Version
from integrations.reference.ladder.calendar import WEEKS
from integrations.reference.ladder.duels import duel
from integrations.reference.ladder.modes import JUDGED, Trial, fresh_rows, tried_modes
from integrations.reference.ladder.scene import APPROVER, RELEASER, Campaign, Scene
from integrations.reference.ladder.served import baseline_quality, quality, reference, watched
from integrations.reference.monitor import drift
from integrations.reference.staleness import Band
from integrations.reference.watching import MARKED_CHANGE

PIPELINE = "integrations.reference.ladder"
"""Entry point of the scripted training, the value of the tag ``dlemm.pipeline``."""
POLICY = "policy:update-1"
"""Approver of updates that no person looks at."""
FIRST_BY_POLICY = 4
"""Number of the first release that the policy may approve; the ones before it show how updates by hand fare."""
RETAINED = -0.02
"""Least retention that the policy accepts."""
NEW_ROWS = 0.1
"""Share of labelled rows unknown to the model in service that calls for an update."""
_NO_CONDITION = ("version", "by_policy", "failed")
_TEST_WEEK, _COMPARED_WEEK = -5.0, -9.0


def perform(scene: Scene) -> None:
    """Everything about updates, practice by practice."""
    if "DO5.1.1" in scene.rungs:
        _steps(scene)
    if "DO5.2.1" in scene.rungs:
        scene.book.common["dlemm.pipeline"] = PIPELINE
        for run in scene.trainings():
            run.tags["dlemm.pipeline"] = PIPELINE
    if "DO5.2.2" in scene.rungs:
        _ageing(scene)
    if "DO5.3.2" in scene.rungs:
        _mode_trials(scene)
    for campaign in scene.campaigns[1:]:
        _declare(scene, campaign)
    if "DO5.5.1" in scene.rungs:
        _by_policy(scene, scene.campaigns[1:])


def _declare(scene: Scene, campaign: Campaign) -> None:
    """What an update says of itself: its trigger, its mode and window, and how it compares with the champion."""
    if "DO5.3.1" in scene.rungs:
        _trigger(scene, campaign)
    if "DO5.3.2" in scene.rungs:
        mode = "sliding" if scene.story.window_weeks else "full"
        campaign.run.param(update__mode=mode, update__window_days=window_days(scene, campaign))
    if "DO5.4.1" in scene.rungs:
        _against_champion(scene, campaign)


def _steps(scene: Scene) -> None:
    """Recipe and data of the champion as a file, and the steps as a document."""
    champion, story = scene.champion, scene.story
    recipe = {**champion.notes["recipe"].params(), "family": story.main, "augmentation": story.augmentation}
    data = {"name": champion.training.name, "sha256": champion.training.sha256, "rows": len(champion.training)}
    steps = {"recipe": recipe, "data": data, "story": story.key}
    champion.run.artifacts["retraining/steps.json"] = (json.dumps(steps, indent=1, sort_keys=True) + "\n").encode()
    facts = {
        "story": story.key,
        "title": story.title,
        "run": champion.run.name,
        "data": data["name"],
        "rows": data["rows"],
        "sha256": data["sha256"],
        "recipe": "\n".join(f"| {name} | {value} |" for name, value in sorted(recipe.items())),
        "metric": story.primary,
        "score": scene.score(champion.fitted, scene.test),
        "seconds": f"{champion.fitted.cost['duration_s']:.1f}",
    }
    evidence = (f"{champion.key}#retraining/steps.json",)
    scene.book.document("DO5.1.1", dated=scene.calendar.at(champion.week), facts=facts, evidence=evidence)


def _ageing(scene: Scene) -> None:
    """The staleness test on frozen models, and the limit that follows, on every version."""
    observed = []
    tested = {0, len(scene.campaigns) // 2, len(scene.campaigns) - 1}
    for campaign in (scene.campaigns[place] for place in sorted(tested)):
        weeks = [week for week in range(ceil(campaign.week), 0) if week not in scene.story.drift_weeks]
        until = campaign.training.until
        ages = {(week - until) * 7: (quality(scene, campaign, week), baseline_quality(scene, week)) for week in weeks}
        observed += staleness.points(ages)
    bands = staleness.bands(observed)
    limit = staleness.limit_days(bands)
    start = scene.calendar.at(_TEST_WEEK)
    run = scene.book.run("staleness", "staleness test", start_at=start, end_at=start + 60_000)
    run.tags["dlemm.stage"] = "staleness"
    run.param(frozen_models=len(tested), band_days=staleness.BAND_DAYS)
    for band in bands:
        run.metric("staleness/loss", band.loss, step=band.to_days)
        run.metric("staleness/lead", band.lead.mean, step=band.to_days)
    run.metric("staleness/limit_days", limit)
    for campaign in scene.campaigns:
        if campaign.version is not None:
            campaign.version.tags["dlemm.data.until"] = scene.calendar.text(campaign.training.until)
            campaign.version.tags["dlemm.max_staleness_days"] = str(limit)
    _staleness_document(scene, bands, limit, len(tested))


def _staleness_document(scene: Scene, bands: list[Band], limit: int, models: int) -> None:
    facts = {
        "metric": scene.story.primary,
        "limit": limit,
        "models": models,
        "left_out": ", ".join(scene.calendar.day(week) for week in scene.story.drift_weeks) or "none",
        "bands": "\n".join(
            f"| {band.from_days} to {band.to_days} | {band.weeks} | {band.loss:+.4f} | {band.lead.mean:+.4f} | "
            f"{band.lead.low:+.4f} to {band.lead.high:+.4f} |"
            for band in bands
        ),
        "until": scene.calendar.day(scene.champion.training.until),
    }
    evidence = ("staleness#staleness/limit_days", f"version:{scene.champion.key}#dlemm.max_staleness_days")
    dated = scene.book.runs["staleness"].end_at
    scene.book.document("DO5.2.2", dated=dated, facts=facts, evidence=evidence)


def _trigger(scene: Scene, campaign: Campaign) -> None:
    """Why an update began: what was measured when its training started, in the order drift, data, schedule."""
    before = scene.campaigns[campaign.number - 2]
    week = max(floor(_began(scene, campaign)) - 1, ceil(before.week))
    found = drift(reference(scene, before), watched(scene, before, scene.story.stream(week)))
    furthest = max(found.values(), key=lambda change: change.psi).psi
    new = len(fresh_rows(campaign.training, before.training)) / len(campaign.training)
    trigger = "drift" if furthest > MARKED_CHANGE else "data" if new >= NEW_ROWS else "schedule"
    campaign.run.tags["dlemm.trigger"] = trigger
    campaign.run.metrics({"trigger/drift_max": furthest, "trigger/new_rows_share": new})


def _began(scene: Scene, campaign: Campaign) -> float:
    """Place of the start of a training in the calendar, in weeks."""
    return (campaign.run.start_at - scene.calendar.at(0)) / (7 * 86_400_000)


def window_days(scene: Scene, campaign: Campaign) -> int:
    """Days of data that a training looks back on: the story's window, else all since the calendar begins."""
    return round(7 * (scene.story.window_weeks or campaign.training.until + WEEKS))


def _mode_trials(scene: Scene) -> None:
    """The three ways to update, trained on what was known and judged on the weeks that followed."""
    trials, judged_on = tried_modes(scene)
    start = scene.calendar.at(_COMPARED_WEEK)
    parent = scene.book.run("update-modes", "update modes compared", start_at=start, end_at=start + 3_600_000)
    parent.tags["dlemm.stage"] = "update_strategy"
    parent.inputs.append(scene.use(judged_on, "eval"))
    for number, trial in enumerate(trials):
        begin = start + 600_000 * number
        child = scene.book.run(
            f"update-{trial.mode}",
            f"update {trial.mode}",
            start_at=begin,
            end_at=begin + max(1000, round(1000 * trial.seconds)),
            parent=parent.key,
            tags={"dlemm.stage": "trial"},
        )
        child.param(update__mode=trial.mode, update__window_days=trial.window_days, seed=trial.seed)
        child.inputs += [scene.use(trial.data, "training"), scene.use(judged_on, "eval")]
        child.metrics({"update/quality": trial.quality, "update/rows": len(trial.data)})
    lines = {trial.mode: trial.by_week for trial in trials}
    chart = scene.picture(pictures.update_comparison, list(JUDGED), lines, metric=scene.story.primary)
    parent.artifacts["figures/update_modes.png"] = chart
    rows = [_row(scene, trial, judged_on.digest) for trial in trials]
    parent.report("update_strategy", {"evaluation": judged_on.name}, rows)


def _row(scene: Scene, trial: Trial, evaluation: str) -> dict[str, object]:
    return {
        "mode": trial.mode,
        "evaluation": evaluation,
        "time_ordered": True,
        "metric": scene.story.primary,
        "value": trial.quality,
        "ci_low": trial.low,
        "ci_high": trial.high,
        "window_days": trial.window_days,
        "rows": len(trial.data),
        "train_s": trial.seconds,
    }


def _against_champion(scene: Scene, campaign: Campaign) -> None:
    """The update against the version that it replaced."""
    fought = duel(scene, campaign)
    champion = scene.campaigns[campaign.number - 2]
    campaign.run.tags["dlemm.challenger_of"] = Ref("version", champion.key)
    campaign.run.metrics(
        {
            "eval/delta_vs_champion": fought["delta"],
            "eval/delta_vs_champion_ci_low": fought["ci_low"],
            "eval/delta_vs_champion_ci_high": fought["ci_high"],
            "eval/backward_transfer": fought["backward_transfer"],
        }
    )


def _by_policy(scene: Scene, updates: list[Campaign]) -> None:
    """The policy's verdict on each update that it may approve, and how its updates fared beside those by hand."""
    rows = []
    for campaign in updates:
        if campaign.version is None:
            continue
        met = _conditions(scene, campaign)
        by_policy = campaign.number >= FIRST_BY_POLICY and all(met.values())
        if by_policy:
            _approve(scene, campaign)
        rows.append({"version": campaign.key, "by_policy": by_policy, "failed": failed(campaign.version), **met})
    scene.champion.run.report("update_policy", {"policy": POLICY, "first_release": FIRST_BY_POLICY}, rows)
    _policy_document(scene, rows)


def _approve(scene: Scene, campaign: Campaign) -> None:
    """Approve by policy: the pipeline, and no person, took the second look."""
    if campaign.version is not None:
        campaign.version.tags["dlemm.approved_by"] = POLICY
    look = scene.book.runs.get(f"approve-{campaign.number}")
    if look is not None:
        look.tags["mlflow.user"] = RELEASER


def _conditions(scene: Scene, campaign: Campaign) -> dict[str, bool]:
    """The conditions of the policy, and whether an update met them."""
    tags, fought = campaign.version.tags if campaign.version else {}, duel(scene, campaign)
    shadow = campaign.notes.get("rollout")
    return {
        "automatic trigger": campaign.run.tags.get("dlemm.trigger") in ("schedule", "data", "drift", "ci"),
        "gate passed": tags.get("dlemm.gate.status") == "passed",
        "released by pipeline": tags.get("dlemm.release.actor") == "ci",
        "shadow test not lost": shadow is not None and shadow.decision != "rollback",
        "retention kept": fought["backward_transfer"] >= RETAINED,
    }


def failed(version: Version) -> bool:
    """Whether a release failed: rolled back or repaired in haste."""
    return version.tags.get("dlemm.outcome") in ("rolled_back", "hotfixed") or "dlemm.rolled_back_at" in version.tags


def _policy_document(scene: Scene, rows: list[dict[str, Any]]) -> None:
    """Change fail rates of the updates by policy and by hand, side by side."""
    groups = {kind: [row["failed"] for row in rows if row["by_policy"] is kind] for kind in (True, False)}
    rates = {kind: f"{mean(found):.0%}" if found else "none to judge" for kind, found in groups.items()}
    lines = [
        f"| {row['version']} | {'policy' if row['by_policy'] else APPROVER} | "
        f"{', '.join(name for name, met in row.items() if met is False and name not in _NO_CONDITION) or 'none'} | "
        f"{'failed' if row['failed'] else 'held'} |"
        for row in rows
    ]
    facts = {
        "policy": POLICY,
        "first": FIRST_BY_POLICY,
        "retained": -RETAINED,
        "rows": "\n".join(lines),
        "automatic": len(groups[True]),
        "automatic_rate": rates[True],
        "manual": len(groups[False]),
        "manual_rate": rates[False],
    }
    evidence = (f"{scene.champion.key}#reports/update_policy.json", f"version:{scene.champion.key}#dlemm.approved_by")
    scene.book.document("DO5.5.1", dated=scene.calendar.at(-2.0), facts=facts, evidence=evidence)
