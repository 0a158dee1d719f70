"""The PDF: what it says, that it is tagged and the same every time, and that no text from outside can break it."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pypdf
import pytest

from assessments.reports import pdf
from assessments.reports.document import ReportDocument
from assessments.reports.drawing import drawable, radar_picture
from assessments.reports.glyphs import MISSING
from maturity.answers import Answers
from maturity.schema import load_model
from maturity.scoring import score
from tests.assessments.reports import samples

HOSTILE = [
    '#read("/etc/passwd") #panic() *bold* _x_ $a^2$ \\ @ref <label> = heading // gone',
    "x" * 5000,
    "长" * 5000,
    "😀 שלום עולם \u202etxt.exe\u202c ﷽ \x00\x1b[31m \ud800",
    "] } ) #{ [ ( `raw` ``` /* ",
    "",
    " \n\t ",
]


def read(content: bytes) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(content))


def text_of(content: bytes) -> str:
    """The whole text, white space made even and invisible places to break taken out."""
    pages = "\n".join(page.extract_text() for page in read(content).pages)
    return " ".join(pages.replace("\u200b", "").split())


@pytest.fixture(scope="module")
def english() -> bytes:
    return pdf.render(samples.document("en"))


@pytest.fixture(scope="module")
def chinese() -> bytes:
    return pdf.render(samples.document("zh", demo=True))


def test_the_pdf_says_the_level_the_organisation_and_how_to_verify(english: bytes) -> None:
    document, text = samples.document("en"), text_of(english)
    assert document.result.sentence in text
    assert document.result.interval in text
    assert "Example Works" in text
    assert f"python -m maturity verify FILE --id {samples.PACK_ID}" in text
    for capability in document.capabilities:
        assert f"{capability.standing.id} {capability.standing.name}" in text
    assert MISSING not in text


def test_the_chinese_pdf_speaks_chinese(chinese: bytes) -> None:
    text = text_of(chinese).replace(" ", "")
    for words in (
        "深度学习工程化成熟度报告",
        "晋级障碍",
        "方法与局限",
        "数据来源、血缘与版本",
        "演示：证据、文档和自报均来自内置的参考流水线",
    ):
        assert words in text
    assert MISSING not in text
    assert read(chinese).trailer["/Root"]["/Lang"] == "zh-CN"


def test_the_pdf_is_tagged_titled_and_has_bookmarks(english: bytes) -> None:
    reader = read(english)
    root: Any = reader.trailer["/Root"]
    assert len(reader.pages) > 3
    assert root["/MarkInfo"]["/Marked"].value is True
    assert root["/Lang"].startswith("en")
    assert "/StructTreeRoot" in root
    assert b"pdfuaid:part" in root["/Metadata"].get_object().get_data()
    assert reader.metadata is not None
    assert reader.metadata.title == "Deep learning engineering maturity report – Example Works"
    titles = [one.title for one in reader.outline if not isinstance(one, list)]
    assert "What blocks the next level" in titles


def test_ids_are_links_to_where_they_were_read(english: bytes) -> None:
    links = {
        annotation.get_object()["/A"]["/URI"]
        for page in read(english).pages
        for annotation in page.get("/Annots", ())
        if "/URI" in annotation.get_object().get("/A", {})
    }
    cited = samples.document("en").blockers[10].evidence[0].failing.ids[0]
    assert cited.link in links
    assert all(link.startswith("https://mlflow.example/") for link in links)


def test_an_address_that_is_not_of_the_web_is_no_link() -> None:
    data = drawable(samples.document(links=lambda unit, fact: "javascript:alert(1)"))
    assert "javascript" not in str(data)


def test_the_same_document_gives_the_same_bytes(english: bytes) -> None:
    again = samples.document("en")
    assert pdf.render(again) == english
    metadata = read(english).metadata
    assert metadata is not None
    assert metadata.creation_date is not None
    assert metadata.creation_date.date() == samples.AS_OF


def hostile_document(text: str) -> ReportDocument:
    """An empty organisation, for speed, whose every text from outside is the given one."""
    card = score(load_model(), [], Answers(), projects=(), as_of=samples.AS_OF)
    statement = replace(
        samples.STATEMENT, base_url="https://" + text, server_version=text, notes=(text, text),
        streams=tuple(replace(stream, reason=text) for stream in samples.STATEMENT.streams),
    )  # fmt: skip
    card = replace(card, projects=(text,))
    return samples.document(card=card, organisation=text, statements={text: statement})


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_from_outside_can_break_the_pdf_or_be_markup(text: str) -> None:
    found = text_of(pdf.render(hostile_document(text)))
    assert "root:" not in found
    if text.startswith("#read"):
        assert '#read("/etc/passwd") #panic() *bold* _x_ $a^2$ \\ @ref <label> = heading // gone' in found
    if len(text) == 5000:
        assert "..." in found
        assert text[:601] not in found.replace(" ", "")
    if "😀" in text:
        assert MISSING in found


@pytest.mark.parametrize(("letter", "most"), [("W", 80), ("a", 130)])
def test_a_word_of_thousands_of_letters_is_broken_at_the_margin(letter: str, most: int) -> None:
    """``most`` is more letters than a line holds, and far less than there are."""
    pages = read(pdf.render(hostile_document(letter * 5000))).pages
    lines = [line.replace("\u200b", "") for page in pages for line in page.extract_text().splitlines()]
    longest = max(line.count(letter) for line in lines if line.count(letter) > 20)
    assert longest < most


def test_labels_reach_the_radar_as_words() -> None:
    document = samples.document()
    axes = (replace(document.radar.axes[0], key="<&>", name="\x00"), *document.radar.axes[1:])
    picture = radar_picture(replace(document, radar=replace(document.radar, axes=axes)))
    assert "&lt;&amp;&gt;" in picture
    assert "\x00" not in picture


def test_a_failure_of_the_typesetter_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.typ"
    broken.write_text('#panic("the template is broken")')
    monkeypatch.setattr(pdf, "TEMPLATE", broken)
    with pytest.raises(pdf.ReportError, match="the template is broken"):
        pdf.render(samples.document())


def test_typesetting_that_takes_too_long_is_ended() -> None:
    with pytest.raises(pdf.ReportError, match=r"longer than 0\.01 seconds"):
        pdf.render(samples.document(), seconds=0.01)


@pytest.mark.parametrize("source", ['#read("/etc/passwd")', '#read("../secret")', '#import "@preview/a:1.0.0": b'])
def test_a_template_can_read_nothing_outside_its_folder(
    source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nosy = tmp_path / "nosy.typ"
    nosy.write_text(source)
    monkeypatch.setattr(pdf, "TEMPLATE", nosy)
    with pytest.raises(pdf.ReportError):
        pdf.render(samples.document())


def test_the_typesetter_is_not_loaded_into_the_process_that_asks(english: bytes) -> None:
    assert english.startswith(b"%PDF-")
    assert "typst" not in sys.modules
