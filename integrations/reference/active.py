"""Labels by the model's own doubt: how many fewer are needed than by random choice for the same metric.

Both ways start from the same labelled rows, buy labels from the same pool in steps and train the same recipe anew after
each step (Lewis and Gale 1994 for the uncertainty; averages over several starts).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from integrations.reference.stories.base import Rows

Picked = npt.NDArray[np.int64]
Train = Callable[[Picked, int], tuple[float, Rows]]
"""Takes the rows that have labels and a seed; gives the metric on held-out rows and the logits of the whole pool."""


@dataclass(frozen=True, slots=True)
class Saving:
    """How many labels each way needed until ``target`` was reached, and the curves (metric by number of labels)."""

    target: float
    active: float
    random: float
    budgets: tuple[int, ...]
    active_curve: tuple[float, ...]
    random_curve: tuple[float, ...]

    @property
    def saving(self) -> float:
        """1 - labels by doubt / labels by chance."""
        return 1.0 - self.active / self.random


def doubt(logits: Rows) -> npt.NDArray[np.float64]:
    """How unsure a model is of each row: 1 less the margin between its two likeliest classes, 0 to 1."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True)).astype(np.float64)
    ordered = np.sort(shifted / shifted.sum(axis=1, keepdims=True), axis=1)
    found: npt.NDArray[np.float64] = 1.0 - (ordered[:, -1] - ordered[:, -2])
    return found


def curve(
    train: Train, pool: int, budgets: Sequence[int], *, active: bool, seed: int, start: Sequence[int] = ()
) -> list[float]:
    """The metric at each budget of labels. The first budget is the same either way: ``start``, rows that are labelled
    anyhow, filled up at random."""
    drawn = np.random.default_rng(seed).permutation(pool)
    order = np.concatenate([np.array(start, dtype=np.int64), drawn[~np.isin(drawn, start)]])
    picked, metrics = order[: budgets[0]], []
    for number, budget in enumerate(budgets):
        metric, logits = train(picked, seed)
        metrics.append(metric)
        if number + 1 == len(budgets):
            break
        if active:
            open_rows = np.setdiff1d(np.arange(pool), picked)
            ranked = open_rows[np.argsort(-doubt(logits[open_rows]), kind="stable")]
            picked = np.concatenate([picked, ranked[: budgets[number + 1] - budget]])
        else:
            picked = order[: budgets[number + 1]]
    return metrics


def compare(
    train: Train, pool: int, budgets: Sequence[int], *, seeds: Sequence[int], start: Sequence[int] = ()
) -> Saving:
    """Doubt against chance over some seeds. The target is the metric that chance reached with all labels bought."""
    mean = {
        way: np.mean([curve(train, pool, budgets, active=way, seed=seed, start=start) for seed in seeds], axis=0)
        for way in (True, False)
    }
    target = float(mean[False].max())
    return Saving(
        target,
        labels_needed(budgets, mean[True], target),
        labels_needed(budgets, mean[False], target),
        tuple(budgets),
        tuple(map(float, mean[True])),
        tuple(map(float, mean[False])),
    )


def labels_needed(budgets: Sequence[int], metrics: Sequence[float] | npt.NDArray[np.float64], target: float) -> float:
    """Labels at which a curve first reaches the target, between two budgets by a straight line; infinite if never."""
    for number, metric in enumerate(metrics):
        if metric < target:
            continue
        if number == 0:
            return float(budgets[0])
        before, low, high = budgets[number - 1], metrics[number - 1], metric
        return float(before + (budgets[number] - before) * (target - low) / (high - low))
    return float("inf")
