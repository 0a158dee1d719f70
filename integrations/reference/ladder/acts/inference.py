"""DO2.5.1: with every new version the pipeline searches precision and runtime again, for every declared target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from integrations.reference import export, latency
from integrations.reference.ladder.book import Run
from integrations.reference.ladder.packages import TOLERANCE, compressed, digest_of, program, serving
from integrations.reference.ladder.scene import Campaign, Scene

TARGETS = (1, 2)
"""Threads of the two declared targets."""
SERVED = ("onnxruntime", "fp32")
"""Runtime and precision in service before the search."""
VERSIONS = 2
"""So many of the newest versions are searched for."""
LIVE_ROWS = 200
_Choice = tuple[str, str]
CHOICES: tuple[_Choice, ...] = (("torch", "fp32"), ("torch", "bf16"), ("onnxruntime", "fp32"), ("onnxruntime", "int8"))
"""Runtime and precision."""


def search(scene: Scene) -> None:
    """Search for each of the newest versions; the gain of the newest is checked on the traffic of the last week."""
    found = {campaign.number: _search(scene, campaign) for campaign in scene.campaigns[-VERSIONS:]}
    parent, best = found[scene.champion.number]
    choice = best[TARGETS[0]]
    before, after = scene.work.once(f"live-gain/{digest_of(scene.champion.fitted)}", lambda: _live(scene, choice))
    parent.metrics({"live/latency_p95_ms_before": before, "live/latency_p95_ms_after": after})
    scene.book.document(
        "DO2.5.1",
        dated=scene.calendar.at(-1, hours=160),
        facts={
            "version": scene.champion.number,
            "targets": " and ".join(latency.hardware(threads) for threads in TARGETS),
            "combinations": len(CHOICES) * len(TARGETS),
            "chosen": "; ".join(f"{threads} thread(s): {' '.join(best[threads])}" for threads in TARGETS),
            "served": " ".join(SERVED),
            "rows": LIVE_ROWS,
            "before": before,
            "after": after,
            "verdict": "kept" if after < before else "not kept: the form in service stays",
            "tolerance": f"{TOLERANCE:.0%}",
        },
        evidence=(
            *(f"{run.key}#dlemm.trigger" for run, _ in found.values()),
            f"{parent.key}#live/latency_p95_ms_after",
        ),
    )


def _search(scene: Scene, campaign: Campaign) -> tuple[Run, dict[int, _Choice]]:
    """One parent run with a child for each combination; the fastest that holds the quality on each target."""
    start = scene.calendar.at(campaign.week, hours=20)
    key = f"optimise-inference-{campaign.number}"
    name = f"inference search for version {campaign.number}"
    parent = scene.book.run(key, name, start_at=start, end_at=start + 90_000)
    parent.tags |= {"dlemm.stage": "optimise_inference", "dlemm.trigger": "ci", "dlemm.pipeline": "inference-search"}
    parent.inputs.append(scene.use(scene.validation, "validation"))
    measured = scene.work.once(f"inference/{digest_of(campaign.fitted)}", lambda: _measured(scene, campaign))
    for place, row in enumerate(measured):
        begin = start + 1000 * (place + 1)
        name = f"{row['runtime']} {row['precision']}, {row['threads']} thread(s)"
        child = scene.book.run(f"{key}-{place}", name, start_at=begin, end_at=begin + 900, parent=key)
        child.tags |= {"dlemm.stage": "trial", "dlemm.perf.hardware": latency.hardware(row["threads"])}
        child.param(runtime=row["runtime"], precision=row["precision"], threads=row["threads"])
        child.metrics(row["speed"])
        child.metrics({"eval/change": row["change"]})
    best = {}
    for threads in TARGETS:
        rows = [row for row in measured if row["threads"] == threads and row["change"] >= -TOLERANCE]
        fastest = min(rows, key=lambda row: row["speed"]["perf/latency_p95_ms"])
        best[threads] = (fastest["runtime"], fastest["precision"])
        parent.param(**{f"chosen__{threads}": " ".join(best[threads])})
    return parent, best


def _predict(scene: Scene, campaign: Campaign, choice: _Choice, threads: int) -> export.Predict:
    runtime, precision = choice
    if runtime == "onnxruntime":
        whole = serving(scene, campaign.fitted)
        file = compressed(scene, campaign).file if precision == "int8" else whole
        return export.load_onnx(file, threads=threads)
    stored = export.load_program(program(scene, campaign.fitted))
    if precision == "fp32":
        return stored

    def lower(rows: export.Rows) -> export.Rows:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return stored(rows)

    return lower


def _measured(scene: Scene, campaign: Campaign) -> list[dict[str, Any]]:
    data = scene.validation
    whole = scene.story.score(data.y, _predict(scene, campaign, SERVED, 1)(data.x))
    rows: list[dict[str, Any]] = []
    for threads in TARGETS:
        for choice in CHOICES:
            with _threads(threads):
                predict = _predict(scene, campaign, choice, threads)
                change = (scene.story.score(data.y, predict(data.x)) - whole) / whole
                speed = latency.measure(predict, data.x, requests=100, seconds=0.05).metrics()
            runtime, precision = choice
            rows.append(
                {"runtime": runtime, "precision": precision, "threads": threads, "change": change, "speed": speed}
            )
    return rows


def _live(scene: Scene, choice: _Choice) -> list[float]:
    """95th percentile in milliseconds of what is served and of what was chosen, row by row in turn, on real traffic."""
    rows = scene.story.stream(-1).x[:LIVE_ROWS]
    both = [_predict(scene, scene.champion, one, TARGETS[0]) for one in (SERVED, choice)]
    taken = [[latency.once(predict, rows[number : number + 1]) for predict in both] for number in range(len(rows))]
    return [float(value) for value in np.quantile(np.array(taken), 0.95, axis=0)]


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
