"""Incidents: those that the live alarm opened in real traffic, and drills of what will happen one day.

Every alarm, answer and second is measured on the running service; only the day is the calendar's.
"""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from typing import Any

import numpy as np

from integrations.reference import export
from integrations.reference.engine import fit
from integrations.reference.ladder import operation
from integrations.reference.ladder.book import Ref
from integrations.reference.ladder.packages import digest_of
from integrations.reference.ladder.scene import Campaign, Scene
from integrations.reference.ladder.weeks import in_service
from integrations.reference.lifecycle import load_lifecycle
from integrations.reference.service import Service
from integrations.reference.stories.base import Data, Rows

_HOUR_MS = 3_600_000
_REVIEW_H = 30
"""Hours from the restoration of the service to the end of the review, with which an incident is closed."""
DRILL_WEEKS = {
    "wrong-weights": -10,
    "corrupt-package": -8,
    "stale-version": -7,
    "no-number": -5,
    "worker-killed": -4,
    "model-raises": -2,
}
ALWAYS = ("wrong-weights", "stale-version")
"""Drills held as soon as there is an incident process; the others come with the error budget."""
_OF_THE_SERVICE = ("corrupt-package", "worker-killed")
_LEARNT = {
    "wrong-weights": "quality on known rows tells a damaged version at once; the right one is loaded again",
    "stale-version": "every answer carries its version, so an old one is seen and replaced",
    "corrupt-package": "a package whose digest differs is refused, and the version before goes on answering",
    "model-raises": "whatever the model raises, the caller gets the prior, marked as such",
    "no-number": "an answer that is no number is replaced by the prior and counted",
    "worker-killed": "the supervisor starts the last good version again, without a person",
    "drift": "a network trained on with half of that week was put into a service and asked the other half",
}


def record(scene: Scene, *, every: bool) -> None:
    """Write down what happened: the weeks whose live quality raised the alarm, and the drills."""
    for row in _alarms(scene):
        _open(scene, f"drift{row['week']}", row["week"], 163, row, in_service(scene, row["week"]))
    drills = scene.work.once(f"incidents/{digest_of(scene.champion.fitted)}", lambda: _drills(scene))
    for name, week in DRILL_WEEKS.items():
        if every or name in ALWAYS:
            _open(scene, name, week, 10, drills[name], scene.champion)


def _open(scene: Scene, name: str, week: int, hours: float, seen: dict[str, Any], campaign: Campaign) -> None:
    opened = scene.calendar.at(week, hours=hours)
    restored = None if seen["seconds"] is None else opened + round(seen["seconds"] * 1000)
    closed = None if restored is None else min(restored + _REVIEW_H * _HOUR_MS, scene.calendar.now)
    key = f"{scene.story.key}-{name}"
    scene.book.incidents.append(
        {
            "incident": key,
            "project": scene.story.key,
            "kind": "service" if name in _OF_THE_SERVICE else "model",
            "severity": "major" if seen["drop"] >= 0.1 else "minor",
            "version": Ref("version", campaign.key),
            "opened_at": opened,
            "restored_at": restored,
            "closed_at": closed,
        }
    )
    end = restored or opened
    run = scene.book.run(f"incident-{name}", f"incident {name}", start_at=opened, end_at=max(end, opened + 1500))
    run.tags |= {"dlemm.stage": "incident", "dlemm.incident_id": key}
    run.tags["dlemm.incident.origin"] = "live alarm" if name.startswith("drift") else "drill"
    run.metrics({"incident/quality_drop": seen["drop"], "incident/restore_s": seen["seconds"] or 0.0})


def hours_to_restore(scene: Scene) -> list[float]:
    """Hours from opening to restoring, of the incidents that are restored."""
    return [
        (row["restored_at"] - row["opened_at"]) / _HOUR_MS
        for row in scene.book.incidents
        if row["restored_at"] is not None
    ]


def _alarms(scene: Scene) -> list[dict[str, Any]]:
    """Weeks of the champion in which live quality fell below what was accepted by the limit of the policy or more."""
    limit, found = load_lifecycle().live_drop_at_least, []
    for week, seen in scene.shared["service"]["weeks"].items():
        traffic, campaign = scene.story.stream(week), in_service(scene, week)
        accepted = scene.score(campaign.fitted, scene.test)
        drop = accepted - scene.story.score(traffic.y, _logits_of(seen["probabilities"].numpy()))
        if campaign is scene.champion and drop >= limit:
            name = f"restored/{digest_of(campaign.fitted)}-{-week}"
            seconds = scene.work.once(name, lambda t=traffic, c=campaign, a=accepted: _learn(scene, c, t, a - limit))
            found.append({"week": week, "drop": drop, "seconds": seconds})
    return found


def _learn(scene: Scene, campaign: Campaign, traffic: Data, wanted: float) -> float | None:
    """Train on with the first half of the disturbed week and put the result into a service; seconds until that answers
    the second half well enough again.

    None when it is not: the incident then stays open.
    """
    begin, half = time.perf_counter(), len(traffic) // 2
    known, rest = traffic.take(np.arange(half)), traffic.take(np.arange(half, len(traffic)))
    recipe = replace(campaign.notes["recipe"], epochs=6, patience=6)
    x = np.concatenate([campaign.training.x, known.x])
    y = np.concatenate([campaign.training.y, known.y])
    start = copy.deepcopy(campaign.fitted.model)
    model = fit(recipe, lambda: start, x, y, known.x, known.y).model
    with operation.serving_process(scene) as (service, files):
        service.load(files[campaign.key], campaign.key)
        repaired = service.folder / "repaired.onnx"
        repaired.write_bytes(export.to_onnx(model, scene.test.x[:2]))
        service.load(repaired, "repaired")
        good = _quality(scene, service, rest) >= wanted
    return time.perf_counter() - begin if good else None


def _logits_of(probabilities: Rows) -> Rows:
    """Logits that give these probabilities; an unanswered row (NaN) answers nothing."""
    given = np.nan_to_num(probabilities, nan=1.0 / probabilities.shape[1])
    logs: Rows = np.log(np.clip(given, 1e-7, 1.0))
    return logs


def _drills(scene: Scene) -> dict[str, dict[str, Any]]:
    """Each drill on one running service: how far quality fell, and the seconds from the alarm to the right answer."""
    champion, first = scene.champion, scene.campaigns[0]
    probe = scene.validation.take(np.arange(min(200, len(scene.validation))))
    with operation.serving_process(scene) as (service, files):
        service.load(files[champion.key], champion.key)
        accepted = _quality(scene, service, probe)
        damaged = service.folder / "damaged-weights.onnx"
        damaged.write_bytes(export.to_onnx(_damaged(champion), scene.test.x[:2]))
        found = {}
        for name, file in (("wrong-weights", damaged), ("stale-version", files[first.key])):
            service.load(file, f"drill-{name}")
            drop = accepted - _quality(scene, service, probe)
            found[name] = {"drop": drop, "seconds": _back(service, files, champion, probe)}
        rows = probe.x[:8]
        healing = {
            "corrupt-package": service.refuse_corrupt(files[champion.key], rows),
            "no-number": service.fall_back(rows, "nan"),
            "model-raises": service.fall_back(rows, "error"),
            "worker-killed": service.crash(rows),
        }
        for name, seen in healing.items():
            found[name] = {"drop": 0.0, "seconds": seen.seconds if seen.recovered else None}
    return found


def _back(service: Service, files: dict[str, Any], champion: Campaign, probe: Data) -> float | None:
    """The alarm saw the wrong version answer: put the right one back; seconds, or None when it does not answer."""
    begin = time.perf_counter()
    if service.predict(probe.x[:8]).version == champion.key:
        return None
    service.load(files[champion.key], champion.key)
    return time.perf_counter() - begin if service.predict(probe.x[:8]).version == champion.key else None


def _quality(scene: Scene, service: Service, data: Data) -> float:
    return scene.story.score(data.y, _logits_of(service.predict(data.x).probabilities))


def _damaged(campaign: Campaign) -> Any:
    """The network with the weights of its last layer set to nothing, as a half-written file would leave it."""
    model = copy.deepcopy(campaign.fitted.model)
    list(model.parameters())[-2].data.zero_()
    return model


def review(scene: Scene) -> None:
    """The reviews: what happened, what was learnt, and who does what; blameless, and tied to the version."""
    rows = []
    for row in scene.book.incidents:
        name = row["incident"].removeprefix(f"{scene.story.key}-")
        run = scene.book.runs[f"incident-{name}"]
        learnt = _LEARNT["drift" if name.startswith("drift") else name]
        number = next(c.number for c in scene.campaigns if c.key == row["version"].key)
        took = f"{run.value('incident/restore_s'):.2f} s" if row["restored_at"] is not None else "open"
        rows.append(
            f"| {row['incident']} | {row['kind']}, {row['severity']} | {number} | "
            f"{run.value('incident/quality_drop'):.3f} | {took} | {learnt} |"
        )
    scene.book.document(
        "DO3.3.2",
        dated=scene.calendar.at(-1, hours=100),
        facts={
            "service": scene.story.title,
            "count": len(rows),
            "table": "\n".join(rows),
            "limit": load_lifecycle().live_drop_at_least,
            "metric": scene.story.primary,
        },
        evidence=tuple(f"incident:{row['incident']}" for row in scene.book.incidents),
    )
