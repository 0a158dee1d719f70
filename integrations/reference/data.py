"""Data: load, split once, and check before anything is trained.

Takes a case, gives disjoint splits with content digests and a report of expectations, each observed against its
limit. A split that shares a single image with another is a finding here, not a surprise in production.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from integrations.reference.case import Case, Disturbance

Images = npt.NDArray[np.float32]  # (n, 1, 8, 8), brightness from 0 to 1
Labels = npt.NDArray[np.int64]  # (n,), digits from 0 to 9

MIN_CLASS_SHARE = 0.05  # half of an even share of ten classes


@dataclass(frozen=True)
class Split:
    """A named part of the data. Equal contents have equal digests, whatever the name."""

    name: str
    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def sha256(self) -> str:
        """Digest of shape, images and labels."""
        content = hashlib.sha256(repr(self.images.shape).encode())
        content.update(np.ascontiguousarray(self.images).tobytes())
        content.update(np.ascontiguousarray(self.labels).tobytes())
        return content.hexdigest()

    @property
    def digest(self) -> str:
        """The short digest logged with dataset inputs (at most 36 characters are allowed there)."""
        return self.sha256[:16]

    def row_hashes(self) -> list[str]:
        """One SHA-256 per image, labels left out: the same picture under two labels is still the same picture."""
        return [hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest() for image in self.images]


@dataclass(frozen=True, slots=True)
class Splits:
    """Everything a story draws on: for training, for choosing, for judging, and three windows of stream."""

    train: Split
    validation: Split
    test: Split
    windows: tuple[Split, Split, Split]
    source: str


@dataclass(frozen=True, slots=True)
class Expectation:
    """One check of the data: what was observed, what was expected, whether it holds."""

    name: str
    observed: float
    expected: str
    holds: bool


@dataclass(frozen=True, slots=True)
class DataReport:
    """The outcome of the data check."""

    expectations: tuple[Expectation, ...]
    train_eval_overlap: int  # images of validation, test or stream that are also in the training split
    smallest_class_share: float  # of the training split
    missing_values: int
    duplicate_rows: int  # inside the training split

    @property
    def failed(self) -> tuple[Expectation, ...]:
        return tuple(check for check in self.expectations if not check.holds)

    @property
    def status(self) -> str:
        """Value of the tag ``dlemm.dq.status``."""
        return "failed" if self.failed else "passed"

    def metrics(self) -> dict[str, float]:
        """The report as ``dq/*`` metrics; counts and shares."""
        return {
            "dq/expectations_passed": len(self.expectations) - len(self.failed),
            "dq/expectations_failed": len(self.failed),
            "dq/train_eval_overlap": self.train_eval_overlap,
            "dq/subgroup_min_share": self.smallest_class_share,
            "dq/missing_values": self.missing_values,
            "dq/duplicate_rows": self.duplicate_rows,
        }


def load_splits(case: Case) -> Splits:
    """The bundled digits, cut into disjoint stratified parts by the case's split seed."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = (bunch.images / 16.0).astype(np.float32)[:, None]  # (1797, 8, 8), 0..16 -> (1797, 1, 8, 8), 0..1
    labels = bunch.target.astype(np.int64)
    rest = np.arange(len(labels))
    parts: dict[str, npt.NDArray[np.int64]] = {}
    sizes = {"validation": case.validation_rows, "test": case.test_rows}
    sizes |= {f"window-{number}": case.window_rows for number in (1, 2, 3)}
    for name, rows in sizes.items():
        rest, parts[name] = train_test_split(rest, test_size=rows, stratify=labels[rest], random_state=case.split_seed)
    parts["train"] = rest

    def part(name: str) -> Split:
        return Split(f"{case.dataset}/{name}", images[parts[name]], labels[parts[name]])

    return Splits(
        train=part("train"),
        validation=part("validation"),
        test=part("test"),
        windows=(part("window-1"), part("window-2"), part("window-3")),
        source=f"sklearn.datasets.load_digits of scikit-learn {version('scikit-learn')}",
    )


def overlap(left: Split, others: Iterable[Split]) -> int:
    """Number of images of the other splits that are, byte for byte, also in the left one."""
    known = set(left.row_hashes())
    return sum(row in known for other in others for row in other.row_hashes())


def class_shares(split: Split, classes: int = 10) -> npt.NDArray[np.float64]:
    """Share of each class in a split, (classes,)."""
    return np.bincount(split.labels, minlength=classes) / max(len(split), 1)


def check(splits: Splits) -> DataReport:
    """Hold the data to their expectations; the report decides whether training may start."""
    held_out = (splits.validation, splits.test, *splits.windows)
    everything = (splits.train, *held_out)
    images = np.concatenate([split.images for split in everything])  # (n, 1, 8, 8)
    labels = np.concatenate([split.labels for split in everything])  # (n,)
    missing = int(np.isnan(images).sum())
    shared = overlap(splits.train, held_out)
    between = overlap(splits.test, (splits.validation, *splits.windows))
    smallest = float(class_shares(splits.train).min())
    duplicates = len(splits.train) - len(set(splits.train.row_hashes()))
    shapes = {split.images.shape[1:] for split in everything}
    outside = int(((images < 0) | (images > 1)).sum())
    kinds = len(set(labels.tolist()))
    expectations = (
        Expectation("missing values", missing, "0", missing == 0),
        Expectation("values outside 0 to 1", outside, "0", outside == 0),
        Expectation("image shapes other than 1 x 8 x 8", len(shapes - {(1, 8, 8)}), "0", shapes == {(1, 8, 8)}),
        Expectation("classes", kinds, "10", kinds == 10),
        Expectation("smallest class share", smallest, f"at least {MIN_CLASS_SHARE}", smallest >= MIN_CLASS_SHARE),
        Expectation("images shared by training and held-out data", shared, "0", shared == 0),
        Expectation("images shared by the test set and other held-out data", between, "0", between == 0),
    )
    return DataReport(expectations, shared, smallest, missing, duplicates)


def disturb(split: Split, disturbance: Disturbance, *, name: str) -> Split:
    """The split as a moved and dimmed camera would see it; what leaves the frame is lost, what enters is black."""
    rows, columns = split.images.shape[2:]
    moved = np.zeros_like(split.images)  # (n, 1, 8, 8)
    down, right = disturbance.down, disturbance.right
    to_rows, from_rows = slice(max(down, 0), rows + min(down, 0)), slice(max(-down, 0), rows - max(down, 0))
    to_columns = slice(max(right, 0), columns + min(right, 0))
    from_columns = slice(max(-right, 0), columns - max(right, 0))
    moved[:, :, to_rows, to_columns] = split.images[:, :, from_rows, from_columns]
    return Split(name, (moved * np.float32(disturbance.brightness)).astype(np.float32), split.labels)
