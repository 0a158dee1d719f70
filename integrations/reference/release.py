"""Packaging, gate and release: from an evaluated candidate to a version in service.

Takes evaluations, gives registered versions. Nothing is released that the gate did not pass, and everything written
on a version happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow
import mlflow.pytorch
import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from integrations.reference.card import model_card
from integrations.reference.evaluate import DECLARED, PRIMARY_METRIC
from integrations.reference.experiment import Evaluation, Setting
from integrations.reference.gate import Verdict, judge
from integrations.reference.models import CLASSES, IMAGE_SHAPE
from integrations.reference.tracking import Tracker, now, pinned

ALIAS = "champion"
EXPORTED = Path("data") / "model.pt2"  # where MLflow keeps the exported graph inside a model folder
FLOAT32 = np.dtype("float32")
SIGNATURE = ModelSignature(
    inputs=Schema([TensorSpec(FLOAT32, (-1, *IMAGE_SHAPE))]),
    outputs=Schema([TensorSpec(FLOAT32, (-1, CLASSES))]),
)


@dataclass(frozen=True, slots=True)
class Package:
    """A registered version that no gate has judged yet."""

    number: str
    evaluation: Evaluation
    metrics: Mapping[str, float]  # of the evaluation, and the size of the package


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version with the evaluation it rests on and the verdict of its gate."""

    number: str
    evaluation: Evaluation
    metrics: Mapping[str, float]
    verdict: Verdict

    def reference(self, tracker: Tracker) -> str:
        """``name/number``, the value of the tag ``dlemm.model_version``."""
        return f"{tracker.model}/{self.number}"


def package(setting: Setting, evaluation: Evaluation) -> Package:
    """Write the card, log the model under its training run, register it and tie the evaluation to the version."""
    tracker, candidate = setting.tracker, evaluation.candidate
    card = model_card(
        tracker.model, setting.case, candidate.trained, evaluation.metrics, setting.splits, setting.report
    )
    source, judged = tracker.reopened(candidate.run_id), tracker.reopened(evaluation.run_id)
    source.text("model_card.md", card)
    model_id, size_mb = _log_model(setting, evaluation)
    number = _create_version(setting, evaluation, model_id)
    size = {"size/model_mb": size_mb}
    source.metrics(size)
    judged.metrics(size)
    judged.tags({"dlemm.model_version": f"{tracker.model}/{number}"})
    return Package(number, evaluation, {**evaluation.metrics, **size})


def gate(setting: Setting, made: Package, *, challenger: bool = False) -> Version:
    """Hold a version to the thresholds; verdict, policy, time and evidence are written on the version."""
    verdict = judge(setting.policy, made.metrics, challenger=challenger)
    tags = {
        "dlemm.gate.status": verdict.status,
        "dlemm.gate.policy": verdict.policy,
        "dlemm.gate.at": now(),
        "dlemm.gate.evidence": made.evaluation.run_id,
    }
    if verdict.broken:
        tags["dlemm.gate.broken"] = "; ".join(verdict.broken)
    _tag_version(setting.tracker, made.number, tags)
    return Version(made.number, made.evaluation, made.metrics, verdict)


def _log_model(setting: Setting, evaluation: Evaluation) -> tuple[str, float]:
    """Export the network as a graph (no pickle) under its training run; model id and size of the graph in MB."""
    example = setting.splits.test.images[:2]  # (2, 1, 8, 8); two, so that the batch size stays free in the graph
    logged = Model.log(
        None,
        mlflow.pytorch,
        name="model",
        run_id=evaluation.candidate.run_id,
        pytorch_model=evaluation.candidate.trained.model.cpu(),
        signature=SIGNATURE,
        input_example=example,
        pip_requirements=pinned(),
        serialization_format="pt2",
    )
    listed = setting.tracker.client.list_logged_model_artifacts(logged.model_id, EXPORTED.parent.as_posix())
    sizes = {Path(item.path).name: item.file_size or 0 for item in listed}
    return logged.model_id, sizes[EXPORTED.name] / 1e6


def _create_version(setting: Setting, evaluation: Evaluation, model_id: str) -> str:
    tracker, metrics = setting.tracker, evaluation.metrics
    if not tracker.client.search_registered_models(f"name = '{tracker.model}'"):
        own = {"dlemm.origin": "reference", "dlemm.project": tracker.project}
        tracker.client.create_registered_model(tracker.model, own, setting.case.title)
    tags = {
        "dlemm.origin": "reference",
        "dlemm.project": tracker.project,
        "dlemm.pipeline": setting.case.pipeline,
        "dlemm.story": tracker.story,
        **DECLARED,
        "dlemm.compression": "none",
        "dlemm.impact": "low",
        "dlemm.sensitivity": "low",
        "dlemm.affects_people": "false",
    }
    fit, rows = evaluation.candidate.trained.fit, metrics["eval/samples"]
    interval = f"{metrics['eval/primary_ci_low']:.2%} to {metrics['eval/primary_ci_high']:.2%}"
    description = (
        f"{fit.name}: accuracy {metrics[PRIMARY_METRIC]:.2%} on {rows:g} held-out images ({interval}). "
        "See model_card.md of the source run."
    )
    created = tracker.client.create_model_version(
        tracker.model,
        source=f"models:/{model_id}",
        run_id=evaluation.candidate.run_id,
        tags=tags,
        description=description,
        model_id=model_id,
    )
    return str(created.version)


def release(setting: Setting, version: Version) -> None:
    """Put a version that passed its gate into service by the alias; versions in service before are retired."""
    if not version.verdict.passed:
        raise ValueError(f"version {version.number} did not pass its gate: {version.verdict.broken}")
    tracker, level = setting.tracker, setting.policy.service_level
    point_alias(tracker, version.number)
    at = now()
    _tag_version(
        tracker,
        version.number,
        {
            "dlemm.deployed_at": at,
            "dlemm.release.actor": "pipeline",
            "dlemm.release.pipeline": tracker.story,
            "dlemm.decision.policy": setting.policy.name,
            "dlemm.decision.evidence": version.evaluation.run_id,
            "dlemm.parity.tolerance": str(setting.policy.parity_tolerance),
            "dlemm.slo.latency_p95_ms": str(level.latency_p95_ms),
            "dlemm.slo.error_rate": str(level.error_rate),
            "dlemm.slo.availability": str(level.availability),
        },
    )
    for other in tracker.client.search_model_versions(f"name = '{tracker.model}'"):
        in_service = "dlemm.deployed_at" in other.tags and "dlemm.retired_at" not in other.tags
        if in_service and str(other.version) != version.number:
            _tag_version(tracker, str(other.version), {"dlemm.retired_at": at})


def point_alias(tracker: Tracker, number: str) -> None:
    """Let the alias name another version; this is the moment of a release or a rollback."""
    tracker.client.set_registered_model_alias(tracker.model, ALIAS, number)


def download_released(tracker: Tracker, folder: Path) -> Path:
    """Fetch whatever version the alias names from the registry; returns the exported graph's file."""
    folder.mkdir(parents=True, exist_ok=True)
    fetched = mlflow.artifacts.download_artifacts(
        f"models:/{tracker.model}@{ALIAS}", dst_path=str(folder), tracking_uri=tracker.uri
    )
    return Path(fetched) / EXPORTED


def _tag_version(tracker: Tracker, number: str, tags: Mapping[str, str]) -> None:
    for key, value in tags.items():
        tracker.client.set_model_version_tag(tracker.model, number, key, value)
