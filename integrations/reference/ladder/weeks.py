"""The weeks in service: which version answered in a week, and the one run that watches it.

Every act that measures something of a week (operation, drift, live quality) adds it to the same run.
"""

from __future__ import annotations

import math

from integrations.reference.ladder.book import Ref, Run
from integrations.reference.ladder.scene import Campaign, Scene

_WATCH_H, _WATCHED_H = 162.0, 163.0
"""Hours after the start of a week at which its watch begins and ends: late on Sunday."""


def weeks_in_service(scene: Scene) -> range:
    """Whole weeks, oldest first, in which some released version answered from start to end; -1 is the last."""
    return range(math.ceil(min(campaign.week for campaign in scene.campaigns)), 0)


def in_service(scene: Scene, week: int) -> Campaign:
    """The campaign whose version answered when the week began; raises ``ValueError`` before the first release."""
    released = [campaign for campaign in scene.campaigns if campaign.week <= week]
    if not released:
        raise ValueError(f"nothing was in service in week {week}")
    return released[-1]


def weekly(scene: Scene, week: int) -> Run:
    """The run that watches a week, opened by whoever asks first; it is tied to the version in service."""
    key = f"monitor{week}"
    if key in scene.book.runs:
        return scene.book.runs[key]
    campaign, traffic = in_service(scene, week), scene.story.stream(week)
    start, end = (scene.calendar.at(week, hours=hours) for hours in (_WATCH_H, _WATCHED_H))
    tags = {"dlemm.stage": "monitor", "dlemm.model_version": Ref("version", campaign.key)}
    run = scene.book.run(key, f"watch week {week}", start_at=start, end_at=end, tags=tags)
    run.param(week=scene.calendar.day(week), rows=len(traffic))
    run.inputs.append(scene.use(traffic, "monitoring"))
    return run
