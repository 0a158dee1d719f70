"""telling: a scorecard and its gaps in plain lines of text, in English or Chinese, for terminals, pages and reports.

Takes values of the engine; gives sentences. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction

from maturity.check_words import check_sentence
from maturity.gaps import Gap, GapKind
from maturity.schema import Model
from maturity.scorecard import VIEWS, DimensionLevel, Finding, PerView, PracticeRating, Rule, Scorecard, rounded
from maturity.words import rule_sentence, sentence

Findings = Mapping[tuple[str, str | None], Finding]

_SELF_EVIDENT = frozenset({"one_rating", "met", "below_target", "bound_missed"})
"""Rules that say no more than the numbers and the sentence of the finding."""

_VIEW_NAMES = {
    "en": {"claimed": "claimed", "evidenced": "evidenced", "lower": "verified", "rated": "rated", "upper": "possible"},
    "zh": {"claimed": "自报", "evidenced": "证据", "lower": "已验证", "rated": "评定", "upper": "可能"},
}
_HEADLINE = {
    "en": "Level {level} ({dimensions}), verified {lower}, possible {upper}, claimed {claimed}",
    "zh": "{level} 级（{dimensions}），已验证 {lower}，可能 {upper}，自报 {claimed}",
}
_INDEX = {
    "en": "index {index}, lowest capability {lowest}; confidence {confidence} %, coverage {coverage} %{provisional}",
    "zh": "指数 {index}，最低能力 {lowest}；置信度 {confidence} %，覆盖率 {coverage} %{provisional}",
}
_PROVISIONAL = {"en": "; provisional", "zh": "；暂定"}
_NOT_RATED = {"en": "not rated", "zh": "未评定"}
_NOT_APPLICABLE = {"en": "not applicable", "zh": "不适用"}
_GAP = {"en": "{name} ({capability} to level {level}): {what}", "zh": "{name}（{capability} 达到 {level} 级）：{what}"}
_DOING = {
    GapKind.CONNECT: {
        "en": "connect or refresh a source that can show “{subject}”",
        "zh": "接入或刷新能够证明“{subject}”的数据源",
    },
    GapKind.AFFIRM: {"en": "let an assessor confirm “{subject}”", "zh": "请评估员确认“{subject}”"},
    GapKind.LOG: {"en": "log it, so that “{subject}” can be measured", "zh": "补充记录，使“{subject}”可以度量"},
    GapKind.IMPROVE: {
        "en": "“{subject}” is {measured}, needed {op} {target}",
        "zh": "“{subject}”为 {measured}，要求 {op} {target}",
    },
}


_ACHIEVE = {"en": "looked, and it is not so yet: “{subject}”", "zh": "已查看，尚未做到“{subject}”"}
"""For a check that is met or not, with nothing in between."""
_EXPORT = {
    "en": "connect a source that shows “{subject}”, or let an assessor confirm an export of another system",
    "zh": "接入能证明“{subject}”的数据源，或请评估员确认其他系统导出记录",
}


def _language(language: str) -> str:
    return "zh" if language.startswith("zh") else "en"


def level_lines(model: Model, scorecard: Scorecard, language: str) -> Iterator[str]:
    """The result in a few lines: overall, then each dimension with its capabilities."""
    language = _language(language)
    yield f"{model.name.in_(language)} {model.version} · {scorecard.as_of.isoformat()}"
    yield _headline(scorecard, language)
    yield _INDEX[language].format(
        index=rounded(scorecard.index.rated, 1) if scorecard.index else "–",
        lowest=scorecard.lowest or "–",
        confidence=rounded(100 * scorecard.confidence, 0),
        coverage=rounded(100 * scorecard.coverage, 0),
        provisional=_PROVISIONAL[language] if scorecard.provisional else "",
    )
    for dimension in scorecard.dimensions:
        yield from _dimension_lines(model, dimension, language)


def _headline(scorecard: Scorecard, language: str) -> str:
    if scorecard.level is None:
        return _NOT_RATED[language]
    dimensions = ", ".join(f"{d.dimension} {d.level.rated if d.level else '–'}" for d in scorecard.dimensions)
    level = scorecard.level
    return _HEADLINE[language].format(
        level=level.rated, dimensions=dimensions, lower=level.lower, upper=level.upper, claimed=level.claimed
    )


def _dimension_lines(model: Model, dimension: DimensionLevel, language: str) -> Iterator[str]:
    name = next(d.name.in_(language) for d in model.dimensions if d.id == dimension.dimension)
    yield f"{dimension.dimension} {name}: {_levels(dimension.level, language)}"
    for capability in dimension.capabilities:
        title = model.capabilities[capability.capability].name.in_(language)
        yield f"  {capability.capability} {title}: {_levels(capability.level, language)}"


def _levels(level: PerView[int] | None, language: str) -> str:
    if level is None:
        return _NOT_RATED[language]
    names = _VIEW_NAMES[language]
    return f"{level.rated} ({names['evidenced']} {level.evidenced}, {names['claimed']} {level.claimed})"


def deciding_rule(rule: Rule, language: str) -> str:
    """The rule that decided, in words; empty where it says no more than the numbers beside it."""
    alone = rule.key == "mean_of_parts" and rule.details.get("parts") == "1"
    return "" if alone or rule.key in _SELF_EVIDENT else rule_sentence(rule.key, rule.details, language)


def first_steps(gaps: Iterable[Gap], count: int) -> list[Gap]:
    """The first ``count`` gaps, one per practice: other ways to satisfy the same practice are left out."""
    best: dict[str, Gap] = {}
    for gap in gaps:
        best.setdefault(gap.practice, gap)
    return list(best.values())[:count]


def gap_lines(model: Model, gaps: Iterable[Gap], language: str) -> Iterator[str]:
    """The gaps as a numbered list, each with the practice it belongs to."""
    for number, gap in enumerate(gaps, 1):
        yield f"{number:2}. {gap.practice} {gap_sentence(model, gap, language)}"


def gap_sentence(model: Model, gap: Gap, language: str) -> str:
    """What to do about one gap, in one sentence."""
    language = _language(language)
    return _GAP[language].format(
        name=model.practices[gap.practice].name.in_(language),
        capability=gap.capability,
        level=gap.level,
        what=_doing(model, gap)[language].format(
            subject=_subject(model, gap, language),
            measured=_measured(model, gap),
            op={">=": "≥", "<=": "≤"}.get(gap.op or "", ""),
            target=_shown(model, gap, gap.target),
        ),
    )


def _doing(model: Model, gap: Gap) -> dict[str, str]:
    check = model.checks.get(gap.check)
    if gap.kind is GapKind.IMPROVE and check is not None and check.measure and check.target is None:
        return _ACHIEVE
    return _EXPORT if gap.kind is GapKind.AFFIRM and check is not None and check.machine else _DOING[gap.kind]


def _subject(model: Model, gap: Gap, language: str) -> str:
    if gap.indicator:
        return model.indicators[gap.indicator].name.in_(language)
    check = model.checks.get(gap.check)
    if check and check.text:
        return check.text.in_(language)
    texts = [c.text.in_(language) for c in model.practices[gap.practice].checks if not c.machine and c.text]
    return ("；" if language == "zh" else "; ").join(texts)


def _measured(model: Model, gap: Gap) -> str:
    seen = [short.measured for short in gap.shortfalls if short.measured is not None]
    worst = (max if gap.op == "<=" else min)(seen, default=None)
    return _shown(model, gap, worst)


def _shown(model: Model, gap: Gap, value: Fraction | None) -> str:
    if value is None:
        return "–"
    check = model.checks.get(gap.check)
    computed_share = check is not None and check.measure is not None and check.target is not None
    if computed_share or (gap.indicator and model.indicators[gap.indicator].type == "share"):
        return f"{rounded(100 * value, 1)} %"
    return str(value) if value.denominator == 1 else rounded(value, 2)


def practice_lines(model: Model, scorecard: Scorecard, practice: str, language: str) -> Iterator[str]:
    """How one practice got its rating, from the leaves up: every rule that decided, with the findings."""
    language = _language(language)
    result = next(row for row in scorecard.practices if row.practice == practice)
    entry = model.practices[practice]
    yield f"{practice} {entry.name.in_(language)}"
    yield entry.criterion.in_(language)
    yield _values(result.values, language) + ". " + rule_sentence(result.rule.key, result.rule.details, language)
    findings = {(finding.indicator, finding.project): finding for finding in scorecard.findings}
    for rating in result.ratings:
        yield f"  {rating.project or entry.scope}: {_values(rating.values, language)}"
        yield f"    {rule_sentence(rating.rule.key, rating.rule.details, language)}"
        yield from _leaf_lines(model, rating, findings, language)


def _leaf_lines(model: Model, rating: PracticeRating, findings: Findings, language: str) -> Iterator[str]:
    for leaf in rating.leaves:
        yield f"    {leaf.check}: {_values(leaf.values, language)}"
        yield f"      {rule_sentence(leaf.rule.key, leaf.rule.details, language)}"
        check = model.checks.get(leaf.check)
        finding = findings.get((leaf.finding.indicator, leaf.finding.project)) if leaf.finding else None
        if finding and check and finding.indicator in model.indicators:
            indicator = model.indicators[finding.indicator]
            yield f"      {sentence(finding, indicator, language, op=check.op, target=check.target)}"
        elif finding and check and check.measure:
            yield f"      {check_sentence(finding, check, language)}"


def _values(values: PerView[Fraction] | None, language: str) -> str:
    if values is None:
        return _NOT_APPLICABLE[language]
    return ", ".join(f"{_VIEW_NAMES[language][view]} {rounded(values[view], 4)}" for view in VIEWS)
