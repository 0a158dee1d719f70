"""The populations of the model over a world: training runs, released versions, versions live at ``as_of``, and others.

Gives every population as a set of ids or as a sorted tuple, for the whole organisation or for one project.

A nested run (tag ``mlflow.parentRunId``) is an ordinary run of ALL, but it is no training run of its own when its
parent is one as well: a search with a thousand trials is one training, else the search would decide every share. That
holds only within one experiment and when the parent started no later, so that nobody hides runs behind an unrelated
one; runs that are each other's parents hide none.

A copied run counts once, and so does a burst of runs that are equal but for their times (``twins``). A run that ended
within a second and left neither a metric nor a model trained nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import chain
from types import MappingProxyType

from maturity.columns import Coded
from maturity.facts import Facts
from maturity.keyed import DAY, present, time_of
from maturity.records import Records
from maturity.rolls import Ids, in_order
from maturity.schema import Model
from maturity.world import STAGE, grouped, source_of

DEPLOYED, RETIRED, LABELLED = "dlemm.deployed_at", "dlemm.retired_at", "dlemm.dataset.labelled"


@dataclass(frozen=True, slots=True)
class GoLive:
    """When a version went live. ``exact``: stated by a tag, or told by the server as it happened (``after`` is ``at``).

    Else first seen at ``at``, and not before ``after``; None: the first reading had the alias already, so how long
    before is open.
    """

    at: int
    exact: bool
    after: int | None = None

    @property
    def tagged(self) -> bool:
        """Whether a tag states it: then the version is live until another tag retires it, whatever its aliases."""
        return self.exact and self.after is None


class Populations(Records):
    """A world with its populations. Everything is computed when first asked for and kept."""

    def __init__(self, model: Model, facts: Facts, as_of: int) -> None:
        super().__init__(model, facts, as_of)
        self._members: dict[tuple[str, str | None], AbstractSet[str]] = {}
        self._sources: dict[str | None, frozenset[str]] = {}

    @cached_property
    def go_live(self) -> Mapping[str, GoLive]:
        """Version to its production time: tag ``dlemm.deployed_at``, else when the server told of the alias, else the
        first reading that saw it.

        Of an alias sighting the later end counts, because only then the version was live for certain. The registry's
        ``last_updated`` is never used: setting an alias does not touch it.
        """
        found: dict[str, GoLive] = {}
        frame = self.facts["alias_sightings"]
        frame = frame[frame["alias"].isin(self.model.production_aliases) & frame["before"].notna()]
        ends = zip(frame["version"], frame["before"], frame["after"].astype(object), strict=True)
        for version, before, after in sorted(ends, key=lambda row: (row[0], row[1])):
            if version in self.versions and before <= self.as_of and version not in found:
                since = int(after) if present(after) else None
                found[version] = GoLive(int(before), since == before, since)
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
            if live.tagged and not (version in retired and (time_of(retired[version]) or 0) <= self.as_of)
        }
        return frozenset(deployed | {version for _, version in self.carrying})

    # populations

    def members(self, population: str, project: str | None = None) -> tuple[str, ...]:
        """The ids of a population in a project (None: the whole organisation), sorted."""
        return in_order(self.ids_of(population, project))

    def ids_of(self, population: str, project: str | None = None) -> AbstractSet[str]:
        """The same as a set."""
        key = (population, project)
        if key not in self._members:
            if project is None:
                found = self._population(population)
                self._members[key] = found if isinstance(found, Ids) else frozenset(found)
            else:
                self._members[key] = self._in_project(self.ids_of(population), project)
        return self._members[key]

    def _in_project(self, ids: AbstractSet[str], project: str) -> AbstractSet[str]:
        if isinstance(ids, Ids):  # runs or their inputs
            return ids & self._runs_of(project) if ids.roll is self.roll else ids & self._inputs(self._runs_of(project))
        return frozenset(i for i in ids if project in self._projects_of(i))

    def _runs_of(self, project: str) -> Ids:
        return self._project_of_run.where(lambda own: own == project)

    @cached_property
    def _project_of_run(self) -> Coded[str]:
        column = self.run_fields.texts("project")
        return column.within(column.where(present))

    def _inputs(self, runs: AbstractSet[str]) -> Ids:
        """The inputs of runs."""
        return self.run_inputs.of_owners(self.roll.only(runs))

    def _population(self, name: str) -> Iterable[str]:
        of: dict[str, Callable[[], Iterable[str]]] = {
            "ALL": lambda: self._window_runs,
            "TRAIN": lambda: self._train,
            "RETRAIN": lambda: self._train & self.of_stage("retrain"),
            "EVALUATE": lambda: self._window_runs & self.of_stage("evaluate"),
            "MONITOR": lambda: self._window_runs & self.of_stage("monitor"),
            "FAILED": lambda: self._window_runs & self._of_status("FAILED", "KILLED"),
            "INPUTS": lambda: self._inputs(self._train),
            "LABELLED": lambda: self.labelled,
            "VERSIONS": lambda: [v for v, at in self.version_fields["created_at"].items() if self.in_window(at)],
            "REGISTERED": lambda: self.versions,
            "PROD": lambda: self.live,
            "RELEASED": lambda: [version for version, live in self.go_live.items() if self.in_window(live.at)],
            "MODELS": lambda: self.production_models,
            "WEEKS": lambda: self.weeks,
            "INCIDENTS": lambda: [i for i, at in self.incident_times("opened_at").items() if self.in_window(at)],
        }
        return of[name]()

    def of_stage(self, *stages: str) -> Ids:
        """Runs of the window and before it whose tag ``dlemm.stage`` is one of these."""
        return self._stages.where(lambda stage: stage in stages)

    @cached_property
    def _stages(self) -> Coded[str]:
        return self.run_tags.texts_of(STAGE)

    def _of_status(self, *wanted: str) -> Ids:
        column = self.run_fields.texts("status")
        return column.where(lambda status: status in wanted)

    @cached_property
    def _window_runs(self) -> Ids:
        start = self.run_fields.numbers("start_at")
        inside = start.mask & (start.numbers >= self.since) & (start.numbers <= self.as_of)
        again = self.roll.only(chain(self.copied, self.repeated))
        return Ids(self.roll, inside & ~again.mask)

    @cached_property
    def _finished(self) -> Ids:
        return self._window_runs & self._of_status("FINISHED")

    @cached_property
    def _train(self) -> Ids:
        staged = self._stages.ids
        found = self._finished & (self.of_stage("train", "retrain") | (self.roll.only(self.run_models) - staged))
        found = found - self.roll.only(run for run in found & self.short if self.trivial(run))
        inside = {
            run: parent
            for run, parent in self.parents.items()
            if run in found and parent in found and self._holds(parent, run)
        }
        return found - self.roll.only(inside.keys() - _on_cycles(inside))

    def _holds(self, parent: str, run: str) -> bool:
        """Whether a run can be part of another: of the same experiment, which started no later."""
        experiment, start = self.run_fields["experiment"], self.run_fields.numbers("start_at")
        return experiment.get(parent) == experiment.get(run) and bool(start[parent] <= start[run])

    @cached_property
    def untagged_sources(self) -> frozenset[str]:
        """Sources with finished runs that name no stage: only a logged model tells whether those are trainings."""
        return (self._finished - self._stages.ids).sources()

    @cached_property
    def labelled(self) -> Mapping[str, tuple[str, ...]]:
        """Labelled datasets (``source:digest``) with the TRAIN runs that used them; run or input is tagged so."""
        tags, own, pairs = self.run_tags.of(LABELLED), self.tagged_inputs(LABELLED), []
        runs = self._train & self.roll.only(chain(tags, (self.input_rows[key]["run"] for key in own)))
        for run in runs:
            for key in self.run_inputs.get(run, ()):
                digest = self.input_rows[key]["digest"]
                if present(digest) and own.get(key, tags.get(run, "")).strip().lower() == "true":
                    pairs.append((f"{source_of(run)}:{digest}", run))
        return grouped(set(pairs))

    @cached_property
    def annotations(self) -> Mapping[str, tuple[str, ...]]:
        """Dataset (``source:digest``) to the annotation runs that had it as input, newest first."""
        runs = self.of_stage("annotation")
        pairs = {
            (f"{source_of(run)}:{self.input_rows[key]['digest']}", run)
            for run in runs
            for key in self.run_inputs.get(run, ())
        }
        return {dataset: self.newest_first(found) for dataset, found in grouped(pairs).items()}

    @cached_property
    def production_models(self) -> frozenset[str]:
        names = self.version_fields["name"]
        return frozenset(names[version] for version in {*self.ids_of("RELEASED"), *self.live})

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
        """The projects of everything but runs and their inputs."""
        found: dict[str, set[str]] = defaultdict(set)
        for version, project in self.version_fields["project"].items():
            if present(project):
                found[version].add(project)
                found[self.version_fields["name"][version]].add(project)
        for incident, fields in self.incidents.items():
            found[incident] |= {fields["project"]} if fields["project"] else set()
        for key, (version, _) in self.weeks.items():
            found[key] |= found[version]
        for dataset, runs in self.labelled.items():
            found[dataset] |= {own for run in runs if (own := self._project_of_run.get(run))}
        return {key: frozenset(projects) for key, projects in found.items()}

    @cached_property
    def unassigned(self) -> Mapping[str, frozenset[str]]:
        """Stream to the sources with something of no project that could have one if the stream were read."""
        lone_runs, versions = self.runs - self._project_of_run.ids, self.version_fields["project"]
        lone = [v for v, run in self.version_fields["run"].items() if present(run) and not present(versions[v])]
        return {
            "runs": frozenset(source_of(version) for version in lone),
            "experiments": frozenset(map(source_of, lone)) | lone_runs.sources(),
        }

    def sources(self, project: str | None) -> frozenset[str]:
        """Sources with runs or versions that count, of the project or of the whole organisation."""
        if project not in self._sources:
            runs = self.runs if project is None else self._runs_of(project)
            own = (key for key in self.versions if project is None or project in self._projects_of(key))
            self._sources[project] = runs.sources() | frozenset(map(source_of, own))
        return self._sources[project]


def _on_cycles(parents: Mapping[str, str]) -> frozenset[str]:
    """Things that are their own ancestors."""
    walked: set[str] = set()
    found: set[str] = set()
    for thing in parents:
        path: dict[str, int] = {}
        while thing in parents and thing not in walked:
            path[thing] = len(path)
            walked.add(thing)
            thing = parents[thing]
        if thing in path:
            found.update(one for one, place in path.items() if place >= path[thing])
    return frozenset(found)


def _monday(moment: int) -> int:
    """Start of the ISO week (Monday 00:00 UTC) a moment lies in. 1970-01-01 was a Thursday."""
    return moment - (moment + 3 * DAY) % (7 * DAY)


def _iso_week(monday: int) -> str:
    year, week, _ = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=monday)).isocalendar()
    return f"{year}-W{week:02d}"
