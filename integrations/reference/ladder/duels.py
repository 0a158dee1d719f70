"""Duels: a new model against the champion before it, on the same rows of the traffic that came after the release.

Takes two campaigns; gives the difference of the primary metric with a paired bootstrap interval (Efron 1979), and what
the new model lost on the frozen test set. Rows that either of the two was trained on are left out, so that a model is
never praised for remembering.
"""

from __future__ import annotations

from math import ceil

import numpy as np
import numpy.typing as npt

from integrations.reference.ladder.scene import Campaign, Scene
from integrations.reference.stories.base import Classes, Data, Rows

WEEKS = 4
"""Full weeks of traffic after the release that a duel is fought on; fewer where the calendar ends before."""
RESAMPLES = 400
MOST_ROWS = 4000
"""Rows that are drawn from the traffic when there are more, so that resampling stays quick."""


def duel(scene: Scene, campaign: Campaign) -> dict[str, float]:
    """The campaign's model against its predecessor's: ``delta``, ``ci_low``, ``ci_high``, ``backward_transfer``,
    ``rows``, in units of the primary metric; greater is better for the new model.

    ``backward_transfer`` is new minus old on the frozen test set. Raises ``ValueError`` for the first campaign, which
    has no champion before it.
    """
    if not campaign.update:
        raise ValueError("the first campaign has no champion to be compared with")
    champion = scene.campaigns[campaign.number - 2]

    def fight() -> dict[str, float]:
        rows = unseen(scene, champion, campaign)
        old, new = scene.logits(champion.fitted, rows), scene.logits(campaign.fitted, rows)
        result = paired(scene, rows.y, old, new)
        gone = scene.score(campaign.fitted, scene.test) - scene.score(champion.fitted, scene.test)
        return {**result, "backward_transfer": gone, "rows": float(len(rows))}

    name = f"duel/{champion.week:.2f}-{champion.training.digest}-{campaign.week:.2f}-{campaign.training.digest}"
    fought: dict[str, float] = scene.work.once(name, fight)
    return fought


def weeks_after(week: float) -> range:
    """The full weeks of traffic on which a release of that week is judged."""
    first = min(ceil(week), -1)
    return range(first, min(first + WEEKS, 0))


def unseen(scene: Scene, *campaigns: Campaign) -> Data:
    """The traffic after the last of the campaigns was released, without rows that one of them was trained on."""
    streams = [scene.story.stream(week) for week in weeks_after(max(campaign.week for campaign in campaigns))]
    x, y = (np.concatenate([getattr(stream, part) for stream in streams]) for part in ("x", "y"))
    whole = Data(f"{scene.story.key}/duel", x, y)
    if len(whole) > MOST_ROWS:
        whole = whole.take(np.sort(np.random.default_rng(0).choice(len(whole), MOST_ROWS, replace=False)))
    known = {digest for campaign in campaigns for digest in campaign.training.row_hashes()}
    return whole.take(np.array([digest not in known for digest in whole.row_hashes()]))


def paired(
    scene: Scene, y: Classes, old: Rows, new: Rows, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, float]:
    """Difference of the primary metric of two sets of logits on the same rows: ``delta``, ``ci_low``, ``ci_high``.

    The 95 % percentile interval of resampled rows; a resample that lacks a class of ``y`` is drawn again.
    """
    score, generator = scene.story.score, np.random.default_rng(seed)
    differences = np.empty(resamples)
    for number in range(resamples):
        rows = _resample(y, generator)
        differences[number] = score(y[rows], new[rows]) - score(y[rows], old[rows])
    low, high = np.quantile(differences, [0.025, 0.975])
    return {"delta": score(y, new) - score(y, old), "ci_low": float(low), "ci_high": float(high)}


def _resample(y: Classes, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Rows drawn with replacement that hold every class; after a hundred vain draws, the rows as they are."""
    kinds = len(np.unique(y))
    for _ in range(100):
        rows = generator.integers(0, len(y), size=len(y))
        if len(np.unique(y[rows])) == kinds:
            return rows
    return np.arange(len(y))
