"""The answers file: what it may say, and that every mistake in it is named at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from fractions import Fraction

import pytest

from maturity.answers import Answers, Claim, Verdict, Waiver, answer_faults, parse_answers
from maturity.reader import ModelError
from tests.maturity.models import answers, claimed, judged, model_of, practice, stated, waived

MODEL = model_of(
    practice("C1.1.1", ["document", "NEUTRAL >= 0.5"], combine="any", scope="project"),
    practice("C1.2.1", ["NEEDED >= 0.9"]),
    practice("C1.2.2", ["interview"], waivable=True),
    practice("C1.3.1", ["repo"], scope="project"),
)
FILE = """\
claims:
  C1.1.1: {'*': L, fraud: P}
  C1.2.1: N
verdicts:
- id: V1
  practice: C1.1.1
  project: fraud
  kind: document
  code: F
  dated: 2025-03-01
  by: An Assessor
  reason: inventory lists all six sources
- id: V2
  check: C1.2.1/1
  kind: export
  value: '0.95'
  n: 50
  dated: '2025-03-02'
  by: An Assessor
  reason: hash-stored export
- id: V3
  check: C1.3.1/1
  project: fraud
  kind: export
  value: 1
  dated: 2025-03-02
  by: An Assessor
  reason: archive of the repository
waivers:
- practice: C1.2.2
  reason: no human-made labels
  justification: the labels are sensor readings
  confirmed_by: An Assessor
  until: 2026-03-01
- check: C1.1.1/2
  project: fraud
  reason: nothing compressed
  justification: the model is served as trained
  confirmed_by: An Assessor
"""


def test_an_answers_file_is_read_whole() -> None:
    found = parse_answers(FILE, "answers.yaml", MODEL, projects=("fraud", "churn"))
    assert found.claims == (Claim("C1.1.1", None, "L"), Claim("C1.1.1", "fraud", "P"), Claim("C1.2.1", None, "N"))
    assert found.verdicts[0] == Verdict(
        "V1", "C1.1.1", "fraud", "document", date(2025, 3, 1), "An Assessor", "inventory lists all six sources", "F"
    )
    assert (found.verdicts[1].value, found.verdicts[1].n, found.verdicts[1].on) == (Fraction("0.95"), 50, "C1.2.1/1")
    assert found.verdicts[1].dated == date(2025, 3, 2)
    assert (found.verdicts[2].value, found.verdicts[2].n) == (1, None)
    assert found.waivers[0].until == date(2026, 3, 1)
    assert (found.waivers[1].on, found.waivers[1].until) == ("C1.1.1/2", None)
    assert answer_faults(MODEL, found) == []


def test_answers_read_back_as_they_were() -> None:
    found = parse_answers(FILE, "answers.yaml", MODEL)
    assert Answers.from_json(found.to_json()) == found
    with pytest.raises(ValueError, match="claims: 0: Claim has no field 'practise'"):
        Answers.from_json({"claims": [{"practise": "C1.1.1"}]})


def test_an_empty_mapping_is_no_answers() -> None:
    assert parse_answers("{}", "answers.yaml", MODEL) == Answers()


VERDICT = "verdicts:\n- {id: V, by: A, reason: r, dated: 2025-03-01, "
DOCUMENT = "kind: document, practice: C1.2.2, code: F}"
WAIVER = "waivers:\n- {reason: r, justification: j, confirmed_by: A, "


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("claims: {C9.1.1: F}", "claims.C9.1.1", "unknown practice 'C9.1.1'"),
        ("claims: {C1.2.1: G}", "claims.C1.2.1", "must be one of N, P, L, F, not 'G'"),
        ("claims: {C1.2.1: {fraud: F}}", "claims.C1.2.1.fraud", "rated once for the organisation"),
        ("claims: {C1.1.1: {nobody: F}}", "claims.C1.1.1.nobody", "unknown project 'nobody'"),
        ("claims: [F]", "claims", "must be a mapping"),
        ("claim: {}", "claim", "unknown key"),
        ("- 1", "", "must be a mapping"),
        (VERDICT + "kind: rumour, practice: C1.2.2, code: F}", "verdicts[0].kind", "must be one of document"),
        (VERDICT + "kind: document, practice: C9, code: F}", "verdicts[0].practice", "unknown practice 'C9'"),
        (VERDICT + "kind: document, practice: C1.2.1, code: F}", "verdicts[0].practice", "no part that a document"),
        (VERDICT + "kind: document, practice: C1.2.2}", "verdicts[0].code", "must be one of N, P, L, F"),
        (VERDICT + "kind: interview, practice: C1.2.2, code: F, value: 1}", "verdicts[0].value", "carries a code"),
        (VERDICT + "kind: interview, practice: C1.2.2, project: fraud, code: F}", "verdicts[0].project", "rated once"),
        (VERDICT + "kind: export, check: C1.2.2/1, value: 1, n: 9}", "verdicts[0].check", "judge it by a verdict"),
        (VERDICT + "kind: export, check: C1.2.1/9, value: 1, n: 9}", "verdicts[0].check", "unknown check"),
        (VERDICT + "kind: export, check: C1.2.1/1, value: 1}", "verdicts[0].n", "is missing"),
        (VERDICT + "kind: export, check: C1.2.1/1, n: 9}", "verdicts[0].value", "is missing"),
        (VERDICT + "kind: export, check: C1.2.1/1, n: 9, value: 0.9}", "verdicts[0].value", "as text"),
        (VERDICT + "kind: export, check: C1.2.1/1, n: 9, value: 1, code: F}", "verdicts[0].code", "not a code"),
        (VERDICT + "kind: export, check: C1.1.1/2, n: 9, value: 1}", "verdicts[0].project", "is missing"),
        (VERDICT.replace("2025-03-01", "'2025-02-30'") + DOCUMENT, "verdicts[0].dated", "must be a date"),
        (VERDICT.replace("2025-03-01", "soon") + DOCUMENT, "verdicts[0].dated", "must be a date"),
        (VERDICT.replace("2025-03-01", "2025-03-01 10:00:00") + DOCUMENT, "verdicts[0].dated", "must be a date"),
        (VERDICT.replace("by: A, ", "") + DOCUMENT, "verdicts[0].by", "is missing"),
        (WAIVER + "practice: C1.2.1}", "waivers[0].practice", "does not permit C1.2.1 to be not applicable"),
        (WAIVER + "practice: C9}", "waivers[0].practice", "unknown practice or check"),
        (WAIVER + "check: C1.2.2/1}", "waivers[0].check", "only a machine check"),
        (WAIVER + "practice: C1.2.2, check: C1.2.1/1}", "waivers[0].check", "not both"),
        (WAIVER + "practice: C1.2.2, until: never}", "waivers[0].until", "must be a date"),
        (WAIVER.replace("justification: j, ", "") + "practice: C1.2.2}", "waivers[0].justification", "is missing"),
        (WAIVER.replace("confirmed_by: A", "confirmed_by: ' '") + "practice: C1.2.2}", "waivers[0].confirmed_by", ""),
    ],
)
def test_a_mistake_is_named_with_its_place_and_once(text: str, place: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse_answers(text, "answers.yaml", MODEL, projects=("fraud",))
    (fault,) = caught.value.faults
    assert (fault.file, fault.key) == ("answers.yaml", place)
    assert message in fault.message


def test_all_mistakes_are_named_at_once() -> None:
    text = "claims: {C9.1.1: F, C1.2.1: G}\n" + WAIVER + "practice: C1.2.1}\n" + VERDICT + "kind: x, practice: y}\n"
    with pytest.raises(ModelError) as caught:
        parse_answers(text, "answers.yaml", MODEL)
    places = {fault.key.split(".")[0] for fault in caught.value.faults}
    assert places == {"claims", "waivers[0]", "verdicts[0]"}


def test_what_is_given_twice_is_named() -> None:
    entry = "{id: V, by: A, reason: r, dated: 2025-03-01, kind: document, practice: C1.2.2, code: F}"
    twice = f"verdicts:\n- {entry}\n- {entry}\n"
    with pytest.raises(ModelError, match=r"verdicts\.V: is given twice"):
        parse_answers(twice, "answers.yaml", MODEL)
    with pytest.raises(ModelError, match="given twice"):
        parse_answers("claims:\n  C1.2.1: F\n  C1.2.1: N\n", "answers.yaml", MODEL)


def test_text_that_is_no_yaml_or_far_too_long_is_refused() -> None:
    with pytest.raises(ModelError):
        parse_answers("claims: {", "answers.yaml", MODEL)
    with pytest.raises(ModelError, match="longer than"):
        parse_answers("#" * 2_000_001, "answers.yaml", MODEL)


@pytest.mark.parametrize(
    ("items", "count"),
    [
        (answers(claimed("C1.2.1", "F"), judged("document", "C1.1.1", "F"), waived("C1.2.2")), 0),
        (answers(claimed("C1.2.1", "F"), claimed("C1.2.1", "N")), 1),
        (answers(waived("C1.1.1/2"), waived("C1.1.1/2", "fraud")), 0),
        (answers(waived("C1.1.1/1")), 1),
        (answers(stated("export", "C1.2.1/1", "1"), replace(stated("export", "C1.2.1/1", "1"), by="")), 2),
        (answers(replace(judged("document", "C1.1.1", "F"), kind="hearsay")), 1),  # type: ignore[arg-type]
    ],
)
def test_answers_put_together_elsewhere_are_checked_by_the_same_rules(items: Answers, count: int) -> None:
    assert len(answer_faults(MODEL, items)) == count


def test_a_waiver_that_is_not_confirmed_is_a_mistake_of_a_file_but_not_of_what_is_still_being_written() -> None:
    assert answer_faults(MODEL, Answers(waivers=(Waiver("C1.2.2", None, "r", "", ""),))) == []
