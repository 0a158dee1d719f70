"""The stories: what is learned from which data. ``all_stories`` gives them; nothing heavy is imported before."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integrations.reference.stories.base import Story

KEYS = ("digits", "nodules", "fraud")
"""Every story; each is the module of that name, whose ``STORY`` it is."""


def find_story(key: str) -> Story:
    """The story of that key; raises ``ValueError`` naming the ones there are."""
    if key not in KEYS:
        raise ValueError(f"there is no story {key!r}; the stories are {', '.join(KEYS)}")
    story: Story = import_module(f"integrations.reference.stories.{key}").STORY
    return story
