"""Staleness: how the quality of a frozen model changes with the age of the data it was trained on.

Takes the live quality of frozen models week by week; gives the mean loss by bands of age with a bootstrap interval, and
the oldest age that may be allowed. Quality is a score of which more is better; ages are days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from integrations.reference.evaluate import bootstrap

BAND_DAYS = 28
LEAST_WEEKS = 3
"""Observations that a band needs to carry a limit."""
FRESH_WEEKS = 4
"""The first weeks of a model, whose mean quality stands for the model while fresh."""


@dataclass(frozen=True, slots=True)
class Point:
    """What a frozen model lost at an age, against itself while fresh; negative where it did better."""

    age_days: float
    loss: float


@dataclass(frozen=True, slots=True)
class Band:
    """Mean loss in a band of ages with its 95 % interval; ``weeks`` are the observations it rests on."""

    from_days: int
    to_days: int
    loss: float
    low: float
    high: float
    weeks: int


def points(quality: Mapping[float, float]) -> list[Point]:
    """Losses of one model from its quality by age of its data in days. The youngest ages stand for fresh; with fewer
    than two ages nothing can be said and the list is empty."""
    if len(quality) < 2:
        return []
    ages = sorted(quality)
    fresh = sum(quality[age] for age in ages[:FRESH_WEEKS]) / len(ages[:FRESH_WEEKS])
    return [Point(age, fresh - quality[age]) for age in ages]


def bands(observed: Iterable[Point], *, days: int = BAND_DAYS) -> list[Band]:
    """The points in bands of so many days, youngest first; bands without a point are left out."""
    sorted_in: dict[int, list[float]] = {}
    for point in observed:
        sorted_in.setdefault(int(point.age_days // days), []).append(point.loss)
    found = []
    for number, losses in sorted(sorted_in.items()):
        mean = bootstrap(losses, seed=number)
        found.append(Band(number * days, (number + 1) * days, mean.mean, mean.low, mean.high, len(losses)))
    return found


def limit_days(found: Sequence[Band], *, tolerance: float) -> int:
    """The oldest age that may be allowed: the end of the last band, in unbroken order, whose mean loss is within the
    tolerance and rests on enough weeks; 0 when the first is not one."""
    allowed = 0
    for band in found:
        if band.from_days > allowed or band.weeks < LEAST_WEEKS or band.loss > tolerance:
            break
        allowed = band.to_days
    return allowed
