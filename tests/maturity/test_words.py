"""Findings and rules in words, English and Chinese."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

import pytest

from maturity import measures, phrases
from maturity.examples import AS_OF, facts_of
from maturity.facts import TABLES
from maturity.indicators import measure
from maturity.reader import read_yaml
from maturity.schema import Indicator, Text, load_model
from maturity.scorecard import RULES, Finding, Outcome
from maturity.vocabulary import parse_measure
from maturity.words import number, percent, rule_sentence, sentence, wilson
from tests.maturity.small import small_model

SHARE = parse_measure(read_yaml("{population: TRAIN, share: {param: seed}}", "t.yaml", []))
COUNT = parse_measure(read_yaml("{population: REGISTERED, count: {member: PROD}}", "t.yaml", []))
MEDIAN = parse_measure(read_yaml("{population: RETRAIN, median: {metric: lag}}", "t.yaml", []))
SEEDS = Indicator(
    "T-01", "share", "negative", 5, Text("Runs with a seed", "记录种子的占比"), Text("d", "定义"), SHARE, None, ()
)
LIVE = replace(SEEDS, type="count", name=Text("Versions live", "在线版本数"), measure=COUNT)
LAG = replace(SEEDS, type="bound_le", n_min=1, name=Text("Feedback lag (days)", "反馈滞后（天）"), measure=MEDIAN)
NINETY = Fraction(9, 10)


def share(k, n):
    return Finding("T-01", None, None, Fraction(k, n), n, k, n)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(9, 10, 0.596, 0.982), (45, 50, 0.786, 0.957), (0, 10, 0.0, 0.278), (10, 10, 0.722, 1.0), (1, 1, 0.207, 1.0)],
)
def test_the_wilson_interval_is(k, n, low, high):
    assert wilson(k, n) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))


@pytest.mark.parametrize(("k", "n"), [(0, 0), (2, 1), (-1, 3)])
def test_a_share_that_cannot_be_has_no_interval(k, n):
    with pytest.raises(ValueError, match="no share"):
        wilson(k, n)


@pytest.mark.parametrize(
    ("finding", "indicator", "language", "op", "target", "expected"),
    [
        (
            share(45, 50),
            SEEDS,
            "en",
            ">=",
            NINETY,
            (
                "Runs with a seed: 45 of 50 training runs (90.0 %); needed ≥ 90.0 %: met. "
                "95 % interval 78.6–95.7 %: borderline, because the target lies inside."
            ),
        ),
        (
            share(45, 50),
            SEEDS,
            "zh-hans",
            ">=",
            NINETY,
            (
                "记录种子的占比：50 个训练运行中有 45 个（90.0%）；要求 ≥ 90.0%：达到。"
                "95% 区间 78.6%–95.7%：处于临界，因为目标值落在区间内。"
            ),
        ),
        (
            share(1, 50),
            SEEDS,
            "en",
            ">=",
            NINETY,
            "Runs with a seed: 1 of 50 training runs (2.0 %); needed ≥ 90.0 %: not met. 95 % interval 0.4–10.5 %.",
        ),
        (
            share(1, 1),
            SEEDS,
            "en",
            None,
            None,
            "Runs with a seed: 1 of 1 training run (100.0 %). 95 % interval 20.7–100.0 %.",
        ),
        (
            Finding("T-01", None, None, Fraction(2), 5, unit="version"),
            LIVE,
            "en",
            ">=",
            Fraction(1),
            "Versions live: 2, among 5 registered versions looked at; needed ≥ 1: met.",
        ),
        (
            Finding("T-01", None, None, Fraction(2), 5, unit="version"),
            LIVE,
            "zh",
            ">=",
            Fraction(3),
            "在线版本数：2（共查看 5 个已注册版本）；要求 ≥ 3：未达到。",
        ),
        (
            Finding("T-01", None, None, Fraction(-61, 3), 1),
            LAG,
            "en",
            "<=",
            Fraction(30),
            "Feedback lag (days): −20.3333, from 1 retraining run; needed ≤ 30: met.",
        ),
    ],
)
def test_a_value_is_told(finding, indicator, language, op, target, expected):
    assert sentence(finding, indicator, language, op=op, target=target) == expected


def test_what_was_left_out_and_what_decided_is_told():
    finding = replace(
        share(45, 50),
        details={"unknown": "3", "of": "53", "seen_only": "2", "widest_interval_days": "7"},
    )
    told = sentence(finding, SEEDS, "en")
    assert "Of 53 asked about, 3 could not be judged and are left out." in told
    assert "known only from the reading that first saw the alias: 2 (interval at most 7 d wide)." in told
    least = replace(finding, numerator=None, failing=("s:r9",), details={"decided_by": "s:r1"})
    assert sentence(least, LAG, "en").endswith("The value is that of s:r1. Without a value and left out: 1.")


MODEL = small_model({})
_NO_SEED = replace(SEEDS, measure=None, reason=Text("Nobody reads it yet.", "目前尚未读取。"))
_FILES = replace(SEEDS, measure=parse_measure(read_yaml("{population: TRAIN, share: {artifact: [a]}}", "t", [])))
_NONE = replace(
    SEEDS,
    measure=parse_measure(
        read_yaml("{population: TRAIN, share: {param: a}, not_applicable_if_all: {param: b}}", "t", [])
    ),
)


@pytest.mark.parametrize(
    ("indicator", "example", "en", "zh"),
    [
        (_NO_SEED, {}, "cannot be measured. Nobody reads it yet.", "无法度量。目前尚未读取。"),
        (
            SEEDS,
            {"streams": {"runs": "could_not_look"}},
            "could not look; source s did not let us read its runs (runs said so).",
            "未能查看；数据源 s 的运行未能读取（runs said so）。",
        ),
        (
            LIVE,
            {"streams": {"registry": "not_supported"}},
            "cannot be measured; source s has no model registry (registry said so).",
            "无法度量；数据源 s 不提供模型注册表（registry said so）。",
        ),
        (
            SEEDS,
            {},
            "no evidence; nothing of the kind was found among the training runs from 2025-07-05 to 2026-01-01.",
            "无证据；2025-07-05 至 2026-01-01 的训练运行中没有这类对象。",
        ),
        (
            LAG,
            {"runs": [{"stage": "retrain"}]},
            "no evidence; 1 retraining run looked at, without a value to measure.",
            "无证据；查看了 1 个再训练运行，均没有可度量的取值。",
        ),
        (
            _FILES,
            {"runs": [{"stage": "train", "listed": False}]},
            "could not look; of 1 training run asked about, 1 could not be judged, which is more than half.",
            "未能查看；所涉 1 个训练运行中有 1 个无法判断，超过半数。",
        ),
        (
            _NONE,
            {"runs": [{"stage": "train", "params": {"b": 1}}]},
            (
                "not applicable; all training runs from 2025-07-05 to 2026-01-01 are of a kind "
                "for which the question does not arise."
            ),
            "不适用；2025-07-05 至 2026-01-01 的全部训练运行都不涉及这一问题。",
        ),
    ],
)
def test_why_there_is_no_value_is_told(indicator, example, en, zh):
    finding = measure(MODEL, indicator, facts_of(example), as_of=AS_OF, project=None)
    assert sentence(finding, indicator, "en", op=">=", target=NINETY) == f"{indicator.name.en}: {en}"
    assert sentence(finding, indicator, "zh", op=">=", target=NINETY) == f"{indicator.name.zh}：{zh}"


def test_every_population_stream_and_outcome_has_words():
    assert set(phrases.POPULATIONS) == set(measures.POPULATIONS)
    assert set(phrases.STREAMS) == {table.stream for table in TABLES.values()}
    assert set(phrases.OUTCOMES) == set(Outcome)


_DETAILS = {"n": "50", "until": "2026-05-01", "part": "human", "age": "3", "projects": "4", "n_min": "5"}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("key", sorted(RULES))
def test_every_rule_of_a_scorecard_has_a_sentence_that_uses_its_details(key, language):
    details = {name: _DETAILS.get(name, f"<{name}>") for name in RULES[key]}
    told = rule_sentence(key, details, language)
    assert told
    assert "{" not in told
    assert "–" not in told
    for name in details:
        shown = {"part": "documents and interviews" if language == "en" else "文档与访谈"}.get(name, details[name])
        assert shown in told, name


def test_there_is_no_sentence_for_a_rule_that_does_not_exist():
    assert set(phrases.RULES) == set(RULES)
    with pytest.raises(KeyError):
        rule_sentence("made_up", {}, "en")


def test_exact_numbers_of_a_rule_are_shown_rounded_and_shares_in_percent():
    met = {"value": "2/3", "target": "9/10", "n": "", "age": "0"}
    assert rule_sentence("below_target", met, "en") == (
        "0.6667 is below the target 0.9 and counts in proportion; 0 days old"
    )
    assert "33.3 %" in rule_sentence("not_rated", {"share": "1/3", "least": "1/2"}, "en")
    assert "33.3%" in rule_sentence("not_rated", {"share": "1/3", "least": "1/2"}, "zh")
    assert "–" in rule_sentence("waiver_expired", {"until": ""}, "en")


def test_every_phrase_fills_the_same_gaps_in_both_languages():
    for table in (phrases.FINDING, phrases.NOTES, phrases.REASONS, phrases.RULES):
        for key, text in table.items():
            assert set(re.findall(r"{\w+}", text.en)) == set(re.findall(r"{\w+}", text.zh)), key


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1/3", "0.3333"),
        ("2/3", "0.6667"),
        ("5", "5"),
        ("1/2", "0.5"),
        ("-1/50", "−0.02"),
        ("100", "100"),
        ("0", "0"),
        ("-1/99999", "0"),
    ],
)
def test_a_number_is_shown_as(value, expected):
    assert number(Fraction(value)) == expected


def test_a_percentage_is_rounded_half_up():
    assert percent(Fraction(1, 800), "en") == "0.1 %"
    assert percent(Fraction(3, 2000), "zh") == "0.2%"


@pytest.mark.parametrize(
    ("language", "told"), [("en", "too few to judge (at least 3)"), ("zh", "数量过少，无法判断（至少 3）")]
)
def test_too_few_observations_are_never_called_met(language: str, told: str) -> None:
    indicator = load_model().indicators["EXP-04"]
    finding = Finding("EXP-04", None, None, Fraction(1), 1, 1, 1)
    text = sentence(finding, indicator, language, op=">=", target=Fraction(9, 10))
    assert told in text
    assert "borderline" not in text
    assert "临界" not in text
