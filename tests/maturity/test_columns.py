"""Sets and values held in arrays say what plain sets and dictionaries would say."""

from __future__ import annotations

import operator
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maturity.columns import Coded, Exact, Groups, Same
from maturity.keyed import Keyed
from maturity.rolls import Ids, Roll, in_order

NAMES = [f"s:{letter}" for letter in "abcdefgh"] + ["s-b:a", "s.b:a"]
ROLL = Roll.of_texts(NAMES)
some = st.frozensets(st.sampled_from([*NAMES, "s:none"]))
numbers = st.floats(allow_nan=False, allow_infinity=False, width=64)
OPS = {"==": operator.eq, ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


def exact(values: list[float]) -> Exact:
    return Exact(Roll.of_texts(f"s:{n:03}" for n in range(len(values))), np.array(values), np.ones(len(values), bool))


@given(some, some)
def test_sets_of_a_roll_are_sets(one: frozenset[str], other: frozenset[str]) -> None:
    first, second = ROLL.only(one), ROLL.only(other)
    known = one & set(NAMES)
    assert first == known
    assert len(first) == len(known)
    assert in_order(first) == tuple(sorted(known))
    assert in_order(first & second) == tuple(sorted(known & other))
    assert set(first | second) == known | (other & set(NAMES))
    assert in_order(first - second) == tuple(sorted(known - other))
    assert set(first & other) == set(other & first) == known & other
    assert set(other - first) == other - known
    assert set(first | other) == known | other


def test_equal_sets_give_the_same_tuple() -> None:
    assert ROLL.only(NAMES[:3]).in_order() is ROLL.only(reversed(NAMES[:3])).in_order()


def test_the_sources_of_a_set_are_those_of_its_ids() -> None:
    assert ROLL.only(["s:c", "s.b:a"]).sources() == {"s", "s.b"}
    assert set(ROLL.all().of_sources(lambda source: source == "s-b")) == {"s-b:a"}


@given(st.lists(numbers | st.sampled_from([0.1, 0.3, 0.5, -0.0, 0.0]), max_size=30), st.sampled_from(sorted(OPS)),
       st.fractions() | st.sampled_from([Fraction(1, 10), Fraction(3, 10), Fraction(0)]))  # fmt: skip
def test_metrics_compare_with_a_bound_as_their_decimals_do(values: list[float], op: str, bound: Fraction) -> None:
    column = exact(values)
    expected = {key for key, value in column.items() if OPS[op](value, bound)}
    assert set(column.against(op, bound)) == expected
    assert column.compared(op, OPS[op], Same(column.roll, bound)) == expected
    turned = Same(column.roll, bound).compared(op, OPS[op], column)
    assert turned == {key for key, value in column.items() if OPS[op](bound, value)}


@given(st.lists(st.tuples(numbers, numbers), max_size=30), st.sampled_from(sorted(OPS)))
def test_two_metrics_compare_as_their_decimals_do(pairs: list[tuple[float, float]], op: str) -> None:
    one, other = exact([a for a, _ in pairs]), exact([b for _, b in pairs])
    expected = {key for key in one if OPS[op](one[key], other[key])}
    assert set(one.compared(op, OPS[op], other) or ()) == expected


def test_values_lie_over_others() -> None:
    above, below = Coded.of(ROLL, {"s:a": "x"}), Coded.of(ROLL, {"s:a": "y", "s:b": "z", "s:none": "w"})
    assert dict(above.over(below)) == {"s:a": "x", "s:b": "z"}
    assert dict(below.map(lambda text: None if text == "y" else text.upper())) == {"s:b": "Z"}


def test_groups_give_the_members_of_an_owner_in_order() -> None:
    owners = Roll.of_texts(["s:1", "s:2", "s:3"])
    groups = Groups(owners, ROLL, np.array([0, 1, 0, -1, -1, -1, 1, 1, -1, 0], dtype=np.int32))
    expected: dict[str, tuple[str, ...]] = {}
    for owner, place in (("s:1", 0), ("s:2", 1)):
        members = [name for name, own in zip(ROLL.names, groups.owner, strict=True) if own == place]
        expected[owner] = tuple(members)
    assert dict(groups) == expected
    assert set(groups.owning(4)) == set()
    assert "s:3" not in groups


@pytest.mark.parametrize("kind", ["object", "category"])
def test_a_text_is_stripped_a_blank_one_is_absent_and_the_last_row_counts(kind: str) -> None:
    rows = [
        ("a", "k", " x "),
        ("b", "k", "\u2003"),
        ("c", "k", None),
        ("a", "k", "y"),
        ("d", "k", "z"),
        ("a", "j", "w"),
    ]
    frame = pd.DataFrame(rows, columns=["run", "key", "value"], dtype="object")
    if kind == "category":
        frame = frame.astype({"run": "category", "key": "category", "value": "str"})
    keyed = Keyed(frame, "run", Roll.of_texts(["a", "b", "c"]))
    assert dict(keyed.of("k")) == {"a": "y"}
    assert dict(keyed.of("none")) == {}
    places, names = keyed.named_like("**")
    assert sorted(zip(places.tolist(), names.tolist(), strict=True)) == [(0, 0), (0, 1), (0, 1)]


def test_a_number_that_is_not_finite_is_absent() -> None:
    rows = [("a", "k", float("nan")), ("b", "k", float("-inf")), ("c", "k", 1.797e308), ("d", "k", 2.5)]
    keyed = Keyed(pd.DataFrame(rows, columns=["run", "key", "value"]), "run")
    assert dict(keyed.of("k")) == {"d": 2.5}
    assert keyed.keys_like("k") == {"k": "k"}


def test_an_empty_roll_holds_nothing() -> None:
    empty = Roll(pa.array([], pa.large_string()))
    assert in_order(Ids(empty, np.zeros(0, bool))) == ()
    assert empty.place("a") == -1
