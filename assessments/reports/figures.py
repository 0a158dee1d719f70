"""How numbers and times are shown in a report: rounded half up for the reader, the exact fraction kept beside."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

from assessments.reports.parts import Number
from maturity.scorecard import rounded

NOTHING = "–"


def number(value: Fraction | int, decimals: int = 2) -> Number:
    """A value with a fixed number of digits, such as ``0.85``."""
    return Number(Fraction(value), rounded(Fraction(value), decimals))


def percent(value: Fraction, language: str) -> Number:
    """A share in percent with at most one digit, such as ``90 %`` or ``49.6 %``; Chinese sets no space."""
    return Number(value, _short(rounded(100 * value, 1)) + _sign(language))


def percent_down(value: Fraction, language: str) -> Number:
    """A share in whole percent, rounded down: never 100 % for what is not wholly achieved."""
    return Number(value, f"{int(100 * value)}{_sign(language)}")


def measured(value: Fraction, kind: str, language: str) -> Number:
    """The value of an indicator of type ``kind``: a share in percent, anything else with up to four digits."""
    return percent(value, language) if kind == "share" else Number(value, _short(rounded(value, 4)))


def moment(milliseconds: int | None) -> str:
    """Milliseconds since 1970 as date and time, UTC; empty for None."""
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")


def _sign(language: str) -> str:
    return "%" if language == "zh" else " %"


def _short(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
