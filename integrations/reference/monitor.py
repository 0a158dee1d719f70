"""The watch: drift of a stream against the training data, one small number per feature.

Takes the features of two populations, gives the population stability index and the Kolmogorov-Smirnov statistic of
each. Features are few and have a meaning, so that an alert says what moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 8
FLOOR = 1e-3  # smallest share of a bin, so that an empty bin gives a large number and not an infinite one

Values = npt.NDArray[np.float64]  # (n,)


@dataclass(frozen=True, slots=True)
class Drift:
    """Drift of one feature between two populations."""

    psi: float  # 0 = same; above 0.25 is read as a marked change
    ks: float  # largest distance of the two distribution functions, 0 to 1


def population_stability_index(reference: npt.ArrayLike, current: npt.ArrayLike, *, bins: int = BINS) -> float:
    """Sum of (c - r) ln(c / r) over bins that hold equal shares of the reference (Siddiqi 2006)."""
    edges = np.quantile(np.asarray(reference, dtype=np.float64), np.linspace(0, 1, bins + 1)[1:-1])
    # Few distinct values give equal edges; a bin of no width would never be filled.
    edges = np.unique(edges)
    shares = []
    for values in (reference, current):
        counts = np.bincount(np.searchsorted(edges, np.asarray(values), side="right"), minlength=len(edges) + 1)
        shares.append(np.maximum(counts / counts.sum(), FLOOR))
    before, after = shares
    return float(((after - before) * np.log(after / before)).sum())


def kolmogorov_smirnov(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """Largest distance between the two empirical distribution functions."""
    left, right = np.sort(np.asarray(reference)), np.sort(np.asarray(current))
    points = np.concatenate([left, right])
    below_left = np.searchsorted(left, points, side="right") / len(left)
    below_right = np.searchsorted(right, points, side="right") / len(right)
    return float(np.abs(below_left - below_right).max())


def drift(reference: Mapping[str, Values], current: Mapping[str, Values]) -> dict[str, Drift]:
    """Drift of every feature of the reference."""
    return {
        name: Drift(population_stability_index(values, current[name]), kolmogorov_smirnov(values, current[name]))
        for name, values in reference.items()
    }


def drift_metrics(found: Mapping[str, Drift]) -> dict[str, float]:
    """``drift/<feature>`` is the index, ``drift/<feature>/ks`` the statistic, ``drift/max`` the largest index."""
    metrics = {f"drift/{name}": change.psi for name, change in found.items()}
    metrics |= {f"drift/{name}/ks": change.ks for name, change in found.items()}
    return metrics | {"drift/max": max(change.psi for change in found.values())}
