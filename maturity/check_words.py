"""Pipeline and repository checks in words, English and Chinese: what was seen, and by which formula.

``check_sentence`` tells one finding, ``formula`` the condition behind it. Both give text and decide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType

from maturity import check_measures as m
from maturity.phrases import OUTCOMES, REASONS, STREAMS
from maturity.scorecard import Finding, Outcome
from maturity.structure import Check, Text
from maturity.words import day, number, percent, wilson


def _texts(**pairs: tuple[str, str]) -> Mapping[str, Text]:
    return MappingProxyType({key: Text(*pair) for key, pair in pairs.items()})


SENTENCES = _texts(
    report=("{name}: {outcome} ({yes} of {n} reports hold)", "{name}：{outcome}（{n} 份报告中 {yes} 份符合）"),
    repository=(
        "{name}: {outcome} ({yes} of {n} repositories hold)",
        "{name}：{outcome}（{n} 个代码仓库中 {yes} 个符合）",
    ),
    share=(
        "{name}: {yes} of {n} ({percent}; 95 % interval {low}–{high}), needed ≥ {target}: {outcome}",
        "{name}：{n} 个中有 {yes} 个（{percent}；95% 区间 {low}–{high}），要求 ≥ {target}：{outcome}",
    ),
    unknown=("; {unknown} of {of} could not be judged", "；{of} 个中有 {unknown} 个无法判断"),
    date=(". As of {day}", "。证据日期：{day}"),
    formula=(". Formula: {formula}", "。公式：{formula}"),
)
REASONS_OF_CHECKS = _texts(
    no_report=(
        "{name}: {outcome}; there is no report of kind {kind} from {since} to {until}",
        "{name}：{outcome}；{since} 至 {until} 没有 {kind} 类报告",
    ),
    no_repository=("{name}: {outcome}; no repository belongs to it", "{name}：{outcome}；没有所属的代码仓库"),
    no_change=(
        "{name}: {outcome}; no change request was merged from {since} to {until}",
        "{name}：{outcome}；{since} 至 {until} 没有合并的变更请求",
    ),
    no_project_started=("{name}: {outcome}; there is no such project", "{name}：{outcome}；没有这样的项目"),
    check_unknown=(
        "{name}: {outcome}; {unknown} of {of} could not be judged, and they might decide",
        "{name}：{outcome}；{of} 个中有 {unknown} 个无法判断，而它们可能改变结果",
    ),
)
"""Why a finding of a check has no value, by its reason; the reasons of sources stand in ``phrases``."""
_FORMULAS = _texts(
    newest=("in the newest report {kind}: {inner}", "最新的 {kind} 报告中：{inner}"),
    some=("in some report {kind}: {inner}", "任一 {kind} 报告中：{inner}"),
    repository=("in some repository: {inner}", "任一代码仓库中：{inner}"),
    approved_changes=(
        "merged change requests approved by somebody other than the author ÷ merged change requests",
        "经他人批准的合并变更请求 ÷ 合并变更请求",
    ),
    started_projects=(
        "projects started in the window with a repository where {inner} ÷ projects started in the window",
        "窗口内启动且有代码仓库满足（{inner}）的项目 ÷ 窗口内启动的项目",
    ),
    projects=("projects with a repository where {inner} ÷ projects", "有代码仓库满足（{inner}）的项目 ÷ 全部项目"),
    every_row=("there are rows and in each {inner}", "有数据行，且每行 {inner}"),
    rows=("at least {n} rows{where}", "至少 {n} 行{where}"),
    distinct=(
        "at least {n} different values of {distinct} among rows{where}",
        "在{where}的行中，{distinct} 至少有 {n} 个不同取值",
    ),
    same=(" with equal {same}", "{same} 相同"),
    where=(" where {inner}", "（{inner}）"),
    present=("{key} is given", "给出 {key}"),
    text=("{key} is “{wanted}”", "{key} 为“{wanted}”"),
    yes=("{key} is yes", "{key} 为是"),
    no=("{key} is no", "{key} 为否"),
    equals=("{key} = {wanted}", "{key} = {wanted}"),
    ge=("{key} ≥ {wanted}", "{key} ≥ {wanted}"),
    le=("{key} ≤ {wanted}", "{key} ≤ {wanted}"),
    gt=("{key} > {wanted}", "{key} > {wanted}"),
    lt=("{key} < {wanted}", "{key} < {wanted}"),
    same_as=("{key} equals {wanted}", "{key} 等于 {wanted}"),
    within=("|{key}| ≤ {wanted}", "|{key}| ≤ {wanted}"),
    file=("a file of kind {role}{marks}", "有 {role} 类文件{marks}"),
    every_file=("every file of kind {role}{marks}, and there is one", "有 {role} 类文件，且每个{marks}"),
    marks=(" with {marks}", "含 {marks}"),
    common_mark=("files of kind {roles} share one {start}", "{roles} 类文件共用同一 {start}"),
    commits=("at least {n} commits", "至少 {n} 次提交"),
    coverage=("line coverage ≥ {least}", "行覆盖率 ≥ {least}"),
    ci=("the newest CI run of job {job} passed", "CI 作业 {job} 最近一次运行通过"),
    ci_else=(
        "the newest CI run of job {job} passed or, without such a run, {inner}",
        "CI 作业 {job} 最近一次运行通过；没有运行时，{inner}",
    ),
    is_number=("{key} is a number", "{key} 为数值"),
    ci_months=(
        "a finished CI run in each of the last {n} stretches of 30 days",
        "最近 {n} 个 30 天段内各有已结束的 CI 运行",
    ),
    reviews_months=(
        "a merged change request with known approvals in each of the last {n} stretches of 30 days",
        "最近 {n} 个 30 天段内各有审批情况已知的合并变更请求",
    ),
)


def check_sentence(finding: Finding, check: Check, language: str) -> str:
    """One finding of a pipeline or repository check in words, with its formula; empty when it is not computed."""
    if check.measure is None or check.text is None:
        return ""
    language = "zh" if language.lower().startswith("zh") else "en"
    said = _absence(finding, check.text, language)
    if finding.value is not None:
        said = _value(finding, check.text, check.target or Fraction(1), language)
    said += SENTENCES["formula"].in_(language).format(formula=formula(check.measure, language))
    return said + ("。" if language == "zh" else ".")


def _value(finding: Finding, name: Text, target: Fraction, language: str) -> str:
    share = finding.numerator is not None and bool(finding.denominator)
    gaps = {
        "name": name.in_(language),
        "outcome": OUTCOMES[finding.judge(">=", target)].in_(language),
        "yes": str(len(finding.passing)),
        "n": str(finding.n),
    }
    if share and finding.numerator is not None and finding.denominator is not None:
        low, high = wilson(finding.numerator, finding.denominator)
        gaps |= {"percent": percent(finding.value or Fraction(0), language), "target": percent(target, language)}
        gaps |= {"low": percent(low, language), "high": percent(high, language)}
    key = "share" if share else "report" if finding.unit == "report" else "repository"
    said = SENTENCES[key].in_(language).format(**gaps)
    if "unknown" in finding.details:
        said += SENTENCES["unknown"].in_(language).format(**finding.details)
    return said + SENTENCES["date"].in_(language).format(day=_day(finding.read_at)) if finding.read_at else said


def _absence(finding: Finding, name: Text, language: str) -> str:
    since, until = finding.window or (None, None)
    gaps = {
        **finding.details,
        "name": name.in_(language),
        "outcome": OUTCOMES[finding.outcome or Outcome.NO_EVIDENCE].in_(language),
        "since": _day(since),
        "until": _day(until),
    }
    if gaps.get("stream") in STREAMS:
        gaps["stream"] = STREAMS[gaps["stream"]].in_(language)
    phrase = REASONS_OF_CHECKS.get(finding.reason) or REASONS.get(finding.reason) or REASONS["no_source"]
    return phrase.in_(language).format(**gaps)


def _day(moment: int | None) -> str:
    return "–" if moment is None else day(moment)


def formula(measure: m.CheckMeasure, language: str) -> str:
    """How a check is computed, in one line."""
    language = "zh" if language.lower().startswith("zh") else "en"
    inner = _told(measure.condition, language) if measure.condition is not None else ""
    key = measure.share or ("repository" if measure.form == "repository" else "some" if measure.some else "newest")
    return _FORMULAS[key].in_(language).format(kind=measure.report, inner=inner)


def _told(condition: m.Condition, language: str) -> str:
    match condition:
        case m.All(parts):
            return (" 且 " if language == "zh" else " and ").join(_told(part, language) for part in parts)
        case m.Any(parts):
            told = (" 或 " if language == "zh" else " or ").join(_told(part, language) for part in parts)
            return f"({told})"
        case m.EveryRow(inner):
            return _phrase("every_row", language, inner=_told(inner, language))
        case m.Rows():
            return _rows(condition, language)
        case m.Value():
            return _test(condition, language)
        case _:
            return _of_repository(condition, language)


def _of_repository(condition: m.Condition, language: str) -> str:
    match condition:
        case m.File(role, marks, every, _):
            told = _phrase("marks", language, marks=", ".join(marks)) if marks else ""
            return _phrase("every_file" if every else "file", language, role=role, marks=told)
        case m.CommonMark(start, roles):
            return _phrase("common_mark", language, start=start.rstrip(":"), roles=", ".join(roles))
        case m.Commits(least):
            return _phrase("commits", language, n=str(least))
        case m.Coverage(least):
            return _phrase("coverage", language, least=percent(least, language))
        case m.Ci(job, None):
            return _phrase("ci", language, job=job)
        case m.Ci(job, otherwise) if otherwise is not None:
            return _phrase("ci_else", language, job=job, inner=_told(otherwise, language))
        case m.Months(stream, count):
            return _phrase(f"{stream}_months", language, n=str(count))
        case _:
            raise TypeError(f"{type(condition).__name__} has no words")


def _rows(rows: m.Rows, language: str) -> str:
    where = _phrase("where", language, inner=_told(rows.where, language)) if rows.where is not None else ""
    where += _phrase("same", language, same=rows.same) if rows.same else ""
    return _phrase(
        "distinct" if rows.distinct else "rows", language, n=str(rows.at_least), where=where, distinct=rows.distinct
    )


def _test(value: m.Value, language: str) -> str:
    wanted = value.wanted
    if value.test == m.NUMBER:
        return _phrase("is_number", language, key=value.key)
    if value.test == "is":
        return _phrase("yes" if wanted else "no", language, key=value.key)
    if isinstance(wanted, Fraction):
        return _phrase(value.test, language, key=value.key, wanted=number(wanted))
    return _phrase("text" if value.test == "equals" else value.test, language, key=value.key, wanted=wanted or "")


def _phrase(word: str, language: str, /, **gaps: str) -> str:
    return _FORMULAS[word].in_(language).format(**gaps)
