"""Every worked example of the page on scoring, computed again by the engine, in both languages.

An example is a table row whose first cell is a letter and a number; the letter says what is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest

from maturity.leaves import Aim, bounds, freshness
from maturity.levels import capability_index, capability_level, dimension_level, level_states
from maturity.rating import combine, over_projects
from maturity.schema import Check, load_model
from maturity.scorecard import rounded
from maturity.words import wilson
from tests.project.test_docs import LANGUAGES, page, table_rows

MODEL = load_model()
PARAMETERS = MODEL.parameters
CAP = MODEL.rating_scale[-2].high
NONE, YES = "–", "✓"


def number(text: str) -> Fraction | None:
    return None if text == NONE else Fraction(text)


def numbers(text: str) -> list[Fraction]:
    return [Fraction(part) for part in text.split(",") if part.strip() != NONE]


def code(value: str) -> list[str]:
    return [MODEL.code(Fraction(value))]


def fresh(age: str, valid: str) -> list[str]:
    return [rounded(freshness(int(age), int(valid)))]


def achievement(kind: str, value: str, target: str) -> list[str]:
    op, _, limit = target.partition(" ")
    indicator = next(indicator for indicator in MODEL.indicators.values() if indicator.type == kind)
    check = Check("check", "mlflow", indicator.id, ">=" if op == ">=" else "<=", Fraction(limit))
    return [rounded(Aim.of(MODEL, check).achievement(Fraction(value))[0])]


def interval(claim: str, worth: str, is_fresh: str, settled: str) -> list[str]:
    three = bounds(
        Fraction(claim),
        PARAMETERS.claim_only_cap,
        number(worth),
        fresh=is_fresh == YES,
        settled=settled == YES,
    )
    return [rounded(value) for value in three]


def practice(how: str, machine: str, human: str) -> list[str]:
    return [rounded(combine(how, numbers(machine), number(human), CAP))]


def over(ratings: str) -> list[str]:
    cap = PARAMETERS.organisation_cap_if_any_project_N
    return [rounded(over_projects(numbers(ratings), MODEL.rating_scale[0].high, cap))]


def capability(practices: str) -> list[str]:
    any_capability = next(iter(MODEL.capabilities.values()))
    values = {}
    for level, cell in enumerate(practices.split(";"), 1):
        ids = [entry.id for entry in any_capability.at_level(level)]
        for key, text in zip(ids, (part.strip() for part in cell.split(",")), strict=True):
            if text != NONE:
                values[key] = Fraction(text)
    states = level_states(any_capability, values)
    return [str(capability_level(states, PARAMETERS)), rounded(capability_index(states))]


def dimension(levels: str) -> list[str]:
    return [str(dimension_level([int(level) for level in levels.split(",")], PARAMETERS))]


def sureness(counted: str) -> list[str]:
    k, n = (int(part) for part in counted.replace("of", "/").split("/"))
    return [rounded(Fraction(repr(end))) for end in wilson(k, n)]


COMPUTE: dict[str, Callable[..., list[str]]] = {
    "R": code,
    "F": fresh,
    "A": achievement,
    "B": interval,
    "K": practice,
    "P": over,
    "C": capability,
    "D": dimension,
    "W": sureness,
}


def examples(language: str) -> dict[str, list[str]]:
    rows = table_rows(page("scoring", language))
    return {cells[0]: cells[1:] for cells in rows if cells[0][0] in COMPUTE and cells[0][1:].isdigit()}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_worked_example_is_what_the_engine_computes(language: str) -> None:
    found = examples(language)
    assert {key[0] for key in found} == set(COMPUTE)
    for key, cells in found.items():
        inputs = COMPUTE[key[0]].__code__.co_argcount
        assert COMPUTE[key[0]](*cells[:inputs]) == cells[inputs:], key


def test_both_languages_work_the_same_examples() -> None:
    english = {key: [cell.replace(" of ", " / ") for cell in cells] for key, cells in examples("en").items()}
    assert english == examples("zh")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_numbers_in_the_text_are_those_of_the_model(language: str) -> None:
    text = page("scoring", language)
    for kind in MODEL.kinds.values():
        assert kind.validity_days is None or str(kind.validity_days) in text
        assert rounded(kind.confidence, 1).removesuffix(".0") in text
    shown = {PARAMETERS.level_gate: "0.50", PARAMETERS.claim_only_cap: "0.33", PARAMETERS.base_gate: "0.85"}
    for value, words in shown.items():
        assert Fraction(words) == value
        assert words in text
