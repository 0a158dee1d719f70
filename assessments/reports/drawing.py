"""The report as the PDF's template reads it: plain data in which every text fits the font and every list fits a page.

Takes a ``ReportDocument``; gives JSON data with all fields, none left out. Ids are cut to a few per number, because
the whole list stands in the JSON report and in the evidence pack. Numbers are given as they are shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from fractions import Fraction
from typing import Any

from assessments.reports.charts import Axis, Ink, Series, Svg, radar
from assessments.reports.document import ReportDocument
from assessments.reports.glyphs import breakable, fit
from assessments.reports.labels import labels
from assessments.reports.parts import Citation, Number, Reference

MOST = 600
_MOST_OF_NAMES = 90
_SHOWN_IDS = 6
_RUN_ID = re.compile(r"[0-9a-f]{32}")

INKS = {
    "grid": Ink(stroke="#d5dde5", width=0.8),
    "ring": Ink(fill="#6b7783"),
    "label": Ink(fill="#16212c"),
    "rated": Ink(stroke="#1f5f99", width=2, fill="#1f5f99", opacity=0.18),
    "claimed": Ink(stroke="#8a5a00", width=1.6, dashes="5 4"),
    "evidenced": Ink(stroke="#17694a", width=1.6, dashes="1.5 3"),
}
_DRAWN_ORDER = ("rated", "claimed", "evidenced")


def drawable(document: ReportDocument) -> dict[str, Any]:
    """What the template reads: the document, the words of its language, and names short enough for a header."""
    return {
        "document": _plain(document),
        "words": {key: breakable(fit(text, MOST)) for key, text in labels(document.language).items()},
        "organisation": breakable(fit(document.cover.organisation, _MOST_OF_NAMES)),
        "short": fit(document.cover.organisation, _MOST_OF_NAMES // 2),
    }


def radar_picture(document: ReportDocument) -> Svg:
    """The radar in the colours of the PDF."""
    chart = document.radar
    series = {one.view: Series(fit(one.name, MOST), one.view, tuple(map(float, one.levels))) for one in chart.series}
    return radar(
        [Axis(fit(axis.key, 12), fit(axis.name, MOST)) for axis in chart.axes],
        [series[view] for view in _DRAWN_ORDER],
        title=fit(chart.title, MOST),
        description=fit(chart.description, MOST),
        colours=INKS,
        font="Noto Sans SC",
    )


def _plain(value: Any) -> Any:
    match value:
        case str():
            return breakable(fit(value, MOST))
        case Number():
            return value.shown
        case Citation():
            return _citation(value)
        case date() | Fraction():
            return str(value)
        case tuple():
            return [_plain(item) for item in value]
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value


def _citation(citation: Citation) -> dict[str, Any]:
    shown = citation.ids[:_SHOWN_IDS]
    return {
        "count": citation.count,
        "ids": [{"text": _short_id(one), "link": _safe(one.link)} for one in shown],
        "more": citation.count - len(shown),
    }


def _short_id(reference: Reference) -> str:
    """The first eight characters of a run id; other ids, being names, nearly whole."""
    bare = reference.id.partition(":")[2] or reference.id
    return bare[:8] if _RUN_ID.fullmatch(bare) else breakable(fit(bare, 48))


def _safe(link: str | None) -> str | None:
    """An address only if it is one of the web, so that a click never opens anything else."""
    return link if link is not None and link.startswith(("https://", "http://")) else None
