"""DG6 of the model: what production teaches comes back as training data, at a known speed and yield.

Errors, logged predictions and cases are those of the released models on the traffic of their weeks. The feedback of a
retraining are the rows of its training data that had passed through the service first and got their class later.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from integrations.reference.checks import check, learn
from integrations.reference.ladder.book import Ref
from integrations.reference.ladder.calendar import FIRST_RELEASE, iso
from integrations.reference.ladder.duels import duel
from integrations.reference.ladder.scene import APPROVER, TRAINER, Campaign, Scene
from integrations.reference.stories.base import Data

ANSWER_DAYS = 5
"""Working days within which the owner of the feedback channel answers."""
_GRID_WEEKS = 0.25
_MOST_ERRORS = 200


def perform(scene: Scene) -> None:
    """Do what the practices of DG6 ask."""
    if "DG6.1.1" in scene.rungs:
        _errors(scene)
    if "DG6.2.1" in scene.rungs:
        _log(scene)
    if "DG6.2.2" in scene.rungs:
        _channel(scene)
    if "DG6.3.1" in scene.rungs:
        _feedback(scene)
    if "DG6.3.2" in scene.rungs:
        _hard_cases(scene)
    if "DG6.4.1" in scene.rungs:
        _speed_and_yield(scene)
    if "DG6.5.1" in scene.rungs:
        _allocation(scene)


def mistakes(scene: Scene, week: int) -> list[dict[str, Any]]:
    """Wrong predictions of the champion in the traffic of a week: ``date``, ``input``, ``predicted``, ``known``."""
    traffic = scene.story.stream(week)
    predicted = scene.logits(scene.champion.fitted, traffic).argmax(axis=1)
    wrong = np.flatnonzero(predicted != traffic.y)[:_MOST_ERRORS]
    inputs = traffic.take(wrong).row_hashes()
    date = scene.calendar.day(week + 1)
    return [
        {"date": date, "input": inputs[n][:16], "predicted": int(predicted[row]), "known": int(traffic.y[row])}
        for n, row in enumerate(wrong)
    ]


def _table(rows: list[dict[str, Any]]) -> bytes:
    columns = list(rows[0]) if rows else ["date"]
    return "".join(",".join(map(str, line)) + "\n" for line in [columns, *(row.values() for row in rows)]).encode()


def _errors(scene: Scene) -> None:
    start = scene.calendar.at(-1, hours=100)
    found = [row for week in (-4, -3, -2) for row in mistakes(scene, week)]
    run = scene.book.run("errors", "errors of the last weeks", start_at=start, end_at=start + 60_000)
    run.tags["dlemm.stage"] = "feedback"
    run.artifacts["errors.csv"] = _table(found)
    run.metrics({"feedback/errors": len(found)})
    shown = [f"| {row['date']} | {row['input']} | {row['predicted']} | {row['known']} |" for row in found[:12]]
    facts = {
        "count": len(found),
        "rows": "\n".join(shown) or "| none | none | none | none |",
        "model": scene.book.model,
        "version": scene.champion.number,
        "from": scene.calendar.day(-4),
        "to": scene.calendar.day(-1),
        "owner": TRAINER,
    }
    scene.book.document(
        "DG6.1.1", dated=run.end_at, facts=facts, evidence=("errors#errors.csv", "errors#feedback/errors")
    )


def _log(scene: Scene) -> None:
    """Predict the traffic of the last full week and log each answer with version, time and input reference."""
    traffic = scene.story.stream(-1)
    predicted = scene.logits(scene.champion.fitted, traffic).argmax(axis=1)
    begin, inputs = scene.calendar.at(-1), traffic.row_hashes()
    version = f"{scene.book.model}/{scene.champion.number}"
    rows = [
        {"time": iso(begin + number * 7 * 86_400_000 // len(traffic)), "version": version, "input": inputs[number][:16]}
        | {"predicted": int(answer)}
        for number, answer in enumerate(predicted)
    ]
    start = scene.calendar.at(-1, hours=164)
    run = scene.book.run("prediction-log", "predictions of the last week", start_at=start, end_at=start + 60_000)
    run.tags |= {"dlemm.stage": "monitor", "dlemm.model_version": Ref("version", scene.champion.key)}
    run.artifacts["predictions.csv"] = _table(rows)
    run.metrics({"ops/predictions_logged": len(rows)})


def _channel(scene: Scene) -> None:
    """The channel for disputed predictions, with the last three cases that came in by it and how they were settled."""
    start = scene.calendar.at(-1, hours=120)
    week = next((week for week in (-2, -3, -4, -5, -6) if len(mistakes(scene, week)) >= 3), -2)
    cases = mistakes(scene, week)[:3]
    run = scene.book.run("feedback-channel", "cases of the feedback channel", start_at=start, end_at=start + 60_000)
    run.tags |= {"dlemm.stage": "feedback", "dlemm.feedback.owner": TRAINER}
    run.artifacts["cases.csv"] = _table(cases)
    run.metrics({"feedback/cases": len(cases)})
    run.param(answer_target_days=ANSWER_DAYS)
    facts = {
        "owner": TRAINER,
        "deputy": APPROVER,
        "days": ANSWER_DAYS,
        "cases": "\n".join(f"| {c['date']} | {c['input']} | {c['predicted']} | {c['known']} |" for c in cases)
        or "| none | none | none | none |",
        "model": scene.book.model,
    }
    evidence = ("feedback-channel#cases.csv", "feedback-channel#dlemm.feedback.owner")
    scene.book.document("DG6.2.2", dated=run.end_at, facts=facts, evidence=evidence)


def feedback(scene: Scene, campaign: Campaign) -> Data:
    """The rows of a retraining that came in after the first release: the service saw them before they had a class."""
    known = set(scene.campaigns[0].training.row_hashes())
    fresh = np.array([digest not in known for digest in campaign.training.row_hashes()])
    return campaign.training.take(fresh, f"{scene.story.key}/feedback-{campaign.number}")


def _feedback(scene: Scene) -> None:
    """Feedback is held to the expectations of all training data, versioned by its digest and named as an input.

    It may go into training only while hard cases are set aside for evaluation; else nobody could tell learning from
    remembering.
    """
    if "DG6.3.2" not in scene.rungs:
        return
    expectations = learn(scene.story, scene.story.training(FIRST_RELEASE - 1.0))
    for campaign in scene.campaigns[1:]:
        rows = feedback(scene, campaign)
        checked = check(scene.story, expectations, rows, (scene.validation, scene.test))
        run = campaign.run
        run.metrics({"feedback/rows": len(rows), "feedback/expectations_failed": len(checked.failed)})
        if len(rows):
            tags = {"dlemm.dataset.origin": "production_feedback", "dlemm.dataset.part_of": campaign.training.digest}
            run.inputs.append(scene.use(rows, "training", tags))


def _hard_cases(scene: Scene) -> None:
    """Every release judged on the curated hard cases, which no training has seen."""
    hard = scene.test.take(scene.test.slices["hard_cases"], f"{scene.story.key}/hard_cases")
    failed = np.zeros(len(hard), dtype=np.bool_)
    for campaign in scene.campaigns:
        answered = scene.logits(campaign.fitted, hard)
        failed |= answered.argmax(axis=1) != hard.y
        score = scene.story.score(hard.y, answered)
        campaign.run.metric(f"eval/slice/hard_cases/{scene.story.primary.removeprefix('eval/')}", score)
    start = scene.calendar.at(-1, hours=165)
    run = scene.book.run("hard-cases", "hard cases of all releases", start_at=start, end_at=start + 60_000)
    run.tags |= {"dlemm.stage": "hard_cases", "dlemm.hard_cases.version": hard.digest}
    run.inputs.append(scene.use(hard, "test"))
    run.metrics({"hard_cases/rows": len(hard), "hard_cases/ever_failed": int(failed.sum())})
    rows = [{"slice": name, "n": int(marks.sum())} for name, marks in sorted(scene.test.slices.items())]
    run.report("slices", {"hard_cases_version": hard.digest, "ever_failed": int(failed.sum())}, rows)


def lag_days(scene: Scene, campaign: Campaign) -> float:
    """Median days from the prediction of a feedback row to its being in a version of the training data.

    Found by asking what the training data would have been every quarter of a week: a row that is new there was
    predicted as long before as its class takes to be known.
    """
    begin = _week_of(scene, campaign.run.start_at)
    known = set(scene.campaigns[campaign.number - 2].training.row_hashes())
    wanted = {digest for digest in campaign.training.row_hashes() if digest not in known}
    lags: list[float] = []
    place = _week_of(scene, scene.campaigns[campaign.number - 2].run.start_at)
    while wanted and place < begin:
        place = min(place + _GRID_WEEKS, begin)
        data = scene.story.training(place)
        new = wanted.intersection(data.row_hashes())
        delay = place - data.until
        lags += [7 * (begin - place + delay)] * len(new)
        wanted -= new
    return float(np.median(lags)) if lags else 0.0


def _week_of(scene: Scene, ms: int) -> float:
    """The place of a moment in the calendar, in weeks."""
    return (ms - scene.calendar.at(0.0)) / (7 * 86_400_000)


def _speed_and_yield(scene: Scene) -> None:
    """How long feedback took, and what each retraining gained over the champion before it, with an interval."""
    for campaign in scene.campaigns[1:]:
        name = f"lag/{campaign.training.digest}-{scene.campaigns[campaign.number - 2].training.digest}"
        lag = scene.work.once(name, partial(lag_days, scene, campaign))
        campaign.run.metric("dq/feedback_lag_days", lag, at=campaign.run.start_at)
        gain = duel(scene, campaign)
        logged = {point.key for point in campaign.run.points}
        for key, of in (("eval/delta_vs_champion", "delta"), ("eval/delta_vs_champion_ci_low", "ci_low")):
            if key not in logged:
                campaign.run.metric(key, gain[of])


def _allocation(scene: Scene) -> None:
    """Where the next half-year's effort goes, by what each kind of effort gained in this one."""
    gains = [duel(scene, campaign) for campaign in scene.campaigns[1:]]
    proven = sum(gain["ci_low"] > 0 for gain in gains)
    feedback_gain = float(np.median([gain["delta"] for gain in gains]))
    runs = scene.book.runs
    cleaning = runs["data-cleaning"].value("eval/primary_delta") if "data-cleaning" in runs else 0.0
    search = runs["policy-search"].value("search/delta") if "policy-search" in runs else 0.0
    effort = {"acquisition and labelling": feedback_gain, "cleaning": cleaning, "augmentation": search}
    shares = _shares(effort)
    start = scene.calendar.at(-1, hours=140)
    run = scene.book.run("allocation", "allocation by measured gain", start_at=start, end_at=start + 60_000)
    run.tags["dlemm.stage"] = "allocation"
    run.metrics({"flywheel/cycles": len(gains), "flywheel/cycles_proven": proven})
    run.metrics({f"flywheel/share/{name.replace(' ', '_')}": share for name, share in shares.items()})
    facts = {
        "cycles": len(gains),
        "proven": proven,
        "rows": "\n".join(f"| {name} | {effort[name]:+.4f} | {shares[name]:.0%} |" for name in effort),
        "intervals": "\n".join(
            f"| {campaign.key} | {gain['delta']:+.4f} | {gain['ci_low']:+.4f} to {gain['ci_high']:+.4f} |"
            for campaign, gain in zip(scene.campaigns[1:], gains, strict=True)
        ),
        "metric": scene.story.primary,
        "approver": APPROVER,
    }
    evidence = ("allocation#flywheel/cycles_proven", f"{scene.champion.key}#eval/delta_vs_champion_ci_low")
    scene.book.document("DG6.5.1", dated=run.end_at, facts=facts, evidence=evidence)


def _shares(effort: dict[str, float]) -> dict[str, float]:
    """A tenth of the budget for each kind, the rest in proportion to its gain; evenly when nothing gained."""
    positive = {name: max(gain, 0.0) for name, gain in effort.items()}
    total = sum(positive.values())
    rest = 1.0 - 0.1 * len(effort)
    return {name: 0.1 + rest * (gain / total if total else 1 / len(effort)) for name, gain in positive.items()}
