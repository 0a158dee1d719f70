"""Ways to update a model, tried on data in the order of time: full, sliding window and incremental.

All three know the same rows at the same moment and are judged on the traffic of the weeks that followed, without rows
that any of them was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from integrations.reference.engine import Fitted, fit
from integrations.reference.ladder.calendar import WEEKS
from integrations.reference.ladder.scene import Scene
from integrations.reference.stories.base import Data, Rows

CUT = -13.0
"""Week of the calendar in which the trial stands: what was known then is learned from."""
JUDGED = range(-13, -9)
"""Weeks of traffic that judge it."""
EARLIER = (-24.0, -20.0, -16.0)
"""Earlier weeks whose known data the full training remembers, should the story itself look back on less."""
SLIDING_WEEKS = 4.0
RESAMPLES = 200


@dataclass(frozen=True)
class Trial:
    """One way to update: what it was trained on, and its primary metric with a 95 % interval."""

    mode: str
    window_days: int
    data: Data
    seed: int
    quality: float
    low: float
    high: float
    by_week: tuple[float, ...]  # the metric in each week that judges it
    seconds: float


def fresh_rows(now: Data, before: Data) -> npt.NDArray[np.intp]:
    """Rows of ``now`` that are not among those of ``before``."""
    known = set(before.row_hashes())
    return np.flatnonzero([digest not in known for digest in now.row_hashes()])


def known_then(scene: Scene) -> Data:
    """Everything known in the week of the trial, oldest rows first."""
    parts = [scene.story.training(week) for week in (*EARLIER, CUT)]
    whole = parts[0]
    for part in parts[1:]:
        new = fresh_rows(part, whole)
        x, y = np.concatenate([whole.x, part.x[new]]), np.concatenate([whole.y, part.y[new]])
        whole = Data(f"{scene.story.key}/known", x, y, until=part.until, source=part.source, schema=part.schema)
    return whole


def tried_modes(scene: Scene) -> tuple[list[Trial], Data]:
    """The three trials, and the traffic that they were judged on."""
    story, everything = scene.story, known_then(scene)
    weeks = story.window_weeks or SLIDING_WEEKS
    older = story.training(CUT - weeks)
    latest = story.training(CUT)
    new = replace(latest.take(fresh_rows(latest, older)), name=f"{story.key}/window")
    streams = [story.stream(week) for week in JUDGED]
    x, y = (np.concatenate([getattr(stream, part) for stream in streams]) for part in ("x", "y"))
    traffic = Data(f"{story.key}/traffic", x, y, until=streams[-1].until, source=story.source, schema=streams[0].schema)
    judged_on = traffic.take(fresh_rows(traffic, everything))
    window, all_days = round(7 * weeks), round(7 * (everything.until + WEEKS))
    base = _trained(scene, "older", older)
    fits = {
        "full": (_trained(scene, "full", everything), everything, all_days),
        "sliding": (_trained(scene, "sliding", new), new, window),
        "incremental": (_trained(scene, "incremental", new, begin=base), new, window),
    }
    parts = [stream.take(fresh_rows(stream, everything)) for stream in streams]
    return [_judge(scene, mode, *made, judged_on, parts) for mode, made in fits.items()], judged_on


def _trained(scene: Scene, name: str, data: Data, *, begin: Fitted | None = None) -> Fitted:
    """Train on some rows, from scratch or from a network that is there."""
    story = scene.story

    def build() -> Any:
        network = story.build()
        if begin is not None:
            network.load_state_dict(begin.model.state_dict())
        return network

    def work() -> dict[str, Any]:
        augment, validation = story.augment(story.augmentation), scene.validation
        return fit(story.recipe, build, data.x, data.y, validation.x, validation.y, augment=augment).plain()

    return Fitted.from_plain(scene.work.once(f"modes/{name}-{data.digest}", work), story.build())


def _judge(scene: Scene, mode: str, fitted: Fitted, data: Data, days: int, judged_on: Data, weeks: list[Data]) -> Trial:
    logits = scene.logits(fitted, judged_on)
    low, high = np.nanquantile(_resampled(scene, judged_on, logits), [0.025, 0.975])
    quality, seed = scene.story.score(judged_on.y, logits), scene.story.recipe.seed
    by_week = tuple(scene.score(fitted, week) for week in weeks)
    return Trial(mode, days, data, seed, quality, float(low), float(high), by_week, fitted.cost["duration_s"])


def _resampled(scene: Scene, data: Data, logits: Rows) -> list[float]:
    """The primary metric of rows drawn with replacement."""
    generator = np.random.default_rng(0)
    draws = (generator.integers(0, len(data), size=len(data)) for _ in range(RESAMPLES))
    return [scene.story.score(data.y[rows], logits[rows]) for rows in draws]
