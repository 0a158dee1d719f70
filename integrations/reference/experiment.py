"""Training and evaluation as runs: the loop and the measures of the other modules, put on record.

Takes fits and splits, gives trained candidates and their evaluations together with the ids of their runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch

from integrations.reference.case import Case, Fit
from integrations.reference.data import DataReport, Split, Splits
from integrations.reference.evaluate import DECLARED, PRIMARY_METRIC, accuracy, evaluate
from integrations.reference.gate import Policy
from integrations.reference.tracking import USED, Run, Tracker, pinned
from integrations.reference.train import Trained, train


@dataclass(frozen=True, slots=True)
class Setting:
    """What all steps share: the case, its thresholds, the server, the checked data."""

    case: Case
    policy: Policy
    tracker: Tracker
    splits: Splits
    report: DataReport


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trained network and the run that trained it."""

    trained: Trained
    run_id: str
    test_accuracy: float

    @property
    def validation_accuracy(self) -> float:
        """Accuracy of the best epoch on the validation split, the only number candidates are chosen by."""
        return self.trained.history[self.trained.best_epoch - 1].validation_accuracy


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The metrics of a candidate on held-out data and the run that holds them."""

    candidate: Candidate
    run_id: str
    metrics: Mapping[str, float]


def record_data_check(tracker: Tracker, splits: Splits, report: DataReport) -> None:
    """A run of its own for the data check, with every expectation in a small table."""
    rows = [f"{check.name}\t{check.observed:g}\t{check.expected}\t{check.holds}" for check in report.expectations]
    note = "Expectations of the data, checked before anything is trained."
    with tracker.run("data check", stage="data", note=note, tags={"dlemm.dq.status": report.status}) as run:
        run.inputs(splits.source, training=splits.train, validation=splits.validation, test=splits.test)
        run.metrics(report.metrics())
        run.text("expectations.tsv", "\n".join(["expectation\tobserved\texpected\tholds", *rows]) + "\n")


def train_candidate(
    setting: Setting,
    fit: Fit,
    *,
    note: str,
    parent: str = "",
    stage: str = "train",
    tags: Mapping[str, str] | None = None,
    params: Mapping[str, object] | None = None,
) -> Candidate:
    """Train under a run of its own: inputs, parameters, data check first; then the loop; then what it measured."""
    splits, report = setting.splits, setting.report
    own = {**DECLARED, "dlemm.dq.status": report.status, "dlemm.dataset.labelled": "true"}
    with setting.tracker.run(fit.name, stage=stage, note=note, parent=parent, tags=own | dict(tags or {})) as run:
        run.inputs(splits.source, training=splits.train, validation=splits.validation, test=splits.test)
        run.params(_fit_params(fit) | dict(params or {}))
        run.metrics(report.metrics())
        trained = train(fit, splits.train, splits.validation)
        test_accuracy = accuracy(trained.model, splits.test)
        _record_training(run, trained, splits, test_accuracy)
    return Candidate(trained, run.id, test_accuracy)


def _fit_params(fit: Fit) -> dict[str, object]:
    values = asdict(fit)
    renamed = {
        "model_family": values.pop("family"),
        "opt.amp": values.pop("amp"),
        "opt.grad_accum_steps": values.pop("grad_accum_steps"),
        "opt_technique": values.pop("technique"),
    }
    return {**values, **renamed, "optimiser": "AdamW", "threads": torch.get_num_threads()}


def _record_training(run: Run, trained: Trained, splits: Splits, test_accuracy: float) -> None:
    cost, best = trained.cost, trained.history[trained.best_epoch - 1]
    run.params({"device": trained.device, "memory_measure": cost.memory_kind})
    run.series(
        {
            epoch.number: {
                "train/loss": epoch.train_loss,
                "val/loss": epoch.validation_loss,
                "val/accuracy": epoch.validation_accuracy,
            }
            for epoch in trained.history
        }
    )
    run.metrics(
        {
            "model/param_count": trained.parameters,
            "model/flops": trained.flops,
            "train/throughput_samples_per_s": cost.samples_per_s,
            "train/peak_memory_mb": cost.peak_memory_mb,
            "train/input_stall_share": cost.input_stall_share,
            "train/duration_s": cost.duration_s,
            "train/cpu_s": cost.cpu_s,
            "train/epochs": len(trained.history),
            "train/best_epoch": trained.best_epoch,
            "val/best_accuracy": best.validation_accuracy,
            PRIMARY_METRIC: test_accuracy,
            "eval/generalisation_gap": accuracy(trained.model, splits.train) - test_accuracy,
        }
    )
    run.tags({"dlemm.weights.sha256": trained.weights_sha256})
    run.text("requirements.txt", "\n".join(pinned(USED)) + "\n")


def evaluate_candidate(
    setting: Setting,
    candidate: Candidate,
    *,
    extra: Mapping[str, float] | None = None,
    current: Split | None = None,
    tags: Mapping[str, str] | None = None,
) -> Evaluation:
    """Judge a candidate on the test split under a run of its own; ``extra`` holds comparisons made elsewhere."""
    fit = candidate.trained.fit
    own = {**DECLARED, "dlemm.source_run": candidate.run_id}
    note = f"{fit.name} on held-out data."
    tracker = setting.tracker
    with tracker.run(f"evaluate {fit.name}", stage="evaluate", note=note, tags=own | dict(tags or {})) as run:
        contexts = {"test": setting.splits.test} | ({"eval": current} if current else {})
        run.inputs(setting.splits.source, **contexts)
        run.params({"seed": fit.seed, "model_family": fit.family})
        metrics = {**evaluate(candidate.trained.model, setting.splits.test, seed=fit.seed), **(extra or {})}
        run.metrics(metrics)
    return Evaluation(candidate, run.id, metrics)
