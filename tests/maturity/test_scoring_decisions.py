"""What the worked examples leave open, decided on the strict side: one example for each decision."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest

from maturity.answers import Claim, Verdict, Waiver
from maturity.leaves import freshness
from maturity.levels import confidence_band, is_provisional
from maturity.reader import ModelError
from maturity.schema import Model, Practice
from maturity.scorecard import RULES, Finding, LeafRating, Outcome, PracticeResult, Scorecard
from maturity.scoring import Weights, projects_in_scope, sample_projects
from tests.maturity.models import (
    AS_OF,
    PARAMETERS,
    ago,
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

P = "C1.2.1"
SHARE = practice(P, ["NEUTRAL >= 0.9"])
NEEDED = practice(P, ["NEEDED >= 0.9"])
PAPER = practice(P, ["document"])
Item = Finding | Claim | Verdict | Waiver


def result(rated: Practice, *items: Item, projects: tuple[str, ...] = ()) -> PracticeResult:
    (found,) = scored(model_of(rated), *items, projects=projects).practices
    return found


def leaf(rated: Practice, *items: Item) -> LeafRating:
    """The first leaf of a practice that is rated once."""
    return result(rated, *items).ratings[0].leaves[0]


def three(found: LeafRating) -> tuple[Fraction, Fraction, Fraction]:
    assert found.values is not None
    return found.values.lower, found.values.rated, found.values.upper


NOTHING = (0, Fraction("0.33"), 1)
"""What a leaf is worth under the claim F without evidence."""
F = claimed(P, "F")


@pytest.mark.parametrize(
    ("age", "expected"),
    [(0, "1"), (90, "1"), (91, "89/90"), (120, "2/3"), (179, "1/90"), (180, "0"), (181, "0")],
)
def test_freshness_falls_from_one_at_the_validity_to_zero_at_twice_that(age: int, expected: str) -> None:
    assert freshness(age, 90) == Fraction(expected)


@pytest.mark.parametrize(
    ("check", "value", "worth_", "rule"),
    [
        ("NEUTRAL >= 0.9", "0.9", "1", "met"),
        ("NEUTRAL >= 0.9", "0.899999", "0.849999055555555555555555555556", "below_target"),
        ("COUNT >= 4", "3", "0.6375", "below_target"),
        ("ATLEAST >= 0.9", "0.9", "1", "met"),
        ("ATLEAST >= 0.9", "0.89", "0", "bound_missed"),
        ("ATMOST <= 30", "30", "1", "met"),
        ("ATMOST <= 30", "30.1", "0", "bound_missed"),
        ("NEUTRAL <= 0.1", "0.1", "1", "met"),
        ("NEUTRAL <= 0.1", "0.2", "0", "bound_missed"),
        ("NEUTRAL >= 0", "0", "1", "met"),
        ("NEUTRAL >= 0", "-1", "0", "below_target"),
    ],
)
def test_a_value_meets_its_target_when_it_equals_it_and_only_shares_and_counts_count_in_proportion(
    check: str, value: str, worth_: str, rule: str
) -> None:
    found = leaf(practice(P, [check]), measured(check.split()[0], value))
    assert found.values is not None
    assert abs(found.values.rated - Fraction(worth_)) < Fraction(1, 10**24)
    assert found.rule.key == rule
    assert found.outcome is (Outcome.MET if rule == "met" else Outcome.NOT_MET)


@pytest.mark.parametrize(
    ("value", "code"),
    [("0.15", "N"), ("0.1501", "P"), ("0.50", "P"), ("0.5001", "L"), ("0.85", "L"), ("0.8501", "F"), ("1", "F")],
)
def test_a_boundary_value_belongs_to_the_lower_code(value: str, code: str) -> None:
    assert model_of(SHARE).code(Fraction(value)) == code


@pytest.mark.parametrize(
    ("finding", "rule"),
    [
        (unmeasured("NEUTRAL", Outcome.COULD_NOT_LOOK), "could_not_look"),
        (unmeasured("NEUTRAL", Outcome.NOT_SUPPORTED), "not_supported"),
        (unmeasured("NEUTRAL", Outcome.NOT_APPLICABLE), "not_applicable_unwaived"),
        (unmeasured("NEUTRAL", Outcome.NO_EVIDENCE), "nothing_found"),
        (unmeasured("NEUTRAL", Outcome.NO_EVIDENCE, 3), "too_few"),
        (unmeasured("NEUTRAL", Outcome.NO_EVIDENCE, 30), "nothing_found"),
        (measured("NEUTRAL", "1", 4), "too_few"),
        (measured("NEUTRAL", "1", age=-1), "dated_later"),
        (measured("NEUTRAL", "1", age=180), "expired"),
        (replace(measured("NEUTRAL", "1"), read_at=None), "undated"),
        (replace(measured("NEUTRAL", "1"), outcome=Outcome.COULD_NOT_LOOK), "could_not_look"),
    ],
)
def test_evidence_that_does_not_count_leaves_the_claim_and_says_why(finding: Finding, rule: str) -> None:
    found = leaf(SHARE, finding, F)
    assert three(found) == NOTHING
    assert (found.rule.key, found.kind, found.evident) == (rule, "claim", False)
    assert found.confidence == Fraction("0.2")


def test_a_check_without_finding_says_that_no_source_told_or_could_tell() -> None:
    assert leaf(SHARE).rule.key == "no_source"
    assert leaf(practice(P, ["pipeline"])).rule.key == "not_supported"
    assert leaf(SHARE).confidence == 0


@pytest.mark.parametrize("n", [1, 4])
def test_too_few_observations_are_no_evidence_even_where_absence_is_negative(n: int) -> None:
    for finding in (unmeasured("NEEDED", Outcome.NO_EVIDENCE, n), measured("NEEDED", "1", n)):
        found = leaf(NEEDED, finding, F)
        assert three(found) == NOTHING
        assert found.rule.key == "too_few"


@pytest.mark.parametrize(
    ("finding", "rule"),
    [
        (replace(unmeasured("NEEDED", Outcome.NO_EVIDENCE), read_at=None), "undated"),
        (unmeasured("NEEDED", Outcome.NO_EVIDENCE, age=-3), "dated_later"),
        (unmeasured("NEEDED", Outcome.COULD_NOT_LOOK), "could_not_look"),
    ],
)
def test_absence_counts_only_when_the_source_was_read(finding: Finding, rule: str) -> None:
    found = leaf(NEEDED, finding, F)
    assert three(found) == NOTHING
    assert found.rule.key == rule


def test_old_absence_no_longer_outweighs_a_claim() -> None:
    found = leaf(NEEDED, unmeasured("NEEDED", Outcome.NO_EVIDENCE, age=120), F)
    assert three(found) == (0, Fraction("0.33"), 1)
    assert (found.rule.key, found.kind) == ("absence_counts", "mlflow")


def test_a_count_of_nothing_is_evidence_only_where_absence_is_negative() -> None:
    assert leaf(practice(P, ["COUNT >= 1"]), measured("COUNT", "0", 40)).rule.key == "nothing_found"
    counted = leaf(practice(P, ["COUNTED >= 1"]), measured("COUNTED", "0", 0), F)
    assert three(counted) == (0, 0, 0)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [("repo", "1", "1"), ("repo", "0.5", "0.425"), ("pipeline", "0.5", "0"), ("pipeline", "1", "1")],
)
def test_a_repo_ratio_is_a_share_and_a_pipeline_check_is_met_or_not(kind: str, value: str, expected: str) -> None:
    found = leaf(practice(P, [kind]), measured(f"{P}/1", value, 1))
    assert three(found)[1] == Fraction(expected)
    assert (found.kind, found.settled) == (kind, True)


# Several pieces of evidence for one check


def test_the_newest_usable_piece_wins_whatever_its_kind() -> None:
    finding = measured("NEUTRAL", "0.45", age=20)
    newer, older = (stated("export", f"{P}/1", "1", age=age) for age in (10, 30))
    assert leaf(SHARE, finding, newer).kind == "export"
    assert leaf(SHARE, finding, older).kind == "mlflow"
    assert leaf(SHARE, replace(finding, outcome=Outcome.COULD_NOT_LOOK), older).kind == "export"
    assert leaf(SHARE, finding, stated("export", f"{P}/1", "1", n=4, age=10)).kind == "mlflow"


def test_of_pieces_of_one_day_the_lowest_id_wins() -> None:
    two = [stated("export", f"{P}/1", value, key=key) for key, value in (("b", "1"), ("a", "0.45"))]
    assert leaf(SHARE, *two).verdicts == ("a",)
    finding = measured("NEUTRAL", "0.9")
    assert leaf(SHARE, finding, stated("export", f"{P}/1", "1", key="A")).kind == "export"
    assert leaf(SHARE, finding, stated("export", f"{P}/1", "1", key="Z")).kind == "mlflow"


def test_an_export_is_settled_machine_evidence_of_its_own_confidence() -> None:
    found = leaf(SHARE, stated("export", f"{P}/1", "0.45"), F)
    assert three(found) == (Fraction("0.425"),) * 3
    assert (found.confidence, found.settled, found.verdicts) == (Fraction("0.9"), True, (f"export-{P}/1-None",))


def test_a_substitute_document_earns_at_most_largely_and_settles_nothing() -> None:
    found = leaf(SHARE, stated("substitute_document", f"{P}/1", "1", n=None), F)
    assert three(found) == (Fraction("0.85"), Fraction("0.85"), 1)
    assert (found.confidence, found.settled) == (Fraction("0.5"), False)
    assert found.values is not None
    assert found.values.evidenced == 0
    assert leaf(SHARE, stated("substitute_document", f"{P}/1", "1", n=4)).rule.key == "too_few"


def test_machine_evidence_alone_is_what_evidenced_shows_beside_a_newer_document() -> None:
    found = leaf(SHARE, measured("NEUTRAL", "0.45", age=20), stated("substitute_document", f"{P}/1", "1"))
    assert found.values is not None
    assert (found.values.evidenced, found.values.rated) == (Fraction("0.425"), Fraction("0.85"))


def test_absence_gives_way_to_anything_measured_elsewhere() -> None:
    nothing = unmeasured("NEEDED", Outcome.NO_EVIDENCE, age=1)
    found = leaf(NEEDED, nothing, stated("export", f"{P}/1", "0.95", age=30))
    assert (found.kind, three(found)) == ("export", (1, 1, 1))


# The human part


def test_a_verdict_of_a_later_day_does_not_count() -> None:
    found = leaf(PAPER, judged("document", P, "F", age=-1), F)
    assert three(found) == NOTHING
    assert (found.rule.key, found.rule.details["dated"]) == ("dated_later", (AS_OF + timedelta(1)).isoformat())


def test_an_expired_verdict_is_dropped_and_no_longer_contradicts() -> None:
    found = leaf(PAPER, judged("document", P, "F"), judged("interview", P, "N", age=360))
    assert three(found)[1] == Fraction("0.85")
    assert found.kind == "document"


def test_a_stale_interview_does_not_pull_down_what_the_document_earns() -> None:
    found = leaf(PAPER, judged("document", P, "F"), judged("interview", P, "F", age=270))
    assert (three(found)[0], found.kind, found.freshness) == (Fraction("0.85"), "document", 1)
    assert (found.settled, found.confidence) == (False, Fraction("0.6"))


def test_a_fresh_verdict_of_not_achieved_leaves_no_room_for_the_claim() -> None:
    found = leaf(PAPER, judged("document", P, "N"), judged("interview", P, "F", age=270), F)
    assert three(found) == (0, 0, 1)


def test_the_newest_verdict_of_a_kind_counts() -> None:
    two = [judged("document", P, code, age=age, key=code) for code, age in (("F", 30), ("P", 10))]
    found = leaf(PAPER, *two)
    assert (three(found)[0], found.verdicts) == (Fraction("0.33"), ("P",))


def test_verdicts_of_people_are_not_evidenced() -> None:
    values = result(PAPER, judged("document", P, "F"), judged("interview", P, "F"), F).values
    assert values is not None
    assert (values.claimed, values.evidenced, values.rated) == (1, 0, 1)


# Practices


def test_any_limits_a_part_that_is_not_fully_achieved_in_all_its_checks() -> None:
    rated = practice("C1.1.1", ["NEUTRAL >= 0.8", "OTHER >= 0.9"], combine="any")
    found = result(rated, measured("NEUTRAL", "1"), measured("OTHER", "0.8"))
    assert found.values is not None
    assert found.values.rated == Fraction("0.85") < (1 + Fraction("0.85") * 8 / 9) / 2
    assert found.ratings[0].rule.key == "capped_not_fully"


def test_any_needs_only_one_part() -> None:
    found = result(practice("C1.1.1", ["document", "NEUTRAL >= 0.9"], combine="any"), measured("NEUTRAL", "1"))
    assert found.values is not None
    assert (found.values.rated, found.coverage) == (1, 1)
    assert found.ratings[0].rule.details == {"part": "machine"}


def test_all_takes_the_mean_of_the_two_parts_not_of_the_leaves() -> None:
    rated = practice(P, ["NEUTRAL >= 0.9", "OTHER >= 0.9", "document"])
    found = result(rated, judged("document", P, "F"), judged("interview", P, "F"))
    assert found.values is not None
    assert found.values.rated == Fraction(1, 2)
    assert found.coverage == Fraction(1, 3)


def test_a_claim_without_project_holds_for_every_project_that_has_none_of_its_own() -> None:
    rated = practice(P, scope="project")
    found = result(rated, claimed(P, "F"), claimed(P, "N", "b"), projects=("a", "b"))
    assert [rating.claim for rating in found.ratings] == ["F", "N"]
    assert found.claim is None
    assert found.values is not None
    assert (found.values.claimed, found.values.rated) == (Fraction(1, 2), Fraction("0.165"))


def test_a_document_without_project_holds_for_every_project() -> None:
    found = result(practice(P, ["document"], scope="project"), judged("document", P, "F"), projects=("a", "b"))
    assert found.values is not None
    assert found.values.rated == Fraction("0.85")


def test_the_finding_of_the_organisation_says_nothing_of_a_project_nor_the_other_way_round() -> None:
    by_project = practice(P, ["NEUTRAL >= 0.9"], scope="project")
    assert (
        result(by_project, measured("NEUTRAL", "1"), projects=("a",)).values
        == result(by_project, projects=("a",)).values
    )
    own = measured("NEUTRAL", "1", project="a")
    (found,) = scored(model_of(SHARE), own, projects=("a",)).practices
    assert found.values is not None
    assert found.values.rated == 0


def test_without_a_project_a_practice_rated_by_project_is_worth_nothing() -> None:
    found = result(practice(P, scope="project"), claimed(P, "F"))
    assert found.values is not None
    assert (found.values.claimed, found.values.upper, found.rule.key) == (0, 0, "no_project")


def test_what_is_said_and_seen_of_projects_out_of_scope_is_not_looked_at() -> None:
    rated = practice(P, ["NEUTRAL >= 0.9"], scope="project")
    inside = [measured("NEUTRAL", "1", project="a")]
    outside = [measured("NEUTRAL", "0", project="z"), claimed(P, "F", "z"), waived(f"{P}/1", "z")]
    model = model_of(rated)
    assert scored(model, *inside, *outside, projects=("a",)) == scored(model, *inside, projects=("a",))


@pytest.mark.parametrize(("lowest", "expected"), [("0.15", "0.7875"), ("0.1", "0.775")])
def test_the_cap_over_projects_never_raises_a_mean(lowest: str, expected: str) -> None:
    rated = practice(P, scope="project")
    items = [worth(P, value, project=key) for key, value in zip("abcd", ("1", "1", "1", lowest), strict=True)]
    found = result(rated, *items, projects=tuple("abcd"))
    assert found.values is not None
    assert found.values.rated == Fraction(expected)


# Waivers


def test_a_waived_practice_leaves_numerator_and_denominator() -> None:
    keys = ["C1.1.1", "C1.1.2"]
    card = scored(model_of(*(practice(key, waivable=True) for key in keys)), worth(keys[0], "0.9"), waived(keys[1]))
    (achievement, *_) = card.capabilities[0].achievements
    assert achievement.achievement is not None
    assert achievement.achievement.rated == Fraction("0.9")
    assert (achievement.practices, card.waivers) == (("C1.1.1",), 1)
    assert card.practices[1].rule.details["confirmed_by"] == "assessor"


@pytest.mark.parametrize(
    ("waivable", "waiver", "rule"),
    [
        (False, waived(P), "waiver_not_permitted"),
        (True, replace(waived(P), confirmed_by=" "), "waiver_unconfirmed"),
        (True, replace(waived(P), justification=""), "waiver_unconfirmed"),
        (True, waived(P, until=ago(1)), "waiver_expired"),
    ],
)
def test_a_waiver_that_does_not_hold_leaves_the_practice_rated_and_says_why(
    waivable: bool, waiver: Waiver, rule: str
) -> None:
    found = result(practice(P, waivable=waivable), waiver)
    assert found.applicable
    assert found.ratings[0].waiver is not None
    assert found.ratings[0].waiver.key == rule


def test_a_waiver_holds_through_its_last_day() -> None:
    assert not result(practice(P, waivable=True), waived(P, until=AS_OF)).applicable


TWO = practice(P, ["NEUTRAL >= 0.9", "OTHER >= 0.9"])


@pytest.mark.parametrize("finding", [unmeasured("OTHER", Outcome.NOT_APPLICABLE), None])
def test_a_waived_check_without_population_leaves_the_mean(finding: Finding | None) -> None:
    seen = [finding] if finding else []
    card = scored(model_of(TWO), measured("NEUTRAL", "1"), *seen, waived(f"{P}/2"))
    (found,) = card.practices
    assert found.values is not None
    assert (found.values.rated, found.confidence, card.waivers) == (1, 1, 1)
    assert found.ratings[0].leaves[1].kind == "waived"
    assert found.ratings[0].leaves[1].rule.key == "check_waived"


@pytest.mark.parametrize(
    "seen",
    [measured("OTHER", "1"), unmeasured("OTHER", Outcome.NO_EVIDENCE, 2), stated("export", f"{P}/2", "1")],
)
def test_a_check_is_not_waived_while_its_population_is_seen(seen: Finding | Verdict) -> None:
    found = result(TWO, seen, waived(f"{P}/2"))
    assert found.ratings[0].waiver is not None
    assert found.ratings[0].waiver.key == "waiver_contradicted"
    assert all(leaf.values is not None for leaf in found.ratings[0].leaves)


@pytest.mark.parametrize("outcome", [Outcome.NO_EVIDENCE, Outcome.NOT_MET])
def test_a_check_is_not_waived_while_members_without_a_value_are_seen(outcome: Outcome) -> None:
    valueless = replace(unmeasured("OTHER", outcome), failing=("s:m/1", "s:m/2"))
    found = result(TWO, valueless, waived(f"{P}/2"))
    assert found.ratings[0].waiver is not None
    assert found.ratings[0].waiver.key == "waiver_contradicted"
    assert found.ratings[0].waiver.details["n"] == "2"


def test_waivers_of_checks_cannot_waive_a_practice_that_must_apply() -> None:
    both = [waived(f"{P}/1"), waived(f"{P}/2")]
    kept = result(TWO, *both)
    assert (kept.applicable, kept.ratings[0].waiver and kept.ratings[0].waiver.key) == (True, "waiver_leaves_nothing")
    assert not result(replace(TWO, na_reason=TWO.name), *both).applicable


def test_a_practice_applies_as_soon_as_it_applies_in_one_project() -> None:
    rated = practice(P, scope="project", waivable=True)
    found = result(rated, waived(P, "a"), worth(P, "0.9", project="b"), projects=("a", "b"))
    assert found.values is not None
    assert (found.values.rated, found.applicable_share) == (Fraction("0.9"), Fraction(1, 2))


@pytest.mark.parametrize(("projects", "restricted"), [(("a",), False), (("a", "b"), True)])
def test_the_scope_is_restricted_when_over_a_fifth_of_the_weight_does_not_apply(
    projects: tuple[str, ...], restricted: bool
) -> None:
    # Two of five practices, waived in one or both of two projects: exactly one fifth, or two fifths.
    rated = [practice(f"C1.{level}.1", scope="project", waivable=True) for level in range(1, 6)]
    items = [waived(key.id, project) for key in rated[:2] for project in projects]
    card = scored(model_of(*rated), *items, projects=("a", "b"))
    assert card.na_share == Fraction(len(projects), 5)
    assert card.restricted_scope is restricted


# Levels


def test_an_empty_level_passes_but_is_never_the_top() -> None:
    practices, evidence = ladder("C1", [["1"], ["1"], ["1"], [None], ["0"]])
    (capability,) = scored(model_of(*practices), *evidence).capabilities
    assert capability.level is not None
    assert capability.level.rated == 3
    assert [(rule.key, rule.details["level"]) for rule in capability.blocked_by] == [
        ("achievement_not_above_gate", "5"),
        ("practice_at_or_below_veto", "5"),
    ]


BLOCKS: list[tuple[list[list[str | None]], list[tuple[str, str]]]] = [
    ([["1"], ["0.85"], ["1"]], [("base_not_above_gate", "3")]),
    ([["0.5"], ["1"], ["1"]], [("achievement_not_above_gate", "1")]),
    ([["1"], ["0.5"], ["1"]], [("achievement_not_above_gate", "2")]),
    ([["1"], ["1", "1", "1", "0.15"], ["1"]], [("practice_at_or_below_veto", "2")]),
    ([["1"], ["1"], ["1"], ["1"], [None]], [("levels_above_empty", "4")]),
    ([["1"], ["1"], ["1"], ["1"], ["1"]], [("highest_level", "5")]),
]


@pytest.mark.parametrize(("rows", "rules"), BLOCKS)
def test_a_capability_names_what_keeps_it_from_its_next_level(
    rows: list[list[str | None]], rules: list[tuple[str, str]]
) -> None:
    practices, evidence = ladder("C1", rows)
    (capability,) = scored(model_of(*practices), *evidence).capabilities
    assert [(rule.key, rule.details["level"]) for rule in capability.blocked_by] == rules


def test_the_blocking_rule_states_its_numbers_exactly() -> None:
    practices, evidence = ladder("C1", BLOCKS[0][0])
    (capability,) = scored(model_of(*practices), *evidence).capabilities
    details = {"level": "3", "base": "2", "achievement": "17/20", "gate": "17/20"}
    assert capability.blocked_by[0].details == details


def _two_dimensions(rows: dict[str, list[list[str | None]]]) -> Scorecard:
    built = {key: ladder(key, row) for key, row in rows.items()}
    model = model_of(
        *(item for practices, _ in built.values() for item in practices),
        dimensions={key: key[0] for key in rows},
    )
    return scored(model, *(item for _, evidence in built.values() for item in evidence))


def test_with_a_dimension_not_rated_the_whole_has_neither_level_nor_index() -> None:
    card = _two_dimensions({"A1": [["1"], ["1"]], "B1": [[None], [None]]})
    assert [d.level is None for d in card.dimensions] == [False, True]
    assert (card.level, card.index) == (None, None)
    assert [rule.key for rule in card.blocked_by] == ["dimension_not_rated"]


@pytest.mark.parametrize(("missing", "rated"), [(1, True), (2, False)])
def test_a_dimension_is_rated_when_half_its_capabilities_are(missing: int, rated: bool) -> None:
    rows: dict[str, list[list[str | None]]] = {f"A{n}": [[None]] for n in range(missing)}
    card = _two_dimensions({**rows, "A9": [["1"]]})
    assert (card.dimensions[0].level is not None) is rated


def test_the_lowest_capability_is_named_beside_the_index() -> None:
    card = _two_dimensions({"A1": [["1"], ["0.9"]], "A2": [["1"], ["0.8"]], "A3": [["1"], ["1"]]})
    assert (card.dimensions[0].lowest, card.lowest) == ("A2", "A2")


def test_weights_of_an_organisation_change_indexes_and_nothing_else() -> None:
    built = [at_level("A1", 4), at_level("A2", 1), at_level("A3", 2)]
    model = model_of(
        *(item for practices, _ in built for item in practices), dimensions=dict.fromkeys(("A1", "A2", "A3"), "A")
    )
    evidence = [item for _, items in built for item in items]
    plain = scored(model, *evidence)
    heavy = scored(model, *evidence, weights=Weights(capabilities={"A1": Fraction(7)}))
    assert plain.index != heavy.index
    one, other = plain.dimensions[0], heavy.dimensions[0]
    assert one.index is not None
    assert other.index is not None
    assert (one.index.rated, other.index.rated) == (Fraction(140, 3), Fraction(620, 9))
    assert replace(heavy, index=plain.index, weights=plain.weights, dimensions=plain.dimensions) == plain
    assert replace(other, index=one.index) == one


@pytest.mark.parametrize("weights", [Weights(capabilities={"X": Fraction(1)}), Weights(dimensions={"D": Fraction(-1)})])
def test_a_weight_that_names_nothing_or_is_negative_is_refused(weights: Weights) -> None:
    with pytest.raises(ValueError, match="weight"):
        scored(model_of(SHARE), weights=weights)


def test_an_index_under_weights_of_zero_is_none() -> None:
    card = scored(model_of(SHARE), measured("NEUTRAL", "1"), weights=Weights(capabilities={"C1": Fraction(0)}))
    assert card.dimensions[0].level is not None
    assert card.dimensions[0].index is None
    assert card.index is None


@pytest.mark.parametrize(
    ("claims", "code", "confidence", "coverage", "provisional"),
    [(3, "F", "0.8", "0.75", True), (4, "F", "0.8", "1", False), (4, None, "0.2", "1", True)],
)
def test_a_level_is_provisional_for_little_confidence_or_coverage(
    claims: int, code: str | None, confidence: str, coverage: str, provisional: bool
) -> None:
    keys = [f"C1.1.{number}" for number in range(1, 5)]
    model = model_of(*(practice(key, ["document"]) for key in keys))
    items: list[Item] = [claimed(key, "F") for key in keys[:claims]]
    for key in keys[:claims] if code else []:
        items += [judged("document", key, "F"), judged("interview", key, "F")]
    (capability,) = scored(model, *items).capabilities
    assert capability.confidence == Fraction(confidence) * claims / 4
    assert (capability.coverage, capability.provisional) == (Fraction(coverage), provisional)


# Inputs that do not fit


def test_a_finding_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="given twice"):
        scored(model_of(SHARE), measured("NEUTRAL", "1"), measured("NEUTRAL", "0.5"))


def test_answers_that_do_not_fit_the_model_are_refused_all_at_once() -> None:
    with pytest.raises(ModelError) as caught:
        scored(model_of(SHARE), claimed("X", "F"), claimed(P, "Q"))
    assert len(caught.value.faults) == 2


# Samples


def test_a_sample_is_the_first_projects_by_hash() -> None:
    keys = [f"p{number}" for number in range(11)]
    sample = sample_projects("assessment", keys)
    assert sample == sample_projects("assessment", keys[::-1]) == ("p8", "p4", "p3", "p2")
    assert sample != sample_projects("another", keys)


@pytest.mark.parametrize(("count", "size"), [(0, 0), (2, 2), (3, 3), (9, 3), (10, 4), (16, 4), (17, 5), (100, 10)])
def test_a_sample_has_the_rounded_up_root_of_all_but_at_least_three(count: int, size: int) -> None:
    assert len(sample_projects("a", [str(number) for number in range(count)])) == size


@pytest.mark.parametrize(("count", "size"), [(10, 10), (11, 4)])
def test_only_more_than_ten_projects_are_sampled(count: int, size: int) -> None:
    assert len(projects_in_scope("a", [str(number) for number in range(count)], PARAMETERS)) == size


# Rules


def _everything() -> tuple[Model, list[Item]]:
    practices, evidence = ladder("C1", [["1"], ["0.9"], ["0.4"], ["0"], ["1"]])
    others = [practice("C2.1.1", ["document", "NEUTRAL >= 0.9"], combine="any"), practice("C2.2.1", ["ATMOST <= 3"])]
    items: list[Item] = [*evidence, measured("ATMOST", "9"), judged("document", "C2.1.1", "L"), waived("C1.4.1")]
    return model_of(*practices, *others), items


def test_every_rule_of_a_scorecard_is_listed_with_its_details() -> None:
    model, items = _everything()
    card = scored(model, *items)
    rules = [leaf.rule for _, _, leaf in card.leaves()]
    rules += [rating.rule for result in card.practices for rating in result.ratings]
    rules += [result.rule for result in card.practices]
    rules += [rule for part in (card, *card.dimensions, *card.capabilities) for rule in part.blocked_by]
    assert len({rule.key for rule in rules}) > 8
    for rule in rules:
        assert set(rule.details) == set(RULES[rule.key]), rule.key


# Edges


def test_verdicts_that_agree_rest_on_document_and_interview() -> None:
    found = leaf(PAPER, judged("document", P, "P"), judged("interview", P, "P"))
    assert (found.kind, found.confidence) == ("document+interview", Fraction("0.8"))


def test_confidence_ages_with_the_evidence() -> None:
    assert leaf(SHARE, measured("NEUTRAL", "1", age=120)).confidence == Fraction(2, 3)
    assert leaf(SHARE, stated("export", f"{P}/1", "1", age=90)).confidence == Fraction("0.45")


def test_machine_evidence_beside_a_document_alone_is_not_fully_achieved() -> None:
    found = result(practice(P, ["NEUTRAL >= 0.9", "document"]), measured("NEUTRAL", "1"), judged("document", P, "F"))
    assert found.values is not None
    assert (found.values.rated, found.ratings[0].rule.key) == (Fraction("0.85"), "capped_not_fully")


def test_a_population_seen_after_the_day_does_not_contradict_a_waiver() -> None:
    later = [measured("OTHER", "1", age=-1), stated("export", f"{P}/2", "1", age=-1)]
    assert result(TWO, *later, waived(f"{P}/2")).ratings[0].leaves[1].kind == "waived"


def test_a_project_at_the_very_edge_of_not_achieved_caps_the_mean() -> None:
    projects = tuple("abcdefghi")
    items = [worth(P, "0.15" if key == "a" else "1", project=key) for key in projects]
    found = result(practice(P, scope="project"), *items, projects=projects)
    assert found.values is not None
    assert found.values.rated == Fraction("0.85")


def test_a_capability_is_rated_when_exactly_half_its_weight_applies() -> None:
    practices, evidence = ladder("C1", [["1"], [None]])
    (capability,) = scored(model_of(*practices), *evidence).capabilities
    assert capability.level is not None
    assert capability.level.rated == 1


@pytest.mark.parametrize(
    ("confidence", "coverage", "provisional"),
    [("0.5", "0.8", False), ("0.4999", "0.8", True), ("0.5", "0.7999", True)],
)
def test_a_level_at_the_very_edge_is_not_provisional(confidence: str, coverage: str, provisional: bool) -> None:
    assert is_provisional(Fraction(confidence), Fraction(coverage), PARAMETERS) is provisional


@pytest.mark.parametrize(
    ("confidence", "band"), [("0.75", "high"), ("0.7499", "medium"), ("0.5", "medium"), ("0.4999", "low")]
)
def test_a_confidence_at_the_edge_belongs_to_the_higher_band(confidence: str, band: str) -> None:
    assert confidence_band(Fraction(confidence), PARAMETERS) == band
