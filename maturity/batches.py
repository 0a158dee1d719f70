"""batches: the readings of one source laid one over the other.

Takes the tables of a source as it was read bit by bit, oldest first: a later batch holds only what was new or changed
since. Gives each table once, with the latest reading of every run, logged model and artifact list, and without what was
found to be gone. Of tables that are always read whole the latest one counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maturity.facts import TABLES
from maturity.table import stacked

if TYPE_CHECKING:
    import pandas as pd

GONE = "gone"
"""The lifecycle of a run, and the status of a logged model, that a later reading no longer found."""


@dataclass(frozen=True, slots=True)
class Group:
    """Tables that are read together for one owner: every owner read stands in the column ``owner`` of ``anchor``."""

    anchor: str
    owner: str
    tables: tuple[str, ...]
    gone: str = ""  # the column of the anchor that says GONE


GROUPS = (
    Group(
        "runs", "run", ("runs", "run_params", "run_metrics", "run_tags", "run_inputs", "run_input_tags"), "lifecycle"
    ),
    Group("run_metric_means", "run", ("run_metric_means",)),
    Group("logged_models", "model", ("logged_models",), "status"),
    Group("artifact_listings", "owner", ("artifact_listings", "artifacts", "cards")),
    Group("reports", "report", ("reports", "report_values")),
)
"""The tables that come bit by bit. All others are read whole each time."""

_OF_RUNS = ("run_metric_means", "artifact_listings", "artifacts", "cards")

GROUP_OF: Mapping[str, Group] = {table: group for group in GROUPS for table in group.tables}


def join(batches: Sequence[Mapping[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """Each table once. Tables that no batch holds are left out."""
    joined: dict[str, pd.DataFrame] = {}
    for table in TABLES:
        if table not in GROUP_OF and (held := [batch[table] for batch in batches if table in batch]):
            joined[table] = held[-1]
    for group in GROUPS:
        if any(group.anchor in batch for batch in batches):
            joined.update(_joined(group, batches))
    return _without_gone_runs(joined, batches)


def _without_gone_runs(
    joined: dict[str, pd.DataFrame], batches: Sequence[Mapping[str, pd.DataFrame]]
) -> dict[str, pd.DataFrame]:
    """The tables without what hung on runs that are gone: their files, reports and means went with them."""
    runs = [batch["runs"] for batch in batches if "runs" in batch]
    gone = {run for frame in runs for run in frame.loc[frame["lifecycle"] == GONE, "run"]}
    gone -= set(joined["runs"]["run"]) if gone else set()
    if not gone:
        return joined
    hung = {table: (GROUP_OF[table].owner, gone) for table in _OF_RUNS}
    if "reports" in joined:
        reports = joined["reports"]
        lost = set(reports.loc[reports["run"].isin(gone), "report"])
        hung |= dict.fromkeys(("reports", "report_values"), ("report", lost))
    for table, (column, ids) in hung.items():
        if table in joined:
            joined[table] = _without(joined[table], column, ids).reset_index(drop=True)
    return joined


def _joined(group: Group, batches: Sequence[Mapping[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    later: set[str] = set()
    kept: dict[str, list[pd.DataFrame]] = {table: [] for table in group.tables}
    for batch in reversed(batches):
        if group.anchor not in batch:
            continue
        read = batch[group.anchor]
        gone = set(read.loc[read[group.gone] == GONE, group.owner]) if group.gone else set()
        for table in group.tables:
            if table in batch:
                kept[table].append(_without(batch[table], group.owner, later | gone))
        if batch is not batches[0]:
            later.update(read[group.owner])
    return {table: _stacked(table, frames[::-1]) for table, frames in kept.items() if frames}


def _without(frame: pd.DataFrame, owner: str, dropped: set[str]) -> pd.DataFrame:
    return frame[~frame[owner].isin(dropped)] if dropped and len(frame) else frame


def _stacked(table: str, frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return stacked(filled) if filled else TABLES[table].empty()
