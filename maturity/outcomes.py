"""Measures of delivery and of incidents, named by ``function`` in an indicator's YAML.

Each takes the ``Populations`` and a project (None: the whole organisation) and gives a ``Tally``. They say how well
outcomes are measured; the outcomes themselves stand beside the maturity result and never feed it.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from maturity.functions import Tally, median
from maturity.keyed import DAY, present
from maturity.lineage import contexts, held_out_evaluation
from maturity.populations import Populations
from maturity.world import columns_of

_ENOUGH = 5
_SETTLED_DAYS = 7
_HOUR = DAY // 24
_RISE = Fraction(5, 100)
_COMMITS = ("mlflow.source.git.commit", "dlemm.git.commit")
_NAMED_TEST = re.compile(r"eval/(?:slice|robust|test|regression)/([^/]+)(?:/.*)?", re.DOTALL)


def delivery_metrics(world: Populations, project: str | None) -> Tally:
    """How many of the six delivery metrics have at least five observations in the window.

    Lead time: a release whose source run started before it. Release frequency: a release. Iteration rate: a candidate
    (a version of the window) judged on held-out data, equal ones once. Change fail rate: a release at least seven days
    old, since a failure may show that late. Time to restore: a restored incident. Rework rate: a release that names
    its type of change.
    """
    releases = world.members("RELEASED", project)
    start, kinds = world.run_fields["start_at"], world.version_tags.of("dlemm.change_type")
    live = {version: world.go_live[version].at for version in releases}
    sources = {version: world.source_run(version) for version in releases}
    observed = {
        "change fail rate": sum(at <= world.as_of - _SETTLED_DAYS * DAY for at in live.values()),
        "iteration rate": len({mark for v in world.members("VERSIONS", project) if (mark := _iteration(world, v))}),
        "lead time": sum((run := sources[v]) is not None and start[run] <= live[v] for v in releases),
        "release frequency": len(releases),
        "rework rate": sum(version in kinds for version in releases),
        "time to restore": sum(_restored(world, i) is not None for i in world.members("INCIDENTS", project)),
    }
    enough = tuple(name for name, n in observed.items() if n >= _ENOUGH)
    rest = tuple(name for name in observed if name not in enough)
    value = Fraction(len(enough)) if any(observed.values()) else None
    return Tally(value, len(observed) if value is not None else 0, "delivery metric", enough, rest)


def _iteration(world: Populations, version: str) -> tuple[Any, ...] | None:
    """What makes a candidate different from others: commit, datasets and parameters; None when it was not judged."""
    run = world.source_run(version)
    if run is None or not held_out_evaluation(world, version):
        return None
    commit = next((tags[run] for key in _COMMITS if run in (tags := world.run_tags.of(key))), "")
    params = tuple(sorted(world.params_of_run.get(run, {}).items()))
    return commit, tuple(sorted(contexts(world, run))), params


def _restored(world: Populations, incident: str) -> int | None:
    """Milliseconds from opening to restoring; None when it is not restored, or before it opened (a mistake)."""
    fields = world.incidents[incident]
    took = None if fields["restored_at"] is None else int(fields["restored_at"] - fields["opened_at"])
    return took if took is None or took >= 0 else None


def days_to_regression_test(world: Populations, project: str | None) -> Tally:
    """Median days from a closed model incident to the first EVALUATE run with a slice or test named after it.

    Such a metric is ``eval/slice/<id>/…``, ``eval/robust/<id>``, ``eval/test/<id>`` or ``eval/regression/<id>``. A tag
    alone tests nothing, and a run before the incident was opened cannot test for it, nor can one of another project.
    An incident that nobody tested for yet took at least its age, and no less than those that were tested for; when none
    was, nothing is known.
    """
    tested = _tested(world)
    found: dict[str, Fraction] = {}
    lacking: dict[str, Fraction] = {}
    for incident in world.members("INCIDENTS", project):
        fields = world.incidents[incident]
        if fields["kind"] != "model" or fields["closed_at"] is None:
            continue
        opened, own = fields["opened_at"], fields["project"]
        runs = tested.get(incident.partition(":")[2], ())
        after = [at for at, of in runs if at >= opened and (not own or of in (None, own))]
        if after:
            found[incident] = Fraction(min(after) - opened, DAY)
        else:
            lacking[incident] = Fraction(world.as_of - opened, DAY)
    return _median_wait(found, lacking)


def hours_to_restore(world: Populations, project: str | None) -> Tally:
    """Median hours from opening an incident to restoring the service.

    One that is not restored yet took at least its age, and no less than those that are; when none is, nothing is known.
    An incident restored before it was opened is a mistake and is left out.
    """
    found: dict[str, Fraction] = {}
    lacking: dict[str, Fraction] = {}
    for incident in world.members("INCIDENTS", project):
        fields = world.incidents[incident]
        if (took := _restored(world, incident)) is not None:
            found[incident] = Fraction(took, _HOUR)
        elif fields["restored_at"] is None:
            lacking[incident] = Fraction(world.as_of - fields["opened_at"], _HOUR)
    return _median_wait(found, lacking)


def _median_wait(found: Mapping[str, Fraction], lacking: Mapping[str, Fraction]) -> Tally:
    """The median of waits, of which those that are lacking have lasted so long without an end."""
    if not found:
        return Tally(None, 0, "incident", (), tuple(lacking))
    longest = max(found.values())
    waits = [*found.values(), *(max(age, longest) for age in lacking.values())]
    return Tally(median(waits), len(waits), "incident", tuple(sorted(found)), tuple(lacking))


def _tested(world: Populations) -> Mapping[str, list[tuple[int, str | None]]]:
    """Name of a slice or test to the starts and projects of the EVALUATE runs that log it."""
    runs, start, projects = world.ids_of("EVALUATE"), world.run_fields["start_at"], world.run_fields["project"]
    found: dict[str, list[tuple[int, str | None]]] = defaultdict(list)
    for key in world.run_metrics.keys_like("eval/**"):
        if named := _NAMED_TEST.fullmatch(key):
            found[named[1]] += [(start[run], projects.get(run)) for run in runs & world.run_metrics.of(key).ids]
    return found


def valid_comparisons(world: Populations, project: str | None) -> Tally:
    """Comparisons closed in the window with five observations on either side, a ratio and its interval.

    One per metric and period.
    """
    rows = {key: row for key, row in _comparisons(world, project).items() if world.in_window(row["closed_at"])}
    passing = sorted(key for key, row in rows.items() if _valid(row))
    failing = sorted(rows.keys() - set(passing))
    value = Fraction(len(passing)) if rows else None
    return Tally(value, len(rows), "comparison", tuple(passing), tuple(failing))


def improving_periods(world: Populations, project: str | None) -> Tally:
    """The most lead-time comparisons in a row, of one project or of the whole, that show an improvement.

    That is an interval wholly below 1 while the change fail rate rose by at most five points. A comparison that lacks
    one of these numbers shows none. The last of the row must have closed in the window, so that what was reached long
    ago is no improvement of today.
    """
    rows = {key: row for key, row in _comparisons(world, project).items() if row["metric"] == "lead_time"}
    series: dict[Any, list[str]] = defaultdict(list)
    for key in sorted(rows, key=lambda key: (rows[key]["closed_at"], key)):
        series[rows[key]["project"]].append(key)
    best: tuple[str, ...] = ()
    for keys in series.values():
        row_of: list[str] = []
        for key in keys:
            row_of = [*row_of, key] if _improves(rows[key]) else []
            if world.in_window(rows[key]["closed_at"]):
                best = max(best, tuple(row_of), key=len)
    value = Fraction(len(best)) if any(world.in_window(row["closed_at"]) for row in rows.values()) else None
    return Tally(value, len(rows), "comparison", best, tuple(sorted(rows.keys() - set(best))))


def _comparisons(world: Populations, project: str | None) -> dict[str, dict[str, Any]]:
    """Closed comparisons of a project (None: all), the same metric and period of one project once."""
    columns = columns_of(world.facts["comparisons"], "comparison")
    found: dict[tuple[Any, ...], str] = {}
    for key in sorted(columns["comparison"]):
        closed, of = columns["closed_at"][key], columns["project"][key]
        if closed is not None and closed <= world.as_of and project in (None, of):
            found.setdefault((of, columns["metric"][key], closed), key)
    return {key: {name: column[key] for name, column in columns.items()} for key in found.values()}


def _interval(row: Mapping[str, Any]) -> bool:
    ends = (row["ratio_low"], row["ratio"], row["ratio_high"])
    return all(present(end) and math.isfinite(end) for end in ends) and 0 < ends[0] <= ends[1] <= ends[2]


def _valid(row: Mapping[str, Any]) -> bool:
    return _interval(row) and all(present(row[name]) and row[name] >= _ENOUGH for name in ("n_before", "n_after"))


def _improves(row: Mapping[str, Any]) -> bool:
    before, after = row["fail_before"], row["fail_after"]
    known = all(present(rate) and 0 <= rate <= 1 for rate in (before, after))
    steady = known and Fraction(repr(after)) - Fraction(repr(before)) <= _RISE
    return bool(_interval(row) and row["ratio_high"] < 1 and steady)


FUNCTIONS: Mapping[str, Callable[[Populations, str | None], Tally]] = {
    "delivery_metrics": delivery_metrics,
    "valid_comparisons": valid_comparisons,
    "improving_periods": improving_periods,
    "days_to_regression_test": days_to_regression_test,
    "hours_to_restore": hours_to_restore,
}
