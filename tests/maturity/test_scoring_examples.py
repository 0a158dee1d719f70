"""The worked examples of the scoring method, each with its exact numbers, through ``score``."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import pytest

from maturity.answers import Claim, Verdict, VerdictKind, Waiver
from maturity.levels import confidence_band, dimension_level, weighted_mean
from maturity.schema import Model, Practice, load_model
from maturity.scorecard import CapabilityLevel, DimensionLevel, Finding, Outcome, rounded
from maturity.scoring import Weights
from tests.maturity.models import (
    PARAMETERS,
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
    worth,
)

P = "C1.2.1"
LEVEL_1 = "C1.1.1"
Item = Finding | Claim | Verdict | Waiver

SHARE = practice(P, ["NEUTRAL >= 0.9"])
NEEDED = practice(P, ["NEEDED >= 0.9"])
PAPER = practice(P, ["document", "interview"])
MIXED = practice(P, ["ATLEAST >= 0.9", "document"])
BOTH = practice(P, ["NEUTRAL >= 0.9", "OTHER >= 0.9", "document"])
EITHER = practice(LEVEL_1, ["document", "NEUTRAL >= 0.5"], combine="any")

PRACTICES: list[tuple[str, Practice, list[Item], tuple[str, str, str], str]] = [
    ("E1", SHARE, [measured("NEUTRAL", "0.82"), claimed(P, "F")], ("0.7744", "0.7744", "0.7744"), "L"),
    ("E2", SHARE, [measured("NEUTRAL", "0.95"), claimed(P, "P")], ("1.0000", "1.0000", "1.0000"), "F"),
    ("E3", SHARE, [claimed(P, "F")], ("0.0000", "0.3300", "1.0000"), "P"),
    ("E4", PAPER, [judged("document", P, "F", age=480), claimed(P, "F")], ("0.5822", "0.5822", "1.0000"), "L"),
    ("E5", PAPER, [judged("document", P, "F", age=100), claimed(P, "F")], ("0.8500", "0.8500", "1.0000"), "L"),
    (
        "E6",
        PAPER,
        [judged("document", P, "F", age=100), judged("interview", P, "F", age=30)],
        ("1.0000", "1.0000", "1.0000"),
        "F",
    ),
    (
        "E7",
        PAPER,
        [judged("document", P, "F", age=100), judged("interview", P, "P", age=30), claimed(P, "F")],
        ("0.3300", "0.3300", "0.3300"),
        "P",
    ),
    ("E8", PAPER, [judged("interview", P, "F", age=30), claimed(P, "F")], ("0.6700", "0.6700", "1.0000"), "L"),
    ("E9", PAPER, [judged("document", P, "F", age=620), claimed(P, "F")], ("0.2562", "0.3300", "1.0000"), "P"),
    ("E10", MIXED, [measured("ATLEAST", "0.95"), claimed(P, "L")], ("0.5000", "0.6650", "0.8350"), "L"),
    (
        "E11",
        BOTH,
        [
            measured("NEUTRAL", "0.95"),
            measured("OTHER", "0.45"),
            judged("document", P, "F"),
            judged("interview", P, "F"),
            claimed(P, "F"),
        ],
        ("0.8500", "0.8500", "0.8500"),
        "L",
    ),
    (
        "E12",
        NEEDED,
        [unmeasured("NEEDED", Outcome.NO_EVIDENCE), claimed(P, "F")],
        ("0.0000", "0.0000", "0.0000"),
        "N",
    ),
    (
        "E13 neutral",
        SHARE,
        [unmeasured("NEUTRAL", Outcome.NO_EVIDENCE), claimed(P, "F")],
        ("0.0000", "0.3300", "1.0000"),
        "P",
    ),
    ("E13 too few", NEEDED, [measured("NEEDED", "1", 3), claimed(P, "F")], ("0.0000", "0.3300", "1.0000"), "P"),
    ("E14", SHARE, [measured("NEUTRAL", "0.95", age=120), claimed(P, "F")], ("0.6667", "0.6667", "1.0000"), "L"),
    (
        "E15",
        EITHER,
        [judged("document", LEVEL_1, "F"), measured("NEUTRAL", "0.2"), claimed(LEVEL_1, "L")],
        ("0.8500", "0.8500", "0.8500"),
        "L",
    ),
]


@pytest.mark.parametrize(
    ("rated", "items", "values", "code"), [case[1:] for case in PRACTICES], ids=[case[0] for case in PRACTICES]
)
def test_a_practice_has_its_worked_lower_rated_and_upper_value(
    rated: Practice, items: list[Item], values: tuple[str, str, str], code: str
) -> None:
    (result,) = scored(model_of(rated), *items).practices
    assert result.values is not None
    assert result.codes is not None
    assert (rounded(result.values.lower), rounded(result.values.rated), rounded(result.values.upper)) == values
    assert result.codes.rated == code


def test_the_worked_values_are_exact_before_rounding() -> None:
    cases = {case[0]: (case[1], case[2]) for case in PRACTICES}
    exact = {
        "E1": Fraction(85, 100) * Fraction(82, 90),
        "E4": (2 - Fraction(480, 365)) * Fraction(85, 100),
        "E9": Fraction(33, 100),
        "E10": Fraction(665, 1000),
        "E14": Fraction(2, 3),
    }
    for name, value in exact.items():
        rated, items = cases[name]
        (result,) = scored(model_of(rated), *items).practices
        assert result.values is not None
        assert result.values.rated == value, name


def test_the_uncapped_mean_of_the_capped_practice_is_in_its_rule() -> None:
    rated, items = next((case[1], case[2]) for case in PRACTICES if case[0] == "E11")
    (result,) = scored(model_of(rated), *items).practices
    rule = result.ratings[0].rule
    assert rule.key == "capped_not_fully"
    assert rounded(Fraction(rule.details["mean"])) == "0.8563"
    assert rule.details["checks"] == f"{P}/2"


Rows = list[list[str | None]]

CAPABILITIES: list[tuple[str, Rows, int, str]] = [
    ("C1", [["1"], ["1", "0.9"], ["0.7", "0.6"], ["0.3"], ["0"]], 3, "58.0000"),
    ("C2", [["1"], ["0.85", "0.85"], ["1", "1"], ["1"], ["1"]], 2, "88.0000"),
    ("C3", [["1"], ["1", "1"], ["1", "0.1"], ["1"], ["1"]], 2, "73.0000"),
    ("C6", [["1"], ["1", None], ["0.9", "0.8"], ["0.2"], ["0"]], 3, "61.0000"),
    ("C7", [["1"], ["1", "1"], ["1", "1"], [None], ["0.7"]], 5, "92.5000"),
    ("C8", [["1"], ["1", "1"], ["1", "1"], ["0.9"], [None]], 4, "97.5000"),
]


def _capability(rows: Iterable[Iterable[str | None]]) -> CapabilityLevel:
    practices, evidence = ladder("C1", rows)
    (capability,) = scored(model_of(*practices), *evidence).capabilities
    return capability


@pytest.mark.parametrize(("rows", "level", "index"), [c[1:] for c in CAPABILITIES], ids=[c[0] for c in CAPABILITIES])
def test_a_capability_has_its_worked_level_and_index(rows: Rows, level: int, index: str) -> None:
    capability = _capability(rows)
    assert capability.level is not None
    assert capability.index is not None
    assert (capability.level.rated, rounded(capability.index.rated)) == (level, index)


def test_c1_has_its_worked_achievements() -> None:
    found = [a.achievement.rated for a in _capability(CAPABILITIES[0][1]).achievements if a.achievement]
    assert found == [1, Fraction("0.95"), Fraction("0.65"), Fraction("0.3"), 0]


def test_c9_is_not_rated_because_under_half_its_weight_applies() -> None:
    capability = _capability([["1"], [None, None], [None, None], ["0.4"], ["0"]])
    assert capability.level is None
    assert capability.index is None
    assert [rule.key for rule in capability.blocked_by] == ["not_rated"]


FULL = [1, 2, 2, 1, 1]


def test_c4_claims_alone_stay_at_level_0() -> None:
    keys = [f"C1.{level}.{n}" for level, count in enumerate(FULL, 1) for n in range(1, count + 1)]
    card = scored(model_of(*map(practice, keys)), *(claimed(key, "F") for key in keys))
    (capability,) = card.capabilities
    assert capability.level is not None
    assert capability.index is not None
    assert (capability.level.rated, rounded(capability.index.rated)) == (0, "33.0000")
    assert (capability.level.claimed, capability.level.upper, capability.level.lower) == (5, 5, 0)


def test_c5_documents_alone_stay_at_level_1() -> None:
    keys = [f"C1.{level}.{n}" for level, count in enumerate(FULL, 1) for n in range(1, count + 1)]
    model = model_of(*(practice(key, ["document"]) for key in keys))
    (capability,) = scored(model, *(judged("document", key, "F") for key in keys)).capabilities
    assert capability.level is not None
    assert capability.index is not None
    assert (capability.level.rated, rounded(capability.index.rated)) == (1, "85.0000")


DIMENSIONS = [
    ("D1", (3, 3, 3, 3, 2, 2), 3),
    ("D2", (3, 3, 3, 2, 2, 2), 2),
    ("D3", (4, 4, 4, 4, 4, 1), 2),
    ("D4", (5, 5, 5, 5, 4, 4), 5),
    ("D5", (1, 1, 1, 1, 0, 0), 1),
]


def _dimension(levels: tuple[int, ...]) -> DimensionLevel:
    built = [at_level(f"C{number}", level) for number, level in enumerate(levels, 1)]
    model = model_of(*(item for practices, _ in built for item in practices))
    (dimension,) = scored(model, *(item for _, evidence in built for item in evidence)).dimensions
    return dimension


@pytest.mark.parametrize(("levels", "expected"), [case[1:] for case in DIMENSIONS], ids=[c[0] for c in DIMENSIONS])
def test_a_dimension_has_its_worked_level(levels: tuple[int, ...], expected: int) -> None:
    dimension = _dimension(levels)
    assert [c.level.rated for c in dimension.capabilities if c.level] == list(levels)
    assert dimension.level is not None
    assert dimension.level.rated == expected
    assert dimension_level(levels, PARAMETERS) == expected


@pytest.mark.parametrize(("weight", "index"), [("1", "51.8333"), ("2", "52.8750")])
def test_o1_overall_level_is_the_smallest_and_weights_change_the_index_alone(weight: str, index: str) -> None:
    rows: dict[str, Rows] = {
        "A1": [["1"], ["0.9"], ["0.9"], ["0"], ["0"]],
        "B1": [["1"], ["1"], ["0.9"], ["0.15"], ["0"]],
        "C1": [["1"], ["0.9"], ["0.05", "0"], ["0"], ["0"]],
    }
    built = {key: ladder(key, row) for key, row in rows.items()}
    model = model_of(
        *(item for practices, _ in built.values() for item in practices),
        dimensions={"A1": "A", "B1": "B", "C1": "C"},
    )
    evidence = [item for _, items in built.values() for item in items]
    card = scored(model, *evidence, weights=Weights(dimensions={"A": Fraction(weight)}))
    assert [d.level.rated for d in card.dimensions if d.level] == [3, 3, 2]
    assert [d.index.rated for d in card.dimensions if d.index] == [56, 61, Fraction("38.5")]
    assert card.level is not None
    assert card.index is not None
    assert (card.level.rated, rounded(card.index.rated)) == (2, index)


def test_p1_projects_roll_up_as_their_mean() -> None:
    rated = practice(P, ["document"], scope="project")
    items = [
        item
        for project in "abc"
        for item in (judged("document", P, "F", project=project), judged("interview", P, "F", project=project))
    ]
    items[4:] = [judged("interview", P, "F", project="c")]
    (result,) = scored(model_of(rated), *items, projects=("a", "b", "c")).practices
    assert [r.values.rated for r in result.ratings if r.values] == [1, 1, Fraction("0.67")]
    assert result.values is not None
    assert rounded(result.values.rated) == "0.8900"


def test_p2_one_project_that_is_not_achieved_caps_the_mean() -> None:
    projects = tuple("abcdefghij")
    rated = practice(P, scope="project")
    items = [worth(P, "0.1" if project == "e" else "1", project=project) for project in projects]
    (result,) = scored(model_of(rated), *items, projects=projects).practices
    assert result.values is not None
    assert rounded(result.values.rated) == "0.8500"
    assert result.rule.key == "capped_by_project"
    assert (result.rule.details["project"], Fraction(result.rule.details["mean"])) == ("e", Fraction("0.91"))


def test_k1_confidence_is_the_mean_over_leaves() -> None:
    keys = [f"C1.2.{number}" for number in range(1, 8)]
    checks = [["NEUTRAL >= 0.9"], ["OTHER >= 0.9"], *([HUMAN_CHECK] * 5)]
    model = model_of(*(practice(key, check) for key, check in zip(keys, checks, strict=True)))
    items: list[Item] = [
        measured("NEUTRAL", "1"),
        measured("OTHER", "1"),
        judged("document", keys[2], "F"),
        judged("interview", keys[2], "F"),
        judged("document", keys[3], "F"),
        claimed(keys[4], "F"),
        judged("interview", keys[6], "F"),
    ]
    (capability,) = scored(model, *items).capabilities
    leaves = [practice.ratings[0].leaves[0].confidence for practice in capability.practices]
    assert leaves == [1, 1, Fraction("0.8"), Fraction("0.6"), Fraction("0.2"), 0, Fraction("0.4")]
    assert rounded(capability.confidence) == "0.5714"
    assert confidence_band(capability.confidence, PARAMETERS) == "medium"


HUMAN_CHECK = ["document"]


def _everything(model: Model, earned: str) -> list[Item]:
    """What makes every practice of a model worth 1, 0.85 or 0.33."""
    if earned == "0.33":
        return [claimed(key, "F") for key in model.practices]
    kinds: tuple[VerdictKind, ...] = ("document", "interview") if earned == "1" else ("document",)
    items: list[Item] = []
    for rated in model.practices.values():
        project = "a" if rated.scope == "project" else None
        for check in (check for check in rated.checks if check.machine):
            value = str(check.target if check.target is not None else 1)
            kind: VerdictKind = "export" if earned == "1" else "substitute_document"
            items.append(stated(kind, check.key, value, 1000, project=project))
        if not all(check.machine for check in rated.checks):
            items += [judged(kind, rated.id, "F", project=project) for kind in kinds]
    return items


@pytest.mark.parametrize(("earned", "level", "index"), [("1", 5, 100), ("0.85", 1, 85), ("0.33", 0, 33)])
def test_w1_the_bundled_model_as_a_whole(earned: str, level: int, index: int) -> None:
    model = load_model()
    card = scored(model, *_everything(model, earned), projects=("a",))
    assert len(card.practices) == 126
    assert {result.values.rated for result in card.practices if result.values} == {Fraction(earned)}
    assert card.level is not None
    assert card.index is not None
    assert (card.level.rated, card.index.rated) == (level, index)
    assert {d.level.rated for d in card.dimensions if d.level} == {level}


def test_a_mean_without_weight_is_none() -> None:
    assert weighted_mean([(Fraction(0), Fraction(1))]) is None
