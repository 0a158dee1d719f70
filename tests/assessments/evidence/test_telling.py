"""What a connector remarks is told: no remark is dropped because nobody gave it a sentence."""

from __future__ import annotations

import re

from django.utils.translation import override

from assessments.evidence import telling
from assessments.evidence.telling import note_sentences
from maturity import facts
from maturity.facts import Statement
from tests.project.tree import ROOT

CONNECTORS = ROOT / "integrations" / "connectors"
REMARK = re.compile(r"\"((?:\w+_(?:cut|unread|unreadable|not_asked|not_counted|not_looked_into|faulty))|files_\w+)\"")
COUNTS_ALONE = {"files_looked_into"}


def sentences(*notes: str) -> list[str]:
    statement = Statement("git", "https://git.example", started_at=0, finished_at=1, streams=(), notes=notes)
    with override("en"):
        return note_sentences(statement)


def test_the_sentence_of_the_engine_is_the_one_that_is_translated() -> None:
    assert telling.NO_SUCH_STREAM == facts.NO_SUCH_STREAM


def test_every_remark_of_a_connector_has_a_sentence() -> None:
    found = {key for path in CONNECTORS.glob("*.py") for key in REMARK.findall(path.read_text("utf-8"))} - COUNTS_ALONE
    assert {"cards_unread", "files_cut", "files_unknown"} <= found
    assert {key for key in found if not sentences(f"{key}:3")} == set()


def test_a_remark_says_its_number() -> None:
    assert sentences("files_unknown: 3", "files_cut") == [
        "3 file(s) have no format that is known.",
        "There are more files than are listed; the rest was left out.",
    ]
