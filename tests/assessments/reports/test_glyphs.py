"""Text is made to fit the font: what it cannot show is replaced visibly, what is too long is cut."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assessments.reports.glyphs import MISSING, breakable, coverage, fit
from assessments.reports.labels import labels
from maturity.schema import load_model


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("深度学习", "深度学习"),
        ("a\nb\t c\u2009d", "a b c d"),
        ("e\u0301", "é"),
        ("\U0001d7d8", "0"),
        ("ﬁt", "fit"),
        ("😀", MISSING),
        ("שלום", MISSING * 4),
        ("a\u202eb\u200bc", "abc"),
        ("\x00\x1b", MISSING * 2),
        ("\ud800", MISSING),
        ("", ""),
    ],
)
def test_a_character_without_a_glyph_is_replaced_visibly(text: str, shown: str) -> None:
    assert fit(text, 100) == shown


def test_a_long_text_is_cut_with_an_ellipsis() -> None:
    assert fit("x" * 5000, 20) == "x" * 19 + "…"
    assert fit("x" * 20, 20) == "x" * 20


@given(st.text(max_size=200), st.integers(2, 50))
def test_whatever_is_written_the_font_can_show_it_within_the_length(text: str, most: int) -> None:
    shown = fit(text, most)
    assert len(shown) <= most
    assert all(ord(character) in coverage() for character in shown)
    assert not any(unicodedata.category(character) == "Cc" for character in shown)


def test_every_word_of_ours_and_of_the_model_is_in_the_font() -> None:
    ours = "".join(text for language in ("en", "zh") for text in labels(language).values())
    model = b"".join(load_model().files.values()).decode()
    assert set(map(ord, ours + model)) - coverage() - {ord("\n")} == set()


def test_a_long_word_may_be_broken_but_never_a_hash_that_somebody_copies() -> None:
    assert breakable("a" * 24) == "a" * 24
    assert breakable("x " + "a" * 30) == "x " + "\u200b".join("a" * 30)
    assert breakable("--id " + "ab" * 32) == "--id " + "ab" * 32
    assert "\u200b" in breakable("https://" + "a" * 64)
