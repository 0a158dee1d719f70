"""The YAML reader: what it refuses, what it says, and that it says each thing once."""

from __future__ import annotations

from fractions import Fraction

import pytest

from maturity.reader import Fault, ModelError, Node, read_yaml

BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))


def read(text: str) -> tuple[Node, list[Fault]]:
    faults: list[Fault] = []
    return read_yaml(text, "file.yaml", faults), faults


def node(value: object, key: str = "here") -> Node:
    return Node(value, "file.yaml", key)


def messages(node: Node) -> list[str]:
    return [str(fault) for fault in node.faults]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a: [1, 2\nb: 3\n", "line 2, column 2: expected ',' or ']', but got ':'", id="syntax error"),
        pytest.param("a: 1\nb: 2\na: 3\n", "line 3, column 1: key 'a' is given twice", id="key twice"),
        pytest.param("a:\n  b: {c: 1, c: 2}\n", "line 2, column 13: key 'c' is given twice", id="key twice inside"),
        pytest.param(BOMB, "line 2, column 8: aliases are not allowed", id="alias bomb"),
        pytest.param("a: &a {x: 1}\nb:\n  <<: *a\n", "line 3, column 7: aliases are not allowed", id="merge"),
        pytest.param("a: " + "[" * 100_000, "line 1, column 43: nested deeper than 40 levels", id="deep nesting"),
        pytest.param("on: 1\n", "line 1, column 1: a key must be text, not True", id="key read as a truth value"),
        pytest.param("12: 1\n", "line 1, column 1: a key must be text, not a value of type int", id="key a number"),
        pytest.param("? [a]\n: 1\n", "line 1, column 3: a key must be text, not a value of type list", id="key a list"),
        pytest.param("a: !!bool perhaps\n", "line 1, column 4: tags such as tag:yaml.org,2002:bool are", id="tag"),
        pytest.param("a: !!python/name:os.system x\n", "line 1, column 4: tags such as", id="tag of a language"),
        pytest.param("a: 1\n---\nb: 2\n", "line 2, column 1: but found another document", id="two documents"),
        pytest.param("a: 2026-13-01\n", "not readable as YAML: month must be in 1..12", id="impossible date"),
        pytest.param("a: \x00\n", "not readable as YAML: unacceptable character #x0000", id="control character"),
        pytest.param("", "is empty", id="nothing"),
        pytest.param("# only a comment\n", "is empty", id="only a comment"),
    ],
)
def test_text_that_cannot_be_used_gives_one_fault_with_its_place_and_then_silence(text: str, message: str) -> None:
    found, faults = read(text)
    assert len(faults) == 1
    assert str(faults[0]).startswith(f"file.yaml: {message}"), faults[0]
    found.only("a")
    found.at("a").at("b").str()
    assert len(faults) == 1


def test_a_sound_text_is_read_with_the_place_of_every_value() -> None:
    found, faults = read("name: {en: Yes., zh: 是}\nlist: ['1', 2]\nflag: true\n")
    assert found.at("name").at("zh").str() == "是"
    assert [child.key for child in found.at("list").list()] == ["list[0]", "list[1]"]
    assert found.at("list").at(0).fraction() == 1
    assert found.at("list").at(1).int() == 2
    assert found.at("flag").bool() is True
    assert dict(found.at("name").items())["en"].key == "name.en"
    assert faults == []
    assert found.sound


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        ("0.85", Fraction(17, 20)),
        ("2/3", Fraction(2, 3)),
        ("1", Fraction(1)),
        (1, Fraction(1)),
        ("0.9", Fraction(9, 10)),
        ("0", Fraction(0)),
    ],
)
def test_numbers_are_exact(value: object, exact: Fraction) -> None:
    place = node(value)
    assert place.fraction() == exact
    assert place.faults == []


@pytest.mark.parametrize(
    "value",
    ["much", "", "1/0", "1e999999999", "0x10", "1 000", "٣", "9" * 19, 10**18, "nan", "inf", True, [1], {}, " 1"],
    ids=repr,
)
def test_unreadable_numbers_are_faulted(value: object) -> None:
    place = node(value)
    assert place.fraction() == 0
    assert messages(place) == ["file.yaml: here: must be a number such as '0.85', 2/3 or 1"]


def test_a_binary_float_is_refused_where_an_exact_number_is_meant() -> None:
    place = node(0.85)
    place.fraction()
    assert messages(place) == ["file.yaml: here: write a number that is compared exactly as text, for example '0.85'"]


@pytest.mark.parametrize(
    ("least", "most", "message"),
    [
        (Fraction(0), None, "must be at least 0"),
        (Fraction(0), Fraction(1), "must lie between 0 and 1"),
        (None, Fraction(-3), "must be at most -3"),
    ],
)
def test_a_number_outside_its_bounds_is_faulted(least: Fraction | None, most: Fraction | None, message: str) -> None:
    place = node("-2")
    place.fraction(least=least, most=most)
    assert messages(place) == [f"file.yaml: here: {message}"]


def test_bounds_belong_to_the_range_and_may_be_lifted() -> None:
    place = node("1")
    place.fraction(least=Fraction(1), most=Fraction(1))
    node("-0.02", "there").fraction(least=None)
    assert place.faults == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (False, "must be text, not False; put it in quotes"),
        (12, "must be text, not a value of type int; put it in quotes"),
        (0.5, "must be text, not 0.5; put it in quotes"),
        (None, "is missing"),
        ("", "must not be empty"),
        ("  ", "must not be empty"),
    ],
)
def test_what_is_not_text_is_faulted(value: object, message: str) -> None:
    place = node(value)
    place.str()
    assert messages(place) == [f"file.yaml: here: {message}"]


def test_empty_text_is_fine_where_it_is_asked_for() -> None:
    place = node("")
    assert place.str(empty=True) == ""
    assert place.faults == []


@pytest.mark.parametrize("value", [True, -1, "3", 1.0, None])
def test_what_is_not_a_whole_number_is_faulted(value: object) -> None:
    place = node(value)
    assert place.int(least=2) == 2
    assert len(place.faults) == 1


@pytest.mark.parametrize("value", [1, "true", None])
def test_what_is_not_a_truth_value_is_faulted(value: object) -> None:
    place = node(value)
    assert place.bool() is False
    assert len(place.faults) == 1


def test_a_choice_names_what_is_allowed_and_what_was_given() -> None:
    place = node("x" * 500)
    assert place.choice("any", "all") == "any"
    assert messages(place)[0].startswith("file.yaml: here: must be one of any, all, not 'xxx")
    assert len(messages(place)[0]) < 150


def test_unknown_keys_are_named_one_by_one() -> None:
    place = node({"en": "a", "de": "b", "fr": "c"}, "name")
    place.only("en", "zh")
    assert messages(place) == [
        "file.yaml: name.de: unknown key; allowed are en, zh",
        "file.yaml: name.fr: unknown key; allowed are en, zh",
    ]


@pytest.mark.parametrize(("value", "message"), [(None, "is missing"), ("text", "must be a mapping")])
def test_a_missing_mapping_is_one_fault_not_one_for_each_value_inside(value: object, message: str) -> None:
    top, faults = read("other: 1\n") if value is None else read(f"name: {value}\n")
    name = top.at("name")
    name.only("en", "zh")
    name.at("en").str()
    name.at("zh").at("deeper").list()
    assert list(name.items()) == []
    assert [str(fault) for fault in faults] == [f"file.yaml: name: {message}"]


@pytest.mark.parametrize(
    ("value", "least", "message"),
    [
        (None, 0, "is missing"),
        ({"a": 1}, 0, "must be a list"),
        ([], 1, "needs at least 1 entry"),
        ([1], 2, "needs at least 2 entries"),
    ],
)
def test_a_list_that_is_missing_or_too_short_is_one_fault(value: object, least: int, message: str) -> None:
    place = node(value)
    place.list(least=least)
    assert messages(place) == [f"file.yaml: here: {message}"]


def test_an_entry_past_the_end_of_a_list_is_missing() -> None:
    place = node(["a"])
    place.at(1).str()
    assert messages(place) == ["file.yaml: here[1]: is missing"]


def test_a_place_is_sound_until_something_inside_it_is_wrong() -> None:
    top, _ = read("a: {b: [1, 2]}\nab: {c: 1}\n")
    assert top.at("a").sound
    top.at("a").at("b").at(1).str()
    assert not top.sound
    assert not top.at("a").sound
    assert not top.at("a").at("b").sound
    assert top.at("a").at("b").at(0).sound
    assert top.at("ab").sound


def test_a_fault_of_another_file_does_not_matter_here() -> None:
    faults = [Fault("other.yaml", "a", "is missing")]
    assert read_yaml("a: 1", "file.yaml", faults).at("a").sound


def test_an_error_lists_every_fault_once_in_order() -> None:
    first, second = Fault("a.yaml", "x", "is missing"), Fault("b.yaml", "", "is empty")
    error = ModelError([second, first, second])
    assert error.faults == (first, second)
    assert str(error) == "a.yaml: x: is missing\nb.yaml: is empty"
