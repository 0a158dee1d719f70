"""Judges a condition of a check over one repository: yes, no, or unknown (None).

Takes a ``View`` of the repository. Unknown: a history whose length was not read, a file that was not listed or not
looked into, CI that no source tells of, and a missing file where the check says that its absence proves nothing (rules
for merging may be kept on the server instead of in the repository).
"""

from __future__ import annotations

from fractions import Fraction

from maturity import check_measures as m
from maturity.check_facts import RepositoryFile, View
from maturity.keyed import DAY
from maturity.report_conditions import every, some

_MONTH = 30 * DAY
_LINE_RATE = "line_rate:"


def repository_holds(condition: m.Condition, view: View) -> bool | None:
    """Whether a repository fulfils a condition; None when that cannot be known. Raises ``TypeError`` for another."""
    match condition:
        case m.All(parts):
            return every(repository_holds(part, view) for part in parts)
        case m.Any(parts):
            return some(repository_holds(part, view) for part in parts)
        case m.File():
            return _file(condition, view)
        case m.CommonMark(start, roles):
            return _common(view, start, roles)
        case m.Commits(least):
            return None if view.repository.commits is None else view.repository.commits >= least
        case m.Coverage(least):
            return _coverage(view, least)
        case m.Ci():
            return _ci(condition, view)
        case m.Months(stream, count):
            return _months(view, stream, count)
        case _:
            raise TypeError(f"{type(condition).__name__} is no condition of a repository")


def _file(wanted: m.File, view: View) -> bool | None:
    found = [file for file in view.files if file.role == wanted.role]
    if wanted.absent_unknown:  # a file that says nothing of the matter is as good as none
        found = [file for file in found if not wanted.marks or not file.looked or file.marks.intersection(wanted.marks)]
    if not found:
        return None if wanted.absent_unknown or view.cut else False
    held = [every(_carries(file, mark) for mark in wanted.marks) for file in found]
    return every([*held, *_unlisted(view)]) if wanted.every else some([*held, *_unlisted(view)])


def _unlisted(view: View) -> tuple[None, ...]:
    """What files that were not listed would say."""
    return (None,) if view.cut else ()


def _carries(file: RepositoryFile, wanted: str) -> bool | None:
    held = any(mark.startswith(wanted) if wanted.endswith(":") else mark == wanted for mark in file.marks)
    return held or (False if file.looked else None)


def _marks(view: View, role: str, start: str) -> frozenset[str]:
    return frozenset(mark for file in view.files if file.role == role for mark in file.marks if mark.startswith(start))


def _common(view: View, start: str, roles: tuple[str, ...]) -> bool | None:
    if frozenset.intersection(*(_marks(view, role, start) for role in roles)):
        return True
    hidden = view.cut or any(file.role in roles and not file.looked for file in view.files)
    return None if hidden else False


def _ci(wanted: m.Ci, view: View) -> bool | None:
    """The newest finished run of the job decides; without one, what the check says to look at instead."""
    newest = next((run for run in view.ci if run.job == wanted.job and _finished(run.status)), None)
    if newest is not None:
        return newest.status == "passed"
    instead = False if wanted.otherwise is None else repository_holds(wanted.otherwise, view)
    return None if instead is False and "ci" in view.without else instead


def _coverage(view: View, least: Fraction) -> bool | None:
    """The newest CI run that measured coverage decides; without one, the best coverage file of the repository."""
    measured = next((run.coverage for run in view.ci if run.coverage is not None), None)
    if measured is not None:
        return measured >= least
    rates = [mark.removeprefix(_LINE_RATE) for mark in _marks(view, "coverage", _LINE_RATE)]
    known = [Fraction(int(rate), 100) for rate in rates if rate.isascii() and rate.isdigit() and len(rate) < 4]
    if any(rate >= least for rate in known):
        return True
    unread = view.cut or any(file.role == "coverage" and not file.looked for file in view.files)
    return None if unread or (not known and "ci" in view.without) else False


def _finished(status: str) -> bool:
    return status in ("passed", "failed")


def _months(view: View, stream: str, count: int) -> bool | None:
    """Unknown while nobody tells of the stream, or where only the approvals of a month's changes are unknown."""
    if stream == "ci":
        told = [(run.at, True) for run in view.ci if _finished(run.status)]
    else:
        told = [(change.at, change.approvals is not None) for change in view.changes]
    months = [{known for at, known in told if (view.as_of - at) // _MONTH == month} for month in range(count)]
    held = every(True if True in month else None if month else False for month in months)
    return None if held is False and stream in view.without else held
