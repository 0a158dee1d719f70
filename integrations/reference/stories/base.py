"""What a story is: data that grows week by week, networks that learn from it, and what its goal asks for.

The acts of the ladder know nothing of digits, lungs or payments; they know this. A story simulates no result: rows come
from files or from a documented generator, everything else is measured.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from integrations.reference.engine import Augment, Recipe

Rows = npt.NDArray[np.float32]  # (n, ...)
Classes = npt.NDArray[np.int64]  # (n,)
Flags = npt.NDArray[np.bool_]  # (n,)
Values = npt.NDArray[np.float64]  # (n,)


@dataclass(frozen=True)
class Data:
    """Named rows with their classes. ``slices`` and ``groups`` mark rows: slices of interest for evaluation, and
    declared groups of the population (of people where people are concerned)."""

    name: str
    x: Rows
    y: Classes
    slices: Mapping[str, Flags] = field(default_factory=dict)
    groups: Mapping[str, Flags] = field(default_factory=dict)
    until: float = 0.0  # week of the calendar of its newest row
    source: str = ""
    schema: str = ""  # JSON, written with the dataset

    def __len__(self) -> int:
        return len(self.y)

    @cached_property
    def sha256(self) -> str:
        """Digest of shape, rows and classes."""
        content = hashlib.sha256(repr(self.x.shape).encode())
        content.update(np.ascontiguousarray(self.x).tobytes())
        content.update(np.ascontiguousarray(self.y).tobytes())
        return content.hexdigest()

    @property
    def digest(self) -> str:
        """The short digest logged with dataset inputs."""
        return self.sha256[:16]

    def take(self, rows: npt.NDArray[np.intp] | Flags, name: str = "") -> Data:
        """Some of the rows, with their marks."""
        pick = {key: marks[rows] for key, marks in self.slices.items()}
        groups = {key: marks[rows] for key, marks in self.groups.items()}
        return Data(name or self.name, self.x[rows], self.y[rows], pick, groups, self.until, self.source, self.schema)

    def row_hashes(self) -> list[str]:
        """One SHA-256 per row, classes left out."""
        return [hashlib.sha256(np.ascontiguousarray(row).tobytes()).hexdigest() for row in self.x]


class Story(ABC):
    """One story. Weeks are those of the calendar (negative, see ``ladder.calendar``)."""

    key: str  # also the project key
    title: str
    goal: str  # one sentence: the purpose, and why the primary metric serves it
    modality: str
    unit: str  # of the input values
    source: str  # where rows come from, name and version
    primary: str  # primary metric, such as eval/accuracy; greater is better
    classes: int
    families: tuple[str, ...]  # model families; the first is the simple baseline
    main: str  # family that is released
    augmentations: tuple[str, ...] = ()  # at least six where the story augments; without "none"
    augmentation: str = "none"  # the one in use
    stresses: tuple[str, ...] = ()  # at least two
    personal_data: bool = False
    human_labels: bool = False  # people made the labels
    high_impact: bool = False
    affects_people: bool = False
    drift_weeks: tuple[int, ...] = ()  # weeks whose traffic is disturbed, as declared in the documents
    recipe: Recipe = Recipe()
    ablations: Mapping[str, object] = {}  # factor of ``build`` to the value that is tested against its default
    peak_tps: float = 1000.0  # requests per second that the service must bear
    latency_p99_ms: float = 28.0

    @abstractmethod
    def training(self, week: float) -> Data:
        """The labelled training data as it stood in that week: later weeks have more rows or fresher ones."""

    @abstractmethod
    def validation(self) -> Data:
        """Rows that candidates are chosen by; never trained on."""

    @abstractmethod
    def test(self) -> Data:
        """The fixed rows that releases are judged on; shares no row with training, validation or stream.

        Has at least three slices, ``hard_cases`` (30 rows or more) among them.
        """

    @abstractmethod
    def stream(self, week: int) -> Data:
        """The traffic of one week in service, with the classes that became known later."""

    @abstractmethod
    def build(self, family: str = "", **factors: object) -> nn.Module:
        """A freshly initialised network giving logits (b, classes); the caller has set the seed.

        ``family`` empty: the main one. ``factors`` are those of ``ablations``, and ``width`` (a factor on channels).
        """

    @abstractmethod
    def score(self, y: Classes, logits: Rows) -> float:
        """The primary metric of logits (n, classes)."""

    @abstractmethod
    def features(self, x: Rows) -> dict[str, Values]:
        """A few watched features with a meaning, for drift and skew."""

    @abstractmethod
    def stressed(self, stress: str) -> Data:
        """The test rows under one stress, such as noise or a missing input."""

    def augment(self, name: str) -> Augment | None:
        """The augmentation of that name; None for ``none``."""
        if name == "none":
            return None
        raise ValueError(f"{self.key} knows no augmentation {name!r}")

    def prepare(self, raw: Rows) -> Rows:
        """The one transform for training and serving: raw rows as they arrive, to the rows a network takes."""
        return raw

    def raw(self, rows: int) -> Rows:
        """Some rows of the test set as they arrive, before ``prepare``."""
        return self.test().x[:rows]

    def regions(self) -> tuple[Data, Flags] | None:
        """Fifty positive test cases or more with the region that an expert marked in each, (n, *spatial); None without
        such marks."""
        return None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return tuple(self.test().x.shape[1:])

    def fingerprint(self) -> str:
        """What results of this story depend on besides code: its configuration."""
        return json.dumps([self.key, repr(self.recipe), torch.__version__, torch.get_num_threads()])
