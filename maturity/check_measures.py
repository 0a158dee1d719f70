"""The closed vocabulary in which a pipeline or repository check says what must be seen: values, parsed from YAML.

Takes the ``measure`` node of a check; gives a frozen ``CheckMeasure``, or faults with file and key. Three forms::

    measure: {report: parity, holds: {value: transform.max_abs_diff, equals: 0}}    # newest report of the kind
    measure: {report: eval, of: some, holds: {value: ci.job, equals: smoke_training}}   # some report of the window
    measure: {repository: {all: [{file: train}, {commits: 2}]}}                      # some repository of the project
    measure: {share: approved_changes, at_least: '0.8'}
    measure: {share: started_projects, at_least: '0.7', repository: {file: template}}

Conditions join with ``all`` and ``any``. Of a report: ``value`` (alone: it is there; or ``equals``, ``is``, ``ge``,
``le``, ``gt``, ``lt``, ``same_as`` another key, ``within`` the size of another key), ``every_row``, and ``rows``
(``at_least``, ``where``, ``distinct``: so many different values of a key, ``same``: among rows alike in a key). Of a
repository: ``file`` or ``every_file`` (a role, with ``marks``; ``absent: unknown`` where a missing file says nothing),
``common_mark`` (one mark that begins so, in files of several roles), ``commits``, ``coverage``, ``ci`` (a job whose
newest run passed; ``else``: what to look at when it never ran) and ``months`` (of ``ci`` or ``reviews``: so many last
months with something in each).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from maturity.reader import Node

_ROLES = (
    "link submodule datasheet ci hooks protection owners template usage coverage test_result pipeline "
    "case expectation test lock data_lock dependencies container preprocess train serve transform loader "
    "evaluate model model_card readme licence notebook code other"
)
ROLES = frozenset(_ROLES.split())
"""What a file of a repository can be; the git connector gives each file one of these."""
SHARES = ("approved_changes", "started_projects", "projects")
"""What a share can be of: merged change requests, projects started in the window, all projects."""
NUMBER = "number"
_TESTS = ("equals", "is", "ge", "le", "gt", "lt", "same_as", "within")


@dataclass(frozen=True, slots=True)
class Value:
    """A value under ``key`` and what it must be; ``test`` is ``present`` or one of the words of the vocabulary."""

    key: str
    test: str = "present"
    wanted: Fraction | str | None = None


@dataclass(frozen=True, slots=True)
class EveryRow:
    """There are rows, and each fulfils the condition."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Rows:
    """At least so many rows fulfil a condition: counted by distinct values of a key, among rows alike in another."""

    at_least: int
    where: Condition | None = None
    distinct: str = ""
    same: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """Some file (or every file, and there is one) of a role carries all the marks; one ending in ``:`` is a start."""

    role: str
    marks: tuple[str, ...] = ()
    every: bool = False
    absent_unknown: bool = False


@dataclass(frozen=True, slots=True)
class CommonMark:
    """One mark beginning with ``start`` is carried by a file of each role."""

    start: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Commits:
    """The history holds at least so many commits."""

    least: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """The newest line coverage known is at least this."""

    least: Fraction


@dataclass(frozen=True, slots=True)
class Ci:
    """The newest finished run of a job of continuous integration passed; without one, ``otherwise`` holds."""

    job: str
    otherwise: Condition | None = None


@dataclass(frozen=True, slots=True)
class Months:
    """Each of the last so many stretches of 30 days holds a CI run, or a merged change whose approvals are known."""

    stream: str
    count: int


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """At least one part holds."""

    parts: tuple[Condition, ...]


Condition = Value | EveryRow | Rows | File | CommonMark | Commits | Coverage | Ci | Months | All | Any


@dataclass(frozen=True, slots=True)
class CheckMeasure:
    """How a check is computed. ``form``: report, repository or share.

    ``report`` is the kind of report and ``some`` says that any of the window may hold, not the newest alone; ``share``
    is what the share is of, ``target`` the share needed.
    """

    form: str
    condition: Condition | None
    report: str = ""
    some: bool = False
    share: str = ""
    target: Fraction | None = None

    @property
    def stream(self) -> str:
        """The stream that the check cannot do without."""
        if self.form == "report":
            return "reports"
        return "reviews" if self.share == "approved_changes" else "repository"

    @property
    def also(self) -> frozenset[str]:
        """Further streams that the condition looks at."""
        return frozenset(_streams(self.condition)) - {self.stream} if self.condition else frozenset()


def parse_check_measure(node: Node) -> CheckMeasure | None:
    """Parse the ``measure`` block of a check; None when it is faulty as a whole. Faults are recorded on the node."""
    forms = [form for form in ("report", "share", "repository") if node.has(form)]
    if not forms:
        node.fault("needs report, repository or share")
        return None
    if forms[0] == "report":
        node.only("report", "of", "holds")
        some = node.has("of") and node.at("of").choice("newest", "some") == "some"
        return CheckMeasure("report", _report_condition(node.at("holds")), node.at("report").str(), some)
    if forms[0] == "repository":
        node.only("repository")
        return CheckMeasure("repository", _repository_condition(node.at("repository")))
    return _share(node)


def _share(node: Node) -> CheckMeasure:
    share = node.at("share").choice(*SHARES)
    of_projects = share != "approved_changes"
    node.only("share", "at_least", *(("repository",) if of_projects else ()))
    target = node.at("at_least").fraction(most=Fraction(1))
    if node.sound and target == 0:
        node.fault("must be above 0", "at_least")
    condition = _repository_condition(node.at("repository")) if of_projects else None
    return CheckMeasure("share", condition, share=share, target=target)


def _joined(node: Node, parse: Callable[[Node], Condition]) -> Condition | None:
    for word, made in (("all", All), ("any", Any)):
        if node.has(word):
            node.only(word)
            return made(tuple(parse(part) for part in node.at(word).list(least=1)))
    return None


def _report_condition(node: Node) -> Condition:
    joined = _joined(node, _report_condition)
    if joined is not None:
        return joined
    if node.has("every_row"):
        node.only("every_row")
        return EveryRow(_row_condition(node.at("every_row")))
    if node.has("rows"):
        node.only("rows")
        return _rows(node.at("rows"))
    return _value(node)


def _row_condition(node: Node) -> Condition:
    return _joined(node, _row_condition) or _value(node)


def _rows(node: Node) -> Rows:
    node.only("at_least", "where", "distinct", "same")
    return Rows(
        node.at("at_least").int(least=1),
        _row_condition(node.at("where")) if node.has("where") else None,
        node.at("distinct").str() if node.has("distinct") else "",
        node.at("same").str() if node.has("same") else "",
    )


def _value(node: Node) -> Value:
    node.only("value", *_TESTS)
    key = node.at("value").str()
    given = [test for test in _TESTS if node.has(test)]
    if len(given) > 1:
        node.fault(f"may have only one of {', '.join(_TESTS)}")
    if not given:
        return Value(key)
    test, place = given[0], node.at(given[0])
    if test in ("same_as", "within"):
        return Value(key, test, place.str())
    if test == "is" and place.value == NUMBER:
        return Value(key, NUMBER)
    if test == "is":
        return Value(key, test, Fraction(place.bool()))
    text = test == "equals" and isinstance(place.value, str)
    return Value(key, test, place.str() if text else place.fraction(least=None))


def _repository_condition(node: Node) -> Condition:
    joined = _joined(node, _repository_condition)
    if joined is not None:
        return joined
    if node.has("file") or node.has("every_file"):
        return _file(node)
    if node.has("common_mark"):
        node.only("common_mark", "of")
        return CommonMark(node.at("common_mark").str(), tuple(map(_role, node.at("of").list(least=2))))
    if node.has("months"):
        node.only("months", "of")
        return Months(node.at("of").choice("ci", "reviews"), node.at("months").int(least=1))
    if node.has("ci"):
        node.only("ci", "else")
        return Ci(node.at("ci").str(), _repository_condition(node.at("else")) if node.has("else") else None)
    if node.has("coverage"):
        node.only("coverage")
        return Coverage(node.at("coverage").fraction(most=Fraction(1)))
    node.only("commits")
    return Commits(node.at("commits").int(least=1))


def _file(node: Node) -> File:
    word = "every_file" if node.has("every_file") else "file"
    node.only(word, "marks", "absent")
    unknown = node.has("absent") and node.at("absent").choice("unknown") == "unknown"
    marks = tuple(mark.str() for mark in node.at("marks").list()) if node.has("marks") else ()
    return File(_role(node.at(word)), marks, word == "every_file", unknown)


def _role(node: Node) -> str:
    return node.choice(*sorted(ROLES))


def _streams(condition: Condition) -> set[str]:
    match condition:
        case All(parts) | Any(parts):
            return {stream for part in parts for stream in _streams(part)}
        case Months(stream, _):
            return {stream}
        case Ci(_, otherwise):
            return {"ci"} | (_streams(otherwise) if otherwise is not None else set())
        case Coverage():
            return {"ci"}
        case Value() | EveryRow() | Rows():
            return {"reports"}
        case _:
            return {"repository"}


def keys_of(condition: Condition | None) -> tuple[tuple[str, bool], ...]:
    """Every key of a report that a condition reads, each with whether it is looked for in rows; in order, once."""
    return tuple(dict.fromkeys(_keys(condition, False))) if condition is not None else ()


def _keys(condition: Condition, in_rows: bool) -> list[tuple[str, bool]]:
    match condition:
        case All(parts) | Any(parts):
            return [key for part in parts for key in _keys(part, in_rows)]
        case EveryRow(inner):
            return _keys(inner, True)
        case Rows(_, where, distinct, same):
            return [*([] if where is None else _keys(where, True)), *((key, True) for key in (distinct, same) if key)]
        case Value(key, test, wanted):
            return [(key, in_rows), *([(str(wanted), in_rows)] if test in ("same_as", "within") else [])]
        case _:
            return []
