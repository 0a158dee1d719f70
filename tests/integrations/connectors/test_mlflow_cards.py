"""Which documents are outlined, and what counts as a heading."""

from __future__ import annotations

import pytest

from integrations.connectors.mlflow_cards import headings, is_card, outline


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "reports/model_card.md",
        "MODEL_CARD.md",
        "MODEL_CARD",
        "docs/card-v2.md",
        "datasheet_train.md",
        "technical_file/risks.md",
        "a/technical_file/risks.MD",
    ],
)
def test_text_documents_are_known_by_name(path: str) -> None:
    assert is_card(path)


@pytest.mark.parametrize(
    "path",
    ["model_card.pkl", "model_card.md.pkl", "MODEL_CARD.bin", "notes.md", "technical_file/scan.pdf", "card/x.json", ""],
)
def test_other_files_are_never_asked_for(path: str) -> None:
    assert not is_card(path)


def test_a_name_without_end_is_no_document() -> None:
    assert not is_card("card" * 1000 + ".md")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# One\n## Two ##\n### C#\n#no\n####### seven\n", ["One", "Two", "C#"]),
        ("One\n===\n\nTwo\n---\n\n---\n", ["One", "Two"]),
        ("```sh\n# comment\n```\n# After\n", ["After"]),
        ("~~~\n```\n# comment\n~~~\n# After\n", ["After"]),
        ("---\nlicense: mit\n---\n# Only\n", ["Only"]),
        ("# A\r\n## B\r\n", ["A", "B"]),
        ("    # code\n", []),
        ("# \x1b[31mred\x00\n", ["[31mred"]),
        ("#\n##  ##\n", []),
        ("", []),
    ],
)
def test_headings_are_those_of_markdown(text: str, found: list[str]) -> None:
    assert headings(text) == found


def test_headings_are_limited_in_number_and_length() -> None:
    found = headings("# " + "x" * 1000 + "\n" + "# y\n" * 1000)
    assert len(found) == 200
    assert found[0] == "x" * 200


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("# " + " " * 250_000 + "x", 1),
        ("#" * 250_000, 0),
        ("=" * 250_000, 0),
        ("`" * 250_000, 0),
        ("# a #" * 50_000, 1),
    ],
    ids=["spaces", "hashes", "underlines", "fences", "closings"],
)
def test_a_hostile_document_is_outlined_in_one_go(text: str, number: int) -> None:
    """A pattern that goes back over its steps would take hours over these."""
    assert len(headings(text)) == number


@pytest.mark.parametrize("content", [b"\x80\x04\x95pickle", "# Grün".encode("latin-1"), b"# a\x00b"])
def test_what_is_no_text_has_no_outline(content: bytes) -> None:
    assert outline("r", "README.md", content) is None


def test_an_outline_holds_no_text_of_the_document() -> None:
    row = outline("r", "README.md", "\ufeff# Zweck\n\ngeheim\n".encode())
    assert row is not None
    assert (row["headings"], row["length"]) == ("Zweck", 16)
    assert "geheim" not in repr(row)
