"""What holds for every input: order, bounds, monotony, and the same bytes from the same evidence."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from maturity.answers import Answers, Claim, Verdict, Waiver
from maturity.leaves import bounds
from maturity.levels import capability_index, capability_level, dimension_level, level_states
from maturity.scorecard import VIEWS, Finding, Outcome, PerView, Scorecard
from maturity.scoring import score
from tests.maturity.models import AS_OF, PARAMETERS, at_noon, model_of, practice

PROJECTS = ("a", "b", "c")
_PROJECT = [
    practice("A1.1.1", ["document", "NEUTRAL >= 0.5"], combine="any", scope="project"),
    practice("A1.2.1", ["NEEDED >= 0.9", "document"], scope="project", waivable=True),
    practice("A1.2.2", ["NEUTRAL >= 0.9", "OTHER >= 0.8"], scope="project", weight=Fraction(2)),
    practice("A1.3.1", ["ATMOST <= 30", "COUNT >= 4"], scope="project", waivable=True),
]
_ORGANISATION = [
    practice("B1.1.1", ["document"]),
    practice("B1.2.1", ["ATLEAST >= 0.9"]),
    practice("B2.1.1", ["COUNTED >= 2", "interview"]),
    practice("B2.3.1", ["repo"]),
]
MODEL = model_of(*_PROJECT, *_ORGANISATION, dimensions={"A1": "A", "B1": "B", "B2": "B"})
CODES = "NPLF"

Case = tuple[list[Finding], Answers]
quick = settings(max_examples=40, deadline=None)

_ages = st.sampled_from([-1, 0, 30, 90, 91, 120, 179, 180, 365, 500, 729, 730])
_outcomes = st.sampled_from([None, None, None, *Outcome])


@st.composite
def _finding(draw: st.DrawFn, indicator: str, project: str | None) -> Finding:
    outcome = draw(_outcomes)
    n = draw(st.integers(0, 12))
    value = None if outcome else Fraction(draw(st.integers(0, 60)), draw(st.integers(1, 12)))
    read_at = draw(st.one_of(st.none(), _ages.map(lambda age: at_noon(AS_OF - timedelta(age)))))
    return Finding(indicator, project, outcome, value, n, failing=("run:1",), read_at=read_at)


@st.composite
def _verdict(draw: st.DrawFn, number: int) -> Verdict:
    human = draw(st.booleans())
    where = [p for p in MODEL.practices.values() if any(c.machine != human for c in p.checks)]
    rated = draw(st.sampled_from(where))
    project = draw(st.sampled_from(PROJECTS)) if rated.scope == "project" else None
    dated, key = AS_OF - timedelta(draw(_ages)), f"V{number}"
    if human:
        kind = draw(st.sampled_from(["document", "interview"]))
        return Verdict(key, rated.id, project, kind, dated, "assessor", "seen", draw(st.sampled_from(CODES)))
    check = draw(st.sampled_from([c.key for c in rated.checks if c.machine]))
    kind = draw(st.sampled_from(["export", "substitute_document"]))
    value, n = Fraction(draw(st.integers(0, 60)), draw(st.integers(1, 12))), draw(st.integers(0, 12))
    return Verdict(key, check, project, kind, dated, "assessor", "seen", value=value, n=n)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    places: list[str | None] = [None, *PROJECTS]
    indicators = [*MODEL.indicators, "B2.3.1/1"]
    findings = [draw(_finding(i, p)) for i in indicators for p in places if draw(st.integers(0, 2))]
    claims = [
        Claim(p.id, place, draw(st.sampled_from(CODES)))
        for p in MODEL.practices.values()
        for place in (places if p.scope == "project" else [None])
        if draw(st.booleans())
    ]
    verdicts = [draw(_verdict(number)) for number in range(draw(st.integers(0, 8)))]
    targets = draw(st.lists(st.sampled_from(["A1.2.1", "A1.3.1", "A1.3.1/1", "A1.2.2/2"]), unique=True))
    waivers = [
        Waiver(on, draw(st.sampled_from(places)), "none", "there is none", draw(st.sampled_from(["assessor", ""])))
        for on in targets
    ]
    return findings, Answers(tuple(claims), tuple(verdicts), tuple(waivers))


def _score(findings: list[Finding], answers: Answers, projects: tuple[str, ...] = PROJECTS) -> Scorecard:
    return score(MODEL, findings, answers, projects=projects, as_of=AS_OF)


def _figures(card: Scorecard) -> Iterator[PerView[Fraction] | PerView[int]]:
    for _, rating, leaf in card.leaves():
        yield from (view for view in (leaf.values, rating.values) if view is not None)
    yield from (result.values for result in card.practices if result.values is not None)
    for part in (card, *card.dimensions, *card.capabilities):
        yield from (view for view in (part.level, part.index) if view is not None)
    for capability in card.capabilities:
        yield from (a.achievement for a in capability.achievements if a.achievement is not None)


@quick
@given(cases())
def test_rated_lies_between_lower_and_upper_from_the_leaf_to_the_whole(case: Case) -> None:
    for figure in _figures(_score(*case)):
        assert figure.lower <= figure.rated <= figure.upper


@quick
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_what_comes_in_never_matters(case: Case, chance: random.Random) -> None:
    findings, answers = case

    def shuffled(items: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(chance.sample(items, len(items)))

    other = Answers(*map(shuffled, (answers.claims, answers.verdicts, answers.waivers)))  # type: ignore[arg-type]
    again = _score(chance.sample(findings, len(findings)), other, tuple(chance.sample(PROJECTS, 3)))
    assert again.to_bytes() == _score(findings, answers).to_bytes()


@quick
@given(cases(), st.data())
def test_a_better_value_or_verdict_of_the_same_day_never_lowers_a_level_or_index(
    case: Case, data: st.DataObject
) -> None:
    findings, answers = case
    usable = [f for f in findings if f.value and f.indicator != "ATMOST"]
    if usable:
        worse = data.draw(st.sampled_from(usable))
        better = replace(worse, value=(worse.value or 0) + data.draw(st.integers(1, 3)))
        raised = [better if finding is worse else finding for finding in findings]
        _assert_no_figure_falls(_score(findings, answers), _score(raised, answers))
    verdicts = [v for v in answers.verdicts if v.code is not None]
    if verdicts:
        low = data.draw(st.sampled_from(verdicts))
        high = replace(low, code="F")
        changed = replace(answers, verdicts=tuple(high if v is low else v for v in answers.verdicts))
        _assert_no_figure_falls(_score(findings, answers), _score(findings, changed))


def _assert_no_figure_falls(before: Scorecard, after: Scorecard) -> None:
    for was, now in zip(_figures(before), _figures(after), strict=True):
        assert all(now[view] >= was[view] for view in VIEWS)


@quick
@given(cases())
def test_a_source_that_could_not_be_looked_at_rates_as_no_source_at_all(case: Case) -> None:
    findings, answers = case
    for outcome in (Outcome.COULD_NOT_LOOK, Outcome.NOT_SUPPORTED):
        blind = [replace(finding, outcome=outcome) for finding in findings]
        assert list(_figures(_score(blind, answers))) == list(_figures(_score([], answers)))


@quick
@given(cases())
def test_a_scorecard_reads_back_as_it_was(case: Case) -> None:
    card = _score(*case)
    assert Scorecard.from_json(card.to_json()) == card
    assert Scorecard.from_json(card.to_json()).to_bytes() == card.to_bytes()


@quick
@given(cases())
def test_claims_never_touch_what_is_evidenced_nor_what_is_verified(case: Case) -> None:
    findings, answers = case
    with_claims, without = _score(findings, answers), _score(findings, replace(answers, claims=()))
    for view in ("evidenced", "lower"):
        assert [figure[view] for figure in _figures(with_claims)] == [figure[view] for figure in _figures(without)]


@quick
@given(cases())
def test_evidence_never_touches_what_is_claimed(case: Case) -> None:
    findings, answers = case
    waivers = tuple(waiver for waiver in answers.waivers if "/" not in waiver.on)
    said = replace(answers, verdicts=(), waivers=waivers)
    bare, full = _score([], said), _score(findings, replace(answers, waivers=waivers))
    assert [f.claimed for f in _figures(bare)] == [f.claimed for f in _figures(full)]


_values = st.sampled_from(
    [Fraction(n, 20) for n in range(21)] + [Fraction("0.33"), Fraction("0.67"), Fraction("0.8501")]
)


@settings(max_examples=300, deadline=None)
@given(_values, st.one_of(st.none(), _values), st.booleans(), st.booleans())
def test_the_bounds_of_a_leaf_are_ordered(claim: Fraction, worth: Fraction | None, fresh: bool, settled: bool) -> None:
    lower, rated, upper = bounds(claim, PARAMETERS.claim_only_cap, worth, fresh=fresh, settled=settled and fresh)
    assert 0 <= lower <= rated <= upper <= 1


CAPABILITY = model_of(
    *(practice(key) for key in ("C1.1.1", "C1.2.1", "C1.2.2", "C1.3.1", "C1.3.2", "C1.4.1", "C1.5.1"))
).capabilities["C1"]


@settings(max_examples=300, deadline=None)
@given(st.lists(_values, min_size=7, max_size=7), st.integers(0, 6), _values)
def test_raising_one_practice_never_lowers_level_or_index(
    values: list[Fraction], which: int, raised_to: Fraction
) -> None:
    before = {p.id: value for p, value in zip(CAPABILITY.practices, values, strict=True)}
    key = CAPABILITY.practices[which].id
    after = {**before, key: max(before[key], raised_to)}
    old, new = level_states(CAPABILITY, before), level_states(CAPABILITY, after)
    assert capability_level(new, PARAMETERS) >= capability_level(old, PARAMETERS)
    assert capability_index(new) >= capability_index(old)
    assert 0 <= capability_index(old) <= 100


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=7))
def test_a_dimension_stands_at_its_lowest_capability_or_one_above(levels: list[int]) -> None:
    found = dimension_level(levels, PARAMETERS)
    by_definition = max(
        level
        for level in range(6)
        if all(reached >= level - 1 for reached in levels)
        and 3 * sum(reached >= level for reached in levels) >= 2 * len(levels)
    )
    assert found == by_definition
    assert found in (min(levels), min(levels) + 1)


def test_the_views_are_the_five_of_the_method() -> None:
    assert VIEWS == ("claimed", "evidenced", "lower", "rated", "upper")
