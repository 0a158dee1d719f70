"""Every indicator proves itself: its examples, turned into facts and measured, come out as they say."""

from __future__ import annotations

from fractions import Fraction

import pytest

from maturity import schema
from maturity.checks import measure_check
from maturity.examples import AS_OF, CASES, KEYS, facts_of
from maturity.indicators import measure
from maturity.populations import Populations
from maturity.reader import Fault, read_yaml
from maturity.schema import BUNDLED, Indicator, Model, load_model
from maturity.scorecard import Outcome
from tests.maturity.small import small_model

_REQUIRED = (
    *(f"EXP-0{n}" for n in (1, 2, 3)),
    *(f"DAT-0{n}" for n in (1, 2, 3, 4, 5)),
    *(f"REG-0{n}" for n in (1, 2, 3, 4, 5, 6)),
    *(f"OPT-0{n}" for n in (1, 6, 7)),
    *("EVAL-01", "ARC-01", "CT-01", "DOC-01", "DEL-01", "DEL-03"),
)


def _indicators() -> dict[str, Indicator]:
    faults: list[Fault] = []
    files = sorted((BUNDLED / "indicators").glob("*.yaml"))
    nodes = [read_yaml(path.read_text(encoding="utf-8"), path.name, faults) for path in files]
    found = dict(schema._indicators(nodes))
    assert faults == []
    return found


def _first_targets() -> dict[str, tuple[str, Fraction]]:
    """The operator and target of the first practice that uses an indicator."""
    found: dict[str, tuple[str, Fraction]] = {}
    for path in sorted(BUNDLED.glob("*-*.yaml")):
        node = read_yaml(path.read_text(encoding="utf-8"), path.name, [])
        for practice in node.at("practices").list():
            for check in practice.at("evidence").list():
                if check.at("kind").value == "mlflow":
                    key, op = check.at("indicator").str(), check.at("op").str()
                    found.setdefault(key, (op, check.at("target").fraction(least=None)))
    return found


INDICATORS = _indicators()
TARGETS = _first_targets()
EXAMPLES = [
    pytest.param(indicator, example, id=f"{key}-{example['case']}")
    for key, indicator in INDICATORS.items()
    for example in indicator.examples
]

CHECKS = {check.key: check for check in load_model().checks.values() if check.kind in ("pipeline", "repo")}
CHECK_EXAMPLES = [
    pytest.param(check, example, id=f"{key}-{example['case']}")
    for key, check in CHECKS.items()
    for example in check.examples
]


@pytest.fixture(scope="module")
def model() -> Model:
    return small_model(INDICATORS)


@pytest.mark.parametrize(("indicator", "example"), EXAMPLES)
def test_an_example_comes_out_as_it_says(model, indicator, example):
    finding = measure(model, indicator, facts_of(example), as_of=AS_OF, project=example.get("project"))
    op, target = TARGETS[indicator.id]
    outcome, _, value = example["expect"].partition(" ")
    assert finding.judge(example.get("op", op), Fraction(example.get("target", target))) == Outcome(outcome)
    assert finding.value == (Fraction(value) if value else None)
    if value and "/" in value and indicator.type == "share":
        assert f"{finding.numerator}/{finding.denominator}" == value
        assert (len(finding.passing), finding.n) == (finding.numerator, finding.denominator)


@pytest.mark.parametrize("indicator", [i for i in INDICATORS.values() if i.measure], ids=lambda i: i.id)
def test_a_measured_indicator_has_an_example_of_every_kind(indicator):
    cases = {example["case"]: example for example in indicator.examples}
    assert set(CASES) <= set(cases)
    assert len(cases) == len(indicator.examples), "two examples have the same name"
    expected = {case: cases[case]["expect"].partition(" ")[0] for case in CASES[:3]}
    assert expected == {case: case for case in CASES[:3]}
    for case in set(cases) - set(CASES[:3]):
        assert cases[case]["why"].strip()
    assert all(set(example) <= set(KEYS) for example in indicator.examples)


@pytest.mark.parametrize(("check", "example"), CHECK_EXAMPLES)
def test_an_example_of_a_check_comes_out_as_it_says(check, example):
    world = Populations(load_model(), facts_of(example), AS_OF)
    finding = measure_check(world, check, example.get("project"))
    outcome, _, value = example["expect"].partition(" ")
    assert finding.judge(">=", check.target or Fraction(1)) == Outcome(outcome), finding
    assert finding.value == (Fraction(value) if value else None)
    assert (finding.read_at is not None) or finding.value is None, "a finding without a date never counts"


@pytest.mark.parametrize("check", CHECKS.values(), ids=lambda check: check.key)
def test_every_pipeline_and_repository_check_is_computed_and_has_an_example_of_every_kind(check):
    assert check.measure is not None
    cases = {example["case"]: example for example in check.examples}
    assert set(CASES) <= set(cases)
    assert len(cases) == len(check.examples), "two examples have the same name"
    assert {case: cases[case]["expect"].partition(" ")[0] for case in CASES[:3]} == {case: case for case in CASES[:3]}
    for case in set(cases) - set(CASES[:3]):
        assert cases[case]["why"].strip()
    assert all(set(example) <= set(KEYS) for example in check.examples)


@pytest.mark.parametrize("key", ["DEL-01", "DAT-04"])
def test_what_a_project_has_few_of_is_judged_from_one(model, key):
    indicator = INDICATORS[key]
    (example,) = (example for example in indicator.examples if example["case"] == "met")
    finding = measure(model, indicator, facts_of(example), as_of=AS_OF, project=None)
    assert finding.n == 1 >= indicator.n_min


def test_no_first_release_in_the_window_is_no_evidence_and_not_zero():
    assert INDICATORS["DEL-01"].absence == "neutral"


def test_every_indicator_is_measured():
    assert [indicator.id for indicator in INDICATORS.values() if indicator.measure is None] == []
    assert len(INDICATORS) == 96


def test_the_indicators_on_which_the_first_levels_rest_are_measured():
    assert [key for key in _REQUIRED if INDICATORS[key].measure is None] == []


def test_every_definition_stands_in_both_languages():
    for indicator in INDICATORS.values():
        assert len(indicator.definition.en) > 10, indicator.id
        assert any("\u4e00" <= letter <= "\u9fff" for letter in indicator.definition.zh), indicator.id


@pytest.mark.parametrize(
    "example",
    [
        {"run": []},
        {"runs": [{"stages": "train"}]},
        {"runs": [{"inputs": [{"digset": "d"}]}]},
        {"versions": [{"aliases": "prod"}]},
        {"streams": {"no_such_stream": "read"}},
        {"projects": [{"key": "p"}]},
        {"reports": [{"kind": "drift", "row": []}]},
        {"repositories": [{"file": "train"}]},
        {"repositories": [{"changes": [{"approval": 1}]}]},
        {"ci": [{"name": "tests"}]},
    ],
)
def test_a_misspelt_key_of_an_example_is_refused(example):
    with pytest.raises(ValueError, match="has no key"):
        facts_of(example)
