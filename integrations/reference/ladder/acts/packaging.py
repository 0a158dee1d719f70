"""DO2, packaging and inference: packages that load elsewhere, benchmarks, parity, compression, search per target.

Packages hang on the runs of the trainings; what is measured of a release stands on runs tied to its version. Tags that
belong on the version itself are left in ``campaign.notes["version_tags"]`` for the act that registers it.
"""

from __future__ import annotations

from integrations.reference import compress, export, latency
from integrations.reference.ladder.acts import inference
from integrations.reference.ladder.book import Ref, Run
from integrations.reference.ladder.packages import (
    PRUNED_SHARE,
    TOLERANCE,
    check_elsewhere,
    compressed,
    digest_of,
    package,
    program,
    serving,
)
from integrations.reference.ladder.scene import Campaign, Scene

LEAD_WEEKS = 0.3
"""Weeks between packaging and the release that follows."""
PARITY_TOLERANCE = 1e-3
"""Largest difference of a logit between the trained and the served form."""
CHECKED_ROWS = 64
BUDGET = {"size_share": 0.4, "latency_p95_ms": 5.0, "cpu_ms_per_answer": 5.0}
"""Serving budget of the constrained target: share of the original size, milliseconds, CPU milliseconds an answer."""


def perform(scene: Scene) -> None:
    """Package every training that is kept, and judge every release by what its package does."""
    _package(scene)
    if "DO2.1.1" in scene.rungs:
        _load_elsewhere(scene)
    for campaign in scene.campaigns:
        campaign.notes.setdefault("version_tags", {})
        if "DO2.2.2" in scene.rungs:
            _benchmark(scene, campaign)
        if "DO2.3.1" in scene.rungs:
            _parity(scene, campaign)
        if "DO2.3.2" in scene.rungs:
            _compress(scene, campaign)
    if "DO2.5.1" in scene.rungs:
        inference.search(scene)


def _package(scene: Scene) -> None:
    """At step 1 the release alone; later every training of a network, so that none is lost with its machine."""
    released = {campaign.key for campaign in scene.campaigns}
    for key, (fitted, _, _) in scene.shared["fits"].items():
        run = scene.book.runs.get(key)
        kept = key in released or scene.rungs.step > 1
        if run is None or not kept or run.tags.get("dlemm.stage") not in ("train", "retrain"):
            continue
        described = "DO2.2.1" in scene.rungs
        week = (run.end_at - scene.calendar.at(0)) / (7 * 86_400_000)
        run.package = package(scene, fitted, described=described, week=week)


def packaging_run(scene: Scene, campaign: Campaign, what: str, name: str) -> Run:
    """A run about the package of a release, between its training and its release."""
    start = scene.calendar.at(campaign.week - LEAD_WEEKS, hours=len(scene.book.runs) / 60)
    run = scene.book.run(f"{what}-{campaign.number}", name, start_at=start, end_at=start + 60_000)
    run.tags |= {"dlemm.stage": what, "dlemm.model_version": Ref("version", campaign.key)}
    return run


def _load_elsewhere(scene: Scene) -> None:
    """Load the champion's package where nothing of the training is in reach, and compare its answers."""
    campaign = scene.champion
    files = campaign.run.package.files if campaign.run.package else {}
    x = scene.test.x[:CHECKED_ROWS]
    seen = scene.work.once(
        f"elsewhere/{digest_of(campaign.fitted)}",
        lambda: check_elsewhere(files, x, export.load_program(program(scene, campaign.fitted))(x)),
    )
    run = packaging_run(scene, campaign, "load-check", f"load version {campaign.number} elsewhere")
    run.tags["dlemm.stage"] = "package"
    run.metrics({"load/predictions": seen["predictions"], "load/max_abs_diff": seen["max_abs_diff"]})
    environment = {
        "clean": seen["clean"],
        "variables": len(seen["environment"]),
        "python": seen["python"],
        "torch": seen["torch"],
    }
    values = {"environment": environment, "loaded": seen["loaded"], "predictions": seen["predictions"]}
    run.report("load_predict", {**values, "max_abs_diff": seen["max_abs_diff"]})
    scene.book.document(
        "DO2.1.1",
        dated=run.end_at,
        facts={
            "version": campaign.number,
            "file": export.PROGRAM,
            "predictions": seen["predictions"],
            "difference": f"{seen['max_abs_diff']:.2g}",
            "python": seen["python"],
            "torch": seen["torch"],
        },
        evidence=(f"{run.key}#load/predictions", f"{run.key}#reports/load_predict.json"),
    )


def _benchmark(scene: Scene, campaign: Campaign) -> None:
    """How fast the package answers, on named hardware, before it is released."""
    x = scene.test.x[:256]
    file = serving(scene, campaign.fitted)
    measured = scene.work.once(
        f"benchmark/{digest_of(campaign.fitted)}", lambda: latency.measure(export.load_onnx(file), x).metrics()
    )
    run = packaging_run(scene, campaign, "benchmark", f"benchmark version {campaign.number}")
    run.tags["dlemm.perf.hardware"] = latency.hardware()
    run.param(runtime="onnxruntime", precision="fp32", threads=1)
    run.metrics(measured)


def _parity(scene: Scene, campaign: Campaign) -> None:
    """Whether the ONNX file that is served gives what the trained network gives."""
    x, file = scene.test.x, serving(scene, campaign.fitted)
    measured = scene.work.once(
        f"parity/{digest_of(campaign.fitted)}",
        lambda: export.parity(lambda rows: scene_logits(campaign, rows), export.load_onnx(file), x).max_abs_diff,
    )
    run = packaging_run(scene, campaign, "convert", f"convert version {campaign.number} to ONNX")
    run.param(opset=export.OPSET, tolerance=PARITY_TOLERANCE, samples=len(x))
    run.metrics({"parity/max_abs_diff": measured, "parity/samples": len(x)})
    campaign.notes["version_tags"] |= {
        "dlemm.training_format": "pytorch",
        "dlemm.serving_format": "onnx",
        "dlemm.parity.tolerance": str(PARITY_TOLERANCE),
    }
    if campaign is scene.champion:
        values = {"export": {"max_abs_diff": measured, "samples": len(x), "tolerance": PARITY_TOLERANCE}}
        _report_holder(scene, "parity", run).report("parity", values)


def scene_logits(campaign: Campaign, rows: export.Rows) -> export.Rows:
    """Logits of the trained network itself, not of anything exported."""
    from integrations.reference.engine import logits

    return logits(campaign.fitted.model, rows)


def _report_holder(scene: Scene, kind: str, otherwise: Run) -> Run:
    """The run with the newest report of a kind: one report of a kind decides, so every part goes into the same one."""
    path = f"reports/{kind}.json"
    holders = [run for run in scene.book.runs.values() if path in run.artifacts]
    return max(holders, key=lambda run: run.end_at, default=otherwise)


def _compress(scene: Scene, campaign: Campaign) -> None:
    """The form for small machines, judged on the test rows overall and slice by slice."""
    small, whole = compressed(scene, campaign), serving(scene, campaign.fitted)
    test = scene.test
    judged = scene.work.once(f"judged/{digest_of(campaign.fitted)}", lambda: _judged(scene, whole, small.file))
    run = packaging_run(scene, campaign, "compress", f"compress version {campaign.number}")
    run.param(technique=small.technique, pruned_share=PRUNED_SHARE, tolerance=TOLERANCE, rows=len(test))
    run.metrics({"eval/compression_delta": judged["relative_change"]})
    for name, one in small.tried.items():
        run.metrics({f"compression/{name.replace('+', '-')}/{key}": value for key, value in one.items()})
    campaign.notes["version_tags"] |= {
        "dlemm.compression": small.technique,
        "dlemm.compression.tolerance": str(TOLERANCE),
    }
    if "DO2.4.1" in scene.rungs:
        _hold_to_budget(scene, campaign, run, whole, small.file)
    if campaign is scene.champion:
        rows = [
            {"slice": name, "quality_change": change, "n": judged["rows"][name]}
            for name, change in judged["slices"].items()
        ]
        values = {
            "size_before_bytes": len(whole),
            "size_after_bytes": len(small.file),
            "quality_change": judged["change"],
            "metric": scene.story.primary,
            "technique": small.technique,
            "tried": small.tried,
        }
        run.report("compression", values, rows)


def _judged(scene: Scene, whole: bytes, small: bytes) -> dict[str, object]:
    test = scene.test
    seen = compress.judge(
        (whole, export.load_onnx(whole)),
        (small, export.load_onnx(small)),
        test.x,
        test.y,
        test.slices,
        scene.story.score,
    )
    return {
        "change": seen.change,
        "relative_change": seen.relative_change,
        "slices": dict(seen.slices),
        "rows": dict(seen.rows),
    }


def _hold_to_budget(scene: Scene, campaign: Campaign, run: Run, whole: bytes, small: bytes) -> None:
    """Size, latency and unit cost of the compressed form against their budgets."""
    x = scene.test.x[:256]
    measured = scene.work.once(
        f"budget/{digest_of(campaign.fitted)}", lambda: latency.measure(export.load_onnx(small), x).metrics()
    )
    used = {
        "size_share": len(small) / len(whole),
        "latency_p95_ms": measured["perf/latency_p95_ms"],
        "cpu_ms_per_answer": 1000 / measured["perf/throughput_rps"],
    }
    run.param(**{f"budget__{name}": limit for name, limit in BUDGET.items()})
    run.metrics({"size/model_mb": len(small) / 1e6, "size/model_mb_baseline": len(whole) / 1e6})
    run.metrics({f"budget/{name}": value for name, value in used.items()})
    run.tags["dlemm.budget.status"] = "kept" if all(used[name] <= BUDGET[name] for name in BUDGET) else "broken"
