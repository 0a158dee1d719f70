"""DO4: the weekly watch over the version in service, its alerts, and what came of them.

Drift, skew and live quality are measured on the traffic of each week. Alerts are judged on days; a day's alert was
right when something was wrong in its week, which the declared disturbances and the live quality tell.
"""

from __future__ import annotations

from importlib.metadata import distributions
from math import ceil

import numpy as np

from integrations.reference import pictures, watching
from integrations.reference.ladder.acts import alerting
from integrations.reference.ladder.book import Run
from integrations.reference.ladder.scene import Campaign, Scene
from integrations.reference.ladder.served import answers, quality, reference, watched
from integrations.reference.ladder.weeks import in_service, weekly, weeks_in_service
from integrations.reference.monitor import Drift, drift_metrics
from integrations.reference.watching import MARKED_CHANGE, Rule

DATA_OWNER, MODEL_OWNER = "reference-data-oncall", "reference-model-oncall"
"""Role accounts that decide on alerts."""
SKEW_WEEKS, FIRST_WEEKS = 4, 4
_SKEW_ROWS = 64
_LOOKS = (-10, -6, -2)
_FEED_LIMITS = {"feed_missing_share": 0.01, "feed_changed_dependencies": 0.5}


def perform(scene: Scene) -> None:
    """Watch the champion's weeks; at higher steps every release's first weeks, and the watch itself."""
    weeks = range(max(ceil(scene.champion.week), weeks_in_service(scene)[0]), 0)
    if "DO4.1.1" in scene.rungs:
        _look(scene)
    _watch(scene, weeks)
    if "DO4.2.2" in scene.rungs:
        _rules(scene)
    if "MD4.4.1" in scene.rungs and "DO4.3.2" in scene.rungs:
        for campaign in scene.campaigns:
            for week in _first_weeks(scene, campaign):
                _live(scene, week)
    if "DO4.4.1" in scene.rungs:
        alerting.judge(scene, weeks)
    if "DO4.5.1" in scene.rungs:
        alerting.improve(scene, weeks)


def _watch(scene: Scene, weeks: range) -> None:
    """The full watch of every week, of which live quality is a part; before there is one, drift every second week."""
    if "DO4.3.1" in scene.rungs:
        for week in weeks:
            _drift(scene, week)
            if "DO4.3.2" in scene.rungs:
                _live(scene, week)
        late = [week for week in weeks if week >= -SKEW_WEEKS]
        _skew(scene, late)
        _report(scene, late)
        _chart(scene, weeks)
    elif "DO4.2.1" in scene.rungs:
        for week in weeks[::-2]:
            _drift(scene, week)


def _look(scene: Scene) -> None:
    """Three looks at what the model answers, a month apart, with what was seen."""
    notes = []
    for week in _LOOKS:
        campaign, traffic = in_service(scene, week), scene.story.stream(week)
        given = answers(scene, campaign, traffic)
        shares = np.bincount(given.argmax(1), minlength=scene.story.classes) / len(given)
        known = np.bincount(scene.validation.y, minlength=scene.story.classes) / len(scene.validation)
        run = weekly(scene, week)
        run.metrics({"outputs/top_class_share": shares.max(), "outputs/largest_shift": np.abs(shares - known).max()})
        notes.append(
            f"| {scene.calendar.day(week, hours=162)} | {len(given)} | class {shares.argmax()}: {shares.max():.1%} | "
            f"{np.abs(shares - known).max():.1%} |"
        )
    scene.book.document(
        "DO4.1.1",
        dated=weekly(scene, _LOOKS[-1]).end_at,
        facts={"title": scene.story.title, "classes": scene.story.classes, "notes": "\n".join(notes)},
        evidence=tuple(f"monitor{week}#outputs/largest_shift" for week in _LOOKS),
    )


def _limits(scene: Scene) -> dict[str, float]:
    """The weekly drift threshold of every watched feature."""
    return dict.fromkeys([*scene.story.features(scene.validation.x[:2]), "confidence"], MARKED_CHANGE)


def _drift(scene: Scene, week: int) -> Run:
    """Drift of every feature of a week against the training data of the version in service."""
    campaign, run = in_service(scene, week), weekly(scene, week)
    found = watching.findings(
        reference(scene, campaign), watched(scene, campaign, scene.story.stream(week)), _limits(scene)
    )
    run.metrics(drift_metrics({one.feature: Drift(one.statistic, one.ks) for one in found}))
    run.metric("drift/features_over", sum(one.verdict == "drift" for one in found))
    return run


def _skew(scene: Scene, weeks: list[int]) -> None:
    """The same raw rows on the road of training and on that of serving."""
    story = scene.story
    raw = story.raw(_SKEW_ROWS)
    trained, served = story.features(scene.test.x[: len(raw)]), story.features(story.prepare(raw))
    gaps = watching.skew(trained, served)
    for week in weeks:
        run = weekly(scene, week)
        run.metrics({f"skew/{name}": gap for name, gap in gaps.items()})
        run.metric("skew/max", max(gaps.values()))


def _report(scene: Scene, weeks: list[int]) -> None:
    """Statistic, threshold and verdict of each feature in each of the last weeks, on the last run."""
    rows = []
    for week in weeks:
        campaign = in_service(scene, week)
        traffic = watched(scene, campaign, scene.story.stream(week))
        found = watching.findings(reference(scene, campaign), traffic, _limits(scene))
        rows += [{"week": scene.calendar.day(week), **one.row()} for one in found]
    weekly(scene, -1).report("drift", {"statistic": "population stability index", "rows": len(rows)}, rows)


def _chart(scene: Scene, weeks: range) -> None:
    """Drift of every feature over the watched weeks, as a picture on the last run."""
    runs = [weekly(scene, week) for week in weeks]
    lines = {name: [run.value(f"drift/{name}") for run in runs] for name in _limits(scene)}
    declared = [week for week in scene.story.drift_weeks if week in weeks]
    chart = scene.picture(pictures.drift_chart, list(weeks), lines, threshold=MARKED_CHANGE, declared=declared)
    runs[-1].artifacts["figures/drift.png"] = chart


def _live(scene: Scene, week: int) -> None:
    """Live quality of the version in service, once the classes of the week are known."""
    run = weekly(scene, week)
    if all(point.key != "live/primary" for point in run.points):
        run.metric("live/primary", quality(scene, in_service(scene, week), week), at=scene.calendar.at(week + 1))


def _first_weeks(scene: Scene, campaign: Campaign) -> range:
    """The full weeks that a version was in service for, of the first four after its release."""
    first = ceil(campaign.week)
    own = [week for week in range(first, min(first + FIRST_WEEKS, 0)) if in_service(scene, week) is campaign]
    return range(own[0], own[-1] + 1) if own else range(0)


def _rules(scene: Scene) -> None:
    """Alert rules with threshold and owner, on the feed and on dependencies too, and what the latter read."""
    run = weekly(scene, -1)
    rules = [Rule(f"drift_{name}", limit, MODEL_OWNER) for name, limit in _limits(scene).items()]
    rules += [Rule(name, limit, DATA_OWNER) for name, limit in _FEED_LIMITS.items()]
    for rule in rules:
        run.params.update(rule.params())
    installed = {one.metadata["Name"].lower(): one.version for one in distributions()}
    pinned = scene.champion.run.artifacts.get("requirements.txt", b"").decode()
    run.metric("feed/missing_share", watching.missing_share(scene.story.stream(-1).x))
    run.metric("feed/changed_dependencies", watching.changed_dependencies(pinned, installed))
