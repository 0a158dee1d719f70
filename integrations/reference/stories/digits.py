"""Handwritten digits: 1 797 images of 8 × 8 grey values that scikit-learn bundles (UCI, Alpaydin and Kaynak).

Images are held apart by role: 360 to judge, 200 to choose, 737 to train on, 500 that come by in service. A week of
service is drawn from the latter; each image passes the form scanner anew, whose grey values are off by a step here
and there, so that no two weeks hold the same picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version

import numpy as np
from torch import nn

from integrations.reference.engine import Augment, Recipe
from integrations.reference.stories import augmentations as change
from integrations.reference.stories.base import Classes, Data, Flags, Rows, Story, Values

_TEST, _VALIDATION, _STREAM, _WEEK = 360, 200, 500, 400
_LEAST, _MOST = 140, 737  # training rows of the first and the last release
_AUGMENTATIONS: dict[str, Augment] = {
    "shift": change.shift(1),
    "rotate": change.rotate(15),
    "scale": change.scale(0.85, 1.15),
    "shear": change.shear(0.25),
    "elastic": change.elastic(0.12),
    "noise": change.noise(0.08),
    "cutout": change.cutout(2),
    "contrast": change.contrast(0.3),
    "blend": change.blend(0.25),
    "shift_and_rotate": change.both(change.shift(1), change.rotate(10)),
}


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass through the form scanner does: the share of inked pixels that come out a grey step off, by how
    many pixels the sheet is displaced to the right, how bright the ink is, and the standard deviation of the noise."""

    off: float = 0.3
    displaced: float = 0.0
    ink: float = 1.0
    noise: float = 0.0


_DISTURBED = Pass(displaced=0.6, ink=0.85, noise=0.04)
"""The declared weeks: the feed is out of place, the lamp is weak and the sensor noisy."""


@cache
def _images() -> tuple[Rows, Classes]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    images = (bunch.images / 16.0).astype(np.float32)[:, None]  # (1797, 1, 8, 8), 0..1
    return images[order], bunch.target.astype(np.int64)[order]


class Digits(Story):
    """Ten classes, one a digit."""

    key = "digits"
    title = "Handwritten digits"
    goal = "Read digits on forms without a person; every wrong digit costs a manual correction, so accuracy counts."
    modality = "image, 8 x 8 grey"
    unit = "brightness 0 to 1"
    source = f"sklearn.datasets.load_digits of scikit-learn {version('scikit-learn')}"
    licence = "CC BY 4.0 (UCI Machine Learning Repository, optical recognition of handwritten digits)"
    primary = "eval/accuracy"
    classes = 10
    families = ("linear", "cnn")
    main = "cnn"
    stresses = ("noise", "dim", "missing_row")
    human_labels = True
    drift_weeks = (-6, -5, -3, -2)
    recipe = Recipe(epochs=12, patience=4, batch_size=16, learning_rate=3e-3)
    augmentations = tuple(_AUGMENTATIONS)
    augmentation = "shift"
    ablations = {"activation": "tanh", "dropout": 0.5, "width": 0.5}

    def test(self) -> Data:
        return _part("test", 0, _TEST)

    def validation(self) -> Data:
        return _part("validation", _TEST, _VALIDATION)

    def training(self, week: float) -> Data:
        share = min(max((week + 24.0) / 12.6, 0.0), 1.0)
        rows = round(_LEAST * (_MOST / _LEAST) ** share)
        part = _part("training", _TEST + _VALIDATION + _STREAM, _MOST)
        return replace(part.take(np.arange(rows), f"digits/training{week:.1f}"), until=week - 0.2)

    def stream(self, week: int) -> Data:
        return _week(week, _DISTURBED if week in self.drift_weeks else Pass())

    def build(self, family: str = "", **factors: object) -> nn.Module:
        if (family or self.main) == "linear":
            return nn.Sequential(_fields(), nn.Flatten(), nn.Linear(16, self.classes))
        width = max(1, round(16 * float(str(factors.get("width", 1.0)))))
        activation = nn.Tanh if factors.get("activation", "relu") == "tanh" else nn.ReLU
        return nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            activation(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            activation(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(float(str(factors.get("dropout", 0.0)))),
            nn.Linear(32 * width, 48),
            activation(),
            nn.Linear(48, self.classes),
        )

    def score(self, y: Classes, logits: Rows) -> float:
        return float((logits.argmax(1) == y).mean())

    def features(self, x: Rows) -> dict[str, Values]:
        """Six numbers of the sheet: amount, strength and place of the ink, its spread, and the paper beside it."""
        ink = x[:, 0].astype(np.float64)
        total = np.maximum(ink.sum(axis=(1, 2)), 1e-9)
        columns = ink.sum(axis=1)
        centre = (columns @ np.arange(8)) / total
        spread = np.sqrt((columns * (np.arange(8) - centre[:, None]) ** 2).sum(axis=1) / total)
        return {
            "ink": ink.mean(axis=(1, 2)),
            "strongest": np.sort(ink.reshape(len(ink), 64), axis=1)[:, -8:].mean(axis=1),
            "centre_row": (ink.sum(axis=2) @ np.arange(8)) / total,
            "centre_column": centre,
            "spread": spread,
            "paper": np.sort(ink.reshape(len(ink), 64), axis=1)[:, :24].mean(axis=1),
        }

    def stressed(self, stress: str) -> Data:
        test, rng = self.test(), np.random.default_rng(0)
        if stress == "noise":
            x = np.clip(test.x + rng.normal(0, 0.15, test.x.shape).astype(np.float32), 0, 1)
        elif stress == "dim":
            x = test.x * np.float32(0.5)
        elif stress == "missing_row":
            x = test.x.copy()
            x[np.arange(len(x)), :, rng.integers(2, 6, len(x))] = 0
        else:
            raise ValueError(f"digits knows no stress {stress!r}; there are {', '.join(self.stresses)}")
        return Data(f"digits/test-{stress}", x, test.y, test.slices, test.groups, 0.0, test.source, test.schema)

    def augment(self, name: str) -> Augment | None:
        return _AUGMENTATIONS[name] if name in _AUGMENTATIONS else super().augment(name)


def _fields() -> nn.Module:
    """The ink of 4 x 4 fields, each the sum of its four pixels."""
    return nn.AvgPool2d(2, divisor_override=1)


@cache
def _part(name: str, begin: int, rows: int) -> Data:
    x, y = (part[begin : begin + rows] for part in _images())
    schema = '{"shape": [1, 8, 8], "dtype": "f4", "unit": "brightness 0 to 1"}'
    return Data(f"digits/{name}", x, y, _slices(x, y), _groups(x), 0.0, STORY.source, schema)


def _slices(x: Rows, y: Classes) -> dict[str, Flags]:
    """Three digits that resemble others; hard cases are the images with the least and the most ink."""
    ink = x.mean(axis=(1, 2, 3))
    hard = np.argsort(np.abs(ink - np.median(ink)))[::-1][: max(30, len(x) // 8)]
    slices = {f"digit_{digit}": y == digit for digit in (3, 8, 9)}
    return {**slices, "hard_cases": np.isin(np.arange(len(y)), hard)}


def _groups(x: Rows) -> dict[str, Flags]:
    ink = x.mean(axis=(1, 2, 3))
    return {"light": ink < np.median(ink), "dark": ink >= np.median(ink)}


@cache
def _week(week: int, scan: Pass) -> Data:
    """One week of service; images are drawn without putting back."""
    rng = np.random.default_rng(1000 - week)
    x, y = _images()
    rows = _TEST + _VALIDATION + rng.permutation(_STREAM)[:_WEEK]
    scanned = _scanned(x[rows], scan, rng)
    part = _part("stream", _TEST + _VALIDATION, _STREAM)
    marks = _slices(scanned, y[rows])
    return Data(f"digits/stream{week}", scanned, y[rows], marks, _groups(scanned), week + 1.0, part.source, part.schema)


def _scanned(x: Rows, scan: Pass, rng: np.random.Generator) -> Rows:
    """Images (n, 1, 8, 8) as they come out of the scanner."""
    steps = rng.choice([-1, 0, 1], x.shape, p=[scan.off / 2, 1 - scan.off, scan.off / 2]) / 16
    seen = np.where((x > 0) & (x < 1), x + steps, x)  # paper stays paper, and full ink full
    right = np.concatenate([np.zeros_like(seen[..., :1]), seen[..., :-1]], axis=3)
    moved = (1 - scan.displaced) * seen + scan.displaced * right
    return np.clip(moved * scan.ink + rng.normal(0, scan.noise, x.shape), 0, 1).astype(np.float32)


STORY = Digits()
