"""Judging a network on rows it has not seen: by slice, under stress, with an interval, by group of the population.

Takes a story and logits; gives metrics under the names that travel to MLflow. A value that is undefined, such as a
ranking of rows of one class, is left out, never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from integrations.reference.engine import logits as logits_of
from integrations.reference.stories.base import Classes, Data, Flags, Rows, Story

RESAMPLES = 300
LEAST_ROWS = 10
"""Rows that a slice or a group must have before a share of them says something."""


def name_of(metric: str) -> str:
    """The last part of a metric's name: ``accuracy`` of ``eval/accuracy``."""
    return metric.rpartition("/")[2]


def log_loss(y: Classes, logits: Rows) -> float:
    """Mean negative log-likelihood of the true classes, in nats."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    likelihood = shifted[np.arange(len(y)), y] - np.log(np.exp(shifted).sum(axis=1))
    return float(-likelihood.mean())


def accuracy(y: Classes, logits: Rows) -> float:
    """Share of rows whose largest logit is that of the true class."""
    return float((logits.argmax(axis=1) == y).mean())


def interval(story: Story, y: Classes, logits: Rows, *, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the primary metric over rows (Efron 1979), seeded: low and high.

    Rows are drawn within each class, so that every resample can be ranked. Raises ``ValueError`` when the metric is
    undefined on the rows.
    """
    draw = np.random.default_rng(seed)
    members = [np.flatnonzero(y == number) for number in np.unique(y)]
    values = []
    for _ in range(RESAMPLES):
        rows = np.concatenate([draw.choice(own, size=len(own)) for own in members])
        values.append(story.score(y[rows], logits[rows]))
    if not np.isfinite(values).all():
        raise ValueError(f"{story.primary} is undefined on these rows")
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def by_slice(story: Story, data: Data, logits: Rows) -> dict[str, float]:
    """Primary metric and log loss of every declared slice, as ``eval/slice/<slice>/<metric>``."""
    return _parts(story, data.slices, data.y, logits, "eval/slice")


def by_group(story: Story, data: Data, logits: Rows) -> dict[str, float]:
    """Primary metric and log loss of every declared group, as ``fairness/<group>/<metric>``."""
    return _parts(story, data.groups, data.y, logits, "fairness")


def _parts(story: Story, parts: Mapping[str, Flags], y: Classes, logits: Rows, prefix: str) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for name, rows in parts.items():
        if rows.sum() < LEAST_ROWS:
            continue
        metrics[f"{prefix}/{name}/log_loss"] = log_loss(y[rows], logits[rows])
        value = story.score(y[rows], logits[rows])
        if math.isfinite(value):
            metrics[f"{prefix}/{name}/{name_of(story.primary)}"] = value
    return metrics


def largest_gap(story: Story, fairness: Mapping[str, float]) -> float:
    """Largest difference of the primary metric between two groups; raises ``ValueError`` with fewer than two."""
    found = [value for key, value in fairness.items() if name_of(key) == name_of(story.primary)]
    if len(found) < 2:
        raise ValueError("a gap needs two groups on which the primary metric is defined")
    return max(found) - min(found)


def under_stress(story: Story, predict: Callable[[Rows], Rows]) -> dict[str, float]:
    """Primary metric on the test rows under every stress of the story, as ``eval/robust/<stress>``."""
    metrics = {}
    for stress in story.stresses:
        data = story.stressed(stress)
        metrics[f"eval/robust/{stress}"] = story.score(data.y, predict(data.x))
    return metrics


def predictor(model: object) -> Callable[[Rows], Rows]:
    """A network as a function from rows to logits."""
    return lambda x: logits_of(model, x)  # type: ignore[arg-type]


def generalisation_gap(story: Story, seen: Data, unseen: Data, predict: Callable[[Rows], Rows]) -> float:
    """Primary metric on rows that were trained on, less that on rows that were not."""
    return story.score(seen.y, predict(seen.x)) - story.score(unseen.y, predict(unseen.x))


def ordinary(story: Story, data: Data, logits: Rows) -> dict[str, float]:
    """What every evaluation tells: primary metric, log loss, accuracy, number of rows."""
    return {
        "eval/accuracy": accuracy(data.y, logits),
        "eval/log_loss": log_loss(data.y, logits),
        "eval/samples": float(len(data)),
        story.primary: story.score(data.y, logits),
    }
