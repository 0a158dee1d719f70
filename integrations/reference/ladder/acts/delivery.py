"""DO6: how long delivery takes, by one definition for all projects, and whether it became faster.

All times are those of the virtual calendar, which is that of the reference organisation: the release policy decides how
long a trained model waits, and nothing here tells of the speed of people.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from statistics import median
from typing import Any

from integrations.reference.ladder.acts.campaigns import lead_weeks
from integrations.reference.ladder.acts.updates import failed
from integrations.reference.ladder.backlog import HEAD, Item, items
from integrations.reference.ladder.calendar import FIRST_RELEASE, LAST_RELEASE, WEEKS, iso
from integrations.reference.ladder.comparisons import DAY_MS, Delivery, compared, fail_rate, periods
from integrations.reference.ladder.scene import Campaign, Scene, Whole

IDEA_WEEK, START_WEEK = -27.0, -WEEKS
"""Weeks in which the request of a project was accepted for work, and in which the work began."""
_METRICS, _BACKLOG = "delivery/metrics.json", "delivery/backlog.csv"


def perform(scene: Scene) -> None:
    """The dates of the project, and what kind of change each release is."""
    if "DO6.1.1" in scene.rungs:
        _dates(scene)
    if "DO6.2.1" in scene.rungs:
        scene.book.record["idea_at"] = scene.calendar.at(IDEA_WEEK)
        scene.book.record |= _milestones(scene)
    if "DO6.3.1" in scene.rungs:
        for campaign in scene.campaigns:
            if campaign.version is not None:
                campaign.version.tags["dlemm.change_type"] = _change(scene, campaign)


def perform_once(whole: Whole) -> None:
    """Metrics, backlog and comparisons of all projects together."""
    deliveries = [one for scene in whole.scenes.values() for one in _deliveries(scene)]
    if "DO6.4.1" in whole.rungs:
        _compare(whole, deliveries, 0)
    if "DO6.5.1" in whole.rungs:
        _compare(whole, deliveries, 1)
    metrics = None
    if "DO6.3.1" in whole.rungs:
        metrics = _metrics(whole, deliveries)
        _define(whole, metrics)
    if "DO6.3.2" in whole.rungs and metrics is not None:  # items are put in order by the common metrics
        _plan(whole, metrics)


def _dates(scene: Scene) -> None:
    """The project record: when work began, and when the first version went live."""
    scene.book.record["started_at"] = scene.calendar.at(START_WEEK)
    first = scene.campaigns[0]
    facts = {
        "title": scene.story.title,
        "goal": scene.story.goal,
        "started": scene.calendar.day(START_WEEK),
        "live": scene.calendar.day(first.week),
        "weeks": f"{first.week - START_WEEK:.1f}",
        "first": first.run.name,
    }
    scene.book.document("DO6.1.1", dated=scene.calendar.at(-8), facts=facts, evidence=("record#started_at",))


def _milestones(scene: Scene) -> dict[str, int]:
    """When the data were ready, the first model was judged, and the first version went live (ms)."""
    first = scene.campaigns[0]
    return {
        "data_ready_at": scene.calendar.at(min(first.training.until, scene.story.training(FIRST_RELEASE - 1).until)),
        "first_model_at": first.run.end_at,
        "production_at": scene.calendar.at(first.week),
    }


def _change(scene: Scene, campaign: Campaign) -> str:
    """``new`` for the first release, ``rework`` after one that failed, else ``update``."""
    if not campaign.update:
        return "new"
    before = scene.campaigns[campaign.number - 2].version
    return "rework" if before is not None and failed(before) else "update"


def _deliveries(scene: Scene) -> Iterator[Delivery]:
    """Every release with its lead time: days from the start of its training to production."""
    for campaign in scene.campaigns:
        live = scene.calendar.at(campaign.week)
        if campaign.version is not None:
            yield Delivery(live, (live - campaign.run.start_at) / DAY_MS, failed(campaign.version))


def _compare(whole: Whole, deliveries: list[Delivery], place: int) -> None:
    """Keep the comparison around a change of the release policy: the first one (0) or the second (1)."""
    changes = _policy_changes(whole)
    parts = periods(deliveries, changes)
    if place + 1 < len(parts) and parts[place] and parts[place + 1]:
        row = compared(f"lead-time-{place + 1}", parts[place], parts[place + 1])
        whole.book.comparisons.append({**row, "project": None})


def _policy_changes(whole: Whole) -> list[int]:
    """When releases began to wait less (ms), as the policy of the organisation has it."""
    scene = next(iter(whole.scenes.values()))
    leads = [lead_weeks(scene.rungs.step, campaign.number) for campaign in scene.campaigns]
    changed = [number for number in range(1, len(leads)) if leads[number] != leads[number - 1]]
    return [whole.calendar.at(scene.campaigns[number].week) for number in changed]


def _metrics(whole: Whole, deliveries: list[Delivery]) -> list[dict[str, Any]]:
    """The six metrics by the one definition: name, value in words, observations."""
    weeks = (LAST_RELEASE - FIRST_RELEASE) * len(whole.scenes)
    versions = [one.version for scene in whole.scenes.values() for one in scene.campaigns if one.version is not None]
    trainings = sum(len(scene.trainings()) for scene in whole.scenes.values())
    kinds = [version.tags.get("dlemm.change_type") for version in versions]
    restored = [
        (row["restored_at"] - row["opened_at"]) / (DAY_MS / 24)
        for scene in whole.scenes.values()
        for row in scene.book.incidents
        if row.get("restored_at") is not None
    ]
    count = len(deliveries)
    rows = [
        ("lead time", f"{median(one.lead_days for one in deliveries):.2f} days", count),
        ("release frequency", f"{count / weeks:.2f} releases a week and project", count),
        ("iteration rate", f"{trainings / weeks:.2f} trainings a week and project", trainings),
        ("change fail rate", f"{fail_rate(deliveries):.0%}", count),
        ("time to restore", f"{median(restored):.2f} hours" if restored else "no incident", len(restored)),
        ("rework rate", f"{kinds.count('rework') / count:.0%}", count),
    ]
    return [{"metric": name, "value": value, "observations": number} for name, value, number in rows]


def _keep(whole: Whole, path: str, content: str) -> tuple[str, ...]:
    """Put a file beside every champion; returns where it is found, as evidence."""
    for scene in whole.scenes.values():
        scene.champion.run.artifacts[path] = content.encode()
    return tuple(f"{key}/{scene.champion.key}#{path}" for key, scene in whole.scenes.items())


def _define(whole: Whole, metrics: list[dict[str, Any]]) -> None:
    """The definitions, and what they give at present."""
    evidence = _keep(whole, _METRICS, json.dumps(metrics, indent=1) + "\n")
    table = [f"| {row['metric']} | {row['value']} | {row['observations']} |" for row in metrics]
    compared_rows = [
        f"| {iso(row['closed_at'])[:10]} | {row['n_before']} and {row['n_after']} | {row['ratio']:.3f} | "
        f"{row['ratio_low']:.3f} to {row['ratio_high']:.3f} | {row['fail_before']:.0%} and {row['fail_after']:.0%} |"
        for row in whole.book.comparisons
    ]
    facts = {
        "projects": list(whole.scenes),
        "table": "\n".join(table),
        "comparisons": "\n".join(compared_rows) or "| none yet | | | | |",
    }
    whole.book.document("DO6.3.1", dated=whole.calendar.at(-1.5), facts=facts, evidence=evidence)


def _plan(whole: Whole, metrics: list[dict[str, Any]]) -> None:
    """The backlog: what is not done yet, with owner, date and target practice."""
    planned = items(whole)
    lines = [item.line() for item in planned]
    evidence = _keep(whole, _BACKLOG, "\n".join([HEAD, *(_csv(item) for item in planned)]) + "\n")
    facts = {
        "step": whole.rungs.step,
        "rows": "\n".join(lines),
        "count": len(planned),
        "reviewed": whole.calendar.day(-1),
        "next": iso(whole.calendar.now + 91 * DAY_MS)[:10],
        "metrics": "; ".join(f"{row['metric']} {row['value']}" for row in metrics),
    }
    whole.book.document("DO6.3.2", dated=whole.calendar.at(-1), facts=facts, evidence=evidence)


def _csv(item: Item) -> str:
    return ",".join(f'"{value}"' for value in (item.practice, item.text, item.owner, item.due))
