"""The scene: what every act of one project works with, and what the acts share."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from integrations.reference.engine import Fitted, Recipe, fit, logits
from integrations.reference.ladder.book import Book, Dataset, Run, Use, Version
from integrations.reference.ladder.calendar import Calendar
from integrations.reference.ladder.rungs import Rungs
from integrations.reference.ladder.workshop import Workshop
from integrations.reference.stories.base import Data, Rows, Story, Values

TRAINER, APPROVER, RELEASER = "reference-trainer", "reference-approver", "reference-ci"
"""Role accounts of the ladder; nobody's names."""


@dataclass
class Campaign:
    """One training that is released: the first, or an update of the version before it."""

    number: int  # 1 is the first
    week: float  # of the release
    training: Data
    fitted: Fitted
    run: Run  # of the training, stage train or retrain
    version: Version | None = None  # once registered (act ``release``)
    evaluation: Run | None = None  # stage evaluate (act ``evaluation``)
    notes: dict[str, Any] = field(default_factory=dict)  # what one act measured and another needs, by name

    @property
    def update(self) -> bool:
        return self.number > 1

    @property
    def key(self) -> str:
        """Key of its run, and of its version."""
        return self.run.key


@dataclass
class Scene:
    """One project being told. ``commit`` is the commit of the code that runs; empty when nobody recorded it."""

    story: Story
    rungs: Rungs
    calendar: Calendar
    work: Workshop
    book: Book
    commit: str = ""
    campaigns: list[Campaign] = field(default_factory=list)
    baseline: Run | None = None  # the training run of the simple baseline, from step 1 on
    _memory: dict[tuple[str, int, str], Any] = field(default_factory=dict, init=False, repr=False)
    shared: dict[str, Any] = field(default_factory=dict)
    """What one act made and another needs, by name. ``fits``: key of every training run to (Fitted, Recipe, Data)."""

    @property
    def champion(self) -> Campaign:
        """The campaign whose version is in service at the end."""
        return self.campaigns[-1]

    @cached_property
    def test(self) -> Data:
        return self.story.test()

    @cached_property
    def validation(self) -> Data:
        return self.story.validation()

    def trained(
        self, name: str, recipe: Recipe, training: Data, *, augmentation: str = "none", **factors: object
    ) -> Fitted:
        """Train once and keep: the workshop has it under ``train/<name>``. ``factors`` go to ``Story.build``."""

        def build() -> Any:
            return self.story.build(**factors)

        def work() -> dict[str, Any]:
            validation = self.validation
            augment = self.story.augment(augmentation)
            return fit(recipe, build, training.x, training.y, validation.x, validation.y, augment=augment).plain()

        return Fitted.from_plain(self.work.once(f"train/{name}", work), build())

    def logits(self, fitted: Fitted, data: Data) -> Rows:
        """The answers (n, classes) of a network to some rows."""
        return self._remembered("logits", id(fitted), data, lambda: (fitted, logits(fitted.model, data.x)))[1]

    def features(self, data: Data) -> dict[str, Values]:
        """The watched features of some rows."""
        return self._remembered("features", 0, data, lambda: self.story.features(data.x))

    def _remembered(self, what: str, of: int, data: Data, work: Callable[[], Any]) -> Any:
        key = (what, of, data.digest)
        if key not in self._memory:
            self._memory[key] = work()
        return self._memory[key]

    def score(self, fitted: Fitted, data: Data) -> float:
        """The primary metric of a network on some rows."""
        return self.story.score(data.y, self.logits(fitted, data))

    def use(self, data: Data, context: str, tags: Mapping[str, str] | None = None) -> Use:
        """The data as an input of a run; source and schema as far as their rungs are climbed."""
        source = data.source if "DG1.2.1" in self.rungs else ""
        schema = data.schema if "DG2.2.1" in self.rungs else ""
        return Use(Dataset(data.name, data.digest, source, schema), context, dict(tags or {}))

    def picture(self, draw: Callable[..., bytes], *values: Any, **named: Any) -> bytes:
        """A picture by a function of ``pictures``, drawn once for the values that it shows."""
        shown = hashlib.sha256(pickle.dumps((values, named))).hexdigest()[:16]
        drawn: bytes = self.work.once(f"picture/{draw.__name__}-{shown}", lambda: draw(*values, **named))
        return drawn

    def trainings(self) -> list[Run]:
        """Every run of a training that counts as one (stages train and retrain), baseline included."""
        return [run for run in self.book.runs.values() if run.tags.get("dlemm.stage") in ("train", "retrain")]


@dataclass
class Whole:
    """The organisation once all its projects are told, for the practices it has but once."""

    rungs: Rungs
    calendar: Calendar
    book: Book
    scenes: Mapping[str, Scene]
    repository: Path | None = None
