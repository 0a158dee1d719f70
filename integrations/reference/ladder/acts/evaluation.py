"""MD4: every release is judged on held-out rows before it goes live, and its failures become tests."""

from __future__ import annotations

from integrations.reference import judging
from integrations.reference.gate import Rule, judge
from integrations.reference.ladder.book import Ref, Run
from integrations.reference.ladder.calendar import WEEKS
from integrations.reference.ladder.scene import Campaign, Scene

GATE = "reference-gate/1"
"""Name and version of the thresholds; a change of one is a new version."""
RULES = (
    Rule("gate/delta_vs_baseline", at_least=0.0),
    Rule("gate/delta_vs_champion", at_least=-0.03),
    Rule("gate/worst_stress_share", at_least=0.5),
)
"""A release beats the simple baseline, falls behind the version in service by three points at most, and keeps half of
its quality under every stress."""
REGRESSION_DAYS = 6
_HOUR, _DAY = 3_600_000, 86_400_000  # ms


def perform(scene: Scene) -> None:
    """Judge every release, in order."""
    story = scene.story
    scene.shared.setdefault("gates", {})
    if scene.rungs.step > 1:
        scene.shared["declared"] = {
            "dlemm.impact": "high" if story.high_impact else "limited",
            "dlemm.affects_people": str(story.affects_people).lower(),
        }
    for number, campaign in enumerate(scene.campaigns):
        score = scene.score(campaign.fitted, scene.test)
        if "MD4.1.1" in scene.rungs:
            campaign.run.metric(f"test/{judging.name_of(story.primary)}", score)
        if "MD4.2.1" in scene.rungs:
            campaign.run.metric(story.primary, score)
        if scene.rungs.step > 1:
            _evaluate(scene, campaign)
            before = scene.campaigns[number - 1] if number else None
            if "MD4.3.1" in scene.rungs:
                _gate(scene, campaign, before)
    _documents(scene)


def perform_late(scene: Scene) -> None:
    """Every closed incident of the model becomes a regression test."""
    if "MD4.5.1" not in scene.rungs:
        return
    closed = [row for row in scene.book.incidents if row["closed_at"] is not None and row["kind"] == "model"]
    names = [_regression(scene, row["incident"], row["opened_at"]) for row in closed]
    months = sorted(int(row["opened_at"]) for row in scene.book.incidents)
    half = (scene.calendar.at(-WEEKS) + scene.calendar.now) // 2
    facts = {
        "title": scene.story.title,
        "tests": "\n".join(names),
        "incidents": len(months),
        "first_half": sum(at < half for at in months),
        "second_half": sum(at >= half for at in months),
        "days": REGRESSION_DAYS,
    }
    evidence = tuple(f"regression-{row['incident']}" for row in closed)
    scene.book.document("MD4.5.1", dated=scene.calendar.at(-1), facts=facts, evidence=evidence)


def _evaluate(scene: Scene, campaign: Campaign) -> None:
    """A run of its own on the fixed test rows, linked to the version."""
    story, test = scene.story, scene.test
    start = campaign.run.end_at + _HOUR
    run = scene.book.run(
        f"evaluate-{campaign.key}",
        f"{campaign.run.name} on the test rows",
        start_at=start,
        end_at=start + 5000,
        tags={"dlemm.model_version": Ref("version", campaign.key)},
    )
    campaign.evaluation = run
    logits = scene.logits(campaign.fitted, test)
    run.inputs.append(scene.use(test, "test"))
    run.metrics(judging.ordinary(story, test, logits))
    if "MD4.2.1" in scene.rungs:
        _declare(run, story.primary)
        _declare(campaign.run, story.primary)
        run.tags["dlemm.stage"] = "evaluate"
    if "MD4.2.2" in scene.rungs:
        run.metrics(judging.by_slice(story, test, logits))
    if "MD4.3.2" in scene.rungs:
        run.metrics(_stressed(scene, campaign))
    if "MD4.4.1" in scene.rungs:
        low, high = judging.interval(story, test.y, logits)
        run.metrics({"eval/primary_ci_low": low, "eval/primary_ci_high": high})


def _declare(run: Run, primary: str) -> None:
    run.tags |= {"dlemm.primary_metric": primary, "dlemm.primary_metric.greater_is_better": "true"}


def _stressed(scene: Scene, campaign: Campaign) -> dict[str, float]:
    """Metrics under every stress, measured once."""
    if "stressed" not in campaign.notes:
        predict = judging.predictor(campaign.fitted.model)
        campaign.notes["stressed"] = judging.under_stress(scene.story, predict)
    found: dict[str, float] = campaign.notes["stressed"]
    return found


def _gate(scene: Scene, campaign: Campaign, champion: Campaign | None) -> None:
    """Hold a release to the thresholds, against the baseline and the version in service; the verdict goes with it."""
    run = campaign.evaluation
    if run is None:
        return
    own, test = scene.score(campaign.fitted, scene.test), scene.test
    baseline = scene.score(scene.shared["fits"]["baseline"][0], test)
    measured = {
        "gate/delta_vs_baseline": own - baseline,
        "gate/worst_stress_share": min(_stressed(scene, campaign).values()) / own,
    }
    if champion is not None:
        measured["gate/delta_vs_champion"] = own - scene.score(champion.fitted, test)
    rules = [rule for rule in RULES if champion is not None or rule.metric != "gate/delta_vs_champion"]
    verdict = judge(GATE, rules, measured)
    run.metrics(measured)
    tags = {
        "dlemm.gate.policy": verdict.policy,
        "dlemm.gate.status": verdict.status,
        "dlemm.gate.at": scene.calendar.text(campaign.week, hours=-2),
    }
    if verdict.broken:
        tags["dlemm.gate.reason"] = "; ".join(verdict.broken)
    scene.shared["gates"][campaign.key] = tags


def _regression(scene: Scene, incident: str, opened_at: int) -> str:
    """Test the version in service on the rows of the incident's kind: the hard cases, which it joined."""
    start = min(opened_at + REGRESSION_DAYS * _DAY, scene.calendar.now - _HOUR)
    served = [campaign for campaign in scene.campaigns if scene.calendar.at(campaign.week) <= start]
    campaign = served[-1] if served else scene.campaigns[0]
    hard = scene.test.take(scene.test.slices["hard_cases"], f"{scene.test.name}-{incident}")
    score = scene.story.score(hard.y, scene.logits(campaign.fitted, hard))
    run = scene.book.run(
        f"regression-{incident}",
        f"regression test {incident}",
        start_at=start,
        end_at=start + 2000,
        tags={"dlemm.stage": "evaluate", "dlemm.incident": incident},
    )
    run.inputs.append(scene.use(hard, "test"))
    run.metric(f"eval/regression/{incident}", score)
    return f"| {incident} | {campaign.run.name} | {len(hard)} | {score:.4f} |"


def _documents(scene: Scene) -> None:
    champion, story, test = scene.champion, scene.story, scene.test
    score = scene.score(champion.fitted, test)
    common = {"title": story.title, "primary": story.primary, "test_rows": len(test), "test_digest": test.digest}
    if "MD4.1.1" in scene.rungs:
        facts = {
            **common,
            "run": champion.key,
            "training_rows": len(champion.training),
            "shared": len(set(test.row_hashes()) & set(champion.training.row_hashes())),
            "score": score,
            "seen": scene.score(champion.fitted, champion.training),
            "baseline": scene.score(scene.shared["fits"]["baseline"][0], test),
        }
        evidence = (f"{champion.key}#test/{judging.name_of(story.primary)}",)
        scene.book.document("MD4.1.1", dated=scene.calendar.at(-10), facts=facts, evidence=evidence)
    if "MD4.2.1" in scene.rungs:
        scores = [f"- {c.run.name}: {scene.score(c.fitted, test):.4f}" for c in scene.campaigns]
        facts = {**common, "goal": story.goal, "scores": "\n".join(scores)}
        evidence = (f"evaluate-{champion.key}#{story.primary}", f"{champion.key}#dlemm.primary_metric")
        scene.book.document("MD4.2.1", dated=scene.calendar.at(-10), facts=facts, evidence=evidence)
