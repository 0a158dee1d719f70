"""Service and watch as runs: benchmark, windows of the stream, the decision to retrain, the rollback drill.

Takes a released version and the serving process, gives what was seen from outside together with the runs that hold it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from integrations.reference.case import Disturbance
from integrations.reference.data import Split
from integrations.reference.endpoint import Benchmark, Endpoint, Traffic, hardware, parity
from integrations.reference.evaluate import predict
from integrations.reference.experiment import Setting
from integrations.reference.gate import Policy
from integrations.reference.monitor import drift, drift_metrics, features
from integrations.reference.release import Version, download_released, point_alias
from integrations.reference.tracking import Run, now

PARITY_ROWS = 100
DRIFT_ALERT = "drift_psi"


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a version was accepted on: the population it knows, and the accuracy it showed when it was judged.

    For the first release the training images and the test accuracy; for a version that replaced another because the
    world had changed, the traffic of that changed world.
    """

    population: Split
    accuracy: float


@dataclass(frozen=True, slots=True)
class Watched:
    """One window of the stream as the watch saw it."""

    run_id: str
    drift_max: float  # largest population stability index over the features
    accuracy: float
    latency_p95_ms: float
    alert: bool
    retrain: bool


@dataclass(frozen=True, slots=True)
class Drill:
    """Minutes from the decision until the server answered with the other version."""

    rollback_minutes: float
    forward_minutes: float


def put_in_service(setting: Setting, version: Version, endpoint: Endpoint, folder: Path) -> None:
    """Fetch the version that the alias names and let the serving process answer with it."""
    exported = download_released(setting.tracker, folder / f"{version.number}-{time.monotonic_ns()}")
    endpoint.load(exported, version.number)


def benchmark(setting: Setting, version: Version, endpoint: Endpoint) -> Benchmark:
    """Measure the version in service; the numbers stand on a run of their own and on the version's evaluation."""
    case, tracker, test = setting.case, setting.tracker, setting.splits.test
    tags = {"dlemm.model_version": version.reference(tracker), "dlemm.perf.hardware": hardware()}
    note = f"Latency and throughput of version {version.number} over HTTP on the loopback."
    with tracker.run(f"benchmark version {version.number}", stage="benchmark", note=note, tags=tags) as run:
        measured = endpoint.benchmark(test.images, requests=case.benchmark_requests, seconds=case.throughput_seconds)
        served = endpoint.send(test.images[:PARITY_ROWS])
        difference = parity(
            served.answered, predict(version.evaluation.candidate.trained.model, _answered(test, served))
        )
        metrics = measured.metrics() | {"parity/max_abs_diff": difference}
        run.metrics(metrics)
    evaluation = tracker.reopened(version.evaluation.run_id)
    evaluation.metrics(metrics)
    evaluation.tags({"dlemm.perf.hardware": tags["dlemm.perf.hardware"]})
    return measured


def _answered(split: Split, traffic: Traffic) -> np.ndarray:
    """Images (m, 1, 8, 8) of the requests that were answered, in order."""
    kept = [number for number, reply in enumerate(traffic.replies) if reply.answered]
    return split.images[kept]


def watch(
    setting: Setting, version: Version, accepted: Accepted, endpoint: Endpoint, window: Split, change: Disturbance
) -> Watched:
    """Send one window through the server and compare it with what was accepted; an alert may ask to retrain."""
    tracker, policy = setting.tracker, setting.policy
    name = window.name.rpartition("/")[2]
    tags = {"dlemm.model_version": version.reference(tracker), "dlemm.stream": "simulated"}
    note = f"{name} of the simulated stream, answered by version {version.number}."
    with tracker.run(f"monitor {name}", stage="monitor", note=note, tags=tags) as run:
        run.inputs(setting.splits.source, monitoring=window)
        run.params({"window": name, "rows": len(window), f"alert.{DRIFT_ALERT}.threshold": policy.drift_psi})
        run.params({f"disturbance.{key}": value for key, value in asdict(change).items()})
        before = endpoint.logged()
        traffic = endpoint.send(window.images)
        found = _drift(version, accepted.population, window, traffic)
        accuracy = _live_accuracy(window, traffic)
        run.metrics(traffic.metrics() | found | {"live/primary": accuracy})
        run.metrics({"ops/predictions_logged": endpoint.logged() - before})
        run.text("predictions.jsonl", "".join(endpoint.log.read_text(encoding="utf-8").splitlines(True)[before:]))
        alert, retrain = _decide(run, setting.policy, accepted, found["drift/max"], accuracy)
    return Watched(run.id, found["drift/max"], accuracy, traffic.metrics()["ops/latency_p95_ms"], alert, retrain)


def _drift(version: Version, known: Split, window: Split, traffic: Traffic) -> dict[str, float]:
    """Drift of the answered requests against the known images, both with the confidence of this version."""
    expected = predict(version.evaluation.candidate.trained.model, known.images).max(axis=1)  # (n,)
    seen = [max(reply.probabilities) for reply in traffic.answered]  # (m,)
    return drift_metrics(drift(features(known.images, expected), features(_answered(window, traffic), seen)))


def _live_accuracy(window: Split, traffic: Traffic) -> float:
    """Share of the window answered correctly; an unanswered request is not a correct answer."""
    labels = [reply.label for reply in traffic.replies]
    return float(np.mean(np.array(labels) == window.labels))


def _decide(run: Run, policy: Policy, accepted: Accepted, drift_max: float, accuracy: float) -> tuple[bool, bool]:
    """Alert on drift; retrain when the accuracy has fallen as well. Both moments are written on the run."""
    alert = drift_max > policy.drift_psi
    if not alert:
        return False, False
    raised = now()
    drop = accepted.accuracy - accuracy
    retrain = drop >= policy.accuracy_drop
    run.metrics({"live/primary_drop": drop})
    decision = "retrain" if retrain else "keep"
    run.tags({"dlemm.alert_at": raised, "dlemm.decision_at": now(), "dlemm.decision": decision})
    return True, retrain


def drill_rollback(setting: Setting, current: Version, previous: Version, endpoint: Endpoint, folder: Path) -> Drill:
    """Go back to the previous version and forward again, each time until an answer carries the right number."""
    tracker = setting.tracker
    tags = {"dlemm.model_version": current.reference(tracker)}
    note = f"Rollback from version {current.number} to {previous.number} and forward again, as a drill."
    with tracker.run("rollback drill", stage="drill", note=note, tags=tags) as run, _ends_with(setting, current):
        run.params({"from": current.number, "to": previous.number})
        back = _switch(setting, previous, endpoint, folder)
        forward = _switch(setting, current, endpoint, folder)
        run.metrics({"drill/rollback_minutes": back, "drill/forward_minutes": forward})
    return Drill(back, forward)


@contextmanager
def _ends_with(setting: Setting, version: Version) -> Iterator[None]:
    """However the drill ends, the alias names the version it named before."""
    try:
        yield
    finally:
        point_alias(setting.tracker, version.number)


def _switch(setting: Setting, version: Version, endpoint: Endpoint, folder: Path) -> float:
    """Move the alias, reload, ask: minutes until the answer came from that version."""
    begin = time.perf_counter()
    point_alias(setting.tracker, version.number)
    put_in_service(setting, version, endpoint, folder)
    reply = endpoint.ask(setting.splits.test.images[0])
    if reply.version != version.number:
        raise RuntimeError(f"the server answers with version {reply.version!r}, not {version.number!r}")
    return (time.perf_counter() - begin) / 60
