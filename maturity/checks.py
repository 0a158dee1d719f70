"""Works out the pipeline and repository checks of a model over facts: one finding per check and project.

Takes ``Populations`` (facts as they count at one time) and a check with a ``measure``; gives a ``Finding`` named by the
key of the check, with value 1 (seen) or 0 (looked, and it is not so), or the share itself. A report counts when it is
of the kind and was made in the window; of each project the newest decides (tie: lowest id), and of the organisation
every project's newest must hold. For a repository check some repository of the project, or one that serves all, must
hold; where every file of a role is asked about, all repositories that have one. What was seen to hold stands even when
another source could not be read; else not reading is not a no.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction

from maturity.check_facts import CheckFacts, Repository
from maturity.check_measures import CheckMeasure, File
from maturity.facts import Reading
from maturity.populations import Populations
from maturity.report_conditions import report_holds, some
from maturity.repository_conditions import repository_holds
from maturity.schema import Check
from maturity.scorecard import Finding, Outcome

ONE, ZERO = Fraction(1), Fraction(0)
UNIT_REPORT, UNIT_REPOSITORY, UNIT_CHANGE, UNIT_PROJECT = "report", "repository", "change request", "project"


def measure_checks(world: Populations, projects: Iterable[str]) -> tuple[Finding, ...]:
    """Every measured check: of the organisation, and of each project where its practice is rated by project."""
    facts, found = CheckFacts(world), []
    names = sorted(set(projects))
    for practice in world.model.practices.values():
        scopes = [None, *names] if practice.scope == "project" else [None]
        found += [_measured(facts, c, scope) for c in practice.checks if c.measure is not None for scope in scopes]
    return tuple(sorted(found, key=lambda finding: (finding.indicator, finding.project or "")))


def measure_check(world: Populations, check: Check, project: str | None) -> Finding:
    """One check for one project, or for the whole organisation (None). The check must have a measure."""
    return _measured(CheckFacts(world), check, project)


def _measured(facts: CheckFacts, check: Check, project: str | None) -> Finding:
    measure = check.measure
    assert measure is not None  # noqa: S101 - the callers choose checks with a measure
    empty = Finding(check.key, project, None, unit=_unit(measure), window=(facts.world.since, facts.world.as_of))
    if why := _unsupported(facts, measure, empty):
        return why
    if measure.form == "report":
        found = _of_reports(facts, measure, empty)
    elif measure.share == "approved_changes":
        found = _of_changes(facts, measure, empty)
    elif measure.form == "share":
        found = _of_projects(facts, measure, empty)
    else:
        found = _of_repositories(facts, measure, empty)
    return _unless_hidden(facts, measure, found)


def _unit(measure: CheckMeasure) -> str:
    if measure.form == "report":
        return UNIT_REPORT
    if measure.form == "repository":
        return UNIT_REPOSITORY
    return UNIT_CHANGE if measure.share == "approved_changes" else UNIT_PROJECT


# whether the sources could be read


def _states(facts: CheckFacts, stream: str) -> Mapping[str, tuple[Reading, str]]:
    statements = facts.world.facts.statements
    readings = {source: statements[source].stream(stream) for source in sorted(statements)}
    return {source: (reading.state, reading.reason) for source, reading in readings.items()}


def _unsupported(facts: CheckFacts, measure: CheckMeasure, empty: Finding) -> Finding | None:
    """No source at all, or none that has the stream: the finding that says so."""
    if not facts.world.facts.statements:
        return replace(empty, outcome=Outcome.COULD_NOT_LOOK, reason="no_source")
    states = _states(facts, measure.stream)
    if any(state is not Reading.NOT_SUPPORTED for state, _ in states.values()):
        return None
    details = {"stream": measure.stream, "source": ", ".join(states), "why": next(iter(states.values()))[1]}
    return replace(empty, outcome=Outcome.NOT_SUPPORTED, reason="stream_not_supported", details=details)


def _unless_hidden(facts: CheckFacts, measure: CheckMeasure, found: Finding) -> Finding:
    """The finding, or could not look when what would change a no may lie where nobody could read."""
    if found.value == ONE and measure.form != "share":
        return found
    unread = [
        (stream, source, reason)
        for stream in (measure.stream, *sorted(measure.also))
        for source, (state, reason) in _states(facts, stream).items()
        if state is Reading.COULD_NOT_LOOK
    ]
    if measure.form == "report":
        experiments = _states(facts, "experiments")
        unread += [("experiments", source, experiments[source][1]) for source in sorted(facts.hidden(found.project))]
    if not unread:
        return found
    details = dict(zip(("stream", "source", "why"), unread[0], strict=True))
    base = replace(found, value=None, numerator=None, denominator=None, details=details)
    return replace(base, outcome=Outcome.COULD_NOT_LOOK, reason="stream_not_read")


# the three forms


def _of_reports(facts: CheckFacts, measure: CheckMeasure, empty: Finding) -> Finding:
    reports = facts.reports(measure.report, empty.project)
    if not reports:
        return replace(empty, outcome=Outcome.NO_EVIDENCE, reason="no_report", details={"kind": measure.report})
    assert measure.condition is not None  # noqa: S101 - a report measure has a condition
    chosen = reports if measure.some else facts.newest_by_project(reports)
    verdicts = {report.id: report_holds(measure.condition, facts.content(report.id)) for report in chosen}
    at = {report.id: report.made_at for report in chosen}
    return _judged(empty, verdicts, at, some=measure.some)


def _of_repositories(facts: CheckFacts, measure: CheckMeasure, empty: Finding) -> Finding:
    repositories = facts.repositories(empty.project)
    if not repositories:
        return replace(empty, outcome=Outcome.NO_EVIDENCE, reason="no_repository")
    having = _having(facts, measure, repositories, empty.project)
    verdicts = {one.id: _holds(facts, measure, one, empty.project) for one in having or repositories}
    at = {one.id: one.read_at for one in repositories}
    return _judged(empty, verdicts, at, some=not having)


def _having(
    facts: CheckFacts, measure: CheckMeasure, repositories: tuple[Repository, ...], project: str | None
) -> tuple[Repository, ...]:
    """Where every file of a role is asked about: the repositories that (may) have one, all of which must hold."""
    wanted = measure.condition
    if not isinstance(wanted, File) or not wanted.every:
        return ()
    views = (facts.view(one, project) for one in repositories)
    return tuple(v.repository for v in views if v.cut or any(file.role == wanted.role for file in v.files))


def _holds(facts: CheckFacts, measure: CheckMeasure, one: Repository, project: str | None) -> bool | None:
    assert measure.condition is not None  # noqa: S101 - a measure of repositories has a condition
    return repository_holds(measure.condition, facts.view(one, project))


def _judged(empty: Finding, verdicts: Mapping[str, bool | None], at: Mapping[str, int], *, some: bool) -> Finding:
    """1 when some (or every) member holds, 0 when not; could not look when that hangs on what is unknown."""
    yes = tuple(sorted(key for key, verdict in verdicts.items() if verdict))
    no = tuple(sorted(key for key, verdict in verdicts.items() if verdict is False))
    unknown = len(verdicts) - len(yes) - len(no)
    met = bool(yes) if some else not no and not unknown
    base = replace(empty, n=len(verdicts), passing=yes, failing=no)
    if not met and unknown and (some or not no):
        details = {"unknown": str(unknown), "of": str(len(verdicts))}
        return replace(base, outcome=Outcome.COULD_NOT_LOOK, reason="check_unknown", details=details)
    read_at = max(at[key] for key in yes) if met and some else min(at.values())
    details = {"unknown": str(unknown), "of": str(len(verdicts))} if unknown else {}
    return replace(base, value=ONE if met else ZERO, read_at=read_at, details=details)


def _of_changes(facts: CheckFacts, measure: CheckMeasure, empty: Finding) -> Finding:
    """The share of merged change requests of the window that somebody other than the author approved."""
    changes = facts.changes(empty.project)
    if not changes:
        return replace(empty, outcome=Outcome.NO_EVIDENCE, reason="no_change")
    yes = tuple(sorted(change.id for change in changes if change.approvals is not None and change.approvals > 0))
    no = tuple(sorted(change.id for change in changes if change.approvals == 0))
    read_at = min(facts.read_at(change.id) for change in changes)
    return _share(replace(empty, read_at=read_at), yes, no, len(changes), measure.target or ONE)


def _of_projects(facts: CheckFacts, measure: CheckMeasure, empty: Finding) -> Finding:
    """The share of projects that have a repository for which the condition holds.

    What a repository that serves all holds does not show that each project has it, so there it is unknown.
    """
    projects = facts.projects(started=measure.share == "started_projects")
    if not projects:
        return replace(empty, outcome=Outcome.NO_EVIDENCE, reason="no_project_started")
    verdicts: dict[str, bool | None] = {}
    seen: list[int] = []
    for project in projects:
        repositories = facts.repositories(project)
        held = [(_holds(facts, measure, one, project), one.project) for one in repositories]
        verdicts[project] = some(verdict if own or not verdict else None for verdict, own in held)
        seen += [one.read_at for one in repositories]
    if not seen:
        return replace(empty, outcome=Outcome.NO_EVIDENCE, reason="no_repository")
    yes = tuple(project for project in projects if verdicts[project])
    no = tuple(project for project in projects if verdicts[project] is False)
    return _share(replace(empty, read_at=min(seen)), yes, no, len(projects), measure.target or ONE)


def _share(base: Finding, yes: tuple[str, ...], no: tuple[str, ...], asked: int, target: Fraction) -> Finding:
    """The share among those known; could not look when most are unknown, or those that are might decide."""
    unknown = asked - len(yes) - len(no)
    details = {"unknown": str(unknown), "of": str(asked)} if unknown else {}
    least, most = Fraction(len(yes), asked), Fraction(len(yes) + unknown, asked)
    if 2 * unknown > asked or (unknown and least < target <= most):
        return replace(base, outcome=Outcome.COULD_NOT_LOOK, reason="check_unknown", n=asked, details=details)
    n = len(yes) + len(no)
    return replace(
        base,
        value=Fraction(len(yes), n),
        n=n,
        numerator=len(yes),
        denominator=n,
        passing=yes,
        failing=no,
        details=details,
    )


__all__ = ["measure_check", "measure_checks"]
