"""What people say, kept apart from what is measured: claims, verdicts of assessors, and waivers.

Takes the text of an answers file; gives ``Answers``, or every fault at once as a ``ModelError``. The file::

    claims:
      DG1.1.1: F                      # for the organisation, or for every project without a claim of its own
      DG1.2.1: {'*': L, fraud: P}     # by project; '*' stands for all others
    verdicts:
    - id: V1
      practice: DG1.1.1               # document and interview act on the human part of a practice
      project: fraud                  # left out: for the organisation, or for every project
      kind: document                  # document or interview
      code: F                         # N, P, L or F
      dated: 2025-03-01
      by: name of the assessor
      reason: inventory lists all six sources
    - id: V2
      check: DG1.1.1/2                # export and substitute_document stand in for a machine check
      project: fraud                  # required where the practice is rated by project
      kind: export                    # export or substitute_document
      value: '0.95'                   # the measured value, exact, written as text
      n: 50                           # observations behind it; required for an export that stands in for an indicator
      dated: 2025-03-01
      by: name of the assessor
      reason: hash-stored export of another tracking system
    waivers:
    - practice: DG3.1.1               # or check: PRACTICE/n, a machine check whose population cannot exist
      project: fraud                  # left out: for every project
      reason: no human-made labels
      justification: the labels are sensor readings
      confirmed_by: name of the assessor
      until: 2026-03-01               # last day it holds; left out: no end

All three parts may be left out. What people say of a project outside the scope of an assessment does no harm: it is
not looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from typing import Any, Literal, cast

from maturity import canonical
from maturity.reader import Fault, ModelError, Node, read_yaml
from maturity.schema import Check, Model, Practice

VerdictKind = Literal["document", "interview", "substitute_document", "export"]
VERDICT_KINDS: tuple[VerdictKind, ...] = ("document", "interview", "substitute_document", "export")

EVERY_PROJECT = "*"
_MAX_CHARACTERS = 2_000_000


@dataclass(frozen=True, slots=True)
class Claim:
    """What the organisation says of itself about a practice: N, P, L or F. ``project`` None is its general claim."""

    practice: str
    project: str | None
    code: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """An assessor's judgement. ``on`` is a practice id (document, interview) or a check key (the other two kinds).

    A document or interview carries ``code``; an export or substitute document the measured ``value``, and ``n``.
    """

    id: str
    on: str
    project: str | None
    kind: VerdictKind
    dated: date
    by: str
    reason: str
    code: str | None = None
    value: Fraction | None = None
    n: int | None = None

    @property
    def human(self) -> bool:
        """True when it judges the human part of a practice rather than one machine check."""
        return self.kind in ("document", "interview")


@dataclass(frozen=True, slots=True)
class Waiver:
    """A practice or a machine check that does not apply. ``until`` is the last day it holds."""

    on: str
    project: str | None
    reason: str
    justification: str
    confirmed_by: str
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """All answers of one assessment. Their order carries no meaning."""

    claims: tuple[Claim, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    waivers: tuple[Waiver, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return cast(dict[str, Any], canonical.encode(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Answers:
        """Read back what ``to_json`` gave. Raises ValueError when the data do not fit."""
        return canonical.decode(cls, data)


Problem = tuple[str, str]
"""The field that is wrong, and a sentence."""


def answer_faults(model: Model, answers: Answers, *, file: str = "answers") -> list[Fault]:
    """What is wrong with answers whose parts were put together elsewhere; empty when they can be scored."""
    faults = [Fault(file, f"{place}.{key}", message) for place, key, message in _problems(model, answers)]
    return sorted(set(faults))


def waiver_problems(model: Model, waiver: Waiver) -> list[Problem]:
    """Why a waiver does not hold, whatever the date: not permitted by the model, or not confirmed in writing."""
    problems = [(key, "is missing") for key in ("reason", "justification", "confirmed_by") if _blank(waiver, key)]
    practice = model.practices.get(waiver.on)
    if practice is not None and practice.na_reason is None:
        problems.append(("practice", f"the model does not permit {waiver.on} to be not applicable"))
    return problems


def _problems(model: Model, answers: Answers) -> Iterator[tuple[str, str, str]]:
    for claim in answers.claims:
        yield from ((f"claims.{claim.practice}", *problem) for problem in _claim_problems(model, claim))
    for verdict in answers.verdicts:
        yield from ((f"verdicts.{verdict.id}", *problem) for problem in _verdict_problems(model, verdict))
    for waiver in answers.waivers:
        yield from ((f"waivers.{waiver.on}", *problem) for problem in _waiver_target_problems(model, waiver))
    yield from _repeated(answers)


def _repeated(answers: Answers) -> Iterator[tuple[str, str, str]]:
    groups: tuple[tuple[str, list[tuple[str, str | None]]], ...] = (
        ("claims", [(claim.practice, claim.project) for claim in answers.claims]),
        ("verdicts", [(verdict.id, None) for verdict in answers.verdicts]),
        ("waivers", [(waiver.on, waiver.project) for waiver in answers.waivers]),
    )
    for group, keys in groups:
        seen: set[tuple[str, str | None]] = set()
        for key in keys:
            if key in seen:
                yield f"{group}.{key[0]}", key[1] or "", "is given twice"
            seen.add(key)


def _claim_problems(model: Model, claim: Claim) -> Iterator[Problem]:
    practice = model.practices.get(claim.practice)
    if practice is None:
        yield "practice", f"unknown practice {claim.practice!r}"
    else:
        yield from _project_problems(practice, claim.project)
    yield from _code_problems(model, claim.code)


def _verdict_problems(model: Model, verdict: Verdict) -> Iterator[Problem]:
    if verdict.kind not in VERDICT_KINDS:
        yield "kind", f"must be one of {', '.join(VERDICT_KINDS)}"
        return
    if verdict.human:
        yield from _human_verdict_problems(model, verdict)
    else:
        yield from _machine_verdict_problems(model, verdict)
    yield from ((key, "is missing") for key in ("id", "by", "reason") if _blank(verdict, key))


def _human_verdict_problems(model: Model, verdict: Verdict) -> Iterator[Problem]:
    practice = model.practices.get(verdict.on)
    if practice is None:
        yield "practice", f"unknown practice {verdict.on!r}"
    elif all(check.machine for check in practice.checks):
        yield "practice", f"{practice.id} has no part that a document or an interview could answer"
    else:
        yield from _project_problems(practice, verdict.project)
    yield from _code_problems(model, verdict.code)
    if verdict.value is not None or verdict.n is not None:
        yield "value", f"a verdict of kind {verdict.kind} carries a code, not a measured value"


def _machine_verdict_problems(model: Model, verdict: Verdict) -> Iterator[Problem]:
    check = model.checks.get(verdict.on)
    if check is None:
        yield "check", f"unknown check {verdict.on!r}"
    elif not check.machine:
        yield "check", f"{check.key} is a {check.kind}: judge it by a verdict on its practice"
    else:
        practice = _practice_of(model, check)
        yield from _project_problems(practice, verdict.project)
        if practice.scope == "project" and verdict.project is None:
            yield "project", "is missing: a value measured over several projects says nothing of one of them"
    if verdict.value is None:
        yield "value", "is missing"
    if verdict.code is not None:
        yield "code", f"a verdict of kind {verdict.kind} carries a measured value, not a code"
    if verdict.kind == "export" and verdict.n is None and check is not None and check.indicator:
        yield "n", "is missing"


def _waiver_target_problems(model: Model, waiver: Waiver) -> Iterator[Problem]:
    practice, check = model.practices.get(waiver.on), model.checks.get(waiver.on)
    if check is not None and not check.machine:
        yield "check", f"{check.key} is a {check.kind}: only a machine check can lack its population"
    if check is not None:
        practice = _practice_of(model, check)
    if practice is None:
        yield "practice", f"unknown practice or check {waiver.on!r}"
    else:
        yield from _project_problems(practice, waiver.project)


def _practice_of(model: Model, check: Check) -> Practice:
    return model.practices[check.key.rpartition("/")[0]]


def _project_problems(practice: Practice, project: str | None) -> Iterator[Problem]:
    if practice.scope == "organisation" and project is not None:
        yield "project", f"{practice.id} is rated once for the organisation: leave the project out"


def _code_problems(model: Model, code: str | None) -> Iterator[Problem]:
    codes = [rating.code for rating in model.rating_scale]
    if code not in codes:
        yield "code", f"must be one of {', '.join(codes)}, not {code!r}"


def _blank(entry: Verdict | Waiver, key: str) -> bool:
    return not str(getattr(entry, key)).strip()


def parse_answers(text: str, file: str, model: Model, *, projects: Collection[str] | None = None) -> Answers:
    """Read an answers file. ``projects``, when given, are the only project keys that may appear.

    Raises ``ModelError`` with every fault: unknown keys, practices, checks and projects, wrong codes, numbers and
    dates, N/A where the model does not permit it or without justification, and entries given twice.
    """
    faults: list[Fault] = []
    if len(text) > _MAX_CHARACTERS:
        raise ModelError([Fault(file, "", f"is longer than {_MAX_CHARACTERS} characters")])
    top = read_yaml(text, file, faults)
    if not faults:
        top.only("claims", "verdicts", "waivers")
        answers = _read_answers(top, model, projects)
    if faults:
        raise ModelError(faults)
    return answers


def _read_answers(top: Node, model: Model, projects: Collection[str] | None) -> Answers:
    verdicts = [(node, _read_verdict(node, projects)) for node in _entries(top, "verdicts")]
    waivers = [(node, _read_waiver(node, projects)) for node in _entries(top, "waivers")]
    for node, verdict in verdicts:
        _report(node, _verdict_problems(model, verdict))
    for node, waiver in waivers:
        _report(node, _waiver_target_problems(model, waiver))
        _report(node, waiver_problems(model, waiver))
    answers = Answers(
        tuple(_read_claims(top.at("claims"), model, projects)) if top.has("claims") else (),
        tuple(verdict for _, verdict in verdicts),
        tuple(waiver for _, waiver in waivers),
    )
    for place, key, message in _repeated(answers):
        top.fault(message, f"{place}.{key}" if key else place)
    return answers


def _entries(top: Node, key: str) -> list[Node]:
    return top.at(key).list() if top.has(key) else []


def _report(node: Node, problems: Iterator[Problem] | list[Problem]) -> None:
    """Add problems as faults, except on fields that the reader has faulted already."""
    known = {fault.key for fault in node.faults if fault.file == node.file}
    for key, message in problems:
        if f"{node.key}.{key}" not in known:
            node.fault(message, key)


def _read_claims(node: Node, model: Model, projects: Collection[str] | None) -> Iterator[Claim]:
    for practice, child in node.items():
        by_project = child.items() if isinstance(child.value, Mapping) else iter([(EVERY_PROJECT, child)])
        for project, value in by_project:
            claim = Claim(practice, None if project == EVERY_PROJECT else project, value.str())
            for _, message in _claim_problems(model, claim) if claim.code else ():
                value.fault(message)
            _check_project(value, claim.project, projects)
            yield claim


def _read_verdict(node: Node, projects: Collection[str] | None) -> Verdict:
    node.only("id", "practice", "check", "project", "kind", "code", "value", "n", "dated", "by", "reason")
    kind = node.at("kind").choice(*VERDICT_KINDS)
    return Verdict(
        id=node.at("id").str(),
        on=node.at("practice" if kind in ("document", "interview") else "check").str(),
        project=_read_project(node, projects),
        kind=kind,
        dated=_read_date(node.at("dated")) or date.min,
        by=node.at("by").str(),
        reason=node.at("reason").str(),
        code=node.at("code").str() if node.has("code") else None,
        value=node.at("value").fraction(least=None) if node.has("value") else None,
        n=node.at("n").int() if node.has("n") else None,
    )


def _read_waiver(node: Node, projects: Collection[str] | None) -> Waiver:
    node.only("practice", "check", "project", "reason", "justification", "confirmed_by", "until")
    if node.has("practice") and node.has("check"):
        node.fault("give either practice or check, not both", "check")
    return Waiver(
        on=node.at("check" if node.has("check") else "practice").str(),
        project=_read_project(node, projects),
        reason=node.at("reason").str(),
        justification=node.at("justification").str(),
        confirmed_by=node.at("confirmed_by").str(),
        until=_read_date(node.at("until")) if node.has("until") else None,
    )


def _read_project(node: Node, projects: Collection[str] | None) -> str | None:
    if not node.has("project"):
        return None
    project = node.at("project").str()
    _check_project(node.at("project"), project or None, projects)
    return project


def _check_project(node: Node, project: str | None, projects: Collection[str] | None) -> None:
    if project is not None and projects is not None and project not in projects:
        node.fault(f"unknown project {project!r}")


def _read_date(node: Node) -> date | None:
    """A day, which YAML may already have read as one. A time of day is refused: evidence ages in whole days."""
    value = node.value
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        node.fault("must be a date such as 2025-03-01")
        return None
