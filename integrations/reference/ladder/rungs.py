"""Rungs: which practices are done.

A ladder climbed to step K does every practice of levels 1 to K, and no other. A broken rung is one practice that is
left out although its level is climbed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

STEPS = (1, 2, 3, 4, 5)
_PRACTICE = re.compile(r"(?:DG|MD|DO)\d\.([1-5])\.\d")


def level_of(practice: str) -> int:
    """The level of a practice, which is the middle number of its id. Raises ``ValueError`` for anything else."""
    found = _PRACTICE.fullmatch(practice)
    if not found:
        raise ValueError(f"{practice!r} is no practice; ids are written such as DG2.3.1")
    return int(found[1])


@dataclass(frozen=True, slots=True)
class Rungs:
    """The practices that are done: those up to ``step`` without the broken ones. ``"DG2.3.1" in rungs`` asks."""

    step: int
    without: frozenset[str] = frozenset()

    @classmethod
    def to(cls, step: int, without: Collection[str] = ()) -> Rungs:
        """Raises ``ValueError`` for a step that there is not, and for what is no practice."""
        if step not in STEPS:
            raise ValueError(f"there is no step {step}; the steps are 1 to 5")
        for practice in without:
            level_of(practice)
        return cls(step, frozenset(without))

    def __contains__(self, practice: str) -> bool:
        return level_of(practice) <= self.step and practice not in self.without
