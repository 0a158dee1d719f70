"""The canary's verdict: promote, roll back or go on, looked at after every answer without losing the error rate.

Takes the losses (0 to 1) of champion and candidate, request by request; gives the decision and when it fell. Two tests
by betting (Waudby-Smith and Ramdas 2024) run side by side: one against "the candidate is no worse", whose rejection
rolls back, and one against "the candidate is worse by the margin or more", whose rejection promotes. Each is an
e-process: by Ville's inequality the probability that it ever reaches 1/alpha under its hypothesis is at most alpha,
whenever one stops looking. A mixture over stakes replaces the choice of one.

Losses are paired where both answered the same request (shadow). With split traffic the k-th answer of one is
set against the k-th of the other; the tests then stay valid, because the mean of the difference is the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Losses = npt.NDArray[np.float64]  # (n,)
Decision = Literal["promote", "rollback", "undecided"]

ALPHA = 0.01
MARGIN = 0.05
"""The loss by which a candidate may be worse and still count as no harm."""
_STAKES = np.geomspace(0.02, 0.95, 12)  # shares of what may be staked at most


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision, the number of requests it took (all of them when undecided), and the evidence at that moment."""

    decision: Decision
    requests: int
    evidence_worse: float  # e-value against "no worse"
    evidence_safe: float  # e-value against "worse by the margin"
    loss_champion: float  # means over those requests
    loss_candidate: float
    alpha: float
    margin: float

    def metrics(self) -> dict[str, float]:
        """The verdict under its MLflow names."""
        return {
            "rollout/requests": self.requests,
            "rollout/e_worse": min(self.evidence_worse, 1e12),
            "rollout/e_safe": min(self.evidence_safe, 1e12),
            "rollout/loss_champion": self.loss_champion,
            "rollout/loss_candidate": self.loss_candidate,
            "rollout/delta": self.loss_candidate - self.loss_champion,
            "rollout/promoted": float(self.decision == "promote"),
        }


def decide(champion: Losses, candidate: Losses, *, alpha: float = ALPHA, margin: float = MARGIN) -> Verdict:
    """The first decision that the losses (n,) of both allow, in the order in which they came.

    Raises ``ValueError`` for losses outside 0 to 1, of different number, or none.
    """
    losses = np.stack([np.asarray(champion, np.float64), np.asarray(candidate, np.float64)])
    if losses.shape[1] == 0 or not ((losses >= 0) & (losses <= 1)).all():
        raise ValueError("losses lie between 0 and 1, and there is at least one")
    worse, safe = evidence(losses[0], losses[1], margin=margin)
    hits = np.flatnonzero((worse >= 1 / alpha) | (safe >= 1 / alpha))
    decision: Decision = "undecided"
    last = losses.shape[1] - 1
    if len(hits):
        last = int(hits[0])
        decision = "rollback" if worse[last] >= 1 / alpha else "promote"
    means = losses[:, : last + 1].mean(axis=1)
    return Verdict(
        decision, last + 1, float(worse[last]), float(safe[last]), float(means[0]), float(means[1]), alpha, margin
    )


def evidence(champion: Losses, candidate: Losses, *, margin: float = MARGIN) -> tuple[Losses, Losses]:
    """The e-values (n,) after each request that the candidate is worse, and that it is not by the margin."""
    difference = np.asarray(candidate, np.float64) - np.asarray(champion, np.float64)
    return _wealth(difference, 0.0), _wealth(-difference, -margin)


def _wealth(values: Losses, bound: float) -> Losses:
    """The e-process (n,) against "the mean of the values, each in -1 to 1, is at most ``bound``"."""
    stakes = _STAKES / (1 + bound)  # the most one can lose at a time is 1 + bound
    growth = np.log1p(stakes[:, None] * (values - bound)[None]).cumsum(axis=1)  # (stakes, n)
    peak = growth.max(axis=0)
    wealth: Losses = np.exp(np.minimum(peak + np.log(np.exp(growth - peak).mean(axis=0)), 700.0))
    return wealth


def detectable(
    requests: int, error: float, *, alpha: float = ALPHA, margin: float = MARGIN, power: float = 0.8, seed: int = 0
) -> float:
    """The smallest rise of an error rate that so many requests roll back with at least that power; ``inf`` for none.

    By simulation: independent right and wrong answers at ``error`` and at ``error`` plus the rise, 100 runs each.
    """
    random = np.random.default_rng(seed)
    for rise in np.arange(0.01, 1.0 - error, 0.01):
        back = 0
        for _ in range(100):
            champion = (random.random(requests) < error).astype(np.float64)
            candidate = (random.random(requests) < error + rise).astype(np.float64)
            back += decide(champion, candidate, alpha=alpha, margin=margin).decision == "rollback"
        if back >= 100 * power:
            return float(rise)
    return math.inf


def brier(probabilities: npt.NDArray[np.floating], y: npt.NDArray[np.int64]) -> Losses:
    """Half the Brier score of each row, 0 to 1: probabilities (n, classes) against classes (n,)."""
    wanted = np.eye(probabilities.shape[1])[y]
    losses: Losses = np.clip(((probabilities - wanted) ** 2).sum(axis=1) / 2, 0.0, 1.0)
    return losses
