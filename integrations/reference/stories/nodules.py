"""Lung nodules: is there a nodule in a block of a chest CT? All blocks are phantoms; no patient is behind them."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from scipy import ndimage
from torch import Tensor, nn

from integrations.reference.engine import Augment, Recipe
from integrations.reference.stories import augmentations as change
from integrations.reference.stories import deidentify, dicom, phantoms
from integrations.reference.stories.base import Classes, Data, Flags, Rows, Story, Values
from integrations.reference.stories.phantoms import Phantoms, Scanner

LOW_HU, HIGH_HU = -1000.0, 200.0
"""The window: air is 0, soft tissue and all above it 1."""
PADDING_HU = -2000.0  # what a scanner writes outside its field of view
_TEST, _VALIDATION, _WEEK = 400, 200, 250
_LEAST, _MOST = 80, 700  # training rows of the first and the last release
_DISTURBED = Scanner(noise_hu=100.0, kernel=0.45, offset_hu=45.0)
"""The replacement scanner of the declared weeks: a sharper kernel, more noise, and air that reads 45 HU too high."""
REAL_FILES = ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "examples_overlay.dcm")
"""Real DICOM files that pydicom bundles. None shows a lung; their headers are what a hospital sends."""
_AUGMENTATIONS: dict[str, Augment] = {
    "flips": change.flip(0, 1, 2),
    "quarter_turns": change.quarter_turns(1, 2),
    "flips_and_turns": change.cube_symmetries(),
    "shift": change.shift(1),
    "noise": change.noise(0.03),
    "intensity": change.brightness(0.05),
    "contrast": change.contrast(0.15),
    "cutout": change.cutout(4),
    "blend": change.blend(0.2),
}


class Nodules(Story):
    """Half of the rows hold a nodule (class 1)."""

    key = "nodules"
    title = "Lung nodules"
    goal = (
        "Point out blocks of a chest CT that hold a nodule so that a reader looks there first; the order of the blocks "
        "decides what is read in time, so the area under the ROC curve counts."
    )
    modality = "CT, 16 x 16 x 16 voxels of 1.5 mm"
    unit = "HU, windowed -1000..200 to 0..1"
    source = f"reference phantoms version {phantoms.VERSION} (synthetic, stories/phantoms.py)"
    primary = "eval/auc"
    classes = 2
    families = ("linear", "cnn3d")
    main = "cnn3d"
    augmentations = tuple(_AUGMENTATIONS)
    augmentation = "flips_and_turns"
    stresses = ("noise", "missing_slices", "offset", "blur")
    personal_data = True
    human_labels = True
    high_impact = True
    affects_people = True
    drift_weeks = (-6, -5, -3, -2)
    recipe = Recipe(epochs=14, patience=6, batch_size=32, learning_rate=4e-3)
    ablations = {"norm": "group", "pool": "mean", "width": 0.5}
    peak_tps = 200.0

    def training(self, week: float) -> Data:
        share = min(max((week + 24.0) / 12.6, 0.0), 1.0)
        rows = round(_LEAST * (_MOST / _LEAST) ** share)
        known = _data("training", _MOST, 11).take(np.arange(rows), f"nodules/training{week:.1f}")
        return replace(known, until=week - 0.2)

    def validation(self) -> Data:
        return _data("validation", _VALIDATION, 12)

    def test(self) -> Data:
        return _data("test", _TEST, 13)

    def stream(self, week: int) -> Data:
        scanner = _DISTURBED if week in self.drift_weeks else None
        return replace(_data(f"stream{week}", _WEEK, 1000 - week, scanner), until=week + 1.0)

    def build(self, family: str = "", **factors: object) -> nn.Module:
        if (family or self.main) == "linear":
            return nn.Sequential(_Centred(), nn.AvgPool3d(2), nn.Flatten(), nn.Linear(512, self.classes))
        width = max(4, 4 * round(2 * float(str(factors.get("width", 1.0)))))  # channels in fours, for the group norm
        grouped = factors.get("norm", "none") == "group"
        pool = nn.AdaptiveAvgPool3d(1) if factors.get("pool", "max") == "mean" else nn.AdaptiveMaxPool3d(1)
        return nn.Sequential(
            _Centred(),
            nn.Conv3d(1, width, 4, stride=2, padding=1),
            nn.GroupNorm(4, width) if grouped else nn.Identity(),
            nn.ReLU(),
            nn.Conv3d(width, 2 * width, 3, padding=1),
            nn.GroupNorm(4, 2 * width) if grouped else nn.Identity(),
            nn.ReLU(),
            pool,
            nn.Flatten(),
            nn.Linear(2 * width, 32),
            nn.ReLU(),
            nn.Linear(32, self.classes),
        )

    def scanned_headers(self) -> dict[str, tuple[int, int]]:
        found = {}
        for name in REAL_FILES:
            header = dicom.read(dicom.bundled(name))
            found[name] = len(deidentify.scan(header)), len(deidentify.scan(deidentify.deidentify(header)))
        return found

    def score(self, y: Classes, logits: Rows) -> float:
        """Area under the ROC curve by ranks, ties counted half; NaN when a class has no row."""
        from scipy.stats import rankdata

        ranks, positive = rankdata(logits[:, 1] - logits[:, 0]), y == 1
        ones, zeros = int(positive.sum()), int((~positive).sum())
        if not ones or not zeros:
            return float("nan")
        return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))

    def features(self, x: Rows) -> dict[str, Values]:
        """Five numbers that a physicist watches, in HU within the window or as a share."""
        hu = x[:, 0].astype(np.float64) * (HIGH_HU - LOW_HU) + LOW_HU
        flat = hu.reshape(len(hu), phantoms.SIDE**3)
        steps = np.diff(hu, axis=1).reshape(len(hu), -1)
        air, lung, dense = np.quantile(flat, [0.05, 0.5, 0.98], axis=1)
        noise = np.median(np.abs(steps), axis=1) / 0.954  # a normal difference has median 0.6745 * sqrt(2) sigma
        jumps = np.median(np.abs(np.diff(hu, n=2, axis=2)).reshape(len(hu), -1), axis=1)
        return {
            "air_hu": air,
            "lung_hu": lung,
            "dense_hu": dense,
            "noise_hu": noise,
            "grain": jumps / np.maximum(noise, 1e-9),
            "aerated_share": (flat < -800).mean(axis=1),
        }

    def prepare(self, raw: Rows) -> Rows:
        """HU (n, 16, 16, 16) to the window (n, 1, 16, 16, 16); padding below the window reads as air."""
        return np.clip((raw[:, None] - LOW_HU) / (HIGH_HU - LOW_HU), 0, 1).astype(np.float32)

    def raw(self, rows: int) -> Rows:
        """HU (rows, 16, 16, 16) of the first test blocks."""
        return _test_blocks().hu[:rows]

    def stressed(self, stress: str) -> Data:
        test, hu = self.test(), _test_blocks().hu
        if stress == "noise":
            hu = hu + np.random.default_rng(0).normal(0, 60, hu.shape).astype(np.float32)
        elif stress == "missing_slices":
            hu = hu.copy()
            hu[:, 2::4] = PADDING_HU
        elif stress == "offset":
            hu = hu + 80
        elif stress == "blur":
            hu = ndimage.gaussian_filter(hu, (0, 0.8, 0.8, 0.8), mode="nearest")
        else:
            raise ValueError(f"nodules knows no stress {stress!r}; there are {', '.join(self.stresses)}")
        x = self.prepare(hu)
        return Data(f"nodules/test-{stress}", x, test.y, test.slices, test.groups, 0.0, test.source, test.schema)

    def augment(self, name: str) -> Augment | None:
        return _AUGMENTATIONS[name] if name in _AUGMENTATIONS else super().augment(name)

    def regions(self) -> tuple[Data, Flags]:
        """Every positive test case with the nodule as the phantom's marking reader outlines it."""
        blocks = _test_blocks()
        positive = blocks.y == 1
        return self.test().take(positive, "nodules/marked"), phantoms.marked_by_reader(blocks.nodule[positive])


class _Centred(nn.Module):
    """Brings lung (about 0.13 in the window) near 0 and tissue near 1."""

    def forward(self, x: Tensor) -> Tensor:
        centred: Tensor = (x - 0.25) * 3
        return centred


@cache
def _test_blocks() -> Phantoms:
    """The test blocks. The first goes through DICOM, file by file, as all of them would in a hospital."""
    blocks = phantoms.draw(_TEST, 13)
    with tempfile.TemporaryDirectory() as folder:
        dicom.write_series(blocks.hu[0], Path(folder), spacing_mm=phantoms.SPACING_MM)
        read = dicom.load_series(Path(folder)).values
    return replace(blocks, hu=np.concatenate([read[None], blocks.hu[1:]]))


@cache
def _data(name: str, count: int, seed: int, scanner: Scanner | None = None) -> Data:
    blocks = _test_blocks() if name == "test" else phantoms.draw(count, seed, scanner)
    schema = '{"shape": [1, 16, 16, 16], "dtype": "f4", "unit": "HU windowed -1000..200 to 0..1"}'
    x = STORY.prepare(blocks.hu)
    return Data(f"nodules/{name}", x, blocks.y, _slices(blocks, x), _groups(blocks), 0.0, STORY.source, schema)


def _slices(blocks: Phantoms, x: Rows) -> dict[str, Flags]:
    """Kinds of nodules, each against all blocks without one; hard cases are the sub-solid or small ones that touch a
    vessel or the wall, against the denser half of the blocks without a nodule."""
    without, small = blocks.y == 0, (blocks.diameter_mm > 0) & (blocks.diameter_mm < 6)
    density = x.mean(axis=(1, 2, 3, 4))
    dense = without & (density >= np.median(density[without]))
    return {
        "small": small | without,
        "subsolid": blocks.subsolid | without,
        "near_vessel": blocks.near_vessel | without,
        "hard_cases": ((small | blocks.subsolid) & blocks.near_vessel) | dense,
    }


def _groups(blocks: Phantoms) -> dict[str, Flags]:
    return {
        "age_40_54": blocks.age < 55,
        "age_55_69": (blocks.age >= 55) & (blocks.age < 70),
        "age_70_85": blocks.age >= 70,
        "female": blocks.female,
        "male": ~blocks.female,
    }


STORY = Nodules()
