"""Turns the reports and repositories of an example into fact rows; ``examples`` tells the rest.

An example of a pipeline or repository check may say, beside what ``examples`` reads::

    reports:                         # made 10 days before AS_OF
    - {kind: parity, day: -5, project: p, run: r1, values: {transform: {n: 0}}, rows: [{times: 3, a: 1}], cut: 1}
    repositories:                    # read a day before AS_OF, with 10 commits, serving all projects
    - {name: code, project: p, commits: 2, day: -1, files: [train, 'test loader,shape', {file: x, size: 0}],
       changes: [{times: 4, approvals: 1, day: -9}], ci: [{job: tests, status: passed, coverage: 0.6, project: p}]}
    ci: [{…}]                        # runs that name no repository

``commits: unknown`` and ``approvals: unknown`` are missing values; ``cut`` says that so much of a report was left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from maturity.keyed import DAY

KEYS = ("reports", "repositories", "ci")
"""The keys of an example that are read here."""
Add = Callable[..., None]


def add_check_facts(add: Add, example: Mapping[str, Any], as_of: int) -> None:
    """Add the rows of an example by ``add(table, **row)``. Raises ``ValueError`` naming an unknown key."""
    for number, report in enumerate(example.get("reports", ()), 1):
        _report(add, report, f"report{number}", as_of)
    for number, repository in enumerate(example.get("repositories", ()), 1):
        _repository(add, repository, f"repo{number}", as_of)
    for number, run in enumerate(_repeated(example.get("ci", ())), 1):
        _ci_run(add, run, f"ci{number}", None, as_of)


def _report(add: Add, given: Mapping[str, Any], key: str, as_of: int) -> None:
    _only(given, ("kind", "day", "project", "run", "origin", "values", "rows", "cut"), "report")
    made_at = None if given.get("day") == "unknown" else as_of + round(given.get("day", -10) * DAY)
    own = {"project": given.get("project"), "run": given.get("run"), "made_at": made_at}
    add("reports", report=key, kind=given["kind"], file=f"reports/{given['kind']}.json", **own)
    whole = {**given.get("values", {}), **({"origin": given["origin"]} if "origin" in given else {})}
    whole |= {"@cut": given["cut"]} if "cut" in given else {}
    for name, value in _flat(whole):
        add("report_values", report=key, row=None, key=name, **_cell(value))
    for number, row in enumerate(_repeated(given.get("rows", ()))):
        for name, value in _flat(row):
            add("report_values", report=key, row=number, key=name, **_cell(value))


def _repository(add: Add, given: Mapping[str, Any], key: str, as_of: int) -> None:
    _only(given, ("name", "project", "commits", "day", "files", "changes", "ci"), "repository")
    add(
        "repositories",
        repository=key,
        name=given.get("name", key),
        project=given.get("project"),
        read_at=as_of + round(given.get("day", -1) * DAY),
        commits=_known(given.get("commits", 10)),
    )
    for number, file in enumerate(given.get("files", ())):
        sized = file if isinstance(file, Mapping) else {"file": file}
        _only(sized, ("file", "size"), "file")
        role, _, marks = str(sized["file"]).partition(" ")
        size = sized.get("size", 10)
        add("repository_files", repository=key, path=f"{number}/{role}", role=role, size=size, marks=marks)
    for number, change in enumerate(_repeated(given.get("changes", ()))):
        _only(change, ("approvals", "day"), "change")
        merged_at = as_of + round(change.get("day", -10) * DAY)
        approvals = _known(change.get("approvals", 0))
        add("change_requests", repository=key, number=str(number), author="a", merged_at=merged_at, approvals=approvals)
    for number, run in enumerate(_repeated(given.get("ci", ()))):
        _ci_run(add, run, f"{key}-ci{number}", key, as_of)


def _ci_run(add: Add, given: Mapping[str, Any], key: str, repository: str | None, as_of: int) -> None:
    _only(given, ("job", "status", "day", "coverage", "project", "repository"), "ci")
    add(
        "ci_runs",
        ci_run=key,
        repository=given.get("repository", repository),
        project=given.get("project"),
        job=given.get("job", "tests"),
        status=given.get("status", "passed"),
        at=as_of + round(given.get("day", -10) * DAY),
        coverage=given.get("coverage"),
    )


def _repeated(rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for row in rows:
        for _ in range(row.get("times", 1)):
            yield {key: value for key, value in row.items() if key != "times"}


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings and lists as pairs of a dotted name and a value."""
    if not isinstance(value, Mapping | list):
        yield key, value
        return
    parts = value.items() if isinstance(value, Mapping) else enumerate(value)
    for name, part in parts:
        yield from _flat(part, f"{key}.{name}" if key else str(name))


def _cell(value: Any) -> dict[str, Any]:
    return {"number": float(value)} if isinstance(value, bool | int | float) else {"text": value}


def _known(value: Any) -> Any:
    return None if value == "unknown" else value


def _only(given: Mapping[str, Any], allowed: Iterable[str], what: str) -> None:
    if unknown := sorted(set(given) - set(allowed)):
        raise ValueError(f"{what} has no key {', '.join(map(str, unknown))}")
