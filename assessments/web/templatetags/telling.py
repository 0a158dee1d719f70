"""Template filters: model texts in the page's language, numbers as they are shown, and small words."""

from __future__ import annotations

from fractions import Fraction

from django import template
from django.utils.translation import get_language, gettext

from assessments.evidence.telling import stream_name, stream_sentence
from assessments.reports.labels import label
from maturity.schema import Text
from maturity.scorecard import rounded

register = template.Library()
register.filter("stream_name", stream_name)
register.filter("stream_sentence", stream_sentence)


@register.filter
def words(text: Text | None) -> str:
    """A model text in the language of the page."""
    return text.in_(get_language() or "en") if text else ""


@register.filter
def number(value: Fraction | int | None, decimals: int = 2) -> str:
    """An exact number, rounded half up for display."""
    return "–" if value is None else rounded(Fraction(value), decimals)


@register.filter
def percent(value: Fraction | None) -> str:
    """A share as whole percent, rounded half up."""
    return "–" if value is None else f"{rounded(100 * value, 0)} %"


@register.filter
def outcome_name(outcome: str) -> str:
    """The six outcomes in the language of the page."""
    names = {
        "met": gettext("met"),
        "not_met": gettext("not met"),
        "no_evidence": gettext("no evidence"),
        "not_applicable": gettext("not applicable"),
        "not_supported": gettext("not supported by the source"),
        "could_not_look": gettext("could not look"),
    }
    return names.get(outcome, "")


@register.filter
def kind_name(kind: str) -> str:
    """A kind of evidence in the language of the page."""
    return label(kind, get_language() or "en")


@register.filter
def state_class(state: str) -> str:
    """The colour class of a collection's state."""
    return {"complete": "met", "failed": "not_met", "suspect": "not_met", "partial": "P"}.get(state, "")


@register.filter
def view(values: object, name: str) -> object:
    """One of the five views of a ``PerView``; None when there is none."""
    return None if values is None else getattr(values, name)
