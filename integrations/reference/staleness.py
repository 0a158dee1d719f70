"""Staleness: how the quality of a frozen model changes with the age of the data it was trained on.

Takes the live quality of frozen models week by week, and that of the simple baseline on the same traffic; gives loss
and lead by bands of age with a bootstrap interval, and the oldest age that may be allowed. Quality is a score of which
more is better; ages are days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np
import numpy.typing as npt

BAND_DAYS = 28
LEAST_WEEKS = 3
"""Observations that a band needs to carry a limit."""
FRESH_WEEKS = 4
"""The first weeks of a model, whose mean quality stands for the model while fresh."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % percentile bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Point:
    """A frozen model at an age: what it lost against itself while fresh, and its lead over the simple baseline."""

    age_days: float
    loss: float
    lead: float


@dataclass(frozen=True, slots=True)
class Band:
    """Mean loss and lead in a band of ages, the lead with its 95 % interval; ``weeks`` are the observations."""

    from_days: int
    to_days: int
    loss: float
    lead: Interval
    weeks: int


def points(quality: Mapping[float, tuple[float, float]]) -> list[Point]:
    """Points of one model from its quality and the baseline's by age of its data in days. The youngest ages stand for
    fresh; with fewer than two ages nothing can be said and the list is empty."""
    if len(quality) < 2:
        return []
    ages = sorted(quality)
    fresh = mean(quality[age][0] for age in ages[:FRESH_WEEKS])
    return [Point(age, fresh - own, own - baseline) for age, (own, baseline) in sorted(quality.items())]


def bands(observed: Iterable[Point], *, days: int = BAND_DAYS) -> list[Band]:
    """The points in bands of so many days, youngest first; bands without a point are left out."""
    sorted_in: dict[int, list[Point]] = {}
    for point in observed:
        sorted_in.setdefault(int(point.age_days // days), []).append(point)
    found = []
    for number, inside in sorted(sorted_in.items()):
        lead = bootstrap([point.lead for point in inside], seed=number)
        loss = mean(point.loss for point in inside)
        found.append(Band(number * days, (number + 1) * days, loss, lead, len(inside)))
    return found


def limit_days(found: Sequence[Band]) -> int:
    """The oldest age that may be allowed: the end of the last band, in unbroken order, whose lead is above 0 with its
    whole interval and rests on enough weeks; 0 when the first is not one."""
    allowed = 0
    for band in found:
        if band.from_days > allowed or band.weeks < LEAST_WEEKS or band.lead.low <= 0:
            break
        allowed = band.to_days
    return allowed


def bootstrap(values: npt.ArrayLike, *, seed: int = 0, resamples: int = 2000) -> Interval:
    """Mean of the values (n,) with its percentile bootstrap interval (Efron 1979), seeded."""
    sample = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, len(sample), size=(resamples, len(sample)))
    low, high = np.quantile(sample[draws].mean(axis=1), [0.025, 0.975])
    return Interval(float(sample.mean()), float(low), float(high))
