"""What was served: the answers of a version to the traffic of a week, and the features that are watched in them.

Answers are computed once a week and version and kept.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from integrations.reference.engine import Fitted
from integrations.reference.ladder.scene import Campaign, Scene
from integrations.reference.stories.base import Data, Rows, Values


def answers(scene: Scene, campaign: Campaign, data: Data) -> Rows:
    """The logits (n, classes) of a campaign's model for some data."""
    return _answers(scene, f"{campaign.training.digest}-{campaign.notes['recipe'].seed}", campaign.fitted, data)


def quality(scene: Scene, campaign: Campaign, week: int) -> float:
    """The primary metric of a campaign's model in the traffic of a week, with the classes that became known later."""
    traffic = scene.story.stream(week)
    return scene.story.score(traffic.y, answers(scene, campaign, traffic))


def baseline_quality(scene: Scene, week: int) -> float:
    """The same of the simple baseline, had it answered."""
    fitted, _, data = scene.shared["fits"]["baseline"]
    traffic = scene.story.stream(week)
    return scene.story.score(traffic.y, _answers(scene, f"baseline-{data.digest}", fitted, traffic))


def _answers(scene: Scene, name: str, fitted: Fitted, data: Data) -> Rows:
    import torch

    def work() -> Any:
        return torch.from_numpy(np.ascontiguousarray(scene.logits(fitted, data)))

    kept: Any = scene.work.once(f"answers/{name}-{data.name}-{data.digest}", work)
    given: Rows = kept.numpy()
    return given


def watched(scene: Scene, campaign: Campaign, data: Data) -> dict[str, Values]:
    """The watched features of some data: those of the story, and how sure the model was (``confidence``, 0 to 1)."""
    given = answers(scene, campaign, data).astype(np.float64)
    shares = np.exp(given - given.max(axis=1, keepdims=True))
    confidence = shares.max(axis=1) / shares.sum(axis=1)
    return {**scene.features(data), "confidence": confidence}


def reference(scene: Scene, campaign: Campaign) -> dict[str, Values]:
    """What the features are held against: the training data; for the confidence the validation rows, since a model
    is surer of rows that it learned from."""
    known = watched(scene, campaign, scene.validation)
    return {**scene.features(campaign.training), "confidence": known["confidence"]}


def moment(ms: int) -> datetime:
    """Milliseconds since 1970 as a moment in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)
