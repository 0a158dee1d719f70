"""What keeps a capability from its next level, and in which order it is worth closing."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given

from maturity.answers import Answers, Verdict
from maturity.gaps import Gap, GapKind, gaps
from maturity.scorecard import Finding, Outcome
from tests.maturity.models import (
    at_level,
    claimed,
    judged,
    ladder,
    measured,
    model_of,
    practice,
    scored,
    stated,
    unmeasured,
    waived,
    worth,
)
from tests.maturity.test_scoring_properties import MODEL, _score, cases, quick

P = "C1.1.1"


def of(checks: list[str], *items: Finding | Verdict) -> list[Gap]:
    model = model_of(practice(P, checks))
    return list(gaps(model, scored(model, *items)))


@pytest.mark.parametrize(
    ("finding", "kind"),
    [
        (None, GapKind.CONNECT),
        (unmeasured("NEEDED", Outcome.NOT_SUPPORTED), GapKind.AFFIRM),
        (unmeasured("NEEDED", Outcome.COULD_NOT_LOOK), GapKind.CONNECT),
        (measured("NEEDED", "1", age=300), GapKind.CONNECT),
        (measured("NEEDED", "1", age=150), GapKind.CONNECT),
        (stated("substitute_document", f"{P}/1", "0.7", age=170), GapKind.IMPROVE),
        (unmeasured("NEEDED", Outcome.NOT_APPLICABLE), GapKind.AFFIRM),
        (unmeasured("NEEDED", Outcome.NO_EVIDENCE), GapKind.LOG),
        (measured("NEEDED", "1", 4), GapKind.LOG),
        (measured("NEEDED", "0.4"), GapKind.IMPROVE),
    ],
)
def test_a_machine_check_tells_what_kind_of_effort_it_needs(finding: Finding | Verdict | None, kind: GapKind) -> None:
    # The document keeps the level missing whatever the check is worth.
    found = of(["NEEDED >= 0.9", "document"], *([finding] if finding else []))
    assert [gap.kind for gap in found if gap.check == f"{P}/1"] == [kind]


@pytest.mark.parametrize(
    ("verdicts", "kind"),
    [
        ([], GapKind.AFFIRM),
        ([judged("document", P, "F", age=600)], GapKind.AFFIRM),
        ([judged("interview", P, "F", age=300)], GapKind.AFFIRM),
        ([judged("document", P, "P")], GapKind.IMPROVE),
        ([judged("document", P, "F"), judged("interview", P, "N")], GapKind.IMPROVE),
    ],
)
def test_the_human_part_asks_to_be_affirmed_unless_what_was_seen_falls_short(
    verdicts: list[Verdict], kind: GapKind
) -> None:
    (gap,) = of(["document"], *verdicts)
    assert (gap.check, gap.kind) == ("human", kind)


def test_a_gap_tells_how_far_it_is_and_which_ids_fail() -> None:
    finding = replace(measured("NEEDED", "0.4", 5), failing=("mlflow:a1", "mlflow:b2", "mlflow:c3"))
    (gap,) = of(["NEEDED >= 0.9"], finding)
    assert (gap.practice, gap.level, gap.indicator, gap.op, gap.target) == (P, 1, "NEEDED", ">=", Fraction("0.9"))
    (shortfall,) = gap.shortfalls
    assert (shortfall.measured, shortfall.n, shortfall.unit) == (Fraction("0.4"), 5, "run")
    assert shortfall.failing == ("mlflow:a1", "mlflow:b2", "mlflow:c3")
    assert shortfall.value == gap.value == Fraction("0.85") * 4 / 9


def test_the_ids_of_a_finding_are_not_named_where_an_export_counted() -> None:
    finding = replace(measured("NEEDED", "0.4", age=20), failing=("mlflow:a1",))
    (gap,) = of(["NEEDED >= 0.9"], finding, stated("export", f"{P}/1", "0.3"))
    assert (gap.shortfalls[0].measured, gap.shortfalls[0].failing) == (Fraction("0.3"), ())


@pytest.mark.parametrize(
    ("rows", "blocking"),
    [
        # The base is missed by one practice of level 2; both of level 3 pull A(3) below its gate.
        ([["1"], ["0.9", "0.6"], ["0.4", "0.1"], ["0"], ["0"]], [("C1.2.2", 3), ("C1.3.1", 3), ("C1.3.2", 3)]),
        # A(3) is above its gate, so of level 3 nothing blocks but what is not achieved at all.
        ([["1"], ["0.8", "0.8"], ["1", "0.4"]], [("C1.2.1", 3), ("C1.2.2", 3)]),
        ([["1"], ["1"], ["1", "1", "0.1"]], [("C1.3.3", 3)]),
        # A(2) is above the base gate although one of its practices is not.
        ([["1"], ["1", "0.8"], ["0.3"]], [("C1.3.1", 3)]),
    ],
)
def test_only_what_blocks_the_next_level_is_named(
    rows: list[list[str | None]], blocking: list[tuple[str, int]]
) -> None:
    practices, evidence = ladder("C1", rows)
    model = model_of(*practices)
    found = gaps(model, scored(model, *evidence))
    assert sorted((gap.practice, gap.level) for gap in found) == blocking


def test_nothing_is_named_at_the_top_nor_for_what_is_not_rated() -> None:
    top, evidence = at_level("C1", 5)
    unrated, waivers = ladder("C2", [["1"], [None], [None]])
    model = model_of(*top, *unrated)
    assert gaps(model, scored(model, *evidence, *waivers)) == ()


def test_a_gap_that_lifts_its_capability_alone_stands_before_one_that_does_not() -> None:
    one, first = ladder("C1", [["1"], ["0.4"]])
    two, second = ladder("C2", [["0.1", "0.1"], ["0"]])
    model = model_of(*two, *one)
    found = gaps(model, scored(model, *first, *second))
    assert [(gap.practice, gap.lifts_capability) for gap in found] == [
        ("C1.2.1", True),
        ("C2.1.1", False),
        ("C2.1.2", False),
    ]


def test_a_gap_that_lifts_the_dimension_stands_before_one_that_lifts_its_capability_alone() -> None:
    built = [at_level("C1", 2), at_level("C2", 2), at_level("C3", 2), at_level("C4", 1)]
    extra = [worth("C1.3.1", "0.4")]
    model = model_of(*(item for practices, _ in built for item in practices))
    items = [item for _, evidence in built for item in evidence]
    card = scored(model, *items, *extra)
    assert card.dimensions[0].level is not None
    assert card.dimensions[0].level.rated == 2
    found = gaps(model, card)
    assert all(gap.lifts_capability and not gap.lifts_dimension for gap in found)
    lower = [at_level("C1", 2), at_level("C2", 2), at_level("C3", 1), at_level("C4", 1)]
    card = scored(model, *(item for _, evidence in lower for item in evidence))
    found = gaps(model, card)
    assert [gap.lifts_dimension for gap in found] == [True, True, False, False]
    assert {gap.capability for gap in found[:2]} == {"C3", "C4"}


def test_weight_comes_before_effort_and_effort_before_the_name() -> None:
    checks = {
        "C1.1.1": (["NEEDED >= 0.9"], 1),
        "C1.1.2": (["NEUTRAL >= 0.9"], 1),
        "C1.1.3": (["document"], 1),
        "C1.1.4": (["OTHER >= 0.9"], 2),
        "C1.1.5": (["repo"], 1),
    }
    model = model_of(*(practice(key, check, weight=Fraction(weight)) for key, (check, weight) in checks.items()))
    seen = [
        measured("NEEDED", "0.1"),
        unmeasured("NEUTRAL", Outcome.NO_EVIDENCE),
        measured("OTHER", "0.1"),
    ]
    found = gaps(model, scored(model, *seen))
    assert [(gap.practice, gap.kind) for gap in found] == [
        ("C1.1.4", "improve"),
        ("C1.1.3", "affirm"),
        ("C1.1.5", "affirm"),
        ("C1.1.2", "log"),
        ("C1.1.1", "improve"),
    ]


def test_the_projects_of_a_check_are_gathered_by_kind() -> None:
    model = model_of(practice(P, ["NEEDED >= 0.9"], scope="project"))
    seen = [measured("NEEDED", value, project=key) for key, value in (("a", "0"), ("b", "1"), ("c", "0"))]
    found = gaps(model, scored(model, *seen, projects=("a", "b", "c", "d")))
    assert [(gap.kind, [place.project for place in gap.shortfalls]) for gap in found] == [
        ("improve", ["a", "c"]),
        ("connect", ["d"]),
    ]
    # Project d at 1 makes the mean 0.5, which is not above the gate; a and c make it 0.75.
    assert [gap.lifts_capability for gap in found] == [True, False]


def test_the_gain_is_what_the_index_wins() -> None:
    (gap,) = of(["NEEDED >= 0.9"], measured("NEEDED", "0.45"))
    assert gap.gain == 100 * (1 - Fraction("0.425"))


def test_claims_close_no_gap_and_waived_checks_open_none() -> None:
    model = model_of(practice(P, ["NEEDED >= 0.9", "NEUTRAL >= 0.9"]))
    found = gaps(model, scored(model, claimed(P, "F"), waived(f"{P}/2")))
    assert [gap.check for gap in found] == [f"{P}/1"]


@quick
@given(cases())
def test_closing_every_gap_of_a_capability_lifts_it(case: tuple[list[Finding], Answers]) -> None:
    card = _score(*case)
    for capability in card.capabilities:
        if capability.level is None or capability.blocked_by[0].key in ("highest_level", "levels_above_empty"):
            continue
        own = [gap for gap in gaps(MODEL, card) if gap.capability == capability.capability]
        assert own
        assert {gap.level for gap in own} == {int(capability.blocked_by[0].details["level"])}
        if len(own) == 1:
            assert own[0].lifts_capability
