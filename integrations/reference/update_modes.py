"""Ways to keep a model up to date, compared on data in the order of time.

A model is trained, then serves week after week. In the mode ``static`` it stays what it was; the others are updated
every few weeks, each with what was known by then: ``full`` on everything since the first training, ``sliding`` on the
story's own window, ``incremental`` by going on from the weights of before with only the rows that are new. Every week
of traffic is scored by the model that was in service when it came, so nothing of its future was known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from integrations.reference.engine import fit, logits
from integrations.reference.stories.base import Classes, Data, Rows, Story, Values

MODES = ("static", "full", "sliding", "incremental")
WEEKS = range(-23, 0)
EVERY = 2
"""Weeks between two updates."""
RECALL = 0.6
"""Share of the positives that must be found where false positives are counted."""


@dataclass(frozen=True, slots=True)
class Week:
    """One week of traffic, scored by the model that one mode had in service."""

    mode: str
    window_days: int  # of the data of the last training
    week: int
    rows: int
    metric: float  # the story's primary one
    positives: int
    false_positives: int  # at the recall asked for; 0 where there are not two classes
    updates: int  # so far


def compare(
    story: Story,
    *,
    modes: Sequence[str] = MODES,
    weeks: Sequence[int] = WEEKS,
    every: int = EVERY,
    recall: float = RECALL,
    seed: int = 0,
) -> list[Week]:
    """One row a mode and week. The first week's training is the same for all modes; ``seed`` is that of trainings."""
    unknown = set(modes) - set(MODES)
    if unknown:
        raise ValueError(f"there is no update mode {sorted(unknown)}; the modes are {', '.join(MODES)}")
    first = _Served(story, story.training(weeks[0]), seed)
    rows = []
    for mode in modes:
        served = first
        for place, week in enumerate(weeks):
            if mode != "static" and place and place % every == 0:
                served = served.updated(mode, week)
            rows.append(served.scored(mode, week, recall))
    return rows


class _Served:
    """A model in service, and what it is updated from."""

    def __init__(self, story: Story, data: Data, seed: int, before: _Served | None = None, *, warm: bool = False):
        self.story, self.seed = story, seed
        self.updates = before.updates + 1 if before else 0
        self.data, self.known = data, _joined(before.known, data) if before else data
        self.since = before.since if before else data.until
        validation, recipe = story.validation(), replace(story.recipe, seed=seed + self.updates)
        if warm:
            recipe = replace(recipe, epochs=max(1, recipe.epochs // 3), learning_rate=recipe.learning_rate / 2)

        def build() -> nn.Module:
            network = story.build()
            if warm and before:
                network.load_state_dict(before.model.state_dict())
            return network

        augment = story.augment(story.augmentation)
        self.model = fit(recipe, build, data.x, data.y, validation.x, validation.y, augment=augment).model

    def updated(self, mode: str, week: int) -> _Served:
        data = self.story.training(week)
        if mode == "full":
            data = _joined(self.known, data)
        if mode == "incremental":
            new = _new_rows(data, self.known)
            if len(new) < 2:
                return self
            data = data.take(new)
        return _Served(self.story, data, self.seed, self, warm=mode == "incremental")

    def scored(self, mode: str, week: int, recall: float) -> Week:
        traffic = self.story.stream(week)
        answer = logits(self.model, traffic.x)
        days = round(7 * (self.story.window_weeks or self.data.until + 25))
        if mode == "full":
            days += round(7 * (self.data.until - self.since))
        return Week(
            mode,
            days,
            week,
            len(traffic),
            self.story.score(traffic.y, answer),
            int((traffic.y == 1).sum()),
            false_positives(traffic.y, answer, recall) if self.story.classes == 2 else 0,
            self.updates,
        )


def false_positives(y: Classes, answer: Rows, recall: float) -> int:
    """Negatives that score at least as high as the positive at which the recall is reached."""
    scores: Values = (answer[:, 1] - answer[:, 0]).astype(np.float64)
    found = np.sort(scores[y == 1])[::-1]
    threshold = found[max(1, int(np.ceil(recall * len(found)))) - 1]
    return int((scores[y == 0] >= threshold).sum())


def _new_rows(data: Data, known: Data) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    seen = set(known.row_hashes())
    return np.flatnonzero([digest not in seen for digest in data.row_hashes()])


def _joined(known: Data, more: Data) -> Data:
    """All rows of both, each once."""
    new = _new_rows(more, known)
    x, y = np.concatenate([known.x, more.x[new]]), np.concatenate([known.y, more.y[new]])
    return Data(more.name, x, y, until=more.until, source=more.source, schema=more.schema)
