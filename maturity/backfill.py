"""Tags that were put on runs after the work was over: which runs, which tags.

Takes the fact table ``changes``, the ends of runs and ``as_of``; gives run to tag names. A tag is late when a reading
after the end of its run still lacked it and a reading in the last 30 days had it. Such a tag still counts, because
cleaning up is no offence; it is counted and shown, so that a tidy-up before an assessment is seen for what it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from maturity.keyed import DAY, present
from maturity.measures import (
    All,
    Compare,
    Computed,
    Condition,
    Declared,
    Measure,
    Not,
    Related,
    Term,
    TextIs,
    Time,
)
from maturity.measures import (
    Any as AnyOf,
)

LATE_DAYS = 30
_ALWAYS = frozenset({"dlemm.stage", "dlemm.project"})


def late_tags(changes: pd.DataFrame, ends: Mapping[str, Any], as_of: int) -> Mapping[str, frozenset[str]]:
    """Run to the tags it got, or had changed, after its end and within the last 30 days. ``ends``: run to end in ms."""
    found: dict[str, set[str]] = defaultdict(set)
    frame = changes[(changes["entity"] == "run") & (changes["field"] == "tag")]
    rows: Iterable[Any] = frame.itertuples(index=False)
    for row in rows:
        end = ends.get(row.id)
        dated = present(end) and present(row.after) and present(row.before)
        if dated and present(row.new) and row.after >= end and as_of - LATE_DAYS * DAY <= row.before <= as_of:
            found[str(row.id)].add(str(row.key))
    return {run: frozenset(keys) for run, keys in found.items()}


def tags_of(measure: Measure) -> frozenset[str]:
    """The tags a measure looks at, and those that settle which runs it looks at."""
    parts = (measure.where, measure.condition, measure.not_applicable_if_all)
    found = _ALWAYS.union(*(_of_condition(part) for part in parts if part is not None))
    return found | _of_term(measure.term) if measure.term is not None else found


def _of_condition(part: Condition) -> frozenset[str]:
    match part:
        case All(parts) | AnyOf(parts):
            return frozenset().union(*map(_of_condition, parts))
        case Not(inner) | Related(_, _, inner):
            return _of_condition(inner)
        case TextIs(place, key) if place in ("tag", "declared"):
            return frozenset({key})
        case Compare(left, _, right):
            return _of_term(left) | _of_term(right)
    return frozenset()


def _of_term(term: Term) -> frozenset[str]:
    match term:
        case Computed(_, parts):
            return frozenset().union(*map(_of_term, parts))
        case Declared(key) | Time(key):
            return frozenset({key})
    return frozenset()
