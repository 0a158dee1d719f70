"""Before and after: whether deliveries became faster, from the release records of the ladder's own projects.

Takes lead times of single releases in days; gives the ratio of the medians with an interval and the row that the
delivery table keeps of it. A ratio of a half is half the time. The words for what is shown are "was followed by":
nobody was left untreated to compare with.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Any

DAY_MS = 86_400_000
RESAMPLES, SEED, ALPHA = 10_000, 20250912, 0.05


@dataclass(frozen=True, slots=True)
class Delivery:
    """One release: when it went live (ms), the days it took from its training to production, and whether it failed."""

    live_at: int
    lead_days: float
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median after divided by median before, with its 95 % interval."""

    value: float
    low: float
    high: float


def ratio_of_medians(before: Sequence[float], after: Sequence[float]) -> Ratio:
    """The ratio with a seeded percentile bootstrap interval (Efron 1979). Raises ``ValueError`` when a side is empty
    or holds a time that is not above 0."""
    if not before or not after or min(*before, *after) <= 0:
        raise ValueError("both sides need lead times above 0")
    generator = random.Random(SEED)
    drawn = sorted(median(_again(after, generator)) / median(_again(before, generator)) for _ in range(RESAMPLES))
    cut = ceil(ALPHA / 2 * RESAMPLES)
    value = median(after) / median(before)
    return Ratio(value, min(drawn[cut - 1], value), max(drawn[-cut], value))


def _again(values: Sequence[float], generator: random.Random) -> list[float]:
    return [values[int(generator.random() * len(values))] for _ in values]


def fail_rate(deliveries: Sequence[Delivery]) -> float:
    """Share of deliveries that failed, 0 to 1."""
    return sum(delivery.failed for delivery in deliveries) / len(deliveries)


def compared(name: str, before: Sequence[Delivery], after: Sequence[Delivery]) -> dict[str, Any]:
    """The comparison as a row of the delivery table; it closed when the last release of the period after was live.

    Raises ``ValueError`` when a side is empty.
    """
    ratio = ratio_of_medians([one.lead_days for one in before], [one.lead_days for one in after])
    return {
        "comparison": name,
        "metric": "lead_time",
        "closed_at": max(one.live_at for one in after),
        "n_before": len(before),
        "n_after": len(after),
        "ratio": ratio.value,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "fail_before": fail_rate(before),
        "fail_after": fail_rate(after),
    }


def periods(deliveries: Sequence[Delivery], changes: Sequence[int]) -> list[list[Delivery]]:
    """The deliveries by period: a new one begins with each change (ms), in their order of going live."""
    found: list[list[Delivery]] = [[] for _ in range(len(changes) + 1)]
    for delivery in sorted(deliveries, key=lambda one: one.live_at):
        found[sum(change <= delivery.live_at for change in changes)].append(delivery)
    return found
