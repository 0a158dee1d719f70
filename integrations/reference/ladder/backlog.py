"""The improvement backlog: items with owner, date and target practice, from what is honestly not done.

Gaps come first: practices that were left out, then one of the next level for each capability. With nothing left above,
the items are the weakest figures that were measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from integrations.reference.ladder.asked import load_model
from integrations.reference.ladder.calendar import iso
from integrations.reference.ladder.rungs import STEPS, level_of
from integrations.reference.ladder.scene import Scene, Whole

OWNERS = {
    "DG": "reference-data-owner",
    "MD": "reference-model-owner",
    "DO": "reference-operations-owner",
}
"""Role accounts that answer for the items of a dimension."""
SPACE_DAYS = 7
"""Days between the dates of two items, so that an owner is not promised away twice."""
HEAD = "practice,item,owner,due"
_DAY_MS, _FIRST_DUE_DAYS = 86_400_000, 28
_LEAST = (
    ("DO4.5.1", "raise the alert precision of {project}, now {value:.2f}", "monitor/alert_precision"),
    ("DO5.4.1", "raise the worst retention of {project}, now {value:+.3f}", "eval/backward_transfer"),
    ("DO4.3.2", "look into the weakest week of {project} in service, live quality {value:.3f}", "live/primary"),
)
"""Target practice, item, and the metric whose smallest value is the weakest."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the backlog; ``due`` is a date."""

    practice: str
    text: str
    owner: str
    due: str

    def line(self) -> str:
        """The item as a row of a table."""
        return f"| {self.practice} | {self.text} | {self.owner} | {self.due} |"


def items(whole: Whole) -> list[Item]:
    """The backlog in its order; the earlier an item, the earlier its date."""
    found = [*_gaps(whole), *_weakest(whole)]
    dated = []
    for place, (practice, text) in enumerate(found):
        due = iso(whole.calendar.now + (_FIRST_DUE_DAYS + SPACE_DAYS * place) * _DAY_MS)[:10]
        dated.append(Item(practice, text, OWNERS[practice[:2]], due))
    return dated


def _gaps(whole: Whole) -> list[tuple[str, str]]:
    """Practices that are not done: left-out ones, then the first of the next level in each capability."""
    left_out = [(key, "take up what was left out") for key in sorted(whole.rungs.without)]
    if whole.rungs.step == STEPS[-1]:
        return left_out
    firsts: dict[str, tuple[str, str]] = {}
    for practice in load_model().practices.values():
        if level_of(practice.id) == whole.rungs.step + 1:
            firsts.setdefault(practice.capability, (practice.id, practice.name.en))
    return [*left_out, *firsts.values()]


def _weakest(whole: Whole) -> list[tuple[str, str]]:
    """Of each watched metric the smallest value there is, with its project; metrics that nobody logged are left out."""
    found = []
    for practice, text, metric in _LEAST:
        values = [(value, scene.story.key) for scene in whole.scenes.values() for value in _logged(scene, metric)]
        if values:
            value, project = min(values)
            found.append((practice, text.format(project=project, value=value)))
    return found


def _logged(scene: Scene, metric: str) -> list[float]:
    return [point.value for run in scene.book.runs.values() for point in run.points if point.key == metric]
