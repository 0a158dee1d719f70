"""Rates the leaves of a practice: one machine check, or the whole human part, in one project.

Takes findings, verdicts and the claim; gives ``LeafRating`` values with the rule that decided. The formulas:

- freshness with validity V at age a: ``f = 1 if a <= V; 0 if a >= 2V; otherwise 2 - a/V``;
- achievement of value x against target t: share and count ``o = 1 if x >= t else 0.85·x/t``; bound ``1 if met else 0``;
- a machine check is worth ``f·min(o, cap of its kind)``; the human part with the smaller verdict o of those present
  ``max(f_d·min(o, 0.85), f_i·min(o, 0.67), min(f_d, f_i)·o if both)``;
- bounds of a leaf worth v under claim C: see ``bounds``.

Decisions where the method leaves room, each on the strict side:

- Evidence without a date, dated after ``as_of``, or with freshness 0 does not count.
- Absence counts as 0 only when nothing measured stands for the check: a usable export or substitute comes first.
- A count of 0 whose absence is neutral is no evidence. A share or count compared with ``<=`` is all or nothing.
- A substitute document may leave out n, since an assessor judged the document; an n below the minimum does not count.
- Of two terms of the human part that are worth the same the fresher one decides, then the one that rests on both.
- A claim alone has confidence 0.2, whatever it claims.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import NamedTuple

from maturity.answers import Verdict
from maturity.schema import Check, Model
from maturity.scorecard import Finding, FindingRef, LeafRating, Outcome, PerView, Rule

HUMAN = "human"
CLAIM_CONFIDENCE = Fraction(1, 5)
ZERO, ONE = Fraction(0), Fraction(1)
_MACHINE_KINDS = ("mlflow", "pipeline", "repo", "export")
_DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1).toordinal()

Bounds = tuple[Fraction, Fraction, Fraction]
"""lower, rated and upper."""
Place = tuple[str | None, FindingRef | None]
"""The project of a leaf, and the finding there is for it."""


def freshness(age: int, validity: int) -> Fraction:
    """How much evidence of ``age`` days still counts when it is valid for ``validity`` days."""
    if age <= validity:
        return ONE
    return ZERO if age >= 2 * validity else Fraction(2 * validity - age, validity)


def bounds(claim: Fraction, cap: Fraction, worth: Fraction | None, *, fresh: bool, settled: bool) -> Bounds:
    """Lower, rated and upper value of a leaf; ``worth`` None means no evidence, ``cap`` is what a claim alone earns.

    Without evidence ``0, min(C, cap), C``. With evidence ``v``, ``v if fresh else max(v, min(C, cap))`` and
    ``v if settled else max(v, C)``.
    """
    if worth is None:
        return ZERO, min(claim, cap), claim
    rated = worth if fresh else max(worth, min(claim, cap))
    return worth, rated, worth if settled else max(worth, claim)


@dataclass(frozen=True, slots=True)
class Aim:
    """What a machine check asks for, whatever its kind. A pipeline or repo check asks for 1, a repo ratio by share."""

    key: str
    indicator: str
    kind: str
    proportional: bool
    op: str
    target: Fraction
    n_min: int
    negative: bool
    zero_is_nothing: bool
    slope: Fraction

    @classmethod
    def of(cls, model: Model, check: Check) -> Aim:
        factor = model.parameters.below_target_factor
        if check.indicator is None or check.target is None:
            target = check.target or ONE
            proportional = check.kind == "repo" and (check.measure is None or check.measure.form == "share")
            slope = factor / target
            return cls(check.key, check.key, check.kind, proportional, ">=", target, 0, False, False, slope)
        indicator, op = model.indicators[check.indicator], check.op or ">="
        negative = indicator.absence == "negative"
        return cls(
            key=check.key,
            indicator=indicator.id,
            kind=check.kind,
            proportional=indicator.type in ("share", "count") and op == ">=",
            op=op,
            target=check.target,
            n_min=indicator.n_min,
            negative=negative,
            zero_is_nothing=indicator.type == "count" and not negative,
            slope=factor / check.target if check.target else ZERO,
        )

    def achievement(self, value: Fraction) -> tuple[Fraction, str, Outcome]:
        """How far ``value`` achieves the target, by which rule."""
        if value >= self.target if self.op == ">=" else value <= self.target:
            return ONE, "met", Outcome.MET
        if not self.proportional:
            return ZERO, "bound_missed", Outcome.NOT_MET
        # Below its target a share or count counts in proportion; below zero, which neither can be, it counts nothing.
        return self.slope * value if value > 0 else ZERO, "below_target", Outcome.NOT_MET


class Seen(NamedTuple):
    """What one piece of evidence gave. ``worth`` is None when it does not count, and ``rule`` then says why.

    ``absent`` marks a source that was read and held nothing where it should have.
    """

    id: str
    kind: str
    rule: Rule
    outcome: Outcome | None
    worth: Fraction | None = None
    freshness: Fraction | None = None
    age: int | None = None
    absent: bool = False

    @property
    def machine(self) -> bool:
        return self.kind in _MACHINE_KINDS


class HumanTerm(NamedTuple):
    """One term of the human part: its worth, freshness, and the kind of evidence it rests on."""

    worth: Fraction
    freshness: Fraction
    kind: str


class Leaves:
    """Rates leaves of one model at one date. Equal inputs are rated once."""

    def __init__(self, model: Model, as_of: date) -> None:
        self._model = model
        self._parameters = model.parameters
        self._as_of = as_of
        self._today = as_of.toordinal()
        self._aims = {check.key: Aim.of(model, check) for check in model.checks.values() if check.machine}
        self._claims = {rating.code: rating.claim_value for rating in model.rating_scale}
        self._machine: dict[tuple[object, ...], LeafRating] = {}
        self._human: dict[tuple[object, ...], LeafRating] = {}
        self._unseen: dict[str | None, PerView[Fraction]] = {}

    def indicator(self, check: Check) -> str:
        """What a finding for this check is called: its indicator, or its own key."""
        return self._aims[check.key].indicator

    def machine(
        self, check: Check, project: str | None, finding: Finding | None, verdicts: Sequence[Verdict], claim: str | None
    ) -> LeafRating:
        """Rate a machine check from the finding and the exports and substitute documents there are for it."""
        key = (check.key, claim, _signature(finding), tuple(verdict.id for verdict in verdicts))
        reference = FindingRef(finding.indicator, finding.project) if finding else None
        known = self._machine.get(key)
        if known is not None:
            return _placed(known, project, reference)
        leaf = self._rate_machine(self._aims[check.key], (project, reference), finding, verdicts, claim)
        self._machine[key] = leaf
        return leaf

    def human(self, project: str | None, verdicts: Sequence[Verdict], claim: str | None) -> LeafRating:
        """Rate the human part of a practice from the verdicts on documents and interviews."""
        key = (claim, tuple(verdict.id for verdict in verdicts))
        known = self._human.get(key)
        if known is not None:
            return _placed(known, project, None)
        leaf = self._human[key] = self._rate_human((project, None), verdicts, claim)
        return leaf

    def shows_population(self, check: Check, finding: Finding | None, verdicts: Iterable[Verdict]) -> int | None:
        """How many members were seen of the population a check speaks of; None when none was seen."""
        counts = [verdict.n if verdict.n is not None else 1 for verdict in verdicts if verdict.dated <= self._as_of]
        if finding is not None and finding.outcome in (None, Outcome.MET, Outcome.NOT_MET, Outcome.NO_EVIDENCE):
            age = self._age_of(finding)
            members = max(finding.n, len(finding.passing) + len(finding.failing))  # those without a value were seen too
            counts += [members] if age is not None and age >= 0 else []
        return max((count for count in counts if count > 0), default=None)

    def _rate_machine(
        self, aim: Aim, place: Place, finding: Finding | None, verdicts: Sequence[Verdict], claim: str | None
    ) -> LeafRating:
        seen = [self._see_finding(aim, finding)] if finding else []
        seen += [self._see_verdict(aim, verdict) for verdict in verdicts]
        best = _newest(seen)
        if best is None:
            return self._without_evidence(aim.key, place, claim, _why_not(aim, seen))
        machine = best if best.machine else _newest([item for item in seen if item.machine])
        evidenced = machine.worth if machine and machine.worth is not None else ZERO
        used = (best.id,) if best.kind in ("export", "substitute_document") else ()
        return self._leaf(aim.key, place, best, used, claim, evidenced, settled=best.freshness == ONE and best.machine)

    def _see_finding(self, aim: Aim, finding: Finding) -> Seen:
        unseen = _UNSEEN.get(finding.outcome) if finding.outcome else None
        if unseen:
            return Seen(aim.indicator, aim.kind, Rule(unseen), finding.outcome)
        age = self._age_of(finding)
        if finding.value is None or finding.outcome is Outcome.NO_EVIDENCE:
            return self._see_nothing(aim, finding.n, age)
        return self._see_value(aim, aim.indicator, aim.kind, finding.value, finding.n, age)

    def _see_nothing(self, aim: Aim, n: int, age: int | None) -> Seen:
        """A source was read and gave no value: 0 where absence is negative, else nothing."""
        if 0 < n < aim.n_min:
            return Seen(aim.indicator, aim.kind, _too_few(n, aim), Outcome.NO_EVIDENCE)
        if n or not aim.negative:
            return Seen(aim.indicator, aim.kind, Rule("nothing_found"), Outcome.NO_EVIDENCE)
        f, refusal = self._aged(aim.kind, age)
        if refusal:
            return Seen(aim.indicator, aim.kind, refusal, Outcome.NO_EVIDENCE)
        rule = Rule("absence_counts", {"indicator": aim.indicator, "age": str(age)})
        return Seen(aim.indicator, aim.kind, rule, Outcome.NO_EVIDENCE, ZERO, f, age, absent=True)

    def _see_verdict(self, aim: Aim, verdict: Verdict) -> Seen:
        age = self._today - verdict.dated.toordinal()
        return self._see_value(aim, verdict.id, verdict.kind, verdict.value or ZERO, verdict.n, age)

    def _see_value(self, aim: Aim, key: str, kind: str, value: Fraction, n: int | None, age: int | None) -> Seen:
        f, refusal = self._aged(kind, age)
        if n is not None and n < aim.n_min:
            refusal = _too_few(n, aim)
        elif aim.zero_is_nothing and value == 0:
            refusal = Rule("nothing_found")
        if refusal:
            return Seen(key, kind, refusal, Outcome.NO_EVIDENCE)
        o, rule, outcome = aim.achievement(value)
        shown = {"value": exact(value), "target": exact(aim.target), "n": "" if n is None else str(n), "age": str(age)}
        return Seen(key, kind, Rule(rule, shown), outcome, _times(f, min(o, self._model.kinds[kind].cap)), f, age)

    def _rate_human(self, place: Place, verdicts: Sequence[Verdict], claim: str | None) -> LeafRating:
        seen = [self._see_code(verdict) for verdict in verdicts]
        newest = [_newest([item for item in seen if item.kind == kind]) for kind in ("document", "interview")]
        present = [item for item in newest if item is not None]
        if not present:
            reason = min(seen, key=lambda item: item.id).rule if seen else Rule("no_verdict")
            return self._without_evidence(HUMAN, place, claim, (reason, None))
        term = self._human_term(present)
        age = max(item.age or 0 for item in present)
        best = Seen(HUMAN, term.kind, _human_rule(present, age), None, term.worth, term.freshness, age)
        settled = len(present) == 2 and all(item.freshness == ONE for item in present)
        used = tuple(item.id for item in present)
        return self._leaf(HUMAN, place, best, used, claim, ZERO, settled=settled)

    def _see_code(self, verdict: Verdict) -> Seen:
        age = self._today - verdict.dated.toordinal()
        f, refusal = self._aged(verdict.kind, age)
        code = verdict.code or ""
        rule = refusal or Rule(verdict.kind, {"code": code, "age": str(age)})
        worth = None if refusal else self._claims[code]
        return Seen(verdict.id, verdict.kind, rule, None, worth, f, age)

    def _human_term(self, present: Sequence[Seen]) -> HumanTerm:
        kinds = self._model.kinds
        o = min(item.worth for item in present if item.worth is not None)
        fs = [item.freshness or ZERO for item in present]
        terms = [HumanTerm(f * min(o, kinds[item.kind].cap), f, item.kind) for item, f in zip(present, fs, strict=True)]
        if len(present) == 2:
            both = "document+interview"
            terms.append(HumanTerm(min(fs) * min(o, kinds[both].cap), min(fs), both))
        return max(terms, key=lambda term: (term.worth, term.freshness, kinds[term.kind].confidence))

    def _aged(self, kind: str, age: int | None) -> tuple[Fraction, Rule | None]:
        """Freshness of evidence of this age, and the rule that refuses it when it does not count."""
        if age is None:
            return ZERO, Rule("undated")
        if age < 0:
            dated = date.fromordinal(self._today - age).isoformat()
            return ZERO, Rule("dated_later", {"dated": dated, "as_of": self._as_of.isoformat()})
        validity = self._model.kinds[kind].validity_days
        if validity is None:
            raise ValueError(f"evidence kind {kind} has no validity_days")
        f = freshness(age, validity)
        return f, None if f else Rule("expired", {"age": str(age), "validity": str(validity)})

    def _age_of(self, finding: Finding) -> int | None:
        """Whole days from the day (UTC) the sources were read to ``as_of``."""
        return None if finding.read_at is None else self._today - _EPOCH - finding.read_at // _DAY_MS

    def _leaf(
        self,
        check: str,
        place: Place,
        seen: Seen,
        verdicts: tuple[str, ...],
        claim: str | None,
        evidenced: Fraction,
        *,
        settled: bool,
    ) -> LeafRating:
        f, claimed = seen.freshness or ZERO, self._claims[claim] if claim else ZERO
        three = bounds(claimed, self._parameters.claim_only_cap, seen.worth, fresh=f == ONE, settled=settled)
        return LeafRating(
            check=check,
            project=place[0],
            kind=seen.kind,
            values=PerView(claimed, evidenced, *three),
            confidence=_times(f, self._model.kinds[seen.kind].confidence),
            rule=seen.rule,
            freshness=f,
            age_days=seen.age,
            settled=settled,
            finding=place[1],
            outcome=seen.outcome,
            verdicts=verdicts,
        )

    def _without_evidence(
        self, check: str, place: Place, claim: str | None, why: tuple[Rule, Outcome | None]
    ) -> LeafRating:
        if claim not in self._unseen:
            value = self._claims[claim] if claim else ZERO
            three = bounds(value, self._parameters.claim_only_cap, None, fresh=False, settled=False)
            self._unseen[claim] = PerView(value, ZERO, *three)
        kind, confidence = ("claim", CLAIM_CONFIDENCE) if claim else ("nothing", ZERO)
        values, (rule, outcome) = self._unseen[claim], why
        return LeafRating(check, place[0], kind, values, confidence, rule, finding=place[1], outcome=outcome)


_UNSEEN = {
    Outcome.COULD_NOT_LOOK: "could_not_look",
    Outcome.NOT_SUPPORTED: "not_supported",
    Outcome.NOT_APPLICABLE: "not_applicable_unwaived",
}


def exact(value: Fraction) -> str:
    """A number inside the details of a rule."""
    return f"{value.numerator}/{value.denominator}"


def _times(f: Fraction, value: Fraction) -> Fraction:
    """A value weighted by freshness, which mostly is 1."""
    return value if f is ONE else f * value


def _signature(finding: Finding | None) -> tuple[object, ...] | None:
    """All of a finding that a rating depends on."""
    if finding is None:
        return None
    value = finding.value
    number = None if value is None else (value.numerator, value.denominator)
    day = None if finding.read_at is None else finding.read_at // _DAY_MS
    return finding.outcome, number, finding.n, day


def _placed(leaf: LeafRating, project: str | None, finding: FindingRef | None) -> LeafRating:
    """The same rating in a project."""
    return LeafRating(
        leaf.check,
        project,
        leaf.kind,
        leaf.values,
        leaf.confidence,
        leaf.rule,
        leaf.freshness,
        leaf.age_days,
        leaf.settled,
        finding,
        leaf.outcome,
        leaf.verdicts,
    )


def _newest(seen: Iterable[Seen]) -> Seen | None:
    """The newest piece that counts (lowest id among those of a day), what was measured before what was absent."""
    usable = [item for item in seen if item.worth is not None]
    return min(usable, key=lambda item: (item.absent, item.age or 0, item.id), default=None)


def _why_not(aim: Aim, seen: Sequence[Seen]) -> tuple[Rule, Outcome | None]:
    """Why nothing counted: the finding speaks first, then the verdict of the lowest id."""
    if seen:
        first = seen[0] if seen[0].id == aim.indicator else min(seen, key=lambda item: item.id)
        return first.rule, first.outcome
    if aim.kind == "mlflow":
        return Rule("no_source"), None
    return Rule("not_supported"), Outcome.NOT_SUPPORTED


def _too_few(n: int, aim: Aim) -> Rule:
    return Rule("too_few", {"n": str(n), "n_min": str(aim.n_min)})


def _human_rule(present: Sequence[Seen], age: int) -> Rule:
    if len(present) == 1:
        return present[0].rule
    document, interview = present
    codes = {"document": document.rule.details["code"], "interview": interview.rule.details["code"]}
    return Rule("document_and_interview", {**codes, "age": str(age)})
