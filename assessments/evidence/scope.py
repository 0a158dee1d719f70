"""scope: what belongs to which project, as an assessment would sort it, shown before anything is assessed.

Takes projects and the inventory; gives, for each project, the experiments and models that its patterns match, those
that name it by tag, and what is in no project. Where two projects match, the first by key has it. A tag on a run or a
version counts for that one alone and before any pattern, so tags are told beside the patterns.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from assessments.evidence.inventory import Experiment, Inventory, RegisteredModel
from assessments.organisations.models import Project

Thing = Experiment | RegisteredModel
_KINDS = ("experiments", "registered_models")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern and the things whose names it matches, with the project that has each of them."""

    text: str
    things: tuple[tuple[Thing, str], ...]


@dataclass(frozen=True, slots=True)
class Share:
    """What one project gets. ``by_tag``: things that name the project by tag, with how many runs or versions do."""

    project: Project
    experiments: tuple[Pattern, ...]
    models: tuple[Pattern, ...]
    by_tag: tuple[tuple[Thing, int], ...]

    @property
    def count(self) -> tuple[int, int]:
        """Experiments and models that this project gets by its patterns."""
        return _had(self.experiments, self.project.key), _had(self.models, self.project.key)


@dataclass(frozen=True, slots=True)
class Scope:
    """All projects; what nothing puts into any; and what several match, with their keys, the one that has it first."""

    shares: tuple[Share, ...]
    experiments: tuple[Thing, ...]
    models: tuple[Thing, ...]
    several: tuple[tuple[Thing, tuple[str, ...]], ...]


def scope(projects: Iterable[Project], held: Inventory) -> Scope:
    """Sort everything that is held into the projects."""
    ordered = sorted(projects, key=lambda project: project.key)
    known = {project.key for project in ordered}
    things: dict[str, Sequence[Thing]] = {"experiments": held.experiments, "registered_models": held.models}
    keys = {kind: [_matching(ordered, kind, thing.name) for thing in things[kind]] for kind in _KINDS}
    pairs = {kind: list(zip(things[kind], keys[kind], strict=True)) for kind in _KINDS}
    rest = {
        kind: tuple(thing for thing, found in pairs[kind] if not found and not known & thing.tagged.keys())
        for kind in _KINDS
    }
    return Scope(
        tuple(_share(project, pairs["experiments"], pairs["registered_models"]) for project in ordered),
        rest["experiments"],
        rest["registered_models"],
        tuple((thing, found) for kind in _KINDS for thing, found in pairs[kind] if len(found) > 1),
    )


Pairs = list[tuple[Thing, tuple[str, ...]]]


def _share(project: Project, experiments: Pairs, models: Pairs) -> Share:
    tagged = [(thing, thing.tagged[project.key]) for thing, _ in experiments + models if project.key in thing.tagged]
    return Share(
        project,
        _patterns(project.experiments, experiments),
        _patterns(project.registered_models, models),
        tuple(tagged),
    )


def _patterns(texts: Sequence[str], pairs: Pairs) -> tuple[Pattern, ...]:
    return tuple(
        Pattern(text, tuple((thing, keys[0]) for thing, keys in pairs if keys and _matches(thing.name, text)))
        for text in texts
    )


def _had(patterns: Iterable[Pattern], key: str) -> int:
    return len({id(thing) for pattern in patterns for thing, owner in pattern.things if owner == key})


def _matching(projects: Sequence[Project], kind: str, name: str) -> tuple[str, ...]:
    """The projects that match a name, first the one that has it."""
    return tuple(p.key for p in projects if any(_matches(name, text) for text in getattr(p, kind)))


def _matches(name: str, pattern: str) -> bool:
    """As an assessment matches (``assembly``): letter by letter, ``*`` for any text."""
    return fnmatch.fnmatchcase(name, pattern)
