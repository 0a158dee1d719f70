"""A story small enough for a unit test: two clouds of points that a linear network tells apart."""

from __future__ import annotations

import numpy as np
from torch import nn

from integrations.reference.engine import Recipe
from integrations.reference.stories.base import Classes, Data, Rows, Story, Values

SOURCE, SCHEMA = "two clouds of points, version 1", '{"shape": [3], "columns": ["a", "b", "c"]}'


def points(name: str, rows: int, seed: int, *, until: float = 0.0) -> Data:
    """Rows of three numbers; the class moves the first. Equal seeds begin with equal rows."""
    drawn = np.random.default_rng(seed)
    noise, y = drawn.normal(size=(5000, 3))[:rows].astype(np.float32), np.arange(rows) % 2
    x = noise + np.stack([3.0 * y, 0 * y, 0 * y], 1).astype(np.float32)
    marks = {"even": np.arange(rows) % 4 < 2, "odd": np.arange(rows) % 4 >= 2}
    slices = {"left": x[:, 1] < 0, "right": x[:, 1] >= 0, "hard_cases": np.abs(x[:, 0] - 1.5) < 1.0}
    return Data(f"tiny/{name}", x, y.astype(np.int64), slices, marks, until, SOURCE, SCHEMA)


class Tiny(Story):
    """New rows join the training data every week, and the first weeks of traffic are like the rest."""

    key = "tiny"
    title = "Two clouds"
    goal = "Tell two clouds apart; every wrong point costs the same, so accuracy counts."
    modality = "three numbers"
    unit = "none"
    source = SOURCE
    primary = "eval/accuracy"
    classes = 2
    families = ("linear", "wide")
    main = "linear"
    stresses = ("noise", "shift")
    augmentations = ()
    human_labels = True
    personal_data = True
    drift_weeks = (-6,)
    recipe = Recipe(epochs=3, batch_size=64)

    def training(self, week: float) -> Data:
        rows = 200 + round(40 * (week + 24))
        return points(f"training{week:.1f}", rows, 1, until=week - 0.2)

    def validation(self) -> Data:
        return points("validation", 120, 2)

    def test(self) -> Data:
        return points("test", 300, 3)

    def stream(self, week: int) -> Data:
        return points(f"stream{week}", 200, 100 - week, until=week + 1)

    def build(self, family: str = "", **factors: object) -> nn.Module:
        return nn.Linear(3, 2)

    def score(self, y: Classes, logits: Rows) -> float:
        return float((logits.argmax(1) == y).mean())

    def features(self, x: Rows) -> dict[str, Values]:
        return {name: x[:, number].astype(np.float64) for number, name in enumerate(("a", "b", "c"))}

    def stressed(self, stress: str) -> Data:
        return self.test()
