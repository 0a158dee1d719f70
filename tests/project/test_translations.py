"""The Chinese catalogue of the pages: complete, true to the marked texts, compiled, and in the report's own words."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polib
import pytest
import yaml

from maturity.phrases import OUTCOMES, STREAMS
from maturity.schema import Text
from maturity.scorecard import Outcome
from tests.project.tree import PRODUCT, ROOT
from tests.services import missing

LOCALE = ROOT / "templates" / "locale"
CATALOGUE = LOCALE / "zh_Hans" / "LC_MESSAGES" / "django.po"
TOOLS = ("xgettext", "msgmerge", "msguniq")
HEADERS = {
    "Project-Id-Version",
    "Language",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Plural-Forms",
}
HAN = r"[\u3400-\u9fff]"
ENDS = {".": "。", ":": "：", "…": "…"}
REPORT = ROOT / "templates" / "reports" / "words.yaml"
SHARED = [
    "claimed",
    "evidenced",
    "rated",
    "lower",
    "upper",
    "level",
    "index",
    "confidence",
    "provisional",
    "capability",
]
SHARED += ["project", "result", "radar", "blockers", "demo", "complete", "no_evidence", "not_applicable"]
SHARED += ["could_not_look", "human", "unit_version", "unit_registered_model"]


@pytest.fixture(scope="module")
def catalogue() -> polib.POFile:
    return _with_plurals(polib.pofile(str(CATALOGUE)))


def _with_plurals(file: Any) -> Any:
    """The file with the one plural form that Chinese has as the translation of a text that counts."""
    for entry in file:
        if entry.msgid_plural:
            entry.msgstr = entry.msgstr_plural[0]
    return file


def test_every_text_is_translated_and_no_translation_is_doubtful_or_left_over(catalogue: polib.POFile) -> None:
    assert [entry.msgid for entry in catalogue.untranslated_entries()] == []
    assert [entry.msgid for entry in catalogue.fuzzy_entries()] == []
    assert [entry.msgid for entry in catalogue.obsolete_entries()] == []
    assert len(catalogue) > 150


def test_the_header_names_the_language_but_no_person_and_no_date(catalogue: polib.POFile) -> None:
    assert catalogue.metadata.keys() == HEADERS, "take out what makemessages adds"
    assert catalogue.metadata["Language"] == "zh_Hans"
    assert catalogue.metadata["Plural-Forms"] == "nplurals=1; plural=0;"


@pytest.mark.parametrize(
    "pattern",
    [r"%\(\w+\)[a-z]|%(?!\()", r"</?\w[^>]*>", r"--[a-z-]+", r"^\s|\s$", r"DLE-MM|MLflow|fraud-\*|\d+"],
    ids=["placeholders", "tags", "options", "blank edges", "names and numbers"],
)
def test_a_translation_keeps(catalogue: polib.POFile, pattern: str) -> None:
    found = [(e.msgid, *(sorted(re.findall(pattern, text)) for text in (e.msgid, e.msgstr))) for e in catalogue]
    assert [each for each in found if each[1] != each[2]] == []


def test_chinese_stands_with_chinese_punctuation(catalogue: polib.POFile) -> None:
    half_width = re.compile(rf"{HAN}\s*[,;:?!()]|[,;:?!()]\s*{HAN}|{HAN}\.(?!\w)")
    assert [entry.msgstr for entry in catalogue if half_width.search(entry.msgstr)] == []


def test_a_sentence_stays_a_sentence(catalogue: polib.POFile) -> None:
    wrong = [e.msgid for e in catalogue if ENDS.get(e.msgid[-1], "") != _end(e.msgstr)]
    assert wrong == []


def _end(text: str) -> str:
    return text[-1] if text[-1] in ENDS.values() else ""


def test_no_translation_repeats_the_english(catalogue: polib.POFile) -> None:
    said = {e.msgid: re.sub(r"%\(\w+\)s", "", e.msgstr) for e in catalogue if re.sub(r"%\(\w+\)s|\W", "", e.msgid)}
    assert [text for text, chinese in said.items() if not re.search(HAN, chinese)] == []


def test_the_compiled_catalogue_agrees(catalogue: polib.POFile) -> None:
    compiled = _with_plurals(polib.mofile(str(CATALOGUE.with_suffix(".mo"))))
    assert {e.msgid: e.msgstr for e in compiled} == {e.msgid: e.msgstr for e in catalogue}
    assert compiled.metadata == catalogue.metadata


def test_every_marked_text_is_in_the_catalogue_and_nothing_else(catalogue: polib.POFile, tmp_path: Path) -> None:
    if not all(map(shutil.which, TOOLS)):
        missing("gettext")
    marked = {(e.msgid, e.msgctxt, e.msgid_plural) for e in _marked(tmp_path)}
    known = {(e.msgid, e.msgctxt, e.msgid_plural) for e in catalogue}
    assert marked - known == set(), "run makemessages, translate and compile"
    assert known - marked == set(), "no longer used: take it out"


def _marked(folder: Path) -> polib.POFile:
    """What ``makemessages`` finds in a copy of the product, so that it writes nothing into the product itself."""
    leave_out = shutil.ignore_patterns("__pycache__", "fonts", "static", "docs", "locale")
    for part in (*PRODUCT, "templates"):
        shutil.copytree(ROOT / part, folder / part, ignore=leave_out)
    shutil.copy(ROOT / "manage.py", folder)
    command = [sys.executable, "manage.py", "makemessages", "-l", "zh_Hans", "--no-wrap", "--no-location", "--keep-pot"]
    settings = {"DJANGO_SETTINGS_MODULE": "assessments.settings", "DLEMM_DATA": str(folder / "var")}
    done = subprocess.run(command, cwd=folder, env=os.environ | settings, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return polib.pofile(str(folder / "templates" / "locale" / "django.pot"))


@pytest.mark.parametrize("key", SHARED)
def test_a_page_and_the_report_call_the_same_thing_by_the_same_word(catalogue: polib.POFile, key: str) -> None:
    word = Text(**yaml.safe_load(REPORT.read_text("utf-8"))["labels"][key])
    _expect(catalogue, word)


def test_a_page_and_its_sentences_call_outcomes_and_streams_by_the_same_words(catalogue: polib.POFile) -> None:
    named_otherwise = {Outcome.NOT_SUPPORTED}  # a sentence says what it means for the check, a page why
    for word in [text for outcome, text in OUTCOMES.items() if outcome not in named_otherwise] + [*STREAMS.values()]:
        _expect(catalogue, word)


def _expect(catalogue: polib.POFile, word: Text) -> None:
    found = {entry.msgstr for entry in catalogue if entry.msgid.casefold() == word.en.casefold()}
    assert found == {word.zh}
