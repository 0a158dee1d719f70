"""Telling: one project from its acts, in the order of the life cycle; then what the organisation does once.

Takes a story, the rungs that are climbed and a workshop; gives the book of the project. Nothing is published here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from integrations.reference.ladder.book import Book
from integrations.reference.ladder.calendar import Calendar
from integrations.reference.ladder.rungs import Rungs
from integrations.reference.ladder.scene import Scene, Whole
from integrations.reference.ladder.workshop import Workshop
from integrations.reference.stories import KEYS, find_story

ACTS = (
    "campaigns",
    "sourcing",  # DG1
    "quality",  # DG2
    "labels",  # DG3
    "preparation",  # DG4
    "privacy",  # DG5
    "experiments",  # MD1
    "architecture",  # MD2
    "efficiency",  # MD3
    "evaluation",  # MD4
    "packaging",  # DO2
    "release",  # DO1
    "explanation",  # MD5
    "engineering",  # MD6
    "reliability",  # DO3
    "monitoring",  # DO4
    "updates",  # DO5
    "flywheel",  # DG6
    "delivery",  # DO6
)
"""Modules of ``acts``; each has ``perform(scene)``; ``perform_late(scene)`` where it needs what later acts wrote,
called once all have performed, the last act first; and ``perform_once(whole)`` where the organisation acts once."""


def tell_project(key: str, rungs: Rungs, calendar: Calendar, work: Workshop, *, commit: str = "") -> Scene:
    """Tell one project; all acts in order."""
    book = Book(key, model=f"reference-{key}", common={"dlemm.origin": "reference", "dlemm.clock": "virtual"})
    own = replace(calendar, turn=KEYS.index(key))
    scene = Scene(find_story(key), rungs, own, work, book, commit)
    modules = [import_module(f"integrations.reference.ladder.acts.{act}") for act in ACTS]
    for module in modules:
        module.perform(scene)
    for module in reversed(modules):  # experiments come late among them: they name every run
        late = getattr(module, "perform_late", None)
        if late is not None:
            late(scene)
    return scene


def tell_organisation(
    rungs: Rungs, calendar: Calendar, scenes: Mapping[str, Scene], *, repository: Path | None = None
) -> Whole:
    """What the organisation does once, after its projects."""
    common = {"dlemm.origin": "reference", "dlemm.clock": "virtual"}
    whole = Whole(rungs, calendar, Book("", common=common), scenes, repository)
    for act in ACTS:
        once = getattr(import_module(f"integrations.reference.ladder.acts.{act}"), "perform_once", None)
        if once is not None:
            once(whole)
    return whole
