from __future__ import annotations

from fractions import Fraction

import pytest

from maturity.answers import parse_answers
from maturity.gaps import Gap, GapKind, Shortfall, gaps
from maturity.schema import load_model
from maturity.scorecard import Rule, Scorecard
from maturity.scoring import score
from maturity.telling import deciding_rule, first_steps, gap_lines, gap_sentence, level_lines, practice_lines
from tests.maturity.models import AS_OF

MODEL = load_model()


@pytest.fixture(scope="module")
def scorecard() -> Scorecard:
    answers = parse_answers("claims: {DG1.1.1: F, DG1.2.1: L}", "answers.yaml", MODEL)
    return score(MODEL, [], answers, projects=["p"], as_of=AS_OF)


def gap(kind: GapKind, practice: str, check: str, indicator: str | None = None) -> Gap:
    short = Shortfall("p", Fraction(0), Rule("below_target"), Fraction(41, 50), 50)
    return Gap(
        kind,
        "DG",
        practice.partition(".")[0],
        2,
        practice,
        check,
        Fraction(0),
        True,
        False,
        Fraction(1),
        Fraction(1),
        (short,),
        indicator,
        ">=" if indicator else None,
        Fraction(9, 10) if indicator else None,
    )


@pytest.mark.parametrize(
    ("found", "english", "chinese"),
    [
        (
            gap(GapKind.IMPROVE, "DG1.2.1", "DG1.2.1/1", "DAT-02"),
            "is 82.0 %, needed ≥ 90.0 %",
            "为 82.0 %，要求 ≥ 90.0 %",
        ),
        (gap(GapKind.LOG, "DG1.2.1", "DG1.2.1/1", "DAT-02"), "log it, so that", "补充记录"),
        (gap(GapKind.CONNECT, "DG1.2.1", "DG1.2.1/1", "DAT-02"), "connect or refresh a source", "接入或刷新"),
        (gap(GapKind.AFFIRM, "DG1.1.1", "human"), "let an assessor confirm “Source inventory", "请评估员确认“"),
        (gap(GapKind.AFFIRM, "DG1.3.1", "DG1.3.1/1"), "connect a source that shows", "其他系统导出记录"),
    ],
)
def test_a_gap_says_what_to_do_in_either_language(found: Gap, english: str, chinese: str) -> None:
    assert english in gap_sentence(MODEL, found, "en")
    assert chinese in gap_sentence(MODEL, found, "zh")


def test_the_first_steps_name_each_practice_once(scorecard: Scorecard) -> None:
    found = gaps(MODEL, scorecard)
    steps = first_steps(found, 10)
    assert len({step.practice for step in steps}) == len(steps) == 10
    assert steps[0] == found[0]
    assert len(list(gap_lines(MODEL, steps, "en"))) == 10


@pytest.mark.parametrize(
    ("language", "level", "name"), [("en", "Level 0 (DG 0", "Data Governance"), ("zh", "0 级（DG 0", "数据治理")]
)
def test_the_levels_are_told_with_all_capabilities(scorecard: Scorecard, language: str, level: str, name: str) -> None:
    lines = list(level_lines(MODEL, scorecard, language))
    assert level in lines[1]
    assert any(name in line for line in lines)
    assert sum(line.startswith("  ") for line in lines) == 18


def test_a_practice_is_explained_from_the_leaves_up(scorecard: Scorecard) -> None:
    text = "\n".join(practice_lines(MODEL, scorecard, "DG1.1.1", "en"))
    assert "claimed 1.0000, evidenced 0.0000, verified 0.0000, rated 0.3300, possible 1.0000" in text


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (Rule("one_rating"), False),
        (Rule("mean_of_parts", {"parts": "1"}), False),
        (Rule("mean_of_parts", {"parts": "2"}), True),
        (Rule("no_source"), True),
    ],
)
def test_a_rule_is_told_only_when_the_numbers_do_not_say_it_already(rule: Rule, told: bool) -> None:
    assert bool(deciding_rule(rule, "en")) is told
