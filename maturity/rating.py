"""Rates practices: what findings, verdicts, claims and waivers make of one practice, by project and over all projects.

Takes the inputs of an assessment (``Inputs``); gives ``PracticeRating`` and ``PracticeResult`` values.

- A practice has up to two parts: *machine* (mean of its machine checks) and *human*. ``any`` takes the larger part,
  ``all`` the mean of the parts, at most the upper bound of L (0.85) when any leaf is not above it.
- Over projects ``R = mean``, and when the smallest is N ``min(mean, 0.85)``.

Decisions where the method leaves room, each on the strict side:

- Under ``any`` the same limit holds inside a part: machine checks 1 and 0.75 give 0.85, not 0.875.
- A claim, verdict or waiver without a project holds for every project; a claim of the project itself goes before it.
- A waiver needs reason, justification and confirmation. One of a check does not hold against a population that was
  seen, nor where it would leave the practice without a leaf though the model does not permit it to be waived.
- A practice rated by project is worth 0 while no project is in scope.
- Coverage counts leaves: without a claim a practice is covered by the share of its leaves that have evidence, under
  ``any`` by that of its best-covered part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from math import lcm
from types import MappingProxyType

from maturity.answers import Answers, Verdict, Waiver, waiver_problems
from maturity.leaves import HUMAN, ONE, ZERO, Leaves, exact
from maturity.schema import Check, Model, Practice
from maturity.scorecard import Finding, LeafRating, PerView, PracticeRating, PracticeResult, Rule, View

_ONE_PART = MappingProxyType({"parts": "1"})
ZEROES = PerView(ZERO, ZERO, ZERO, ZERO, ZERO)

Place = tuple[str, str | None]
"""What a piece of input speaks of (practice, check or indicator) and the project, None for the organisation."""


def mean(values: Sequence[Fraction]) -> Fraction:
    """The exact mean of at least one value."""
    first = values[0]
    if len(values) == 1 or all(value is first for value in values):
        return first
    numerators, common = _aligned(values)
    return Fraction(sum(numerators), common * len(values))


def _aligned(values: Sequence[Fraction]) -> tuple[list[int], int]:
    """Numerators over one common denominator: whole numbers add and compare many times faster than fractions."""
    common = lcm(*(value.denominator for value in values))
    return [value.numerator * (common // value.denominator) for value in values], common


def combine(how: str, machine: Sequence[Fraction], human: Fraction | None, cap: Fraction) -> Fraction:
    """The value of a practice from its leaves; ``cap`` is the most it can be while a required leaf is not above it."""
    parts = [list(machine)] if machine else []
    parts += [[human]] if human is not None else []
    if how == "any":
        return max(_limited(mean(part), part, cap) for part in parts)
    return _limited(mean([mean(part) for part in parts]), [leaf for part in parts for leaf in part], cap)


def _limited(value: Fraction, leaves: Sequence[Fraction], cap: Fraction) -> Fraction:
    return cap if value > cap and any(leaf <= cap for leaf in leaves) else value


def over_projects(values: Sequence[Fraction], low: Fraction, cap: Fraction) -> Fraction:
    """A practice over its project ratings: the mean, at most ``cap`` when the smallest is ``low`` or less."""
    numerators, common = _aligned(values)
    average = Fraction(sum(numerators), common * len(values))
    any_low = min(numerators) * low.denominator <= low.numerator * common
    return cap if any_low and average > cap else average


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything there is to rate from, by what it speaks of."""

    findings: Mapping[Place, Finding]
    claims: Mapping[Place, str]
    verdicts: Mapping[Place, Sequence[Verdict]]
    waivers: Mapping[Place, Waiver]

    @classmethod
    def of(cls, findings: Iterable[Finding], answers: Answers) -> Inputs:
        verdicts: defaultdict[Place, list[Verdict]] = defaultdict(list)
        for verdict in sorted(answers.verdicts, key=lambda verdict: verdict.id):
            verdicts[verdict.on, verdict.project].append(verdict)
        return cls(
            {(finding.indicator, finding.project): finding for finding in findings},
            {(claim.practice, claim.project): claim.code for claim in answers.claims},
            dict(verdicts),
            {(waiver.on, waiver.project): waiver for waiver in answers.waivers},
        )

    def claim(self, practice: str, project: str | None) -> str | None:
        return self.claims.get((practice, project)) or self.claims.get((practice, None))

    def verdicts_on(self, on: str, project: str | None) -> Sequence[Verdict]:
        """Verdicts for the project and those for every project."""
        general = self.verdicts.get((on, None), ())
        if project is None:
            return general
        own = self.verdicts.get((on, project), ())
        return [*own, *general] if own and general else own or general

    def waivers_on(self, on: str, project: str | None) -> list[Waiver]:
        places = dict.fromkeys([project, None])
        return [self.waivers[on, place] for place in places if (on, place) in self.waivers]


class Rater:
    """Rates the practices of one model from one set of inputs at one date. Equal leaves are combined once."""

    def __init__(self, model: Model, inputs: Inputs, as_of: date) -> None:
        self._model = model
        self._inputs = inputs
        self._as_of = as_of
        self._leaves = Leaves(model, as_of)
        self._not_achieved = model.rating_scale[0].high
        self._not_fully = model.rating_scale[-2].high
        self._combined: dict[tuple[object, ...], tuple[PerView[Fraction], PerView[str], Rule]] = {}
        self._codes: dict[tuple[int, int], str] = {}

    def result(self, practice: Practice, projects: Sequence[str]) -> PracticeResult:
        """Rate a practice in every project, or once for the organisation, and roll it up."""
        places: Sequence[str | None] = projects if practice.scope == "project" else (None,)
        ratings = tuple(self.rate(practice, place) for place in places)
        applicable = [rating for rating in ratings if rating.values is not None]
        if not ratings:
            codes = ZEROES.map(self._code)
            return PracticeResult(practice.id, True, ZEROES, codes, ZERO, ZERO, ONE, (), Rule("no_project"))
        if not applicable:
            rule = ratings[0].rule if len(ratings) == 1 else Rule("all_waived")
            return PracticeResult(practice.id, False, None, None, ZERO, ZERO, ZERO, ratings, rule)
        values, rule = self._rolled_up(applicable)
        claims = {rating.claim for rating in applicable}
        return PracticeResult(
            practice=practice.id,
            applicable=True,
            values=values,
            codes=values.map(self._code),
            confidence=mean([rating.confidence for rating in applicable]),
            coverage=mean([rating.coverage for rating in applicable]),
            applicable_share=Fraction(len(applicable), len(ratings)),
            ratings=ratings,
            rule=rule,
            claim=claims.pop() if len(claims) == 1 else None,
        )

    def _rolled_up(self, ratings: Sequence[PracticeRating]) -> tuple[PerView[Fraction], Rule]:
        each = [rating.values for rating in ratings if rating.values is not None]
        if len(each) == 1:
            return each[0], Rule("one_rating")
        cap = self._model.parameters.organisation_cap_if_any_project_N
        values = PerView.of(lambda view: over_projects([v[view] for v in each], self._not_achieved, cap))
        average = mean([v.rated for v in each])
        if values.rated == average:
            return values, Rule("mean_of_projects", {"projects": str(len(each))})
        worst = min(zip(each, ratings, strict=True), key=lambda pair: (pair[0].rated, pair[1].project or ""))
        details = {"project": worst[1].project or "", "value": exact(worst[0].rated)}
        return values, Rule("capped_by_project", {**details, "mean": exact(average), "cap": exact(cap)})

    def rate(self, practice: Practice, project: str | None) -> PracticeRating:
        """Rate a practice in one project (None: in the organisation)."""
        claim = self._inputs.claim(practice.id, project)
        waiver = self._waiver(practice, project)
        if waiver is not None and waiver.key == "waived":
            return PracticeRating(practice.id, project, False, None, None, ZERO, ZERO, (), waiver, claim, waiver)
        machine, refused = self._machine_leaves(practice, project, claim)
        leaves = [*machine, *self._human_leaves(practice, project, claim)]
        rated = [leaf for leaf in leaves if leaf.values is not None]
        if not rated:
            rule = Rule("all_waived")
            return PracticeRating(practice.id, project, False, None, None, ZERO, ZERO, tuple(leaves), rule, claim)
        values, codes, rule = self._combine(practice, rated)
        return PracticeRating(
            practice=practice.id,
            project=project,
            applicable=True,
            values=values,
            codes=codes,
            confidence=mean([leaf.confidence for leaf in rated]),
            coverage=ONE if claim else _coverage(practice, rated),
            leaves=tuple(leaves),
            rule=rule,
            claim=claim,
            waiver=waiver or refused,
        )

    def _machine_leaves(
        self, practice: Practice, project: str | None, claim: str | None
    ) -> tuple[list[LeafRating], Rule | None]:
        """Leaves of the machine checks, waived ones among them, and why a waiver of a check did not hold."""
        checks = [check for check in practice.checks if check.machine]
        waivers = {check.key: self._check_waiver(check, project) for check in checks} if self._inputs.waivers else {}
        dropped = {key: rule for key, rule in waivers.items() if rule is not None and rule.key == "check_waived"}
        refused = next((rule for rule in waivers.values() if rule is not None and rule.key != "check_waived"), None)
        if dropped and len(dropped) == len(practice.checks) and practice.na_reason is None:
            dropped, refused = {}, Rule("waiver_leaves_nothing")
        return [
            LeafRating(check.key, project, "waived", None, ZERO, dropped[check.key])
            if check.key in dropped
            else self._leaves.machine(check, project, *self._seen(check, project), claim)
            for check in checks
        ], refused

    def _seen(self, check: Check, project: str | None) -> tuple[Finding | None, Sequence[Verdict]]:
        finding = self._inputs.findings.get((self._leaves.indicator(check), project))
        return finding, self._inputs.verdicts_on(check.key, project)

    def _human_leaves(self, practice: Practice, project: str | None, claim: str | None) -> list[LeafRating]:
        if all(check.machine for check in practice.checks):
            return []
        return [self._leaves.human(project, self._inputs.verdicts_on(practice.id, project), claim)]

    def _waiver(self, practice: Practice, project: str | None) -> Rule | None:
        """What became of the waiver of a practice: ``waived``, or why it does not hold."""
        waivers = self._inputs.waivers_on(practice.id, project) if self._inputs.waivers else []
        if waivers and practice.na_reason is None:
            return Rule("waiver_not_permitted")
        rules = [self._standing(waiver, "waived") for waiver in waivers]
        return next((rule for rule in rules if rule.key == "waived"), rules[0] if rules else None)

    def _check_waiver(self, check: Check, project: str | None) -> Rule | None:
        rules = [self._standing(waiver, "check_waived") for waiver in self._inputs.waivers_on(check.key, project)]
        held = next((rule for rule in rules if rule.key == "check_waived"), None)
        seen = self._leaves.shows_population(check, *self._seen(check, project)) if held else None
        if seen is not None:
            return Rule("waiver_contradicted", {"check": check.key, "n": str(seen)})
        return held or (rules[0] if rules else None)

    def _standing(self, waiver: Waiver, key: str) -> Rule:
        if waiver_problems(self._model, waiver):
            return Rule("waiver_unconfirmed")
        until = waiver.until.isoformat() if waiver.until else ""
        if waiver.until is not None and waiver.until < self._as_of:
            return Rule("waiver_expired", {"until": until})
        texts = {"reason": waiver.reason, "justification": waiver.justification, "confirmed_by": waiver.confirmed_by}
        return Rule(key, {**texts, "until": until})

    def _combine(
        self, practice: Practice, leaves: Sequence[LeafRating]
    ) -> tuple[PerView[Fraction], PerView[str], Rule]:
        # Equal leaves share their values, which live as long as this rater, so their identity can stand for them.
        key = (practice.combine, *((leaf.check, id(leaf.values)) for leaf in leaves))
        if key not in self._combined:
            only = leaves[0].values if len(leaves) == 1 else None
            values = only or self._combined_values(practice, leaves)
            rule = self._combining_rule(practice, leaves, values.rated)
            self._combined[key] = values, values.map(self._code), rule
        return self._combined[key]

    def _code(self, value: Fraction) -> str:
        """N, P, L or F, looked up once per value."""
        key = (value.numerator, value.denominator)
        if key not in self._codes:
            self._codes[key] = self._model.code(value)
        return self._codes[key]

    def _combined_values(self, practice: Practice, leaves: Sequence[LeafRating]) -> PerView[Fraction]:
        machine = [leaf.values for leaf in leaves if leaf.check != HUMAN and leaf.values is not None]
        human = next((leaf.values for leaf in leaves if leaf.check == HUMAN), None)
        return PerView.of(
            lambda view: combine(
                practice.combine, [values[view] for values in machine], human[view] if human else None, self._not_fully
            )
        )

    def _combining_rule(self, practice: Practice, leaves: Sequence[LeafRating], value: Fraction) -> Rule:
        machine, human = split(leaves, "rated")
        if len(leaves) == 1:
            part = "machine" if machine else "human"
            return (
                Rule("larger_part", {"part": part}) if practice.combine == "any" else Rule("mean_of_parts", _ONE_PART)
            )
        parts = [mean(machine)] if machine else []
        parts += [human] if human is not None else []
        free = max(parts) if practice.combine == "any" else mean(parts)
        low = [leaf.check for leaf in leaves if leaf.values is not None and leaf.values.rated <= self._not_fully]
        if value < free:
            details = {"mean": exact(free), "cap": exact(self._not_fully), "checks": ", ".join(low)}
            return Rule("capped_not_fully", details)
        if practice.combine == "any":
            return Rule("larger_part", {"part": "human" if human is not None and human == value else "machine"})
        return Rule("mean_of_parts", {"parts": str(len(parts))})


def split(leaves: Iterable[LeafRating], view: View) -> tuple[list[Fraction], Fraction | None]:
    """The values in one view of the machine leaves and of the human leaf; waived leaves are left out."""
    machine, human = [], None
    for leaf in leaves:
        if leaf.values is not None:
            value = leaf.values[view]
            if leaf.check == HUMAN:
                human = value
            else:
                machine.append(value)
    return machine, human


def _coverage(practice: Practice, leaves: Sequence[LeafRating]) -> Fraction:
    machine = [ONE if leaf.evident else ZERO for leaf in leaves if leaf.check != HUMAN]
    human = [ONE if leaf.evident else ZERO for leaf in leaves if leaf.check == HUMAN]
    if practice.combine == "any":
        return max(mean(part) for part in (machine, human) if part)
    return mean(machine + human)
