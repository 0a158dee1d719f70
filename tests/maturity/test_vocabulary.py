"""The vocabulary: what it accepts, and that every fault is named with its place."""

from __future__ import annotations

from fractions import Fraction

import pytest

from maturity.measures import HOLDS, POPULATIONS, RELATIONS, All, Compare, How, Metric, NamesLike, Number, Related, Unit
from maturity.reader import read_yaml
from maturity.schema import BUNDLED
from maturity.vocabulary import parse_measure


def parsed(text):
    faults = []
    return parse_measure(read_yaml(text, "t.yaml", faults)), [f"{fault.key}: {fault.message}" for fault in faults]


def test_a_measure_is_a_value_and_equal_measures_are_equal():
    text = "{population: TRAIN, share: {all: [{metric: acc, ge: '0.3'}, {metrics: 'a/<x>', at_least: 2}]}}"
    measure, faults = parsed(text)
    assert faults == []
    assert (measure.population, measure.how) == (POPULATIONS["TRAIN"], How.SHARE)
    compared = Compare(Metric("acc"), ">=", Number(Fraction(3, 10)))
    assert measure.condition == All((compared, NamesLike("metrics", "a/<x>", 2)))
    assert hash(measure) == hash(parsed(text)[0])


def test_exists_is_a_condition_that_everything_fulfils():
    measure, faults = parsed("{population: TRAIN, share: {some_input: exists}}")
    assert faults == []
    assert measure.condition == Related("some_input", Unit.INPUT, All(()))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[]", ""),
        ("{population: TRAIN}", ""),
        ("{population: TRAIN, share: {param: a}, count: {param: a}}", ""),
        ("{population: NOBODY, share: {param: a}}", "population"),
        ("{share: {param: a}}", "population"),
        ("{population: TRAIN, shares: {param: a}}", "shares"),
        ("{population: TRAIN, share: {prm: a}}", "share"),
        ("{population: TRAIN, share: {param: a, tag: b}}", "share"),
        ("{population: TRAIN, share: {param: 3}}", "share.param"),
        ("{population: TRAIN, share: {param: a, equals: b, in: [c]}}", "share"),
        ("{population: TRAIN, share: {param: a, is: b}}", "share.is"),
        ("{population: TRAIN, share: {param: a, equals: true}}", "share.equals"),
        ("{population: TRAIN, share: {param: a, matches: '('}}", "share.matches"),
        ("{population: TRAIN, share: {param: a, matches: '(a+)+$'}}", "share.matches"),
        ("{population: TRAIN, share: {param: a, matches: '((a*))*'}}", "share.matches"),
        ("{population: TRAIN, share: {param: a, matches: '(a|a)*b'}}", "share.matches"),
        ("{population: TRAIN, share: {param: a, matches: '(?:x(a|b)y){2,}'}}", "share.matches"),
        ("{population: TRAIN, share: {param: a, matches: '([)]a+)+'}}", "share.matches"),
        ("{population: TRAIN, share: {param: a, matches: '.*.*.*.*b'}}", "share.matches"),
        (f"{{population: TRAIN, share: {{param: a, matches: '{'a' * 201}'}}}}", "share.matches"),
        ("{population: TRAIN, share: {param: a, min_length: '4'}}", "share.min_length"),
        ("{population: TRAIN, share: {param: a, heading: 4}}", "share.heading"),
        ("{population: TRAIN, share: {param: a, names: person}}", "share.names"),
        ("{population: TRAIN, share: {field: description}}", "share.field"),
        ("{population: INPUTS, share: {param: a}}", "share.param"),
        ("{population: INPUTS, share: {metric: a}}", "share.metric"),
        ("{population: INPUTS, share: {flag: pinned}}", "share.flag"),
        ("{population: TRAIN, share: {flag: pinned}}", "share.flag"),
        ("{population: INPUTS, share: {metrics: a}}", "share.metrics"),
        ("{population: INPUTS, share: {artifact: [a]}}", "share.artifact"),
        ("{population: RELEASED, share: {member: TRAIN}}", "share.member"),
        ("{population: RELEASED, share: {started_within_days: 3}}", "share.started_within_days"),
        ("{population: TRAIN, share: {holds: second_person}}", "share.holds"),
        ("{population: TRAIN, share: {source_run: {param: a}}}", "share"),
        ("{population: TRAIN, share: {children: {field: digest}}}", "share.children.field"),
        ("{population: TRAIN, share: {children: exists, distinct: {metric: a}}}", "share.distinct"),
        ("{population: TRAIN, share: {every_child: exists, at_least: 2}}", "share.at_least"),
        ("{population: TRAIN, share: {all: []}}", "share.all"),
        ("{population: TRAIN, share: {all: [{not: {}}]}}", "share.all[0].not"),
        ("{population: TRAIN, share: {metric: a, ge: 0.5}}", "share.ge"),
        ("{population: TRAIN, share: {metric: a, above: 3}}", "share.above"),
        ("{population: TRAIN, median: {metric: a, time: b}}", "median"),
        ("{population: TRAIN, median: {metric: a, default: 3}}", "median"),
        ("{population: TRAIN, median: {annotation: [a]}}", "median.annotation"),
        ("{population: TRAIN, median: {ratio: [{metric: a}]}}", "median.ratio"),
        ("{population: INPUTS, median: {metric: a}}", "median.metric"),
        ("{population: RELEASED, latest: {metric: a}}", "latest"),
        ("{function: nothing}", "function"),
        ("{function: alert_rules, population: TRAIN}", "population"),
    ],
)
def test_a_fault_is_named_with_its_place(text, place):
    _, faults = parsed(text)
    assert [fault for fault in faults if fault.startswith(f"{place}: ")], faults


@pytest.mark.parametrize(
    "pattern",
    ["(^|,)(a|b)(,|$)", "(?i)^true$", "[(+*]+x", r"\(a+\)+", "(ab){2,3}", "(a+)?b", "^[a-z]+-[a-z]+-[0-9]{1,4}$"],
)
def test_a_regular_expression_that_ends_soon_is_taken(pattern):
    assert parsed(f"{{population: TRAIN, share: {{param: a, matches: '{pattern}'}}}}")[1] == []


def test_every_fault_of_a_measure_is_reported_at_once():
    _, faults = parsed("{population: NOBODY, where: {prm: a}, share: {all: [{param: 3}, {metric: a, ge: 0.5}]}, x: 1}")
    assert len(faults) == 5


@pytest.mark.parametrize(
    ("text", "streams", "must"),
    [
        ("{population: TRAIN, share: {param: a}}", "runs logged_models", "runs"),
        ("{population: ALL, share: {artifact: [a]}}", "runs artifacts", "runs artifacts"),
        ("{population: ALL, share: {any: [{param: a}, {artifact: [a]}]}}", "runs artifacts", "runs"),
        ("{population: RELEASED, share: {tag: a}}", "registry", "registry"),
        ("{population: RELEASED, share: {metric: a}}", "registry runs", "registry runs"),
        (
            "{population: RELEASED, share: {some_model: {flag: pinned}}}",
            "registry logged_models",
            "registry logged_models",
        ),
        ("{population: PROD, max: {metric: a}}", "registry runs", "registry runs"),
        ("{function: lead_time_known}", "registry projects", "registry projects"),
    ],
)
def test_the_streams_follow_from_what_is_used(text, streams, must):
    measure, faults = parsed(text)
    assert faults == []
    assert (measure.streams, measure.must) == (set(streams.split()), set(must.split()))


def test_every_relation_and_named_condition_is_used_by_an_indicator():
    text = "\n".join(path.read_text(encoding="utf-8") for path in (BUNDLED / "indicators").glob("*.yaml"))
    assert [name for _, name in RELATIONS if f"{name}:" not in text] == []
    assert [name for name in HOLDS if f"holds: {name}" not in text] == []
