"""assembly: the facts of several sources put together for one assessment.

Takes the parts that collections brought and the projects of the organisation; gives ``Facts``, ids written
``source:id``, runs and versions with their project, and reference runs left out unless they are wanted.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import pandas as pd

from maturity.facts import ORIGIN_TAG, PARENT_TAG, PROJECT_TAG, TABLES, Facts, Part, Table


def assemble(parts: Iterable[Part], projects: pd.DataFrame, *, include_reference: bool = False) -> Facts:
    """Put the facts of several sources together, ids written ``source:id``, runs and versions given their project.

    Runs of the bundled reference pipeline (tag ``dlemm.origin=reference``) and what hangs on them are left out
    unless ``include_reference``: they show how the product works and never count for a real organisation.
    """
    parts = sorted(parts, key=lambda part: part.source)
    if len({part.source for part in parts}) != len(parts):
        raise ValueError("a source may appear only once")
    tables = {}
    for table in TABLES.values():
        frames = [_prefixed(table, part) for part in parts if table.name in part.tables]
        frames = [frame for frame in frames if len(frame)]
        tables[table.name] = pd.concat(frames, ignore_index=True) if frames else table.empty()
    tables["projects"] = projects if len(projects) else TABLES["projects"].empty()
    if not include_reference:
        tables = _without_reference(tables)
    return Facts(MappingProxyType(_with_projects(tables)), {part.source: part.statement for part in parts})


def _prefixed(table: Table, part: Part) -> pd.DataFrame:
    frame = part.tables[table.name].copy()
    for column in table.columns:
        if column.kind == "id":
            frame[column.name] = (part.source + ":" + frame[column.name].astype("object")).where(
                frame[column.name].notna() & (frame[column.name] != ""), None
            )
    return frame


def _without_reference(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    runs = _with_children(_of_reference(tables["run_tags"], "run"), tables["run_tags"])
    models, versions = tables["logged_models"], tables["model_versions"]
    logged = set(models.loc[models["run"].isin(runs), "model"])
    made = versions["run"].isin(runs) | versions["logged_model"].isin(logged)
    dropped = _of_reference(tables["version_tags"], "version") | set(versions.loc[made, "version"])
    left = set(versions.loc[~versions["version"].isin(dropped), "name"])
    names = _of_reference(tables["registered_model_tags"], "name")
    names |= set(versions.loc[versions["version"].isin(dropped), "name"]) - left
    if not (runs or dropped or names):
        return tables
    drop = {"run": runs, "version": dropped, "owner": runs | logged, "name": names}
    return {table: _dropped(TABLES[table], frame, drop) for table, frame in tables.items()}


def _dropped(table: Table, frame: pd.DataFrame, drop: Mapping[str, set[str]]) -> pd.DataFrame:
    """The frame without the rows that name a dropped id."""
    gone = pd.Series(False, index=frame.index)
    for column in table.columns:
        if column.kind == "id" and column.name in drop:
            gone |= frame[column.name].isin(drop[column.name])
    return frame[~gone].reset_index(drop=True)


def _of_reference(tags: pd.DataFrame, owner: str) -> set[str]:
    return set(tags.loc[(tags["key"] == ORIGIN_TAG) & (tags["value"] == "reference"), owner])


def _with_children(runs: set[str], tags: pd.DataFrame) -> set[str]:
    """The runs and all that are nested below them."""
    rows = tags[tags["key"] == PARENT_TAG]
    children: dict[str, list[str]] = {}
    for run, parent in zip(rows["run"], rows["value"], strict=True):
        children.setdefault(f"{str(run).partition(':')[0]}:{parent}", []).append(run)
    found, waiting = set(runs), list(runs)
    while waiting:
        below = [run for run in children.get(waiting.pop(), []) if run not in found]
        found.update(below)
        waiting.extend(below)
    return found


def _with_projects(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Give runs and versions a ``project``: the tag when it names a known project, else the first matching pattern."""
    projects = tables["projects"].sort_values("project")
    known = set(projects["project"])
    names = dict(zip(tables["experiments"]["experiment"], tables["experiments"]["name"], strict=True))
    by_experiment = {key: _matching(projects, "experiments", name) for key, name in names.items()}
    runs = tables["runs"].copy()
    runs["project"] = _tagged(tables["run_tags"], "run", known, runs["run"]).fillna(
        runs["experiment"].map(by_experiment).astype("object")
    )
    versions = tables["model_versions"].copy()
    bare = versions["name"].astype("object").str.partition(":")[2] if len(versions) else versions["name"]
    by_run = dict(zip(runs["run"], runs["project"], strict=True))
    versions["project"] = (
        _tagged(tables["version_tags"], "version", known, versions["version"])
        .fillna(_tagged(tables["registered_model_tags"], "name", known, versions["name"]))
        .fillna(bare.map(lambda name: _matching(projects, "models", name)).astype("object"))
        .fillna(versions["run"].map(by_run).astype("object"))
    )
    for frame in (runs, versions):
        frame["project"] = frame["project"].astype("object").where(frame["project"].notna(), None)
    return {**tables, "runs": runs, "model_versions": versions}


def _tagged(tags: pd.DataFrame, owner: str, known: set[str], ids: pd.Series) -> pd.Series:
    rows = tags[tags["key"] == PROJECT_TAG]
    named = {key: str(value).strip() for key, value in zip(rows[owner], rows["value"], strict=True)}
    return ids.map({key: value for key, value in named.items() if value in known}).astype("object")


def _matching(projects: pd.DataFrame, column: str, name: str) -> str | None:
    for key, patterns in zip(projects["project"], projects[column], strict=True):
        if any(fnmatch.fnmatchcase(name or "", pattern) for pattern in json.loads(patterns or "[]")):
            return str(key)
    return None
