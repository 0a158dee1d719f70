"""A case: the whole configuration of one reference story as a plain value, and the register of cases.

A case is a decorated function that returns a ``Case``; nothing else is to be edited. Nothing heavy is imported
here, so that listing the cases takes no time.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from integrations.reference.errors import UnknownCaseError

STORY_VERSION = "1.1"


class Family(StrEnum):
    """Model families of ``models.py``; logged as the parameter ``model_family``."""

    LINEAR = "linear"
    CNN = "cnn"


class Amp(StrEnum):
    """Mixed precision: off, or bfloat16 autocast; logged as the parameter ``opt.amp``."""

    OFF = "off"
    BF16 = "bf16"


class Augmentation(StrEnum):
    """Augmentation of training images; logged as the parameter ``augmentation``."""

    NONE = "none"
    SHIFT = "shift"


@dataclass(frozen=True, slots=True)
class Fit:
    """One training: everything that the training loop reads. Two equal fits give equal weights."""

    name: str
    family: Family = Family.CNN
    seed: int = 0
    epochs: int = 14  # upper bound; early stopping may end before
    patience: int = 4  # epochs without a lower validation loss before the loop stops
    batch_size: int = 32  # samples per optimiser step
    grad_accum_steps: int = 1  # micro-batches per optimiser step
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    amp: Amp = Amp.OFF
    augmentation: Augmentation = Augmentation.NONE
    technique: str = "none"  # the optimisation technique under study


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What happens to the simulated stream: a move in pixels (down, right) and a factor on brightness."""

    down: int = 0
    right: int = 0
    brightness: float = 1.0


@dataclass(frozen=True, slots=True)
class Case:
    """One story: its data, its trainings, its stream, its gate.

    ``study`` compares optimisation techniques under one parent run, its first member being the control and a
    candidate for release; ``repeats`` are the same model with other seeds; ``undertrained`` is expected to fail the
    gate; ``retrain`` answers drift. Sizes are numbers of rows, drawn once with ``split_seed``.
    """

    key: str
    title: str
    dataset: str
    split_seed: int
    validation_rows: int
    test_rows: int
    window_rows: int  # rows of each of the three windows of the simulated stream
    baseline: Fit
    study: tuple[Fit, ...]
    repeats: tuple[Fit, ...]
    undertrained: Fit
    retrain: Fit
    disturbance: Disturbance
    policy_file: str
    benchmark_requests: int  # sequential requests behind the latency percentiles
    throughput_seconds: float

    @property
    def candidates(self) -> tuple[Fit, ...]:
        """The trainings that may be released first: the control of the study and its repeats."""
        return (self.study[0], *self.repeats)

    @property
    def pipeline(self) -> str:
        """Name and version of the pipeline, the value of the tag ``dlemm.pipeline``."""
        return f"reference-{self.key}/{STORY_VERSION}"

    def fingerprint(self) -> str:
        """Digest of the configuration, the thresholds and the version: equal means the same story."""
        policy = (Path(__file__).parent / self.policy_file).read_bytes()
        whole = json.dumps([STORY_VERSION, asdict(self), hashlib.sha256(policy).hexdigest()], sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


_CASES: dict[str, Callable[[], Case]] = {}


def case(build: Callable[[], Case]) -> Callable[[], Case]:
    """Register a function that returns a case under the function's name, underscores written as hyphens."""
    key = build.__name__.replace("_", "-")
    if key in _CASES:
        raise ValueError(f"two cases are called {key}")
    _CASES[key] = build
    return build


def all_cases() -> tuple[Case, ...]:
    """Every registered case, by name."""
    importlib.import_module("integrations.reference.cases")  # its modules register their cases
    return tuple(_CASES[key]() for key in sorted(_CASES))


def find_case(key: str) -> Case:
    """The case of that name; raises ``UnknownCaseError`` naming the ones there are."""
    cases = {known.key: known for known in all_cases()}
    if key not in cases:
        raise UnknownCaseError(f"There is no case {key!r}; the cases are: {', '.join(cases)}.")
    return cases[key]
