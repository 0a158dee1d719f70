"""The service of a project at work: weeks of traffic, rollback, load, faults. Everything here goes over real HTTP.

Takes a scene; gives plain numbers that the workshop keeps. Each part starts a serving process of its own, puts the ONNX
files of the releases into it and ends it again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from integrations.reference.ladder.packages import digest_of, serving
from integrations.reference.ladder.scene import Campaign, Scene
from integrations.reference.ladder.weeks import in_service, weeks_in_service
from integrations.reference.service import NoAnswerError, Service

REQUESTS_A_WEEK = 25
PROBE_EVERY = 5
"""Requests between two health probes."""
LOAD_S, ATTEMPTS = 1.0, 10
"""Seconds of one load test, and how often it is tried when the machine is busy with something else."""


@contextmanager
def serving_process(scene: Scene) -> Iterator[tuple[Service, dict[str, Path]]]:
    """A running service, and the served file of every release by its key."""
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for campaign in scene.campaigns:
            files[campaign.key] = Path(folder) / f"{campaign.key}.onnx"
            files[campaign.key].write_bytes(serving(scene, campaign.fitted))
        with Service(Path(folder) / "service") as service:
            yield service, files


def weeks(scene: Scene) -> dict[int, dict[str, Any]]:
    """What every week in service looked like from the client: ``ops/*`` metrics, the probabilities that came back
    (n, classes), the version that answered and how many predictions the service logged."""
    name = "-".join(digest_of(campaign.fitted)[:6] for campaign in scene.campaigns)
    kept: dict[int, dict[str, Any]] = scene.work.once(f"service/{name}", lambda: _weeks(scene))
    return kept


def _weeks(scene: Scene) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    answered = 0
    with serving_process(scene) as (service, files):
        for week in weeks_in_service(scene):
            campaign = in_service(scene, week)
            if service.version != campaign.key:
                service.load(files[campaign.key], campaign.key)
                service.predict(scene.test.x[:2])  # the first answer of a model that was just loaded is slow
                answered += 2
            before = _logged_rows(service, answered)
            seen = _one_week(service, scene.story.stream(week).x)
            answered += int(torch.isfinite(seen["probabilities"]).all(dim=1).sum())
            logged = _logged_rows(service, answered) - before
            found[week] = {"version": campaign.key, **seen, "predictions_logged": logged}
    return found


def _logged_rows(service: Service, answered: int) -> int:
    """Predictions in the log of the service, which is written just after the answer: so it may need a moment."""
    deadline = time.perf_counter() + 1.0
    while True:
        rows = sum(entry["rows"] for entry in service.logged())
        if rows >= answered or time.perf_counter() > deadline:
            return rows
        time.sleep(0.01)


def _one_week(service: Service, x: np.ndarray) -> dict[str, Any]:
    """A week's rows in requests of equal size; a request that fails counts as an error and leaves NaN."""
    step = max(2, -(-len(x) // REQUESTS_A_WEEK))
    latencies, probes, parts, errors = [], [], [], 0
    for number, begin in enumerate(range(0, len(x), step)):
        rows = x[begin : begin + step]
        if number % PROBE_EVERY == 0:
            probes.append(service.healthy())
        try:
            answer = service.predict(rows)
        except NoAnswerError:
            errors += 1
            parts.append((len(rows), None))
            continue
        latencies.append(answer.latency_ms)
        parts.append((len(rows), answer.probabilities))
    classes = next(part.shape[1] for _, part in parts if part is not None)
    answers = [np.full((rows, classes), np.nan, np.float32) if part is None else part for rows, part in parts]
    p50, p95 = (float(value) for value in np.quantile(latencies, [0.5, 0.95]))
    return {
        "ops/latency_p50_ms": p50,
        "ops/latency_p95_ms": p95,
        "ops/error_rate": errors / len(parts),
        "ops/availability": sum(probes) / len(probes),
        "ops/requests": len(parts),
        "probabilities": torch.from_numpy(np.concatenate(answers)),
    }


def rollback(scene: Scene) -> dict[str, float]:
    """Move the pointer of the live version back, reload, ask, and forward again: seconds until each answered."""
    now, before = scene.campaigns[-1], scene.campaigns[-2]
    seconds: dict[str, float] = scene.work.once(
        f"rollback/{digest_of(now.fitted)}-{digest_of(before.fitted)[:6]}", lambda: _rollback(scene, now, before)
    )
    return seconds


def _rollback(scene: Scene, now: Campaign, before: Campaign) -> dict[str, float]:
    taken = {}
    with serving_process(scene) as (service, files):
        pointer = service.folder / "champion"
        follow(service, files, pointer, now.key, scene)
        for way, target in (("rollback", before), ("forward", now)):
            begin = time.perf_counter()
            follow(service, files, pointer, target.key, scene)
            taken[way] = time.perf_counter() - begin
    return taken


def follow(service: Service, files: dict[str, Path], pointer: Path, version: str, scene: Scene) -> None:
    """Let the pointer name a version, load what it names and ask; raises ``RuntimeError`` when another answers."""
    pointer.write_text(version, encoding="utf-8")
    named = pointer.read_text(encoding="utf-8")
    service.load(files[named], named)
    answer = service.predict(scene.test.x[:2])
    if answer.version != version:
        raise RuntimeError(f"version {answer.version} answers, not {version}")


def load_test(scene: Scene, campaign: Campaign) -> dict[str, Any]:
    """The declared peak, held for a second or not; the first of a few attempts that holds it, else the last."""
    kept: dict[str, Any] = scene.work.once(f"load/{digest_of(campaign.fitted)}", lambda: _load_test(scene, campaign))
    return kept


def _load_test(scene: Scene, campaign: Campaign) -> dict[str, Any]:
    story = scene.story
    rate, batch = story.peak_tps, max(1, round(story.peak_tps / 100))
    seen: dict[str, Any] = {}
    with serving_process(scene) as (service, files):
        service.load(files[campaign.key], campaign.key)
        for attempt in range(1, ATTEMPTS + 1):
            # A hundredth more than the peak is sent, so that the last answer's delay does not take it below.
            seen = service.load_test(scene.test.x, rate_per_s=1.02 * rate, seconds=LOAD_S, batch=batch)
            seen["attempts"] = attempt
            if seen["sustained_rate_per_s"] >= rate and seen["latency_p99_ms"] <= story.latency_p99_ms:
                break
    return seen


def faults(scene: Scene) -> list[dict[str, Any]]:
    """Faults put into the running service, one after the other, and whether it got over each without a person."""
    kept: list[dict[str, Any]] = scene.work.once(f"faults/{digest_of(scene.champion.fitted)}", lambda: _faults(scene))
    return kept


def _faults(scene: Scene) -> list[dict[str, Any]]:
    rows, key = scene.test.x[:8], scene.champion.key
    with serving_process(scene) as (service, files):
        service.load(files[key], key)
        drills = [
            service.crash(rows),
            service.refuse_corrupt(files[key], rows),
            service.fall_back(rows, "nan"),
            service.fall_back(rows, "error"),
            service.flood(rows),
        ]
    return [
        {"name": drill.name, "recovered": drill.recovered, "seconds": drill.seconds, "values": dict(drill.values)}
        for drill in drills
    ]
