"""Evaluation on held-out data: accuracy with its uncertainty, slices, robustness, and the duel of two versions.

Takes a trained network and splits it has never seen, gives metrics under the names that travel to MLflow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from integrations.reference.case import Disturbance
from integrations.reference.data import Images, Split, disturb
from integrations.reference.models import CLASSES, probabilities

PRIMARY_METRIC = "eval/accuracy"
DECLARED = {"dlemm.primary_metric": PRIMARY_METRIC, "dlemm.primary_metric.greater_is_better": "true"}
"""The tags that name the primary metric and say which way is better."""
RESAMPLES = 2000
NOISE_SD = 0.15  # standard deviation of the added noise; brightness runs from 0 to 1
NEIGHBOUR_MOVES = ((0, 1), (0, -1), (1, 0), (-1, 0))  # one pixel: right, left, down, up

Flags = npt.NDArray[np.bool_]  # (n,)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % percentile bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Duel:
    """A new version against the one in service, on the same rows."""

    current: Interval  # accuracy gained on current traffic
    backward_transfer: float  # accuracy gained on the frozen test set

    def metrics(self) -> dict[str, float]:
        """The duel under its MLflow names; differences of shares, new minus old."""
        return {
            "eval/delta_vs_champion": self.current.mean,
            "eval/delta_vs_champion_ci_low": self.current.low,
            "eval/delta_vs_champion_ci_high": self.current.high,
            "eval/backward_transfer": self.backward_transfer,
        }


def predict(model: nn.Module, images: Images) -> npt.NDArray[np.float32]:
    """Class probabilities (n, 10) of images (n, 1, 8, 8)."""
    return probabilities(model, torch.from_numpy(images)).numpy()


def hits(model: nn.Module, split: Split) -> Flags:
    """Whether each row is classified correctly, (n,)."""
    return np.asarray(predict(model, split.images).argmax(1) == split.labels)


def accuracy(model: nn.Module, split: Split) -> float:
    """Share of rows classified correctly."""
    return float(hits(model, split).mean())


def bootstrap(values: npt.ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Mean of the values (n,) and its 95 % percentile bootstrap interval (Efron 1979), seeded."""
    sample = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, len(sample), size=(resamples, len(sample)))
    low, high = np.quantile(sample[draws].mean(axis=1), [0.025, 0.975])  # means: (resamples,)
    return Interval(float(sample.mean()), float(low), float(high))


def evaluate(model: nn.Module, test: Split, *, seed: int = 0) -> dict[str, float]:
    """Everything measured on the test split: primary metric with interval, log loss, slices, robustness."""
    shares = predict(model, test.images)  # (n, 10)
    correct = shares.argmax(1) == test.labels  # (n,)
    interval = bootstrap(correct, seed=seed)
    likelihood = shares[np.arange(len(test)), test.labels]  # (n,), probability given to the true class
    return {
        PRIMARY_METRIC: interval.mean,
        "eval/primary_ci_low": interval.low,
        "eval/primary_ci_high": interval.high,
        "eval/log_loss": float(-np.log(np.clip(likelihood, 1e-12, 1.0)).mean()),
        "eval/samples": len(test),
        **slice_metrics(shares.argmax(1), test.labels),
        **robustness(model, test, seed=seed),
    }


def slice_metrics(predicted: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> dict[str, float]:
    """Recall and precision of each class as ``eval/slice/digit_<c>/...``; a class without rows is left out."""
    metrics: dict[str, float] = {}
    for digit in range(CLASSES):
        of_class, called = labels == digit, predicted == digit
        if of_class.any():
            metrics[f"eval/slice/digit_{digit}/recall"] = float(called[of_class].mean())
        if called.any():
            metrics[f"eval/slice/digit_{digit}/precision"] = float(of_class[called].mean())
    recalls = [value for name, value in metrics.items() if name.endswith("/recall")]
    return {**metrics, "eval/worst_slice_recall": min(recalls)}


def robustness(model: nn.Module, test: Split, *, seed: int = 0) -> dict[str, float]:
    """Accuracy under added Gaussian noise, under a move by one pixel (mean of four), and at half brightness."""
    noise = np.random.default_rng(seed).normal(0.0, NOISE_SD, size=test.images.shape).astype(np.float32)
    noisy = Split("noise", np.clip(test.images + noise, 0.0, 1.0), test.labels)
    moved = [disturb(test, Disturbance(down=down, right=right), name="shift") for down, right in NEIGHBOUR_MOVES]
    dimmed = disturb(test, Disturbance(brightness=0.5), name="dim")
    return {
        "eval/robust/noise_accuracy": accuracy(model, noisy),
        "eval/robust/shift_accuracy": float(np.mean([accuracy(model, split) for split in moved])),
        "eval/robust/dim_accuracy": accuracy(model, dimmed),
    }


def duel(challenger: nn.Module, champion: nn.Module, *, current: Split, frozen: Split, seed: int = 0) -> Duel:
    """Compare row by row: a paired bootstrap on current traffic, a plain difference on the frozen test set."""
    gained = hits(challenger, current).astype(float) - hits(champion, current).astype(float)  # (n,) in -1, 0, 1
    return Duel(bootstrap(gained, seed=seed), accuracy(challenger, frozen) - accuracy(champion, frozen))
