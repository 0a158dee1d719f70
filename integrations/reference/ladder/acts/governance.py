"""DO1.4.1 and DO1.5.1: the inventory with release health, and a lifecycle that follows a versioned policy."""

from __future__ import annotations

from integrations.reference.ladder.book import Ref
from integrations.reference.ladder.scene import RELEASER, Scene, Whole
from integrations.reference.lifecycle import load_lifecycle

FAIL_LIMIT, BYPASS_LIMIT = 0.15, 0.02
"""Largest shares of releases that failed in service, and that went past the gate."""
REVIEW_WEEK = -2


def keep_inventory(scene: Scene) -> None:
    """Owner, risk tier and outcome of every version."""
    tier = "high" if scene.story.high_impact else "moderate" if scene.story.affects_people else "low"
    for campaign in scene.campaigns:
        version = scene.book.versions[campaign.key]
        outcome = "rolled_back" if campaign.notes.get("action") == "rollback" else "kept"
        version.tags |= {"dlemm.owner": RELEASER, "dlemm.risk_tier": tier, "dlemm.outcome": outcome}


def report_health(whole: Whole) -> None:
    """Change fail rate and gate bypasses over all projects, against their limits."""
    rows = [version for scene in whole.scenes.values() for version in scene.book.versions.values()]
    failed = sum(version.tags["dlemm.outcome"] != "kept" for version in rows)
    bypassed = sum(version.tags.get("dlemm.gate.status") != "passed" for version in rows)
    whole.book.document(
        "DO1.4.1",
        dated=whole.calendar.at(REVIEW_WEEK, hours=9),
        facts={
            "releases": len(rows),
            "failed": failed,
            "fail_rate": f"{failed / len(rows):.1%}",
            "fail_limit": f"{FAIL_LIMIT:.0%}",
            "bypassed": bypassed,
            "bypass_rate": f"{bypassed / len(rows):.1%}",
            "bypass_limit": f"{BYPASS_LIMIT:.0%}",
            "inventory": "\n".join(_line(scene) for scene in whole.scenes.values()),
            "verdict": "kept"
            if failed / len(rows) <= FAIL_LIMIT and bypassed / len(rows) <= BYPASS_LIMIT
            else "not kept: releases wait until the cause is found",
        },
        evidence=tuple(f"{key}/version:{scene.champion.key}#dlemm.owner" for key, scene in whole.scenes.items()),
    )


def _line(scene: Scene) -> str:
    """A project's line of the inventory."""
    tags = scene.book.versions[scene.champion.key].tags
    return f"| {scene.story.title} | {scene.book.model} | {tags['dlemm.owner']} | {tags['dlemm.risk_tier']} |"


def follow_policy(scene: Scene) -> None:
    """Write on every version which rule promoted it and which run the rule looked at."""
    policy = load_lifecycle()
    for campaign in scene.campaigns:
        version = scene.book.versions[campaign.key]
        action = campaign.notes.get("action", "promote")
        evidence = f"rollout-{campaign.number}"
        if evidence not in scene.book.runs:
            evidence = campaign.key
        version.tags["dlemm.decision.policy"] = policy.rule(action)
        version.tags["dlemm.decision.evidence"] = Ref("run", evidence)


def review_policy(whole: Whole) -> None:
    """What the rules led to, looked at once more: were the promotions right?"""
    policy = load_lifecycle()
    decisions = [campaign for scene in whole.scenes.values() for campaign in scene.campaigns]
    deltas = [one.notes["rollout"] for one in decisions if "rollout" in one.notes]
    worse = sum(verdict.loss_candidate > verdict.loss_champion for verdict in deltas)
    retired = len(decisions) - len(whole.scenes)
    whole.book.document(
        "DO1.5.1",
        dated=whole.calendar.at(REVIEW_WEEK, hours=11),
        facts={
            "policy": f"{policy.id}/{policy.version}",
            "promotions": sum(one.notes.get("action", "promote") == "promote" for one in decisions),
            "rollbacks": sum(one.notes.get("action") == "rollback" for one in decisions),
            "retirements": retired,
            "undecided": sum(verdict.decision == "undecided" for verdict in deltas),
            "worse": worse,
            "tests": len(deltas),
            "delta": policy.delta_at_most,
            "drop": policy.live_drop_at_least,
            "judgement": "The rules stay as they are."
            if worse <= len(deltas) / 4
            else "More than a quarter of the promoted versions lost more than their predecessor: the margin is halved.",
        },
        evidence=tuple(
            f"{key}/version:{scene.champion.key}#dlemm.decision.policy" for key, scene in whole.scenes.items()
        ),
    )
