"""The facts that count at one time, indexed once: look-ups by run, version, logged model and dataset input.

Takes the model, the facts and ``as_of``; gives dictionaries. What counts: active runs that started at or before
``as_of`` and did not end before they started, and versions created at or before it. The window is
[``as_of`` − ``window_days``, ``as_of``], both ends included. Two runs of one name are two runs.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from maturity.columns import Groups
from maturity.facts import Facts, Reading
from maturity.fields import Fields, Inputs
from maturity.keyed import DAY, Keyed, present
from maturity.rolls import Array, Ids, Roll, coded
from maturity.schema import Model

STAGE, PARENT, LINK = "dlemm.stage", "mlflow.parentRunId", "dlemm.model_version"
PRIMARY = "dlemm.primary_metric"
_PRIMARY_OF_EXPERIMENT = (PRIMARY, "mlflow.experiment.primaryMetric.name")


def source_of(key: str) -> str:
    """The source an id belongs to."""
    return key.partition(":")[0]


class World:
    """Facts as they count at one time. Everything is computed when first asked for and kept."""

    def __init__(self, model: Model, facts: Facts, as_of: int) -> None:
        self.model, self.facts, self.as_of = model, facts, as_of
        self.since = as_of - model.parameters.window_days * DAY

    def in_window(self, moment: int | None) -> bool:
        return moment is not None and self.since <= moment <= self.as_of

    def read(self, key: str, stream: str) -> bool:
        """Whether the source of this id was read for a stream."""
        statement = self.facts.statements.get(source_of(key))
        return statement is not None and statement.stream(stream).state is Reading.READ

    # runs

    @cached_property
    def run_fields(self) -> Fields:
        """Columns of the runs that count: name of the column to run to value, missing values left out."""
        frame = self.facts["runs"]
        counts = (frame["lifecycle"] == "active") & (frame["start_at"] <= self.as_of).fillna(False)
        return Fields(frame[counts & ~(frame["end_at"] < frame["start_at"]).fillna(False)], "run")

    @property
    def roll(self) -> Roll:
        """The runs that count, in order."""
        return self.run_fields.roll

    @cached_property
    def runs(self) -> Ids:
        return self.roll.all()

    @cached_property
    def run_tags(self) -> Keyed:
        return self._of_runs("run_tags")

    @cached_property
    def run_params(self) -> Keyed:
        return self._of_runs("run_params")

    @cached_property
    def params_of_run(self) -> Mapping[str, Mapping[str, str]]:
        """Run to all its parameters, of the runs that are asked for them: nested ones and sources of versions."""
        sources = (run for version in self.versions if (run := self.source_run(version)))
        asked = self.roll.only(chain(self.parents, sources))
        frame, found = self.facts["run_params"], defaultdict[str, dict[str, str]](dict)
        frame = frame[asked.rows_of(frame["run"])]
        for run, key, value in zip(frame["run"], frame["key"], frame["value"], strict=True):
            if present(value):
                found[run][key] = value
        return found

    @cached_property
    def run_metrics(self) -> Keyed:
        return self._of_runs("run_metrics")

    @cached_property
    def metric_times(self) -> Keyed:
        """Time of the last value of each metric, finite or not."""
        frame = self.facts["run_metrics"]
        return Keyed(frame[["run", "key", "at"]].rename(columns={"at": "value"}), "run", self.roll)

    def _of_runs(self, table: str) -> Keyed:
        return Keyed(self.facts[table], "run", self.roll)

    @cached_property
    def experiment_tags(self) -> Keyed:
        return Keyed(self.facts["experiment_tags"], "experiment")

    @cached_property
    def experiment_runs(self) -> Mapping[str, tuple[str, ...]]:
        column = self.run_fields.texts("experiment")
        owners = Roll.of_texts(column.distinct)
        table = np.append([owners.place(text) for text in column.distinct], -1).astype(np.int32)
        return Groups(owners, self.roll, table[column.codes])

    @cached_property
    def parents(self) -> Mapping[str, str]:
        tags = self.run_tags.of(PARENT)
        found = {run: f"{source_of(run)}:{parent.strip()}" for run, parent in tags.items()}
        return {run: parent for run, parent in found.items() if parent != run}

    @cached_property
    def children(self) -> Mapping[str, tuple[str, ...]]:
        return grouped((parent, run) for run, parent in self.parents.items())

    def newest_first(self, runs: Iterable[str]) -> tuple[str, ...]:
        start = self.run_fields.numbers("start_at")
        return tuple(sorted(runs, key=lambda run: (-start[run], run)))

    def primary_metric(self, run: str, source_run: str | None = None) -> str | None:
        """Name of the primary metric of a run, as declared by its tag, its experiment's tags, or its source run."""
        if name := self.run_tags.of(PRIMARY).get(run):
            return str(name).strip()
        experiment = self.run_fields["experiment"].get(run)
        for key in _PRIMARY_OF_EXPERIMENT:
            if name := self.experiment_tags.of(key).get(str(experiment)):
                return str(name).strip()
        return self.primary_metric(source_run) if source_run and source_run != run else None

    # inputs, logged models and artifacts of runs

    @cached_property
    def input_rows(self) -> Inputs:
        """Dataset inputs of runs, in a fixed order. The id is ``run/name@digest``, with ``#2`` … for a repetition."""
        frame = self.facts["run_inputs"]
        return Inputs(frame[self.runs.rows_of(frame["run"])], self.roll)

    @property
    def run_inputs(self) -> Groups:
        """Run to its dataset inputs."""
        return self.input_rows.of_runs

    def input_tags(self, key: str) -> Mapping[tuple[str, str], str]:
        """One tag of dataset inputs by run and digest."""
        frame = self.facts["run_input_tags"]
        rows: Iterable[Any] = frame[(frame["key"] == key).fillna(False).astype(bool)].itertuples(index=False)
        return {(str(row.run), str(row.digest)): str(row.value) for row in rows if present(row.value)}

    def tagged_inputs(self, key: str) -> Mapping[str, str]:
        """Dataset input to the text of a tag of its own."""
        tags, found = self.input_tags(key), {}
        for run in {run for run, _ in tags}:
            for one in self.run_inputs.get(run, ()):
                text = tags.get((run, str(self.input_rows[one]["digest"])))
                if text is not None:
                    found[one] = text
        return found

    @cached_property
    def logged_fields(self) -> Mapping[str, Mapping[str, Any]]:
        return columns_of(self.facts["logged_models"], "model")

    @cached_property
    def run_models(self) -> Mapping[str, tuple[str, ...]]:
        return grouped((run, model) for model, run in self.logged_fields["run"].items() if present(run))

    def with_artifact(self, check: Callable[[str], bool]) -> frozenset[str]:
        """Owners of at least one artifact whose path passes; each path is asked once."""
        codes, paths = self._artifact_paths
        passes = np.array([*map(check, paths), False], bool)[codes]
        return frozenset(self.facts["artifacts"].loc[passes, "owner"])

    @cached_property
    def _artifact_paths(self) -> tuple[Array, list[str]]:
        codes, paths = coded(self.facts["artifacts"]["path"])
        return codes, paths.to_pylist()

    @cached_property
    def listed(self) -> frozenset[str]:
        """Owners whose artifact list was read."""
        frame = self.facts["artifact_listings"]
        return frozenset(frame.loc[frame["read"].fillna(False).astype(bool), "owner"])

    # the registry

    @cached_property
    def version_fields(self) -> Mapping[str, Mapping[str, Any]]:
        frame = self.facts["model_versions"]
        return columns_of(frame[(frame["created_at"] <= self.as_of).fillna(False)], "version")

    @cached_property
    def version_tags(self) -> Keyed:
        return Keyed(self.facts["version_tags"], "version")

    @cached_property
    def model_tags(self) -> Keyed:
        return Keyed(self.facts["registered_model_tags"], "name")

    @cached_property
    def versions(self) -> frozenset[str]:
        return frozenset(self.version_fields["created_at"])

    @cached_property
    def linked_versions(self) -> Mapping[str, str]:
        """Run to the version it says it looked at (tag ``dlemm.model_version``, written name/version)."""
        tags = self.run_tags.of(LINK)
        named = {run: f"{source_of(run)}:{value.strip()}" for run, value in tags.items()}
        return {run: version for run, version in named.items() if version in self.versions}

    def source_run(self, version: str) -> str | None:
        """The run a version came from, when it still counts."""
        run = self.version_fields["run"].get(version)
        return str(run) if run in self.runs else None

    @cached_property
    def evidence_runs(self) -> Mapping[str, tuple[str, ...]]:
        """Version to its source run and the runs linked to it, newest first."""
        found: dict[str, set[str]] = defaultdict(set)
        for run, version in self.linked_versions.items():
            found[version].add(run)
        for version in self.versions:
            if source := self.source_run(version):
                found[version].add(source)
        return {version: self.newest_first(runs) for version, runs in found.items()}

    def logged_of_version(self, version: str) -> tuple[str, ...]:
        """The logged model a version names, else the logged models of its source run."""
        model = self.version_fields["logged_model"].get(version)
        if model in self.logged_fields["run"]:
            return (str(model),)
        return self.run_models.get(self.source_run(version) or "", ())

    @cached_property
    def carrying(self) -> frozenset[tuple[str, str]]:
        """(model name, version) pairs that carry a production alias; aliases are compared letter by letter."""
        frame = self.facts["aliases"]
        frame = frame[frame["alias"].isin(self.model.production_aliases)]
        pairs = zip(frame["name"].tolist(), frame["version"].tolist(), strict=True)
        return frozenset((name, version) for name, version in pairs if version in self.versions)


def columns_of(frame: pd.DataFrame, key: str) -> Mapping[str, Mapping[str, Any]]:
    """Every column as a dictionary from the key to the value; missing values as None."""
    keys = frame[key].tolist()
    return {
        str(name): dict(zip(keys, frame[name].astype(object).where(frame[name].notna(), None).tolist(), strict=True))
        for name in frame.columns
    }


def grouped(pairs: Iterable[tuple[str, str]]) -> Mapping[str, tuple[str, ...]]:
    """Pairs by their first part, the second parts sorted."""
    found: dict[str, list[str]] = defaultdict(list)
    for owner, item in pairs:
        found[owner].append(item)
    return {owner: tuple(sorted(items)) for owner, items in found.items()}


def names_in(text: str) -> tuple[str, ...]:
    """Names in a tag: a JSON list, or names parted by commas."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):  # no JSON, or JSON nested beyond reason
        read = text.split(",")
    return tuple(str(name).strip() for name in (read if isinstance(read, list) else [read]))
