"""DO3, reliability: an owner and a way back, service levels measured every week, rollback, load, incidents, faults."""

from __future__ import annotations

from integrations.reference.ladder import operation
from integrations.reference.ladder.acts import incidents
from integrations.reference.ladder.book import Ref, Run
from integrations.reference.ladder.scene import RELEASER, Campaign, Scene
from integrations.reference.ladder.weeks import weekly

LEVELS = {"latency_p95_ms": 250.0, "error_rate": 0.01, "availability": 0.99}
"""Service levels: milliseconds for one request of the batch interface, and shares."""
_WATCHED = ("DO3.2.1", "DO4.2.1", "DO4.3.1", "DO4.3.2", "DG6.2.1")
DRILL_WEEK, LOAD_WEEK, FAULT_WEEK, BUDGET_WEEK = -8.0, -10.0, -5.0, -2.0
LONGEST_MINUTES = 30


def perform(scene: Scene) -> None:
    """Run the service and its drills."""
    if "DO3.1.1" in scene.rungs:
        _owner_and_recovery(scene)
    if any(practice in scene.rungs for practice in _WATCHED):
        scene.shared["service"] = {"weeks": operation.weeks(scene)}
    if "DO3.2.1" in scene.rungs:
        _service_levels(scene)
    if "DO3.2.2" in scene.rungs:
        _rollback(scene)
    if "DO3.3.1" in scene.rungs:
        for campaign in scene.campaigns:
            _load_test(scene, campaign)
    if "DO3.3.2" in scene.rungs:
        incidents.record(scene, every="DO3.4.1" in scene.rungs)
        incidents.review(scene)
    if "DO3.4.1" in scene.rungs:
        _error_budget(scene)
    if "DO3.5.1" in scene.rungs:
        _faults(scene)


def _owner_and_recovery(scene: Scene) -> None:
    """Who is called, and how the model is stopped or replaced."""
    version = scene.book.versions[scene.champion.key]
    version.tags |= {"dlemm.service.owner": RELEASER, "dlemm.recovery": "DO3.1.1"}
    scene.book.document(
        "DO3.1.1",
        dated=scene.calendar.at(scene.champion.week, hours=40),
        facts={
            "service": scene.story.title,
            "owner": RELEASER,
            "model": scene.book.model,
            "number": scene.champion.number,
            "goal": scene.story.goal,
        },
        evidence=(f"version:{scene.champion.key}#dlemm.service.owner", scene.champion.key),
    )


def _service_levels(scene: Scene) -> None:
    """Limits on every version; latency, errors and availability of every week on the run that watches it."""
    for version in scene.book.versions.values():
        version.tags |= {f"dlemm.slo.{name}": str(limit) for name, limit in LEVELS.items()}
    for week, seen in scene.shared["service"]["weeks"].items():
        weekly(scene, week).metrics({name: value for name, value in seen.items() if name.startswith("ops/")})


def drill_run(scene: Scene, key: str, name: str, stage: str, week: float, seconds: float) -> Run:
    """A run of something that was tried on the service on a day of the calendar."""
    start = scene.calendar.at(week, hours=10)
    run = scene.book.run(key, name, start_at=start, end_at=start + max(2000, round(seconds * 1000)))
    run.tags["dlemm.stage"] = stage
    return run


def _rollback(scene: Scene) -> None:
    now, before = scene.campaigns[-1], scene.campaigns[-2]
    seconds = operation.rollback(scene)
    run = drill_run(scene, "rollback-drill", "rollback drill", "drill", DRILL_WEEK, sum(seconds.values()))
    run.param(**{"from": now.number, "to": before.number})
    run.metrics({f"drill/{way}_minutes": taken / 60 for way, taken in seconds.items()})
    scene.book.document(
        "DO3.2.2",
        dated=run.end_at,
        facts={
            "from": now.number,
            "to": before.number,
            "rollback": f"{seconds['rollback']:.2f}",
            "forward": f"{seconds['forward']:.2f}",
            "limit": LONGEST_MINUTES,
            "owner": RELEASER,
            "verdict": "within the limit" if seconds["rollback"] <= 60 * LONGEST_MINUTES else "too slow",
        },
        evidence=(f"{run.key}#drill/rollback_minutes", f"{run.key}#drill/forward_minutes"),
    )


def _load_test(scene: Scene, campaign: Campaign) -> None:
    """Each version is held to the declared peak before it goes live; the champion once more later, for the report."""
    story, seen = scene.story, operation.load_test(scene, campaign)
    late = campaign is scene.champion
    week = LOAD_WEEK if late else campaign.week - 0.1
    run = drill_run(
        scene, f"load-{campaign.number}", f"load test of version {campaign.number}", "load", week, seen["duration_s"]
    )
    run.tags |= {"dlemm.model_version": Ref("version", campaign.key), "dlemm.load.hardware": seen["hardware"]}
    run.param(peak_tps=story.peak_tps, batch=seen["batch"], connections=16, attempts=seen["attempts"])
    run.metrics({f"load/{name}": seen[name] for name in ("latency_p50_ms", "latency_p99_ms", "duration_s", "errors")})
    run.metrics({"load/sustained_tps": seen["sustained_rate_per_s"]})
    scene.book.versions[campaign.key].tags |= {
        "dlemm.peak_tps": str(story.peak_tps),
        "dlemm.slo.latency_p99_ms": str(story.latency_p99_ms),
    }
    if late:
        run.report(
            "loadtest",
            {
                "sustained_rate_per_s": seen["sustained_rate_per_s"],
                "duration_s": seen["duration_s"],
                "latency_p99_s": seen["latency_p99_ms"] / 1000,
                "errors": seen["errors"],
                "hardware": seen["hardware"],
            },
        )


def _error_budget(scene: Scene) -> None:
    """How much of the error budget is spent, and what follows for the next feature release."""
    weeks = [seen for week, seen in scene.shared["service"]["weeks"].items() if week >= scene.champion.week]
    requests = sum(seen["ops/requests"] for seen in weeks)
    failed = sum(seen["ops/error_rate"] * seen["ops/requests"] for seen in weeks)
    kept = [
        seen["ops/latency_p95_ms"] <= LEVELS["latency_p95_ms"]
        and seen["ops/error_rate"] <= LEVELS["error_rate"]
        and seen["ops/availability"] >= LEVELS["availability"]
        for seen in weeks
    ]
    spent = failed / (LEVELS["error_rate"] * requests)
    decision = "allowed" if spent < 1 and sum(kept) / len(kept) >= 0.95 else "stopped"
    run = drill_run(scene, "error-budget", "error budget and the next release", "review", BUDGET_WEEK, 2)
    run.metrics({"budget/spent_share": spent, "budget/weeks_kept": sum(kept), "budget/weeks": len(kept)})
    run.tags["dlemm.release.decision"] = decision
    hours = sorted(incidents.hours_to_restore(scene))
    scene.book.document(
        "DO3.4.1",
        dated=run.end_at,
        facts={
            "requests": round(requests),
            "failed": round(failed),
            "budget": f"{LEVELS['error_rate'] * requests:.1f}",
            "spent": f"{spent:.0%}",
            "weeks": len(kept),
            "kept": sum(kept),
            "p95": LEVELS["latency_p95_ms"],
            "error_rate": f"{LEVELS['error_rate']:.0%}",
            "availability": f"{LEVELS['availability']:.0%}",
            "incidents": len(hours),
            "median": f"{hours[len(hours) // 2] * 60:.2f}",
            "decision": decision,
            "owner": RELEASER,
        },
        evidence=(f"{run.key}#budget/spent_share", f"{run.key}#dlemm.release.decision"),
    )


def _faults(scene: Scene) -> None:
    for place, fault in enumerate(operation.faults(scene)):
        week = FAULT_WEEK + place / 7
        run = drill_run(scene, f"chaos-{fault['name']}", f"fault: {fault['name']}", "chaos", week, fault["seconds"])
        run.tags["dlemm.model_version"] = Ref("version", scene.champion.key)
        run.metrics({"chaos/recovered": float(fault["recovered"]), "chaos/recovery_s": fault["seconds"]})
        run.metrics({f"chaos/{name}": value for name, value in fault["values"].items()})
