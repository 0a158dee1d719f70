"""The values that travel from measuring to reporting: findings, ratings, levels, the whole scorecard.

All are frozen and turn into JSON and back without loss. A number is an exact fraction, written ``"45/50"`` reduced
(``"9/10"``); rounding happens only where it is shown (``rounded``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Literal

View = Literal["claimed", "evidenced", "lower", "rated", "upper"]
VIEWS: tuple[View, ...] = ("claimed", "evidenced", "lower", "rated", "upper")
"""claimed: claims taken at face value, no evidence. evidenced: machine evidence alone, no claims. rated: the official
rating. lower and upper: the verified and the possible value that bracket it."""


class Outcome(StrEnum):
    """What became of looking. Only ``met`` and ``not_met`` say something about the organisation."""

    MET = "met"
    NOT_MET = "not_met"
    NO_EVIDENCE = "no_evidence"
    NOT_APPLICABLE = "not_applicable"
    NOT_SUPPORTED = "not_supported"
    COULD_NOT_LOOK = "could_not_look"


@dataclass(frozen=True, slots=True)
class Finding:
    """One indicator measured over the facts of one project (or of the whole organisation: ``project`` None).

    ``outcome`` None means that there is a value, which a check then compares with its target; any other outcome says why
    there is none. ``value`` is exact: a share is numerator/denominator, a metric its shortest decimal.
    """

    indicator: str
    project: str | None
    outcome: Outcome | None
    value: Fraction | None = None
    n: int = 0
    numerator: int | None = None
    denominator: int | None = None
    unit: str = "run"  # what passing and failing ids name: run, version, model, dataset, project, experiment
    passing: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()
    reason: str = ""  # key of a sentence in ``words`` with ``details``; empty when there is a value
    details: Mapping[str, str] = field(default_factory=dict)
    window: tuple[int, int] | None = None  # ms
    read_at: int | None = None  # ms; the oldest reading of the sources it rests on

    def judge(self, op: str, target: Fraction) -> Outcome:
        """The outcome of a check that compares this finding with its target. Equal to the target is met."""
        if self.outcome is not None or self.value is None:
            return self.outcome or Outcome.NO_EVIDENCE
        met = self.value >= target if op == ">=" else self.value <= target
        return Outcome.MET if met else Outcome.NOT_MET


def rounded(value: Fraction, decimals: int = 4) -> str:
    """A fraction for display, half up: ``rounded(Fraction(2, 3)) == "0.6667"``."""
    scaled = Decimal(value.numerator * 10**decimals * 2 + value.denominator) // Decimal(value.denominator * 2)
    return str((scaled / Decimal(10**decimals)).quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP))
