"""Findings and rules in words, in English and Chinese: what was seen, what was asked for, and how sure it is.

``sentence`` tells one finding, ``rule_sentence`` one rule that scoring cites. Both take values of the engine and give
text; they decide nothing. A language is ``en``, ``zh`` or a code that begins so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from maturity.phrases import FINDING, NOTES, OUTCOMES, POPULATIONS, REASONS, RULES, STREAMS, UNITS
from maturity.schema import Indicator, Text
from maturity.scorecard import Finding, Outcome, rounded

_Z = 1.959963984540054
_SIGNS = {">=": "≥", "<=": "≤"}
_PERCENT = frozenset({"share", "least"})


def wilson(k: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of ``k`` in ``n``: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), 209–212.

    With p = k/n and z = 1.959964: (p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n). Raises ``ValueError`` unless
    0 ≤ k ≤ n and n > 0.
    """
    if n <= 0 or not 0 <= k <= n:
        raise ValueError(f"no share: {k} of {n}")
    p, square = k / n, _Z * _Z
    middle = p + square / (2 * n)
    spread = _Z * math.sqrt(p * (1 - p) / n + square / (4 * n * n))
    scale = 1 + square / n
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def sentence(
    finding: Finding,
    indicator: Indicator,
    language: str,
    *,
    op: str | None = None,
    target: Fraction | None = None,
) -> str:
    """One finding in words; with ``op`` (``>=`` or ``<=``) and ``target`` also what was needed and what came of it."""
    language = _language(language)
    if finding.value is None:
        return _glued([_absence(finding, indicator, language)], language)
    parts = [_value(finding, indicator, language) + _needed(finding, indicator, language, op, target)]
    enough = finding.n >= indicator.n_min
    parts += _interval(finding, language, op, target if enough else None)
    parts += _notes(finding, indicator.type, language)
    return _glued(parts, language)


def rule_sentence(rule_key: str, details: Mapping[str, str], language: str) -> str:
    """A rule of scoring in words. Raises ``KeyError`` for a key that no rule has."""
    language = _language(language)
    gaps = {name: _detail(name, value, language) for name, value in details.items()}
    gaps["until_day"] = details.get("until") or "–"
    return RULES[rule_key].in_(language).format_map(_Gaps(gaps))


class _Gaps(dict[str, str]):
    """What fills the gaps of a sentence; a detail that a scorecard does not have is shown as a dash."""

    def __missing__(self, key: str) -> str:
        return "–"


def _language(language: str) -> str:
    return "zh" if language.lower().startswith("zh") else "en"


def _glued(parts: list[str], language: str) -> str:
    return ("。" if language == "zh" else ". ").join(parts) + ("。" if language == "zh" else ".")


# values


def number(value: Fraction) -> str:
    """A number with at most four digits after the point, a half rounded away from zero, no trailing zeros."""
    digits = rounded(abs(value), 4).rstrip("0").rstrip(".")
    return f"−{digits}" if value < 0 and digits != "0" else digits


def percent(value: Fraction | float, language: str) -> str:
    """A share in percent with one digit after the point, rounded half up."""
    exact = value if isinstance(value, Fraction) else Fraction(repr(value))
    return rounded(exact * 100, 1) + ("%" if language == "zh" else " %")


def _value(finding: Finding, indicator: Indicator, language: str) -> str:
    gaps = {"name": indicator.name.in_(language), "n": str(finding.n)}
    what = _noun(finding, indicator, finding.n).in_(language)
    if _is_share(finding):
        gaps |= {"numerator": str(finding.numerator), "denominator": str(finding.denominator)}
        return (
            FINDING["share"]
            .in_(language)
            .format(**gaps, what=what, percent=percent(finding.value or Fraction(0), language))
        )
    kind = "count" if indicator.type == "count" else "number"
    return FINDING[kind].in_(language).format(**gaps, what=what, value=number(finding.value or Fraction(0)))


def _is_share(finding: Finding) -> bool:
    return finding.numerator is not None and bool(finding.denominator)


def _noun(finding: Finding, indicator: Indicator, n: int) -> Text:
    """What the numbers count: the population of the indicator, else the unit of the finding."""
    population = indicator.measure.population.name if indicator.measure and indicator.measure.population else ""
    one, many = POPULATIONS.get(population) or UNITS.get(finding.unit) or (Text(finding.unit, finding.unit),) * 2
    return one if n == 1 else many


def _needed(finding: Finding, indicator: Indicator, language: str, op: str | None, target: Fraction | None) -> str:
    if op is None or target is None:
        return ""
    shown = percent(target, language) if _is_share(finding) else number(target)
    if finding.n < indicator.n_min:
        return FINDING["too_few"].in_(language).format(op=_SIGNS[op], target=shown, n_min=indicator.n_min)
    outcome = OUTCOMES[finding.judge(op, target)].in_(language)
    return FINDING["needed"].in_(language).format(op=_SIGNS[op], target=shown, outcome=outcome)


def _interval(finding: Finding, language: str, op: str | None, target: Fraction | None) -> list[str]:
    """The Wilson interval of a share; ``borderline`` when the target lies inside it."""
    if not _is_share(finding) or finding.numerator is None or finding.denominator is None:
        return []
    low, high = wilson(finding.numerator, finding.denominator)
    borderline = op is not None and target is not None and low <= target <= high
    shown = [rounded(Fraction(repr(end)) * 100, 1) for end in (low, high)]
    said = FINDING["interval"].in_(language).format(low=shown[0], high=shown[1])
    return [said + (FINDING["borderline"].in_(language) if borderline else "")]


def _notes(finding: Finding, kind: str, language: str) -> list[str]:
    """What was left out, which single thing decided, what was tagged late, and how exact production times are."""
    details, notes = finding.details, []
    if "unknown" in details:
        notes.append(NOTES["unknown"].in_(language).format(**details))
    if "decided_by" in details:
        notes.append(NOTES["decided_by"].in_(language).format(id=details["decided_by"]))
    if not _is_share(finding) and kind != "count" and finding.failing:
        notes.append(NOTES["without_value"].in_(language).format(count=len(finding.failing)))
    if "back_filled" in details:
        notes.append(NOTES["back_filled"].in_(language).format(count=details["back_filled"]))
    if "seen_only" in details:
        width = details["widest_interval_days"]
        open_or = NOTES["open"].in_(language) if width == "open" else NOTES["days"].in_(language).format(days=width)
        notes.append(NOTES["seen_only"].in_(language).format(count=details["seen_only"], width=open_or))
    return notes


# no value


def _absence(finding: Finding, indicator: Indicator, language: str) -> str:
    why = {
        "name": indicator.name.in_(language),
        "outcome": OUTCOMES[finding.outcome or Outcome.NO_EVIDENCE].in_(language),
        "count": str(len(finding.failing)),
        "what": _noun(finding, indicator, int(finding.details.get("of", len(finding.failing)))).in_(language),
        "since": day(finding.window[0]) if finding.window else "–",
        "until": day(finding.window[1]) if finding.window else "–",
        "missing": indicator.reason.in_(language).rstrip(".。") if indicator.reason else "–",
    }
    details = {key: value for key, value in finding.details.items() if key not in why}
    if "stream" in details:
        details["stream"] = STREAMS[details["stream"]].in_(language)
    return REASONS[finding.reason].in_(language).format_map(_Gaps({**why, **details}))


def day(moment: int) -> str:
    """A time in ms as its day, UTC, written 2026-01-31."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=moment)).date().isoformat()


# rules


def _detail(name: str, value: str, language: str) -> str:
    """One detail of a rule as it is shown: exact numbers rounded, ``until`` and ``n`` as a phrase of their own."""
    if name in ("until", "n") and not value:
        return ""
    if name in ("until", "n"):
        return FINDING[f"detail_{name}"].in_(language).format(value=value)
    if name == "part":
        return FINDING[value].in_(language)
    if name == "projects" or "/" not in value or not value.replace("/", "").lstrip("-").isdigit():
        return value
    return percent(Fraction(value), language) if name in _PERCENT else number(Fraction(value))
