"""The report's own words in English and Chinese: headings, column heads, and sentences with gaps.

They stand side by side in ``templates/reports/words.yaml``. Words of the model (names, criteria, levels) come from the
model and sentences on findings and rules from ``maturity.words``; only what belongs to the report itself is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import yaml

from assessments.reports.parts import Term
from maturity.schema import Text

WORDS = Path(__file__).parents[2] / "templates" / "reports" / "words.yaml"


def label(key: str, language: str, **gaps: object) -> str:
    """A label in a language, its gaps filled. Raises ``KeyError`` for an unknown label or a gap left open."""
    return _words()[0][key].in_(language).format(**gaps)


def labels(language: str) -> dict[str, str]:
    """Every label of a language as it stands, gaps and all."""
    return {key: text.in_(language) for key, text in _words()[0].items()}


def method_note(key: str, language: str, **gaps: object) -> Term:
    """A paragraph on the method: its name and its text, gaps filled."""
    name, text = _words()[1][key]
    return Term(key, name.in_(language), text.in_(language).format(**gaps))


@cache
def _words() -> tuple[Mapping[str, Text], Mapping[str, tuple[Text, Text]]]:
    data = yaml.safe_load(WORDS.read_text(encoding="utf-8"))
    words = {key: Text(**row) for key, row in data["labels"].items()}
    notes = {key: (Text(**row["name"]), Text(**row["text"])) for key, row in data["method"].items()}
    return MappingProxyType(words), MappingProxyType(notes)
