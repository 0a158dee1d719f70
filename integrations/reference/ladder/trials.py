"""Studies in the book: a parent run with one child for each training, as MLflow shows a search or a comparison."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from integrations.reference.ladder.book import Run, Text
from integrations.reference.ladder.scene import Scene
from integrations.reference.stories.base import Data
from integrations.reference.studies import Variant, measured, study_rows

STUDY_WEEK = -11.6
"""Week of the studies: before the last release, which rests on them."""
SEEDS = (11, 12, 13)
"""Seeds of what is repeated."""
_MINUTE = 60_000  # ms


@dataclass(slots=True)
class Study:
    """A parent run whose children were trained on ``data`` and judged on the validation rows."""

    scene: Scene
    parent: Run
    data: Data
    children: int = 0

    def child(
        self,
        name: str,
        variant: Variant,
        values: Mapping[str, float],
        *,
        factors: tuple[str, ...] = (),
        tags: Mapping[str, Text] | None = None,
    ) -> Run:
        """One training of the study with everything it was set to and everything measured."""
        start = self.parent.start_at + self.children * _MINUTE
        self.children += 1
        run = self.scene.book.run(
            f"{self.parent.key}-{self.children}",
            name,
            start_at=start,
            end_at=start + max(2000, round(values.get("train/cpu_seconds", 0.0) * 1000)),
            parent=self.parent.key,
            tags={"dlemm.stage": "trial", **(tags or {})},
        )
        run.params.update(variant.params(factors))
        run.metrics(values)
        run.inputs += [self.scene.use(self.data, "training"), self.scene.use(self.scene.validation, "eval")]
        return run


def open_study(
    scene: Scene,
    key: str,
    name: str,
    data: Data,
    *,
    trainings: int,
    hours: float = 0.0,
    tags: Mapping[str, Text] | None = None,
) -> Study:
    """Open a study of so many trainings, so many hours after the start of the study week. Its stage is its key."""
    start = scene.calendar.at(STUDY_WEEK, hours=hours)
    end = start + trainings * _MINUTE
    parent = scene.book.run(key, name, start_at=start, end_at=end, tags={"dlemm.stage": key, **(tags or {})})
    parent.param(trainings=trainings, data=data.name)
    return Study(scene, parent, data)


def study_data(scene: Scene) -> Data:
    """The labelled rows of the study week, as many as a study may use."""
    return study_rows(scene.story, scene.story.training(STUDY_WEEK))


def design(scene: Scene, seed: int = SEEDS[0]) -> Variant:
    """The design that is released."""
    return Variant(replace(scene.story.recipe, seed=seed), scene.story.augmentation)


def trial(scene: Scene, variant: Variant, data: Data) -> dict[str, float]:
    """A variant trained and measured once, and kept under all that it depends on."""
    given = json.dumps([variant.params(), variant.recipe.grad_accum_steps, data.name, data.digest], sort_keys=True)
    mark = hashlib.sha256(given.encode()).hexdigest()[:16]
    return dict(scene.work.once(f"study/{mark}", lambda: measured(scene.story, variant, data)))
