"""Handwritten digits: 1 797 images of 8 × 8 grey values that scikit-learn bundles (UCI, Alpaydin and Kaynak)."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from integrations.reference.engine import Augment, Recipe
from integrations.reference.stories.base import Classes, Data, Rows, Story, Values

_TEST, _VALIDATION, _STREAM = 360, 200, 500
_LEAST, _MOST = 150, 737  # training rows of the first and the last release


@cache
def _images() -> tuple[Rows, Classes]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    images = (bunch.images / 16.0).astype(np.float32)[:, None]  # (1797, 1, 8, 8), 0..1
    return images[order], bunch.target.astype(np.int64)[order]


class Digits(Story):
    key = "digits"
    title = "Handwritten digits"
    goal = "Read digits on forms without a person; every wrong digit costs a manual correction, so accuracy counts."
    modality = "image, 8 x 8 grey"
    unit = "brightness 0 to 1"
    source = f"sklearn.datasets.load_digits of scikit-learn {version('scikit-learn')}"
    primary = "eval/accuracy"
    classes = 10
    families = ("linear", "cnn")
    main = "cnn"
    stresses = ("noise", "dim")
    human_labels = True
    drift_weeks = (-9, -6, -3)
    recipe = Recipe(epochs=12, patience=4, batch_size=32)
    augmentations = ("shift",)
    augmentation = "shift"

    def _part(self, name: str, begin: int, rows: int, until: float = 0.0) -> Data:
        x, y = (part[begin : begin + rows] for part in _images())
        ink = x.mean(axis=(1, 2, 3))
        slices = {f"digit_{digit}": y == digit for digit in (3, 8, 9)}
        hard = np.argsort(np.abs(ink - np.median(ink)))[::-1][: max(30, rows // 8)]
        slices["hard_cases"] = np.isin(np.arange(len(y)), hard)
        groups = {"light": ink < np.median(ink), "dark": ink >= np.median(ink)}
        return Data(f"digits/{name}", x, y, slices, groups, until, self.source, '{"shape": [1, 8, 8], "dtype": "f4"}')

    def test(self) -> Data:
        return self._part("test", 0, _TEST)

    def validation(self) -> Data:
        return self._part("validation", _TEST, _VALIDATION)

    def training(self, week: float) -> Data:
        share = min(max((week + 23.0) / 12.0, 0.0), 1.0)
        rows = round(_LEAST + share * (_MOST - _LEAST))
        return self._part(f"training-{-week:.0f}", _TEST + _VALIDATION + _STREAM, rows, until=week - 0.2)

    def stream(self, week: int) -> Data:
        rows = np.random.default_rng(1000 - week).integers(0, _STREAM, size=200)
        whole = self._part(f"stream{week}", _TEST + _VALIDATION, _STREAM, until=week + 1)
        part = whole.take(rows, f"digits/stream{week}")
        if week not in self.drift_weeks:
            return part
        moved = np.roll(part.x, 1, axis=3) * np.float32(0.8)
        return Data(part.name, moved, part.y, part.slices, part.groups, part.until, part.source, part.schema)

    def build(self, family: str = "", **factors: object) -> nn.Module:
        if (family or self.main) == "linear":
            return nn.Sequential(nn.Flatten(), nn.Linear(64, self.classes))
        width = round(16 * float(str(factors.get("width", 1.0))))
        return nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * width, 48),
            nn.ReLU(),
            nn.Linear(48, self.classes),
        )

    def score(self, y: Classes, logits: Rows) -> float:
        return float((logits.argmax(1) == y).mean())

    def features(self, x: Rows) -> dict[str, Values]:
        ink = x[:, 0].astype(np.float64)
        total = np.maximum(ink.sum(axis=(1, 2)), 1e-9)
        return {
            "ink": ink.mean(axis=(1, 2)),
            "centre_row": (ink.sum(axis=2) @ np.arange(8)) / total,
            "centre_column": (ink.sum(axis=1) @ np.arange(8)) / total,
        }

    def stressed(self, stress: str) -> Data:
        test = self.test()
        noise = np.random.default_rng(0).normal(0, 0.15, test.x.shape).astype(np.float32)
        x = np.clip(test.x + noise, 0, 1) if stress == "noise" else test.x * np.float32(0.5)
        return Data(f"digits/test-{stress}", x, test.y, test.slices, test.groups, 0.0, test.source, test.schema)

    def augment(self, name: str) -> Augment | None:
        return _shift if name == "shift" else super().augment(name)


def _shift(x: Tensor, generator: torch.Generator) -> Tensor:
    """Move each image by -1, 0 or +1 pixel in both directions."""
    count, _, rows, columns = x.shape
    windows = functional.pad(x, (1, 1, 1, 1)).unfold(2, rows, 1).unfold(3, columns, 1)
    moves = torch.randint(0, 3, (2, count), generator=generator).to(x.device)
    return windows[torch.arange(count, device=x.device), :, moves[0], moves[1]]


STORY = Digits()
