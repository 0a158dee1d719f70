"""assembly: the facts of several sources put together for one assessment.

Takes the parts that collections brought and the projects of the organisation; gives ``Facts``, ids written
``source:id``, runs and versions with their project, and reference runs left out unless they are wanted.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from maturity.facts import ORIGIN_TAG, PARENT_TAG, PROJECT_TAG, TABLES, Facts, Part
from maturity.names import Names, applied
from maturity.owners import reports_with_projects, without_reference_reports
from maturity.table import Table, stacked


def assemble(
    parts: Iterable[Part], projects: pd.DataFrame, *, include_reference: bool = False, names: Names | None = None
) -> Facts:
    """Put the facts of several sources together, ids written ``source:id``, runs and versions given their project.

    Runs of the bundled reference pipeline (tag ``dlemm.origin=reference``) and what hangs on them are left out
    unless ``include_reference``: they show how the product works and never count for a real organisation.
    ``names``: what the organisation calls things; those are seen under our names from here on.
    """
    parts = sorted(parts, key=lambda part: part.source)
    if len({part.source for part in parts}) != len(parts):
        raise ValueError("a source may appear only once")
    tables = {}
    known = {part.source: _categories(part) for part in parts}
    for table in TABLES.values():
        frames = [_prefixed(table, part, known[part.source]) for part in parts if table.name in part.tables]
        frames = [frame for frame in frames if len(frame)]
        tables[table.name] = stacked(frames) if frames else table.empty()
    tables["projects"] = projects if len(projects) else TABLES["projects"].empty()
    names = names or Names()
    tables = applied(tables, names)
    if not include_reference:
        tables = _without_reference(tables)
    statements = {part.source: part.statement for part in parts}
    return Facts(MappingProxyType(_with_projects(tables)), statements, names)


def _prefixed(table: Table, part: Part, known: dict[str, pd.CategoricalDtype]) -> pd.DataFrame:
    """A table with its ids written ``source:id``. ``known``: the ids of the part that are held as categories."""
    frame = part.tables[table.name].copy(deep=False)
    for column in table.columns:
        if column.kind == "id" and frame[column.name].dtype == "category":
            frame[column.name] = _recoded(frame[column.name], part.source, known[column.name])
        elif column.kind == "id":
            codes, ids = pd.factorize(frame[column.name])  # each id is written once, however many rows name it
            written = [f"{part.source}:{one}" if one != "" else None for one in ids]
            texts = np.array([*written, None], dtype=object)[codes]  # -1 is the last
            frame[column.name] = pd.Series(texts, index=frame.index, dtype="object")
    return frame


def _categories(part: Part) -> dict[str, pd.CategoricalDtype]:
    """The ids of a part that are held as categories, by column, each list shared by all its tables."""
    found: dict[str, list[pa.Array]] = {}
    for table in TABLES.values():
        if table.name not in part.tables:
            continue
        frame = part.tables[table.name]
        for column in table.columns:
            if column.kind == "id" and frame[column.name].dtype == "category":
                found.setdefault(column.name, []).append(_texts_of(frame[column.name], part.source))
    dtypes = {}
    for name, parts in found.items():
        texts = pc.unique(pa.chunked_array(parts)).drop_null()
        dtypes[name] = pd.CategoricalDtype(pd.Index(pd.array(texts, dtype="str")))
    return dtypes


def _texts_of(column: pd.Series, source: str) -> pa.Array:
    """The categories of a column with their source, an empty one as null."""
    plain = pa.array(column.cat.categories, pa.large_string())
    before, between = (pa.scalar(text, pa.large_string()) for text in (source, ":"))
    written = pc.binary_join_element_wise(before, plain, between)
    return pc.if_else(pc.equal(plain, ""), pa.scalar(None, pa.large_string()), written)


def _recoded(column: pd.Series, source: str, dtype: pd.CategoricalDtype) -> pd.Series:
    places = pc.index_in(_texts_of(column, source), value_set=pa.array(dtype.categories, pa.large_string()))
    table = np.append(places.fill_null(-1).to_numpy(zero_copy_only=False), -1).astype(np.int32)
    codes = table[column.cat.codes.to_numpy()]  # -1 is the last
    return pd.Series(pd.Categorical.from_codes(codes, dtype=dtype), index=column.index)


def _without_reference(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    runs = _with_children(_of_reference(tables["run_tags"], "run"), tables["run_tags"])
    tables = without_reference_reports(tables, runs)
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
    asked = runs["run"].isin(set(versions["run"]))
    by_run = dict(zip(runs.loc[asked, "run"], runs.loc[asked, "project"], strict=True))
    versions["project"] = (
        _tagged(tables["version_tags"], "version", known, versions["version"])
        .fillna(_tagged(tables["registered_model_tags"], "name", known, versions["name"]))
        .fillna(bare.map(lambda name: _matching(projects, "models", name)).astype("object"))
        .fillna(versions["run"].map(by_run).astype("object"))
    )
    for frame in (runs, versions):
        frame["project"] = frame["project"].astype("object").where(frame["project"].notna(), None)
    reports = reports_with_projects(tables["reports"], runs, known)
    return {**tables, "runs": runs, "model_versions": versions, "reports": reports}


def _tagged(tags: pd.DataFrame, owner: str, known: set[str], ids: pd.Series) -> pd.Series:
    rows = tags[tags["key"] == PROJECT_TAG]
    named = {key: str(value).strip() for key, value in zip(rows[owner], rows["value"], strict=True)}
    return ids.map({key: value for key, value in named.items() if value in known}).astype("object")


def _matching(projects: pd.DataFrame, column: str, name: str) -> str | None:
    for key, patterns in zip(projects["project"], projects[column], strict=True):
        if any(fnmatch.fnmatchcase(name or "", pattern) for pattern in json.loads(patterns or "[]")):
            return str(key)
    return None
