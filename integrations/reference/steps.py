"""The steps of the story as data: what each leaves on the server, and what is left out on purpose.

One list serves the progress display, the ``explain`` command and the story itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class StepKey(StrEnum):
    """The steps, in their order."""

    DATA = "data"
    TRAIN = "train"
    EVALUATE = "evaluate"
    PACKAGE = "package"
    GATE = "gate"
    RELEASE = "release"
    SERVE = "serve"
    MONITOR = "monitor"
    RETRAIN = "retrain"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its title, what is done, and the traces it leaves."""

    key: StepKey
    title: str
    does: str
    leaves: tuple[str, ...]


STEPS = (
    Step(
        StepKey.DATA,
        "Check the data",
        "Loads the bundled digits, cuts them into disjoint stratified splits and holds them to expectations.",
        (
            "a run with dlemm.stage=data and the metrics dq/*",
            "the same metrics and dlemm.dq.status on every training run",
        ),
    ),
    Step(
        StepKey.TRAIN,
        "Train",
        "Trains a linear baseline, a small CNN with several seeds, a study of techniques, one repetition of the first.",
        (
            "training runs with dataset inputs, parameters with the seed, loss curves and requirements.txt",
            "model/param_count, model/flops, train/throughput_samples_per_s, train/peak_memory_mb as measured",
            "a parent run with dlemm.stage=optimisation over none, grad_accum and amp",
            "dlemm.reproduces on the repetition",
        ),
    ),
    Step(
        StepKey.EVALUATE,
        "Evaluate",
        "Judges the baseline, the best by validation and the under-trained candidate on the held-out test split.",
        (
            "runs with dlemm.stage=evaluate: eval/accuracy, its 95 % bootstrap interval, eval/slice/*, eval/robust/*",
            "the primary metric named by dlemm.primary_metric",
        ),
    ),
    Step(
        StepKey.PACKAGE,
        "Package and register",
        "Exports the candidates as graphs without pickle, writes a model card from the numbers, registers versions.",
        (
            "logged models with signature, input example and pinned requirements",
            "model_card.md on the source run; registered versions tied to their evaluation by dlemm.model_version",
        ),
    ),
    Step(
        StepKey.GATE,
        "Pass the gate",
        "Holds every candidate to the versioned thresholds; the under-trained one is expected to fail.",
        ("dlemm.gate.status, dlemm.gate.policy and dlemm.gate.at on the versions",),
    ),
    Step(
        StepKey.RELEASE,
        "Release",
        "Moves the alias champion to the candidate that passed.",
        (
            "the alias champion, dlemm.deployed_at, dlemm.release.actor=pipeline, dlemm.slo.*",
            "dlemm.decision.policy and dlemm.decision.evidence",
        ),
    ),
    Step(
        StepKey.SERVE,
        "Serve and benchmark",
        "Starts an HTTP server on a free loopback port, loads the released version from the registry, measures it.",
        (
            "a run with dlemm.stage=benchmark: perf/latency_p50_ms, perf/latency_p95_ms, perf/throughput_rps",
            "parity/max_abs_diff between served and trained probabilities",
        ),
    ),
    Step(
        StepKey.MONITOR,
        "Watch the stream",
        "Sends a fresh and then a disturbed window of the simulated stream, compares both with the training data.",
        (
            "runs with dlemm.stage=monitor: ops/*, drift/*, live/primary, ops/predictions_logged, the prediction log",
            "dlemm.alert_at and dlemm.decision_at when the drift calls for a retraining",
        ),
    ),
    Step(
        StepKey.RETRAIN,
        "Retrain and replace",
        "Trains a challenger for the drift, lets it meet the champion on the same rows, releases it if it passes.",
        (
            "a run with dlemm.stage=retrain, dlemm.trigger=drift, dlemm.challenger_of and eval/delta_vs_champion",
            "the second release, dlemm.retired_at on the first, a third monitoring run",
        ),
    ),
    Step(
        StepKey.ROLLBACK,
        "Drill the rollback",
        "Moves the alias back to the version before and forward again, each time until the server answers with it.",
        ("a run with dlemm.stage=drill and drill/rollback_minutes",),
    ),
)

GAPS = (
    "No dlemm.approved_by: an unattended pipeline is no second person.",
    "dlemm.release.actor is pipeline, not ci: nobody's build server released this.",
    "No label agreement: the digits come with labels but without annotators.",
    "No ablation, augmentation study or search: the story trains only what it needs.",
    "No fairness and no explanations: single digits affect nobody (dlemm.impact=low).",
    "No staged rollout: the second version replaces the first at once.",
    "No owner of the alert rules and no energy figures: nobody owns them, nothing measures it.",
    "The stream is simulated from held-out rows (dlemm.stream=simulated).",
)


def step(key: StepKey) -> Step:
    """The step of that key."""
    return next(known for known in STEPS if known.key is key)
