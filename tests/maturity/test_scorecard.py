"""The values of a result: rounding, judging, canonical bytes, and the difference of two scorecards."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from maturity.scorecard import Finding, Outcome, PerView, Scorecard, Weights, difference, rounded
from tests.maturity.models import claimed, judged, measured, model_of, practice, scored, unmeasured, waived

MODEL = model_of(
    practice("C1.1.1", ["document", "NEUTRAL >= 0.5"], combine="any"),
    practice("C1.2.1", ["NEEDED >= 0.9"], scope="project"),
    practice("C1.2.2", ["document"], waivable=True),
)


def _card(*more: Any) -> Scorecard:
    return scored(MODEL, measured("NEUTRAL", "0.3"), claimed("C1.1.1", "F"), *more, projects=("bank", "诊断"))


@pytest.mark.parametrize(
    ("value", "shown"),
    [("2/3", "0.6667"), ("0.00005", "0.0001"), ("0.00004", "0.0000"), ("1", "1.0000"), ("100", "100.0000")],
)
def test_a_fraction_is_shown_rounded_half_up(value: str, shown: str) -> None:
    assert rounded(Fraction(value)) == shown


def test_a_finding_meets_a_target_it_equals() -> None:
    finding = measured("NEUTRAL", "0.9")
    assert finding.judge(">=", Fraction("0.9")) is Outcome.MET
    assert finding.judge("<=", Fraction("0.9")) is Outcome.MET
    assert finding.judge(">=", Fraction("0.9000001")) is Outcome.NOT_MET
    assert unmeasured("NEUTRAL", Outcome.COULD_NOT_LOOK).judge(">=", Fraction(0)) is Outcome.COULD_NOT_LOOK
    assert replace(finding, value=None).judge(">=", Fraction(0)) is Outcome.NO_EVIDENCE


def test_bytes_are_canonical_json_with_exact_fractions() -> None:
    data = _card().to_bytes()
    text = data.decode("utf-8")
    assert text.endswith("}\n")
    assert "诊断" in text
    content = json.loads(text)
    assert json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")) + "\n" == text
    assert content["as_of"] == "2025-06-30"
    leaf = content["dimensions"][0]["capabilities"][0]["practices"][0]["ratings"][0]["leaves"][0]
    assert leaf["values"]["rated"] == "51/100"
    assert leaf["rule"] == {
        "key": "below_target",
        "details": {"age": "10", "n": "50", "target": "1/2", "value": "3/10"},
    }


def test_a_scorecard_and_weights_read_back_as_they_were() -> None:
    card = _card(waived("C1.2.2"), measured("NEEDED", "0.95", project="bank"))
    assert Scorecard.from_json(json.loads(card.to_bytes())) == card
    weights = Weights({"C1": Fraction(1, 3)}, {"D": Fraction(2)})
    assert Weights.from_json(weights.to_json()) == weights


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confidence": 0.5}, "confidence: must be a fraction"),
        ({"confidence": "1/0"}, "confidence: must be a fraction"),
        ({"waivers": True}, "waivers: must be int"),
        ({"waivers": "1"}, "waivers: must be int"),
        ({"as_of": "yesterday"}, "as_of: Invalid isoformat"),
        ({"level": {"rated": 1}}, "level: PerView"),
        ({"extra": 1}, "no field 'extra'"),
        ({"dimensions": {}}, "dimensions: must be list"),
        ({"findings": [{"indicator": "X", "project": None, "outcome": "great"}]}, "findings: 0: outcome"),
    ],
)
def test_a_scorecard_that_does_not_fit_is_refused_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scorecard.from_json({**_card().to_json(), **change})


def test_a_view_can_be_asked_for_by_name() -> None:
    view = PerView(1, 2, 3, 4, 5)
    assert [view[name] for name in ("claimed", "rated", "upper")] == [1, 4, 5]
    assert view.map(str) == PerView("1", "2", "3", "4", "5")


def test_gaps_between_claim_and_rating_stand_largest_first() -> None:
    card = _card(claimed("C1.2.1", "F"), claimed("C1.2.2", "P"), judged("document", "C1.1.1", "L"))
    assert [(gap.practice, gap.gap) for gap in card.gaps] == [
        ("C1.2.1", Fraction("0.67")),
        ("C1.1.1", Fraction("0.33")),
    ]


def test_findings_stand_in_one_order_and_only_those_of_the_scope() -> None:
    findings = [measured("NEEDED", "1", project=project) for project in ("诊断", "bank", "elsewhere", None)]
    card = scored(MODEL, *findings, projects=("bank", "诊断"))
    assert [finding.project for finding in card.findings] == [None, "bank", "诊断"]


def test_equal_scorecards_do_not_differ() -> None:
    assert difference(_card(), _card()) == ()


def test_a_difference_names_practice_values_and_the_leaves_that_changed() -> None:
    (change,) = difference(_card(), _card(judged("document", "C1.1.1", "F")))
    assert change.practice == "C1.1.1"
    assert change.old is not None
    assert change.new is not None
    assert (change.old.rated, change.new.rated) == (Fraction("0.51"), Fraction("0.85"))
    (leaf,) = change.leaves
    assert leaf.old is not None
    assert leaf.new is not None
    assert (leaf.check, leaf.old.rule.key, leaf.new.rule.key) == ("human", "no_verdict", "document")


def test_a_difference_tells_projects_apart_and_knows_what_was_added_or_waived() -> None:
    changes = difference(_card(), _card(measured("NEEDED", "1", project="bank"), waived("C1.2.2")))
    assert [change.practice for change in changes] == ["C1.2.1", "C1.2.2"]
    assert [(leaf.check, leaf.project) for leaf in changes[0].leaves] == [("C1.2.1/1", "bank")]
    assert changes[1].new is None
    grown = scored(model_of(*MODEL.practices.values(), practice("C2.1.1")), projects=("bank",))
    added = next(
        change for change in difference(scored(MODEL, projects=("bank",)), grown) if change.practice == "C2.1.1"
    )
    assert (added.old, [leaf.old for leaf in added.leaves]) == (None, [None])


def test_a_float_has_no_canonical_form() -> None:
    with pytest.raises(TypeError, match="float"):
        replace(_card(), findings=(Finding("X", None, None, 0.5),)).to_json()  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(("value", "shown"), [("-1/50", "-0.0200"), ("-1/3", "-0.3333"), ("-1/1000000", "0.0000")])
def test_a_negative_number_is_rounded_like_a_positive_one(value: str, shown: str) -> None:
    assert rounded(Fraction(value)) == shown
