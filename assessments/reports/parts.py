"""The values a report is made of: frozen, in the words of one language, every shown number beside its exact one.

``document`` builds them and ``pdf`` draws them; as JSON they are the second format. Numbers are exact fractions
(``"9/10"`` in JSON), ``shown`` is what a reader sees. A field that is None means "there is none", never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from maturity.scorecard import PerView


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is and as it is shown."""

    exact: Fraction
    shown: str


@dataclass(frozen=True, slots=True)
class Interval:
    """The Wilson 95 % interval of a share; ``borderline`` when the target lies inside it."""

    low: Number
    high: Number
    borderline: bool


@dataclass(frozen=True, slots=True)
class Term:
    """Something explained: a short key, its name, and a sentence."""

    key: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Reference:
    """An id of a fact, written ``source:id``, and its address where it was read, when it has one."""

    id: str
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Citation:
    """The first ids behind a number, and how many more there are."""

    ids: tuple[Reference, ...]
    more: int

    @property
    def count(self) -> int:
        return len(self.ids) + self.more


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a number rests on: the indicator that was measured, where, from which sources, read when, and the ids."""

    indicator: str
    indicator_name: str
    project: str | None
    unit: str
    sources: tuple[str, ...]
    read_at: str
    passing: Citation
    failing: Citation


@dataclass(frozen=True, slots=True)
class Cover:
    """Whose report this is, as of when, made with which model, and how anyone can verify it."""

    title: str
    organisation: str
    demo: str
    as_of: date
    projects: tuple[str, ...]
    model: str
    version: str
    digest: str
    status: str
    pack_id: str
    verify: str
    verify_text: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the whole, a dimension or a capability stands. ``shown`` is its rated level in words or digits.

    An index is never shown without ``lowest``, the capability that is weakest under it.
    """

    id: str
    name: str
    shown: str
    level: PerView[int] | None
    index: PerView[Number] | None
    lowest: str | None
    lowest_name: str
    confidence: Number
    band: str
    coverage: Number
    provisional: bool


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    """How many machine checks ended in one outcome."""

    outcome: str
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Result:
    """The result in one sentence, its interval, what the level means, what restricts it, and what blocks the next."""

    sentence: str
    interval: str
    level_name: str
    meaning: str
    index: str
    flags: tuple[Term, ...]
    blocked: tuple[str, ...]
    overall: Standing
    dimensions: tuple[Standing, ...]
    checks: tuple[OutcomeCount, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read the report: rating codes, levels, and the three numbers."""

    codes: tuple[Term, ...]
    levels: tuple[Term, ...]
    numbers: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class RadarSeries:
    """One line of the radar: a view and the level of every axis."""

    view: str
    name: str
    levels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Radar:
    """The levels of all rated capabilities; ``axes`` are their ids and names."""

    title: str
    description: str
    axes: tuple[Term, ...]
    series: tuple[RadarSeries, ...]


@dataclass(frozen=True, slots=True)
class HeatCell:
    """A(l) of one level of a capability: None when nothing applies; ``reached`` when the capability has the level."""

    level: int
    achievement: Number | None
    reached: bool


@dataclass(frozen=True, slots=True)
class HeatRow:
    """A capability in the heatmap."""

    id: str
    name: str
    shown: str
    level: int | None
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True, slots=True)
class HeatGroup:
    """A dimension in the heatmap."""

    id: str
    name: str
    rows: tuple[HeatRow, ...]


@dataclass(frozen=True, slots=True)
class Blocker:
    """One thing that stands between a capability and its next level, in order of what is most worthwhile."""

    practice: str
    practice_name: str
    capability: str
    capability_name: str
    level: int
    kind: str
    kind_name: str
    sentence: str
    gain: Number
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class OverClaim:
    """A practice claimed to be better than it is rated."""

    practice: str
    name: str
    claimed: Number
    claimed_code: str
    rated: Number
    rated_code: str
    gap: Number


@dataclass(frozen=True, slots=True)
class CheckItem:
    """One check of a practice in one project: what was asked, what was found, by which rule it counted."""

    key: str
    kind: str
    kind_name: str
    name: str
    asked: tuple[str, ...]
    outcome: str
    outcome_name: str
    sentence: str
    rule: str
    rated: Number | None
    value: Number | None
    target: Number | None
    n: int | None
    interval: Interval | None
    verdicts: tuple[str, ...]
    evidence: Evidence | None


@dataclass(frozen=True, slots=True)
class ProjectItem:
    """A practice in one project, or in the organisation as a whole (``project`` None)."""

    project: str | None
    values: PerView[Number] | None
    codes: PerView[str] | None
    claim: str | None
    rule: str
    waiver: str
    checks: tuple[CheckItem, ...]


@dataclass(frozen=True, slots=True)
class PracticeItem:
    """A practice with its claimed, evidenced and rated codes over all projects."""

    id: str
    level: int
    name: str
    criterion: str
    applicable: bool
    values: PerView[Number] | None
    codes: PerView[str] | None
    claim: str | None
    rule: str
    projects: tuple[ProjectItem, ...]


@dataclass(frozen=True, slots=True)
class CapabilityItem:
    """A capability: where it stands, what blocks its next level, and its practices."""

    standing: Standing
    dimension: str
    purpose: str
    interval: str
    blocked: tuple[str, ...]
    practices: tuple[PracticeItem, ...]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A practice or check that does not apply, or whose waiver did not hold (``held`` False), and why."""

    on: str
    name: str
    project: str | None
    held: bool
    text: str


@dataclass(frozen=True, slots=True)
class StreamItem:
    """What became of one stream of a source."""

    name: str
    state: str
    state_name: str
    rows: int
    reason: str


@dataclass(frozen=True, slots=True)
class SourceItem:
    """A source and its completeness statement. Times are ISO text, UTC."""

    key: str
    kind: str
    address: str
    version: str
    started: str
    finished: str
    complete: bool
    streams: tuple[StreamItem, ...]
    notes: tuple[str, ...]
