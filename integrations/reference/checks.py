"""Validation of training data: a profile, expectations kept as a file, and a gate that a bad batch does not pass.

Expectations are learned once from the first labelled batch and then kept under version control; every later batch is
held to them. The rows' watched features are validated with pandera, everything else by counting.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from integrations.reference.errors import PipelineError
from integrations.reference.stories.base import Data, Story

OUTLIERS = 0.02
"""Share of rows that may lie outside the learned range of a feature."""
DUPLICATES = 0.05
"""Share of rows that may be byte-wise copies of another row of the same batch."""


class BadBatchError(PipelineError):
    """A batch that failed the gate; the message names what failed."""


@dataclass(frozen=True)
class Expectations:
    """What a batch must be. ``ranges`` by feature; ``least_share`` of the rarest class and of the smallest group."""

    shape: tuple[int, ...]
    dtype: str
    classes: int
    least_share: float
    least_group_share: float
    ranges: Mapping[str, tuple[float, float]]

    @property
    def version(self) -> str:
        """The first characters of the digest of the content, by which runs name the file."""
        return hashlib.sha256(self.text().encode()).hexdigest()[:12]

    def text(self) -> str:
        """The file as it is kept under version control: JSON."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One expectation held against a batch."""

    name: str
    observed: float
    expected: str
    holds: bool


@dataclass(frozen=True)
class Checked:
    """A batch held to its expectations."""

    outcomes: tuple[Outcome, ...]
    overlap: int  # rows of the held-out data that are also in the batch
    smallest_group: float  # share of the smallest declared group in the batch

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return tuple(one for one in self.outcomes if not one.holds)

    @property
    def passed(self) -> int:
        return len(self.outcomes) - len(self.failed)

    @property
    def status(self) -> str:
        """Value of the tag ``dlemm.dq.status``."""
        return "failed" if self.failed else "passed"


def learn(story: Story, reference: Data) -> Expectations:
    """Expectations from a first batch that people have looked at.

    A feature may go as far beyond its range as the range is wide; the rarest class and the smallest group may lose
    three quarters of their share.
    """
    ranges = {}
    for name, values in story.features(reference.x).items():
        low, high = float(np.min(values)), float(np.max(values))
        ranges[name] = (low - (high - low), high + (high - low))
    rarest = float(np.bincount(reference.y, minlength=story.classes).min() / max(len(reference), 1))
    return Expectations(
        shape=tuple(reference.x.shape[1:]),
        dtype=str(reference.x.dtype),
        classes=story.classes,
        least_share=rarest / 4,
        least_group_share=smallest_group(reference) / 4,
        ranges=ranges,
    )


def profile(story: Story, data: Data) -> dict[str, Any]:
    """Missing values, range and mean of each watched feature, and share of each class."""
    counts = np.bincount(data.y, minlength=story.classes)
    ranges = {
        name: {"low": float(np.nanmin(values)), "high": float(np.nanmax(values)), "mean": float(np.nanmean(values))}
        for name, values in story.features(data.x).items()
    }
    return {
        "rows": len(data),
        "missing": int(np.isnan(data.x).sum()),
        "ranges": ranges,
        "class_balance": {str(number): float(count / max(len(data), 1)) for number, count in enumerate(counts)},
        "duplicates": duplicates(data),
    }


def duplicates(data: Data) -> int:
    """Rows that are byte-wise copies of an earlier row."""
    return len(data) - len(set(data.row_hashes()))


def overlap(training: Data, held_out: Iterable[Data]) -> int:
    """Rows of held-out data that are, byte for byte, in the training data too."""
    known = set(training.row_hashes())
    return sum(digest in known for data in held_out for digest in data.row_hashes())


def group_shares(data: Data) -> dict[str, float]:
    """Share of each declared group among the rows; of the declared slices where no group is declared."""
    marks = data.groups or data.slices
    return {name: float(np.mean(flags)) if len(flags) else 0.0 for name, flags in marks.items()}


def smallest_group(data: Data) -> float:
    """Share of the smallest declared group; 1 where nothing is declared."""
    return min(group_shares(data).values(), default=1.0)


def check(story: Story, expectations: Expectations, training: Data, held_out: Iterable[Data] = ()) -> Checked:
    """Hold a batch to its expectations; the outcomes decide whether training may start."""
    shared = overlap(training, held_out)
    missing = int(np.isnan(training.x).sum())
    shape = tuple(training.x.shape[1:])
    unknown = int(((training.y < 0) | (training.y >= expectations.classes)).sum())
    copies = duplicates(training) / max(len(training), 1)
    group = smallest_group(training)
    counts = np.bincount(np.clip(training.y, 0, expectations.classes - 1), minlength=expectations.classes)
    rarest = float(counts.min() / max(len(training), 1))
    least, least_group = expectations.least_share, expectations.least_group_share
    outcomes = [
        Outcome("rows", len(training), "at least 1", len(training) > 0),
        Outcome("axes of a row", len(shape), str(expectations.shape), shape == expectations.shape),
        Outcome("missing values", missing, "0", missing == 0),
        Outcome("unknown classes", unknown, "0", unknown == 0),
        Outcome("share of the rarest class", rarest, f"at least {least:.4f}", rarest >= least),
        Outcome("share of the smallest group", group, f"at least {least_group:.4f}", group >= least_group),
        Outcome("share of copied rows", copies, f"at most {DUPLICATES}", copies <= DUPLICATES),
        Outcome("rows shared with held-out data", shared, "0", shared == 0),
    ]
    if shape == expectations.shape:
        outcomes += _ranges(story, expectations, training)
    return Checked(tuple(outcomes), shared, group)


def _ranges(story: Story, expectations: Expectations, training: Data) -> list[Outcome]:
    """The rows' watched features against their ranges, by a pandera schema."""
    import pandas as pd
    import pandera.pandas as pa

    columns = {
        name: pa.Column(float, pa.Check.in_range(low, high), nullable=False)
        for name, (low, high) in expectations.ranges.items()
    }
    frame = pd.DataFrame(story.features(training.x))
    bad: dict[str, set[Any]] = {name: set() for name in columns}
    try:
        pa.DataFrameSchema(columns, strict="filter").validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        for column, row in zip(errors.failure_cases["column"], errors.failure_cases["index"], strict=True):
            bad.setdefault(str(column), set()).add(row)
    found = []
    for name in columns:
        share = len(bad[name]) / max(len(training), 1)
        found.append(Outcome(f"rows with {name} out of range", share, f"at most {OUTLIERS}", share <= OUTLIERS))
    return found


def gate(checked: Checked) -> None:
    """Let a batch pass, or raise ``BadBatchError`` naming every failed expectation; nothing is trained then."""
    if checked.failed:
        reasons = "; ".join(f"{one.name}: {one.observed:g}, expected {one.expected}" for one in checked.failed)
        raise BadBatchError(f"the batch does not pass the gate: {reasons}")


def bad_batch(data: Data) -> Data:
    """The batch with faults put in on purpose: a missing value, a class that there is not, and rows far too large."""
    x, y = data.x.copy(), data.y.copy()
    x.reshape(len(x), -1)[0, 0] = np.nan
    x[1 : max(2, len(x) // 5)] *= np.float32(1000.0)
    y[-1] = int(y.max()) + 7
    return replace(data, name=f"{data.name}-bad", x=x, y=y)


def self_test(story: Story, expectations: Expectations, data: Data) -> dict[str, Any]:
    """Inject a bad batch and see whether the gate stops it: ``bad_batch_injected``, ``status``, ``stopped_by``."""
    checked = check(story, expectations, bad_batch(data))
    try:
        gate(checked)
    except BadBatchError:
        names = [one.name for one in checked.failed]
        return {"bad_batch_injected": True, "status": "blocked", "stopped_by": ", ".join(names)}
    return {"bad_batch_injected": True, "status": "passed", "stopped_by": ""}
