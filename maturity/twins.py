"""Runs that are one piece of work under several ids: copies, and bursts of runs that differ in nothing but their time.

Takes the fact tables and the runs that count; gives, for every run that must not count again, the one that stands for
it: that of the smallest start, then the smallest id. Tags, names and users are left out of the comparison of copies,
because they are what somebody changes who copies a run to be counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from maturity.fields import Fields
from maturity.keyed import DAY
from maturity.rolls import Array, Roll, coded

BURST = 20
"""So many finished runs of one experiment and day (UTC) that are equal but for their times count as one."""
_COPIED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"run_metrics": ("key", "value", "at"), "run_inputs": ("name", "digest", "context"), "run_params": ("key", "value")}
)
_REPEATED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "run_metrics": ("key", "value"),
        "run_inputs": ("name", "digest", "context"),
        "run_tags": ("key", "value"),
        "run_params": ("key", "value"),
    }
)
_OURS = "dlemm."
_BLOCK = 500_000  # rows whose marks are worked out at once


def copies(tables: Mapping[str, pd.DataFrame], fields: Fields) -> Mapping[str, str]:
    """Copied run to the run it is a copy of: equal start, end, parameters, inputs and metrics with their times.

    ``fields`` are the columns of the runs that count. Experiment and source do not matter.
    """
    start, end = fields.numbers("start_at"), fields.numbers("end_at")
    places = np.column_stack([start.numbers, end.numbers, end.mask])
    return _kept(tables, _COPIED, fields, _groups(places, np.ones(len(fields.roll), bool)), 2, ~end.mask)


def bursts(tables: Mapping[str, pd.DataFrame], fields: Fields) -> Mapping[str, str]:
    """Repeated run to the first of its burst: at least ``BURST`` finished runs of a day, equal but for their times.

    Equal are parameters, inputs, values of metrics, and the tags the model reads. Runs that failed are left alone, so
    that a job that fails over and over is not made to look better.
    """
    start, experiment = fields.numbers("start_at"), fields.texts("experiment")
    finished = fields.texts("status").where(lambda status: status == "FINISHED").mask
    groups = _groups(np.column_stack([experiment.codes, start.numbers // DAY]), finished)
    return _kept(tables, _REPEATED, fields, groups, BURST, np.zeros(len(fields.roll), bool))


def _kept(
    tables: Mapping[str, pd.DataFrame],
    columns: Mapping[str, tuple[str, ...]],
    fields: Fields,
    groups: Array,
    least: int,
    silent: Array,
) -> Mapping[str, str]:
    """Every run of a group with at least so many equal ones, but the first, to that first one.

    Table by table only the runs that still have enough equals are looked at. ``silent``: runs whose equality means
    nothing unless they logged something, because they have no end and are merely alike.
    """
    told = np.zeros(len(groups), bool)
    for table, names in columns.items():
        crowded = _crowded(groups, least)
        if not crowded.any():
            return MappingProxyType({})
        marks = _fingerprints(tables[table], fields.roll, crowded, names, ours=table == "run_tags")
        told |= marks != 0
        groups = _groups(np.column_stack([groups, marks.view(np.int64)]), crowded)
    return _firsts(fields, np.where(_crowded(groups, least) & (told | ~silent), groups, -1))


def _firsts(fields: Fields, groups: Array) -> Mapping[str, str]:
    """Every run of a group (-1: of none) to the one of it that started first, that one left out."""
    start, names = fields.numbers("start_at").numbers, fields.roll.names
    members = np.flatnonzero(groups >= 0)
    members = members[np.lexsort((members, start[members], groups[members]))]
    found, first = {}, -1
    for place in members.tolist():
        if first >= 0 and groups[place] == groups[first]:
            found[names[place]] = names[first]
        else:
            first = place
    return MappingProxyType(found)


def _groups(keys: Array, among: Array) -> Array:
    """A number for each row of keys, equal rows the same one; -1 for rows that are not among those asked about."""
    found = np.full(len(keys), -1, np.int64)
    rows = np.flatnonzero(among)
    if not len(rows):
        return found
    order = rows[np.lexsort(keys[rows].T)]
    changed = np.any(keys[order][1:] != keys[order][:-1], axis=1)
    found[order] = np.append(0, np.cumsum(changed))
    return found


def _crowded(groups: Array, least: int) -> Array:
    """Which runs are in a group of at least so many."""
    counts = np.bincount(groups + 1)
    found: Array = (groups >= 0) & (counts[groups + 1] >= least)
    return found


def _fingerprints(frame: pd.DataFrame, roll: Roll, runs: Array, names: tuple[str, ...], *, ours: bool) -> Array:
    """One number for each run that is asked about, the same whatever the order of its rows."""
    sums = np.zeros(len(roll), np.uint64)
    places = roll.places_of(*coded(frame["run"]))
    rows = np.append(runs, False)[places]
    if ours:
        codes, keys = coded(frame["key"])
        rows &= np.append([key.startswith(_OURS) for key in keys.to_pylist()], False).astype(bool)[codes]
    chosen = np.flatnonzero(rows)
    for begin in range(0, len(chosen), _BLOCK):
        block = chosen[begin : begin + _BLOCK]
        part = frame[list(names)].iloc[block]
        np.add.at(sums, places[block], pd.util.hash_pandas_object(part, index=False).to_numpy(dtype=np.uint64))
    return sums
