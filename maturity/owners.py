"""Whose a report is: its project, by its own word or its run, and whether the reference pipeline made it.

Takes the fact tables of an assessment; gives the tables with ``reports`` (and what they hold) settled. A report of no
known project belongs to none, and never to another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import pandas as pd

from maturity.facts import ORIGIN_TAG

_ORIGIN_KEYS = ("origin", ORIGIN_TAG)


def without_reference_reports(tables: Mapping[str, pd.DataFrame], runs: Iterable[str]) -> dict[str, pd.DataFrame]:
    """The tables without reports that say they are of the reference pipeline, or name one of its runs.

    ``runs``: ids of the runs that were left out for being of the reference pipeline, with their source.
    """
    reports, values = tables["reports"], tables["report_values"]
    says = values["key"].isin(_ORIGIN_KEYS) & values["row"].isna() & (values["text"] == "reference")
    gone = set(values.loc[says, "report"])
    left_out = _runs_by_name(runs) if len(reports) else {}
    for report, run in zip(reports["report"], reports["run"], strict=True):
        if _run_of(report, run, left_out) is not None:
            gone.add(report)
    if not gone:
        return dict(tables)
    kept = {name: tables[name] for name in ("reports", "report_values")}
    kept = {name: frame[~frame["report"].isin(gone)].reset_index(drop=True) for name, frame in kept.items()}
    return {**tables, **kept}


def reports_with_projects(reports: pd.DataFrame, runs: pd.DataFrame, known: set[str]) -> pd.DataFrame:
    """Reports with their ``project``: the one they name when it is known, else that of their run, else none."""
    if reports.empty:
        return reports
    of_run = dict(zip(runs["run"], runs["project"], strict=True))
    by_name = _runs_by_name(of_run)
    projects = []
    for report, run, project in zip(reports["report"], reports["run"], reports["project"], strict=True):
        named = project.strip() if isinstance(project, str) else ""
        found = _run_of(report, run, by_name)
        projects.append(named if named in known else None if named else of_run.get(found or ""))
    reports = reports.copy()
    reports["project"] = pd.Series(projects, index=reports.index, dtype="object").where(lambda s: s.notna(), None)
    return reports


def _runs_by_name(runs: Iterable[str]) -> Mapping[str, set[str]]:
    """Runs by their id without the source."""
    found: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        found[str(run).partition(":")[2]].add(str(run))
    return found


def _run_of(report: str, run: object, by_name: Mapping[str, set[str]]) -> str | None:
    """The run a report names: of its own source, else the only one of that id anywhere; a guess is no answer."""
    ids = by_name.get(run.strip(), set()) if isinstance(run, str) and run.strip() else set()
    own = f"{str(report).partition(':')[0]}:{str(run).strip()}"
    if own in ids:
        return own
    return next(iter(ids)) if len(ids) == 1 else None
