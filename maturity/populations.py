"""The world an assessment looks at: the facts that count at ``as_of``, indexed once, and the populations over them.

Takes the model, the facts and ``as_of``; gives look-ups and populations as sorted tuples of ids. What counts: active
runs that started at or before ``as_of`` and versions created at or before it. The window is
[``as_of`` − ``window_days``, ``as_of``], both ends included. Two runs of one name are two runs.

A nested run (tag ``mlflow.parentRunId``) is an ordinary run of ALL, but it is no training run of its own when its parent
is one as well: a search with a thousand trials is one training, otherwise the search would decide every share.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Any

import pandas as pd

from maturity.facts import Facts, Reading
from maturity.keyed import DAY, Keyed, compiled, present, time_of
from maturity.schema import Model
from maturity.vocabulary import Unit

STAGE, PARENT, LINK = "dlemm.stage", "mlflow.parentRunId", "dlemm.model_version"
DEPLOYED, RETIRED, LABELLED = "dlemm.deployed_at", "dlemm.retired_at", "dlemm.dataset.labelled"
PRIMARY = "dlemm.primary_metric"
_PRIMARY_OF_EXPERIMENT = (PRIMARY, "mlflow.experiment.primaryMetric.name")


@dataclass(frozen=True, slots=True)
class GoLive:
    """When a version went live. ``exact``: stated by a tag; else first seen at ``at``, and not before ``after``.

    ``after`` None: the first reading already had the alias, so how long before is open.
    """

    at: int
    exact: bool
    after: int | None = None


def source_of(key: str) -> str:
    """The source an id belongs to."""
    return key.partition(":")[0]


class World:
    """Facts as they count at one time. Everything is computed when first asked for and kept."""

    def __init__(self, model: Model, facts: Facts, as_of: int) -> None:
        self.model, self.facts, self.as_of = model, facts, as_of
        self.since = as_of - model.parameters.window_days * DAY
        self._members: dict[tuple[str, str | None], tuple[str, ...]] = {}

    def in_window(self, moment: int | None) -> bool:
        return moment is not None and self.since <= moment <= self.as_of

    def read(self, key: str, stream: str) -> bool:
        """Whether the source of this id was read for a stream."""
        statement = self.facts.statements.get(source_of(key))
        return statement is not None and statement.stream(stream).state is Reading.READ

    # runs

    @cached_property
    def run_fields(self) -> Mapping[str, Mapping[str, Any]]:
        """Columns of the runs that count: name of the column to run to value."""
        frame = self.facts["runs"]
        frame = frame[(frame["lifecycle"] == "active") & (frame["start_at"] <= self.as_of).fillna(False)]
        return _columns(frame, "run")

    @cached_property
    def runs(self) -> frozenset[str]:
        return frozenset(self.run_fields["start_at"])

    @cached_property
    def run_tags(self) -> Keyed:
        return self._of_runs("run_tags")

    @cached_property
    def run_params(self) -> Keyed:
        return self._of_runs("run_params")

    @cached_property
    def run_metrics(self) -> Keyed:
        return self._of_runs("run_metrics")

    @cached_property
    def metric_times(self) -> Keyed:
        """Time of the last value of each metric, finite or not."""
        frame = self.facts["run_metrics"]
        return Keyed(frame.drop(columns="value").rename(columns={"at": "value"}).dropna(subset=["value"]), "run")

    def _of_runs(self, table: str) -> Keyed:
        frame = self.facts[table]
        return Keyed(frame[frame["run"].isin(self.runs)] if len(frame) else frame, "run")

    @cached_property
    def experiment_tags(self) -> Keyed:
        return Keyed(self.facts["experiment_tags"], "experiment")

    @cached_property
    def experiment_runs(self) -> Mapping[str, tuple[str, ...]]:
        return _grouped((owner, run) for run, owner in self.run_fields["experiment"].items() if present(owner))

    @cached_property
    def parents(self) -> Mapping[str, str]:
        tags = self.run_tags.of(PARENT)
        return {run: f"{source_of(run)}:{parent.strip()}" for run, parent in tags.items()}

    @cached_property
    def children(self) -> Mapping[str, tuple[str, ...]]:
        return _grouped((parent, run) for run, parent in self.parents.items() if parent != run)

    def newest_first(self, runs: Iterable[str]) -> tuple[str, ...]:
        start = self.run_fields["start_at"]
        return tuple(sorted(runs, key=lambda run: (-start[run], run)))

    def primary_metric(self, run: str, source_run: str | None = None) -> str | None:
        """Name of the primary metric a run declares: its tag, its experiment's tag, MLflow's own, or its source run's."""
        if name := self.run_tags.of(PRIMARY).get(run):
            return str(name).strip()
        experiment = self.run_fields["experiment"].get(run)
        for key in _PRIMARY_OF_EXPERIMENT:
            if name := self.experiment_tags.of(key).get(str(experiment)):
                return str(name).strip()
        return self.primary_metric(source_run) if source_run and source_run != run else None

    # inputs, logged models and artifacts of runs

    @cached_property
    def input_rows(self) -> Mapping[str, Mapping[str, Any]]:
        """Dataset inputs of runs, in a fixed order. The id is ``run/name@digest``, with ``#2`` … when it comes again."""
        frame = self.facts["run_inputs"]
        frame = frame[frame["run"].isin(self.runs)] if len(frame) else frame
        rows = sorted(frame.to_dict("records"), key=lambda row: [str(value) for value in row.values()])
        found: dict[str, Mapping[str, Any]] = {}
        seen: dict[str, int] = defaultdict(int)
        for row in rows:
            key = f"{row['run']}/{_text(row['name'])}@{_text(row['digest'])}"
            seen[key] += 1
            found[key if seen[key] == 1 else f"{key}#{seen[key]}"] = row
        return found

    @cached_property
    def run_inputs(self) -> Mapping[str, tuple[str, ...]]:
        return _grouped((row["run"], key) for key, row in self.input_rows.items())

    @cached_property
    def input_tags(self) -> Mapping[tuple[str, str], Mapping[str, str]]:
        """Tags of dataset inputs by run and digest."""
        found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for row in self.facts["run_input_tags"].itertuples(index=False):
            if present(row.value):
                found[str(row.run), str(row.digest)][str(row.key)] = str(row.value)
        return found

    @cached_property
    def logged_fields(self) -> Mapping[str, Mapping[str, Any]]:
        return _columns(self.facts["logged_models"], "model")

    @cached_property
    def run_models(self) -> Mapping[str, tuple[str, ...]]:
        return _grouped((run, model) for model, run in self.logged_fields["run"].items() if present(run))

    @cached_property
    def artifact_paths(self) -> Mapping[str, tuple[str, ...]]:
        frame = self.facts["artifacts"]
        return _grouped(zip(frame["owner"].tolist(), frame["path"].tolist(), strict=True))

    @cached_property
    def listed(self) -> frozenset[str]:
        """Owners whose artifact list was read."""
        frame = self.facts["artifact_listings"]
        return frozenset(frame.loc[frame["read"].fillna(False).astype(bool), "owner"])

    # the registry

    @cached_property
    def version_fields(self) -> Mapping[str, Mapping[str, Any]]:
        frame = self.facts["model_versions"]
        return _columns(frame[(frame["created_at"] <= self.as_of).fillna(False)], "version")

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
            if run := self.source_run(version):
                found[version].add(run)
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

    @cached_property
    def go_live(self) -> Mapping[str, GoLive]:
        """Version to its production time: tag ``dlemm.deployed_at``, else the first reading that saw the alias.

        Of an alias sighting the later end counts, because only then the version was live for certain. The registry's
        ``last_updated`` is never used: setting an alias does not touch it.
        """
        found: dict[str, GoLive] = {}
        frame = self.facts["alias_sightings"]
        frame = frame[frame["alias"].isin(self.model.production_aliases) & frame["before"].notna()]
        for row in frame.sort_values(["version", "before", "alias"]).itertuples(index=False):
            if row.version in self.versions and row.before <= self.as_of and row.version not in found:
                after = None if pd.isna(row.after) else int(row.after)
                found[row.version] = GoLive(int(row.before), False, after)
        for version, text in self.version_tags.of(DEPLOYED).items():
            moment = time_of(text)
            if version in self.versions and moment is not None and moment <= self.as_of:
                found[version] = GoLive(moment, True)
        return MappingProxyType(found)

    @cached_property
    def live(self) -> frozenset[str]:
        """Versions live at ``as_of``: with a production alias, or deployed by tag and not retired.

        A deployment in the future does not make a version live; one that cannot be read as a time neither. A
        retirement in the future has not happened; one that cannot be read has (the strict reading of both).
        """
        retired = self.version_tags.of(RETIRED)
        deployed = {
            version
            for version, live in self.go_live.items()
            if live.exact and not (version in retired and (time_of(retired[version]) or 0) <= self.as_of)
        }
        return frozenset(deployed | {version for _, version in self.carrying})

    # populations

    def members(self, population: str, project: str | None = None) -> tuple[str, ...]:
        """The ids of a population in a project (None: the whole organisation), sorted."""
        key = (population, project)
        if key not in self._members:
            ids = self._population(population) if project is None else self.members(population)
            self._members[key] = tuple(sorted(i for i in ids if project is None or project in self._projects_of(i)))
        return self._members[key]

    def _population(self, name: str) -> Iterable[str]:
        return {
            "ALL": lambda: self._window_runs,
            "TRAIN": lambda: self._train,
            "RETRAIN": lambda: [run for run in self._train if self._stage(run) == "retrain"],
            "EVALUATE": lambda: [run for run in self._window_runs if self._stage(run) == "evaluate"],
            "MONITOR": lambda: [run for run in self._window_runs if self._stage(run) == "monitor"],
            "FAILED": lambda: [
                r for r in self._window_runs if self.run_fields["status"].get(r) in ("FAILED", "KILLED")
            ],
            "INPUTS": lambda: [key for run in self._train for key in self.run_inputs.get(run, ())],
            "LABELLED": lambda: list(self.labelled),
            "VERSIONS": lambda: [v for v, at in self.version_fields["created_at"].items() if self.in_window(at)],
            "REGISTERED": lambda: self.versions,
            "PROD": lambda: self.live,
            "RELEASED": lambda: [version for version, live in self.go_live.items() if self.in_window(live.at)],
            "MODELS": lambda: self.production_models,
            "WEEKS": lambda: list(self.weeks),
        }[name]()

    def _stage(self, run: str) -> str | None:
        return self.run_tags.of(STAGE).get(run)

    @cached_property
    def _window_runs(self) -> tuple[str, ...]:
        return tuple(sorted(run for run, at in self.run_fields["start_at"].items() if self.in_window(at)))

    @cached_property
    def _finished(self) -> tuple[str, ...]:
        return tuple(run for run in self._window_runs if self.run_fields["status"].get(run) == "FINISHED")

    @cached_property
    def _train(self) -> tuple[str, ...]:
        tags, logged = self.run_tags.of(STAGE), self.run_models
        found = {r for r in self._finished if tags.get(r) in ("train", "retrain") or (r not in tags and r in logged)}
        return tuple(sorted(run for run in found if self.parents.get(run) not in found))

    @cached_property
    def untagged_sources(self) -> frozenset[str]:
        """Sources with finished runs that name no stage, so that only a logged model tells whether they are trainings."""
        tags = self.run_tags.of(STAGE)
        return frozenset(source_of(run) for run in self._finished if run not in tags)

    @cached_property
    def labelled(self) -> Mapping[str, tuple[str, ...]]:
        """Labelled datasets (``source:digest``) used by TRAIN, with those runs; the run or the input carries the tag."""
        tags, pairs = self.run_tags.of(LABELLED), []
        for run in self._train:
            for key in self.run_inputs.get(run, ()):
                digest = self.input_rows[key]["digest"]
                tag = self.input_tags.get((run, str(digest)), {}).get(LABELLED, tags.get(run, ""))
                if present(digest) and tag.strip().lower() == "true":
                    pairs.append((f"{source_of(run)}:{digest}", run))
        return _grouped(set(pairs))

    @cached_property
    def annotations(self) -> Mapping[str, tuple[str, ...]]:
        """Dataset (``source:digest``) to the annotation runs that had it as input, newest first."""
        runs = [run for run in self.runs if self._stage(run) == "annotation"]
        pairs = {
            (f"{source_of(run)}:{self.input_rows[key]['digest']}", run)
            for run in runs
            for key in self.run_inputs.get(run, ())
        }
        return {dataset: self.newest_first(found) for dataset, found in _grouped(pairs).items()}

    @cached_property
    def production_models(self) -> frozenset[str]:
        names = self.version_fields["name"]
        return frozenset(names[version] for version in {*self._population("RELEASED"), *self.live})

    @cached_property
    def weeks(self) -> Mapping[str, tuple[str, int]]:
        """``version week`` (as 2025-W07) to version and start of the week in ms: full ISO weeks in which it was live.

        Without a production time (an alias nobody saw appear) a version counts from its creation.
        """
        found = {}
        for version in self.live:
            went = self.go_live.get(version)
            start = max(self.since, went.at if went else self.version_fields["created_at"][version])
            monday = _monday(start)
            monday += 7 * DAY if monday < start else 0
            while monday + 7 * DAY <= self.as_of:
                found[f"{version} {_iso_week(monday)}"] = (version, monday)
                monday += 7 * DAY
        return found

    def _projects_of(self, key: str) -> frozenset[str]:
        return self._projects.get(key, frozenset())

    @cached_property
    def _projects(self) -> Mapping[str, frozenset[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for run, project in self.run_fields["project"].items():
            if present(project):
                for key in (run, *self.run_inputs.get(run, ())):
                    found[key].add(project)
        for version, project in self.version_fields["project"].items():
            if present(project):
                found[version].add(project)
                found[self.version_fields["name"][version]].add(project)
        for key, (version, _) in self.weeks.items():
            found[key] |= found[version]
        for dataset, runs in self.labelled.items():
            found[dataset] |= {project for run in runs for project in found[run]}
        return {key: frozenset(projects) for key, projects in found.items()}

    def sources(self, project: str | None) -> frozenset[str]:
        """Sources with runs or versions that count, of the project or of the whole organisation."""
        keys = (key for key in {*self.runs, *self.versions} if project is None or project in self._projects_of(key))
        return frozenset(source_of(key) for key in keys)


def _columns(frame: pd.DataFrame, key: str) -> Mapping[str, Mapping[str, Any]]:
    """Every column as a dictionary from the key to the value; missing values as None."""
    keys = frame[key].tolist()
    return {
        str(name): dict(zip(keys, frame[name].astype(object).where(frame[name].notna(), None).tolist(), strict=True))
        for name in frame.columns
    }


def _grouped(pairs: Iterable[tuple[str, str]]) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = defaultdict(list)
    for owner, item in pairs:
        found[owner].append(item)
    return {owner: tuple(sorted(items)) for owner, items in found.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _monday(moment: int) -> int:
    """Start of the ISO week (Monday 00:00 UTC) a moment lies in. 1970-01-01 was a Thursday."""
    return moment - (moment + 3 * DAY) % (7 * DAY)


def _iso_week(monday: int) -> str:
    year, week, _ = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=monday)).isocalendar()
    return f"{year}-W{week:02d}"


def names_in(text: str) -> tuple[str, ...]:
    """Names in a tag: a JSON list, or names parted by commas."""
    try:
        read = json.loads(text)
    except ValueError:
        read = text.split(",")
    return tuple(str(name).strip() for name in (read if isinstance(read, list) else [read]))


__all__ = ["DEPLOYED", "LINK", "PRIMARY", "STAGE", "GoLive", "World", "compiled", "names_in", "source_of"]
