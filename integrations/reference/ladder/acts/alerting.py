"""DO4, the later part: the watch watched. Precision of the alerts, time to a decision, thresholds that learn.

A reading is one feature in one day of traffic. It calls for something when its week was disturbed, as declared, or when
the live quality of the week fell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from math import ceil

import numpy as np

from integrations.reference import watching
from integrations.reference.ladder.calendar import iso
from integrations.reference.ladder.scene import Scene
from integrations.reference.ladder.served import quality, reference, watched
from integrations.reference.ladder.weeks import in_service, weekly, weeks_in_service
from integrations.reference.watching import Reading, Rule

DAYS = 7
WEEK_MS = 7 * 86_400_000
FALSE_SHARE = 0.05
"""Share of undisturbed days on which a rule may alert before its threshold has learned anything."""
FELL_BY = 0.05
"""Drop of the live quality, against the median week, that calls for something."""
TARGET = 0.9
SEEN = 0.5
"""Share of days on which a failure must be alerted to count as seen."""
SLIGHT_CHANGE = 0.1
"""Population stability index up to which a feature is read as unchanged (Siddiqi 2006)."""
MODEL_OWNER = "reference-model-oncall"


def judge(scene: Scene, weeks: range) -> None:
    """Alerts of the watched days with their precision, and for each week with alerts when it was decided on them.

    Where thresholds learn, this is done on the weeks that they learn from: those of the versions before the champion.
    """
    learning = "DO4.5.1" in scene.rungs
    period = range(weeks_in_service(scene)[0], weeks[0]) if learning else weeks
    names = list(scene.story.features(scene.validation.x[:2]))
    seen, thresholds = _readings(scene, period, names), _first_thresholds(scene, names)
    scene.shared["alerting"] = {"readings": seen, "thresholds": thresholds}
    _log(scene, period[-1], seen, thresholds)
    _decisions(scene, seen, thresholds)


def improve(scene: Scene, weeks: range) -> None:
    """New thresholds from the outcomes so far, a detector for failures that went unseen, and both judged later."""
    alerting = scene.shared.get("alerting")
    if alerting is None:
        return
    old, past = dict(alerting["thresholds"]), list(alerting["readings"])
    failures, detectors = _failures(scene, old), dict(old)
    if any(failure.before < SEEN <= failure.after for failure in failures):
        detectors |= _first_thresholds(scene, ["confidence"])
        past += _readings(scene, range(weeks_in_service(scene)[0], weeks[0]), ["confidence"])
    new = watching.recalibrated(past, detectors, target=TARGET)
    later = _readings(scene, weeks, list(new))
    _log(scene, weeks[-1], later, new)
    _decisions(scene, later, new)
    _review(scene, later, (old, new), failures)


def _week(reading: Reading) -> int:
    return int(np.floor(reading.at))


def _readings(scene: Scene, weeks: range, names: list[str]) -> list[Reading]:
    """Every feature read on every day of the weeks, with what is known today of those weeks."""
    seen = []
    for week in weeks:
        campaign, traffic = in_service(scene, week), scene.story.stream(week)
        known, current = reference(scene, campaign), watched(scene, campaign, traffic)
        for day, rows in enumerate(watching.windows(len(traffic), DAYS)):
            day_of = {name: current[name][rows] for name in names}
            found = watching.findings(known, day_of, dict.fromkeys(names, 0.0))
            seen += [Reading(one.feature, week + day / DAYS, one.statistic) for one in found]
    return watching.judged(seen, _wrong(scene, weeks))


def _wrong(scene: Scene, weeks: range) -> dict[int, bool]:
    """Whether something was wrong in a week: a declared disturbance, or live quality below that of the version."""
    live: dict[str, dict[int, float]] = {}
    for week in weeks:
        campaign = in_service(scene, week)
        live.setdefault(campaign.key, {})[week] = quality(scene, campaign, week)
    return {
        week: week in scene.story.drift_weeks or value < float(np.median(list(own.values()))) - FELL_BY
        for own in live.values()
        for week, value in own.items()
    }


def _first_thresholds(scene: Scene, names: list[str]) -> dict[str, float]:
    """Thresholds before anything was learned: the natural spread of a day's rows, and never below a slight change."""
    known, rows = reference(scene, scene.champion), len(scene.story.stream(-1)) // DAYS
    natural = watching.natural_thresholds({name: known[name] for name in names}, rows, share=FALSE_SHARE)
    return {name: max(limit, SLIGHT_CHANGE) for name, limit in natural.items()}


def _log(scene: Scene, week: int, seen: list[Reading], thresholds: dict[str, float]) -> None:
    raised, run = watching.alerts(seen, thresholds), weekly(scene, week)
    run.metrics({"monitor/alerts": len(raised), "monitor/missed_weeks": len(watching.missed(seen, thresholds))})
    if raised:
        run.metric("monitor/alert_precision", watching.precision(raised))
    for name, threshold in thresholds.items():
        run.params.update(Rule(f"day_{name}", threshold, MODEL_OWNER).params())


def _decisions(scene: Scene, seen: list[Reading], thresholds: dict[str, float]) -> None:
    """One page for each week with alerts: raised at the end of the first alerted day, decided at the next round."""
    firsts: dict[int, Reading] = {}
    for alert in watching.alerts(seen, thresholds):
        firsts.setdefault(_week(alert), alert)
    for week, alert in firsts.items():
        raised = scene.calendar.end + timedelta(weeks=alert.at, days=1)
        decided = watching.next_round(raised)
        begin, end = (round(moment.timestamp() * 1000) for moment in (raised, decided))
        if end > scene.calendar.now:
            continue
        version = weekly(scene, week).tags["dlemm.model_version"]
        tags = {
            "dlemm.stage": "monitor",
            "dlemm.model_version": version,
            "dlemm.alert_at": iso(begin),
            "dlemm.decision_at": iso(end),
            "dlemm.decision": "disturbance handled" if alert.actionable else "no action",
        }
        run = scene.book.run(f"alert{week}", f"alert week {week}", start_at=begin, end_at=end, tags=tags)
        run.param(rule=f"day_{alert.rule}", rhythm=f"on-call round at {watching.ROUND_H:02d}:00 UTC, Monday to Friday")
        run.metrics({"alert/statistic": alert.statistic, "alert/threshold": thresholds[alert.rule]})


@dataclass(frozen=True, slots=True)
class Failure:
    """A rehearsed failure, and the share of its days that are alerted without and with the rule on confidence."""

    name: str
    before: float
    after: float


def _failures(scene: Scene, thresholds: dict[str, float]) -> list[Failure]:
    """Each declared stress replayed as days of traffic."""
    campaign, story = scene.champion, scene.story
    known, rows = reference(scene, campaign), len(story.stream(-1)) // DAYS
    more = {**thresholds, **_first_thresholds(scene, ["confidence"])}
    found = []
    for stress in story.stresses:
        data = story.stressed(stress)
        current = watched(scene, campaign, data)
        days = [
            [one.feature for one in watching.findings(known, part, more) if one.verdict == "drift"]
            for cut in watching.windows(len(data), max(1, len(data) // rows))
            if (part := {name: current[name][cut] for name in more})
        ]
        before = float(np.mean([any(name in thresholds for name in day) for day in days]))
        found.append(Failure(stress, before, float(np.mean([bool(day) for day in days]))))
    return found


def _review(
    scene: Scene,
    later: list[Reading],
    thresholds: tuple[dict[str, float], dict[str, float]],
    failures: list[Failure],
) -> None:
    """The review of what was missed, of the detectors added, and of the thresholds before and after."""
    old, new = thresholds
    run, until = weekly(scene, -1), scene.calendar.day(ceil(scene.champion.week))
    before = watching.alerts([one for one in later if one.rule in old], old)
    after = watching.alerts(later, new)
    run.report("monitoring_review", {"alerts": len(after), "learned_until": until}, [asdict(one) for one in failures])
    scene.book.document(
        "DO4.5.1",
        dated=run.end_at,
        facts={
            "until": until,
            "target": f"{TARGET:.0%}",
            "thresholds": _table(
                f"| {name} | {f'{old[name]:.3f}' if name in old else 'none'} | {limit:.3f} |"
                for name, limit in new.items()
            ),
            "before": _in_words(before),
            "after": _in_words(after),
            "missed": _weeks_in_words(scene, watching.missed(later, new)),
            "incidents": _table(_incident_rows(scene, later, new)),
            "failures": _table(f"| {one.name} | {one.before:.0%} | {one.after:.0%} |" for one in failures),
            "added": ", ".join(sorted(new.keys() - old.keys())) or "none was needed",
        },
        evidence=("monitor-1#monitor/alert_precision", "monitor-1#reports/monitoring_review.json"),
    )


def _in_words(raised: list[Reading]) -> str:
    if not raised:
        return "no alert"
    return f"{len(raised)} alerts, {watching.precision(raised):.0%} of them called for something"


def _weeks_in_words(scene: Scene, weeks: list[int]) -> str:
    return ", ".join(scene.calendar.day(week) for week in weeks) or "none"


def _table(rows: Iterable[str]) -> str:
    return "\n".join(rows)


def _incident_rows(scene: Scene, seen: list[Reading], thresholds: dict[str, float]) -> Iterator[str]:
    """Each incident on record, and whether a drift rule alerted in its week or the one before, for whatever reason."""
    weeks = {_week(alert) for alert in watching.alerts(seen, thresholds)}
    if not scene.book.incidents:
        yield "| none on record | | |"
    for row in scene.book.incidents:
        week = int(np.floor((row["opened_at"] - scene.calendar.at(0)) / WEEK_MS))
        told = "yes" if weeks & {week - 1, week} else "no"
        yield f"| {row['incident']} | {iso(row['opened_at'])[:10]} | {told} |"
