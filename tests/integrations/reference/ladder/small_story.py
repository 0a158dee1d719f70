"""A story small enough to be told in a second: two clouds of points in the plane, and traffic that moves in some weeks.

``told`` lets the acts of operation perform on it; what other acts would have left (versions, their dates) is put there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import nn

from integrations.reference import canary
from integrations.reference.engine import Recipe
from integrations.reference.ladder.acts import campaigns, delivery, monitoring, updates
from integrations.reference.ladder.book import Book
from integrations.reference.ladder.calendar import Calendar
from integrations.reference.ladder.rungs import Rungs
from integrations.reference.ladder.scene import Scene
from integrations.reference.ladder.workshop import Workshop
from integrations.reference.stories.base import Classes, Data, Rows, Story, Values

OPERATION = (monitoring, updates, delivery)
NOW = 1_790_000_000_000  # a Monday in September 2026


class Small(Story):
    key = "small"
    title = "Two clouds"
    goal = "Tell two clouds of points apart."
    modality = "table"
    unit = "none"
    source = "numpy"
    primary = "eval/accuracy"
    classes = 2
    families = ("linear", "mlp")
    main = "mlp"
    stresses = ("moved", "mirrored")
    drift_weeks = (-9, -6, -3)
    recipe = Recipe(epochs=10, patience=10, batch_size=64, learning_rate=5e-2)

    def _clouds(self, name: str, rows: int, seed: int, until: float = 0.0, moved: float = 0.0) -> Data:
        generator = np.random.default_rng(seed)
        y = generator.integers(0, 2, rows)
        x = (generator.normal(size=(rows, 2)) + 3.0 * y[:, None]).astype(np.float32)
        slices = {"hard_cases": np.abs(x.sum(axis=1) - 3) < 1}
        return Data(f"small/{name}", x + np.float32(moved), y, slices, {}, until, self.source, "{}")

    def training(self, week: float) -> Data:
        whole = self._clouds(f"training{week:.2f}", 400, 1, week - 0.2)
        return whole.take(np.arange(round(200 + 8 * (week + 25))))

    def validation(self) -> Data:
        return self._clouds("validation", 200, 2)

    def test(self) -> Data:
        return self._clouds("test", 300, 3)

    def stream(self, week: int) -> Data:
        return self._clouds(f"stream{week}", 140, 100 - week, week + 1.0, 2.0 if week in self.drift_weeks else 0.0)

    def build(self, family: str = "", **factors: object) -> nn.Module:
        if family == "linear":
            return nn.Linear(2, 2)
        return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))

    def score(self, y: Classes, logits: Rows) -> float:
        return float((logits.argmax(1) == y).mean())

    def features(self, x: Rows) -> dict[str, Values]:
        return {"across": x[:, 0].astype(np.float64), "along": x[:, 1].astype(np.float64)}

    def stressed(self, stress: str) -> Data:
        return self._clouds(stress, 300, 4, moved=4.0 if stress == "moved" else 0.0)


def told(folder: Path, step: int, *without: str, acts: Sequence[ModuleType] = OPERATION) -> Scene:
    """The small story told up to a step by some acts of operation, with one version a release."""
    torch.set_num_threads(1)
    book = Book("small", model="reference-small", common={"dlemm.project": "small"})
    work = Workshop(folder, "small")
    scene = Scene(Small(), Rungs.to(step, without), Calendar(NOW), work, book)
    campaigns.perform(scene)
    for campaign in scene.campaigns:
        tags = {"dlemm.gate.status": "passed", "dlemm.release.actor": "ci", "dlemm.approved_by": "reference-approver"}
        campaign.version = book.version(campaign.key, campaign.run.key, tags=tags)
        campaign.notes["rollout"] = canary.decide(np.full(200, 0.5), np.full(200, 0.1))
    for act in acts:
        act.perform(scene)
    return scene
