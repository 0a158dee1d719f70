"""DG6 of the model: to be written."""

from __future__ import annotations

from integrations.reference.ladder.scene import Scene


def perform(scene: Scene) -> None:
    """Do what the practices of DG6 ask."""
