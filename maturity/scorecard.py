"""The values that travel from measuring to reporting: findings, ratings, levels, the whole scorecard.

All are frozen and turn into JSON and back without loss. A number is an exact fraction, written ``"45/50"`` reduced
(``"9/10"``); rounding happens only where it is shown (``rounded``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Generic, Literal, TypeVar, cast

from maturity import canonical

T = TypeVar("T")
S = TypeVar("S")

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

    ``outcome`` None means that there is a value, which a check then compares with its target; any other outcome says
    why there is none. ``value`` is exact: a share is numerator/denominator, a metric its shortest decimal.
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


@dataclass(frozen=True, slots=True)
class PerView(Generic[T]):
    """One thing in each of the five views."""

    claimed: T
    evidenced: T
    lower: T
    rated: T
    upper: T

    def __getitem__(self, view: View) -> T:
        value: T = getattr(self, view)
        return value

    @classmethod
    def of(cls, build: Callable[[View], T]) -> PerView[T]:
        """What ``build`` gives for each view."""
        return PerView(*(build(view) for view in VIEWS))

    def map(self, change: Callable[[T], S]) -> PerView[S]:
        """The same for every view after ``change``."""
        return PerView(*(change(self[view]) for view in VIEWS))


@dataclass(frozen=True, slots=True)
class Rule:
    """The sentence that decided: its key (one of ``RULES``) and what fills its gaps.

    A number among the details is exact: a whole number ``"50"`` or a fraction ``"9/10"``.
    """

    key: str
    details: Mapping[str, str] = field(default_factory=dict)


RULES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        # a machine check
        "met": ("value", "target", "n", "age"),
        "below_target": ("value", "target", "n", "age"),
        "bound_missed": ("value", "target", "n", "age"),
        "absence_counts": ("indicator", "age"),
        "no_source": (),
        "not_supported": (),
        "could_not_look": (),
        "not_applicable_unwaived": (),
        "nothing_found": (),
        "too_few": ("n", "n_min"),
        "undated": (),
        "dated_later": ("dated", "as_of"),
        "expired": ("age", "validity"),
        "check_waived": ("reason", "justification", "confirmed_by", "until"),
        # the human part
        "document": ("code", "age"),
        "interview": ("code", "age"),
        "document_and_interview": ("document", "interview", "age"),
        "no_verdict": (),
        # a practice in one project
        "larger_part": ("part",),
        "mean_of_parts": ("parts",),
        "capped_not_fully": ("mean", "cap", "checks"),
        "waived": ("reason", "justification", "confirmed_by", "until"),
        "waiver_not_permitted": (),
        "waiver_unconfirmed": (),
        "waiver_expired": ("until",),
        "waiver_contradicted": ("check", "n"),
        "waiver_leaves_nothing": (),
        # a practice over all projects
        "one_rating": (),
        "mean_of_projects": ("projects",),
        "capped_by_project": ("project", "value", "mean", "cap"),
        "no_project": (),
        "all_waived": (),
        # what keeps a capability, a dimension or the whole from the next level
        "achievement_not_above_gate": ("level", "achievement", "gate"),
        "practice_at_or_below_veto": ("level", "practice", "value", "veto"),
        "base_not_above_gate": ("level", "base", "achievement", "gate"),
        "levels_above_empty": ("level",),
        "highest_level": ("level",),
        "not_rated": ("share", "least"),
        "capability_too_low": ("level", "capability", "capability_level", "least"),
        "too_few_capabilities": ("level", "count", "rated", "share"),
        "dimension_lowest": ("level", "dimension"),
        "dimension_not_rated": ("dimension",),
    }
)
"""Every rule that a scorecard may cite, with the names of its details."""


@dataclass(frozen=True, slots=True)
class FindingRef:
    """Which finding a leaf rests on."""

    indicator: str
    project: str | None


@dataclass(frozen=True, slots=True)
class LeafRating:
    """One machine check (``check`` is its key) or the whole human part (``check`` is ``"human"``) in one project.

    ``kind`` is the kind of evidence that counted; ``"claim"`` or ``"nothing"`` when none did; ``"waived"`` when the
    check was dropped, and ``values`` is then None.
    """

    check: str
    project: str | None
    kind: str
    values: PerView[Fraction] | None
    confidence: Fraction
    rule: Rule
    freshness: Fraction | None = None
    age_days: int | None = None
    settled: bool = False
    finding: FindingRef | None = None
    outcome: Outcome | None = None
    verdicts: tuple[str, ...] = ()

    @property
    def evident(self) -> bool:
        """True when evidence counted, whatever it showed."""
        return self.kind not in ("claim", "nothing", "waived")


@dataclass(frozen=True, slots=True)
class PracticeRating:
    """One practice in one project, or in the organisation (``project`` None). No values when it does not apply.

    ``waiver`` tells what became of a waiver of the practice; ``coverage`` is the share that is answered or evidenced.
    """

    practice: str
    project: str | None
    applicable: bool
    values: PerView[Fraction] | None
    codes: PerView[str] | None
    confidence: Fraction
    coverage: Fraction
    leaves: tuple[LeafRating, ...]
    rule: Rule
    claim: str | None = None
    waiver: Rule | None = None


@dataclass(frozen=True, slots=True)
class PracticeResult:
    """One practice rolled up over projects. ``claim`` is the code claimed everywhere, None where claims differ.

    ``applicable_share`` is the share of projects in which it applies.
    """

    practice: str
    applicable: bool
    values: PerView[Fraction] | None
    codes: PerView[str] | None
    confidence: Fraction
    coverage: Fraction
    applicable_share: Fraction
    ratings: tuple[PracticeRating, ...]
    rule: Rule
    claim: str | None = None


@dataclass(frozen=True, slots=True)
class LevelAchievement:
    """A(l): the weighted mean of the applicable practices of one level; None when there is none."""

    level: int
    achievement: PerView[Fraction] | None
    practices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CapabilityLevel:
    """The level (0 and up) and index (0 to 100) of one capability; both None when it is not rated.

    ``blocked_by`` lists all that keeps the rated level from the next one.
    """

    capability: str
    level: PerView[int] | None
    index: PerView[Fraction] | None
    achievements: tuple[LevelAchievement, ...]
    confidence: Fraction
    coverage: Fraction
    provisional: bool
    blocked_by: tuple[Rule, ...]
    practices: tuple[PracticeResult, ...]


@dataclass(frozen=True, slots=True)
class DimensionLevel:
    """The level and index of one dimension. ``lowest`` is its weakest capability, to be named with every index."""

    dimension: str
    level: PerView[int] | None
    index: PerView[Fraction] | None
    confidence: Fraction
    coverage: Fraction
    provisional: bool
    lowest: str | None
    blocked_by: tuple[Rule, ...]
    capabilities: tuple[CapabilityLevel, ...]


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights an organisation gives to capabilities and dimensions; what is not named keeps the model's weight.

    They change indexes only, never a level.
    """

    capabilities: Mapping[str, Fraction] = field(default_factory=dict)
    dimensions: Mapping[str, Fraction] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return cast(dict[str, Any], canonical.encode(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Weights:
        """Read back what ``to_json`` gave. Raises ValueError when the data do not fit."""
        return canonical.decode(cls, data)


@dataclass(frozen=True, slots=True)
class ClaimGap:
    """A practice that is claimed to be better than it is rated."""

    practice: str
    claimed: Fraction
    rated: Fraction

    @property
    def gap(self) -> Fraction:
        return self.claimed - self.rated


@dataclass(frozen=True, slots=True)
class Scorecard:
    """The whole result, with the tree that explains it: dimension, capability, practice, project, leaf.

    ``waivers`` counts the practices and checks left out, project by project; ``na_share`` is the share of all practice
    weight that does not apply; ``gaps`` stand largest first; ``findings`` are those of the scope.
    """

    model: str
    version: str
    digest: str
    as_of: date
    projects: tuple[str, ...]
    level: PerView[int] | None
    index: PerView[Fraction] | None
    confidence: Fraction
    coverage: Fraction
    provisional: bool
    restricted_scope: bool
    na_share: Fraction
    waivers: int
    lowest: str | None
    blocked_by: tuple[Rule, ...]
    weights: Weights
    dimensions: tuple[DimensionLevel, ...]
    gaps: tuple[ClaimGap, ...]
    findings: tuple[Finding, ...]

    @property
    def capabilities(self) -> tuple[CapabilityLevel, ...]:
        return tuple(capability for dimension in self.dimensions for capability in dimension.capabilities)

    @property
    def practices(self) -> tuple[PracticeResult, ...]:
        return tuple(practice for capability in self.capabilities for practice in capability.practices)

    def leaves(self) -> Iterator[tuple[PracticeResult, PracticeRating, LeafRating]]:
        """Every leaf with the rating and the practice it belongs to."""
        for practice in self.practices:
            for rating in practice.ratings:
                for leaf in rating.leaves:
                    yield practice, rating, leaf

    def to_json(self) -> dict[str, Any]:
        """JSON data; a field that holds its default is left out."""
        return cast(dict[str, Any], canonical.encode(self))

    def to_bytes(self) -> bytes:
        """Canonical bytes: equal scorecards give equal bytes."""
        return canonical.to_bytes(self.to_json())

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Scorecard:
        """Read back what ``to_json`` gave. Raises ValueError when the data do not fit."""
        return canonical.decode(cls, data)


@dataclass(frozen=True, slots=True)
class LeafChange:
    """A leaf that is not what it was. A side is None where the leaf does not exist."""

    check: str
    project: str | None
    old: LeafRating | None
    new: LeafRating | None


@dataclass(frozen=True, slots=True)
class PracticeChange:
    """A practice whose result is not what it was: values per view before and after, and the leaves that changed.

    Values are None on a side where the practice does not exist or does not apply.
    """

    practice: str
    old: PerView[Fraction] | None
    new: PerView[Fraction] | None
    leaves: tuple[LeafChange, ...]


def difference(old: Scorecard, new: Scorecard) -> tuple[PracticeChange, ...]:
    """What changed from one scorecard to another, practice by practice in order of their ids."""
    before = {result.practice: result for result in old.practices}
    after = {result.practice: result for result in new.practices}
    changes = []
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key), after.get(key)
        if was != now:
            values = (was.values if was else None, now.values if now else None)
            changes.append(PracticeChange(key, *values, _leaf_changes(was, now)))
    return tuple(changes)


def _leaf_changes(was: PracticeResult | None, now: PracticeResult | None) -> tuple[LeafChange, ...]:
    before, after = _leaves(was), _leaves(now)
    keys = sorted(before.keys() | after.keys(), key=lambda key: (key[0], key[1] or ""))
    return tuple(LeafChange(*key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key))


def _leaves(result: PracticeResult | None) -> dict[tuple[str, str | None], LeafRating]:
    if result is None:
        return {}
    return {(leaf.check, leaf.project): leaf for rating in result.ratings for leaf in rating.leaves}


def rounded(value: Fraction, decimals: int = 4) -> str:
    """A fraction for display, half away from zero: ``rounded(Fraction(2, 3)) == "0.6667"``."""
    scaled = (2 * abs(value.numerator) * 10**decimals + value.denominator) // (2 * value.denominator)
    return str((Decimal(-scaled if value < 0 and scaled else scaled)).scaleb(-decimals))
