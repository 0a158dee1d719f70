"""The detailed part of a report: every capability with its practices, checks and the evidence behind each number.

Takes the model, the scorecard and a function that gives addresses; gives the parts that ``document`` puts together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from assessments.evidence.telling import with_reason_in
from assessments.reports.figures import measured, moment, number, percent
from assessments.reports.labels import label
from assessments.reports.parts import (
    CapabilityItem,
    CheckItem,
    Citation,
    Evidence,
    Interval,
    LeftOut,
    PracticeItem,
    ProjectItem,
    Reference,
    Standing,
)
from maturity.check_words import check_sentence
from maturity.leaves import HUMAN
from maturity.schema import Check, Indicator, Model
from maturity.scorecard import (
    VIEWS,
    CapabilityLevel,
    Finding,
    LeafRating,
    Outcome,
    PerView,
    PracticeRating,
    PracticeResult,
    Rule,
    Scorecard,
)
from maturity.telling import deciding_rule
from maturity.words import rule_sentence, sentence, wilson

SHOWN_IDS = 50
"""So many ids stand in a report beside a number; the evidence pack holds all of them."""

Link = Callable[[str, str], str | None]


@dataclass(frozen=True, slots=True)
class Teller:
    """Puts ratings into words: the model, a language, where facts have their addresses, and what was measured."""

    model: Model
    language: str
    link: Link
    findings: Mapping[tuple[str, str | None], Finding]
    sources: tuple[str, ...]

    @classmethod
    def of(cls, model: Model, scorecard: Scorecard, link: Link, sources: Sequence[str], language: str) -> Teller:
        findings = {(finding.indicator, finding.project): finding for finding in scorecard.findings}
        return cls(model, language, link, findings, tuple(sources))

    def word(self, key: str, **gaps: object) -> str:
        return label(key, self.language, **gaps)

    def rule(self, rule: Rule) -> str:
        """The sentence that decided."""
        return rule_sentence(rule.key, rule.details, self.language)

    def name(self, on: str) -> str:
        """The name of a practice, or of the practice and what its check asks for."""
        if on in self.model.practices:
            return self.model.practices[on].name.in_(self.language)
        check = self.model.checks[on]
        return f"{self.name(on.partition('/')[0])}: {self.check_name(check)}"

    def check_name(self, check: Check) -> str:
        if check.indicator is not None:
            return f"{check.indicator} {self.model.indicators[check.indicator].name.in_(self.language)}"
        return check.text.in_(self.language) if check.text else check.key

    def evidence(self, finding: Finding, *, failing: Sequence[str] | None = None) -> Evidence:
        """What a finding rests on. ``failing`` replaces its failing ids."""
        failing = finding.failing if failing is None else failing
        indicator = self.model.indicators.get(finding.indicator)
        return Evidence(
            indicator=finding.indicator,
            indicator_name=indicator.name.in_(self.language) if indicator else "",
            project=finding.project,
            unit=self.word(f"unit_{finding.unit.replace(' ', '_')}"),
            sources=tuple(sorted({fact.partition(":")[0] for fact in (*finding.passing, *failing)})) or self.sources,
            read_at=moment(finding.read_at),
            passing=self._citation(finding.unit, finding.passing),
            failing=self._citation(finding.unit, failing),
        )

    def _citation(self, unit: str, ids: Sequence[str]) -> Citation:
        first = tuple(Reference(fact, self.link(unit, fact)) for fact in ids[:SHOWN_IDS])
        return Citation(first, len(ids) - len(first))


def capability_item(teller: Teller, result: CapabilityLevel, standing: Standing) -> CapabilityItem:
    """A capability with all its practices."""
    capability = teller.model.capabilities[result.capability]
    return CapabilityItem(
        standing=standing,
        dimension=capability.dimension,
        purpose=capability.purpose.in_(teller.language),
        interval=interval_sentence(teller, result.level),
        blocked=tuple(map(teller.rule, result.blocked_by)),
        practices=tuple(_practice(teller, practice) for practice in result.practices),
    )


def interval_sentence(teller: Teller, level: PerView[int] | None) -> str:
    """The rated level with the levels that bracket it; empty when there is none."""
    if level is None:
        return ""
    views = {str(view): level[view] for view in VIEWS}
    return teller.word("interval_sentence", **views)


def _practice(teller: Teller, result: PracticeResult) -> PracticeItem:
    practice = teller.model.practices[result.practice]
    return PracticeItem(
        id=practice.id,
        level=practice.level,
        name=practice.name.in_(teller.language),
        criterion=practice.criterion.in_(teller.language),
        applicable=result.applicable,
        values=result.values.map(number) if result.values else None,
        codes=result.codes,
        claim=result.claim,
        rule=deciding_rule(result.rule, teller.language),
        projects=tuple(_project(teller, rating) for rating in result.ratings),
    )


def _project(teller: Teller, rating: PracticeRating) -> ProjectItem:
    return ProjectItem(
        project=rating.project,
        values=rating.values.map(number) if rating.values else None,
        codes=rating.codes,
        claim=rating.claim,
        rule=deciding_rule(rating.rule, teller.language),
        waiver=teller.rule(rating.waiver) if rating.waiver else "",
        checks=tuple(_check(teller, rating, leaf) for leaf in rating.leaves),
    )


def _check(teller: Teller, rating: PracticeRating, leaf: LeafRating) -> CheckItem:
    check = teller.model.checks.get(leaf.check)
    indicator = teller.model.indicators.get(check.indicator) if check and check.indicator else None
    finding = teller.findings.get((leaf.finding.indicator, leaf.finding.project)) if leaf.finding else None
    outcome = outcome_of(leaf)
    kind = indicator.type if indicator else "share" if check and check.target is not None else ""
    return CheckItem(
        key=f"{rating.practice}/{HUMAN}" if check is None else check.key,
        kind=leaf.kind,
        kind_name=teller.word(_KIND_LABELS.get(leaf.kind, leaf.kind)),
        name=teller.check_name(check) if check else teller.word(HUMAN),
        asked=() if check else tuple(_asked(teller, rating.practice)),
        outcome=outcome,
        outcome_name=teller.word(outcome),
        sentence=_sentence(teller, check, indicator, finding),
        rule=deciding_rule(leaf.rule, teller.language),
        rated=number(leaf.values.rated) if leaf.values else None,
        value=measured(Fraction(leaf.rule.details["value"]), kind, teller.language)
        if "value" in leaf.rule.details
        else None,
        target=measured(check.target, kind, teller.language) if check and check.target is not None else None,
        n=finding.n if finding else None,
        interval=_interval(teller, leaf, check, indicator, finding),
        verdicts=leaf.verdicts,
        evidence=teller.evidence(finding) if finding else None,
    )


_KIND_LABELS = {"nothing": "nothing_kind", "waived": "waiver"}


def outcome_of(leaf: LeafRating) -> str:
    """One of the six outcomes; ``verdict`` where an assessor judged, whatever the judgement."""
    if leaf.kind == "waived":
        return Outcome.NOT_APPLICABLE.value
    if leaf.outcome is not None:
        return leaf.outcome.value
    return "verdict" if leaf.evident else Outcome.NO_EVIDENCE.value


def _asked(teller: Teller, practice: str) -> Iterator[str]:
    for check in teller.model.practices[practice].checks:
        if not check.machine and check.text is not None:
            yield check.text.in_(teller.language)


def _sentence(teller: Teller, check: Check | None, indicator: Indicator | None, finding: Finding | None) -> str:
    if check is None or finding is None:
        return ""
    finding = with_reason_in(finding, teller.language)
    if indicator is None:
        return check_sentence(finding, check, teller.language)
    return sentence(finding, indicator, teller.language, op=check.op, target=check.target)


def _interval(
    teller: Teller, leaf: LeafRating, check: Check | None, indicator: Indicator | None, finding: Finding | None
) -> Interval | None:
    """The interval of a share that counted; none where a verdict stood in for it."""
    if indicator is None or indicator.type != "share" or finding is None or leaf.verdicts:
        return None
    if finding.value is None or finding.numerator is None or not finding.denominator:
        return None
    low, high = (Fraction(repr(end)) for end in wilson(finding.numerator, finding.denominator))
    target = check.target if check else None
    borderline = target is not None and low <= target <= high
    return Interval(percent(low, teller.language), percent(high, teller.language), borderline)


def left_out(teller: Teller, scorecard: Scorecard) -> Iterator[LeftOut]:
    """Every practice and check that does not apply, and every waiver that did not hold, in order of the model."""
    for result in scorecard.practices:
        for rating in result.ratings:
            if rating.waiver is not None:
                held, text = rating.waiver.key == "waived", teller.rule(rating.waiver)
                yield LeftOut(rating.practice, teller.name(rating.practice), rating.project, held, text)
            for leaf in rating.leaves:
                if leaf.kind == "waived":
                    yield LeftOut(leaf.check, teller.name(leaf.check), leaf.project, True, teller.rule(leaf.rule))
