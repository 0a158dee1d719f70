"""The populations of the model over a world: training runs, released versions, versions live at ``as_of``, and others.

Gives every population as a sorted tuple of ids, for the whole organisation or for one project.

A nested run (tag ``mlflow.parentRunId``) is an ordinary run of ALL, but it is no training run of its own when its
parent is one as well: a search with a thousand trials is one training, else the search would decide every share. That
holds only within one experiment and when the parent started no later, so that nobody hides runs behind an unrelated
one; runs that are each other's parents hide none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import MappingProxyType

from maturity.facts import Facts
from maturity.keyed import DAY, present, time_of
from maturity.schema import Model
from maturity.world import STAGE, World, grouped, source_of

DEPLOYED, RETIRED, LABELLED = "dlemm.deployed_at", "dlemm.retired_at", "dlemm.dataset.labelled"


@dataclass(frozen=True, slots=True)
class GoLive:
    """When a version went live. ``exact``: stated by a tag; else first seen at ``at``, and not before ``after``.

    ``after`` None: the first reading already had the alias, so how long before is open.
    """

    at: int
    exact: bool
    after: int | None = None


class Populations(World):
    """A world with its populations. Everything is computed when first asked for and kept."""

    def __init__(self, model: Model, facts: Facts, as_of: int) -> None:
        super().__init__(model, facts, as_of)
        self._members: dict[tuple[str, str | None], tuple[str, ...]] = {}
        self._sources: dict[str | None, frozenset[str]] = {}

    @cached_property
    def go_live(self) -> Mapping[str, GoLive]:
        """Version to its production time: tag ``dlemm.deployed_at``, else the first reading that saw the alias.

        Of an alias sighting the later end counts, because only then the version was live for certain. The registry's
        ``last_updated`` is never used: setting an alias does not touch it.
        """
        found: dict[str, GoLive] = {}
        frame = self.facts["alias_sightings"]
        frame = frame[frame["alias"].isin(self.model.production_aliases) & frame["before"].notna()]
        ends = zip(frame["version"], frame["before"], frame["after"].astype(object), strict=True)
        for version, before, after in sorted(ends, key=lambda row: (row[0], row[1])):
            if version in self.versions and before <= self.as_of and version not in found:
                found[version] = GoLive(int(before), False, int(after) if present(after) else None)
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
        of: dict[str, Callable[[], Iterable[str]]] = {
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
        }
        return of[name]()

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
        found = {
            run
            for run in self._finished
            if tags.get(run) in ("train", "retrain") or (run not in tags and run in logged)
        }
        inside = {
            run: parent for run in found if (parent := self.parents.get(run)) in found and self._holds(parent, run)
        }
        return tuple(sorted(found - (inside.keys() - _on_cycles(inside))))

    def _holds(self, parent: str, run: str) -> bool:
        """Whether a run can be part of another: of the same experiment, which started no later."""
        experiment, start = self.run_fields["experiment"], self.run_fields["start_at"]
        return experiment.get(parent) == experiment.get(run) and bool(start[parent] <= start[run])

    @cached_property
    def untagged_sources(self) -> frozenset[str]:
        """Sources with finished runs that name no stage: only a logged model tells whether those are trainings."""
        tags = self.run_tags.of(STAGE)
        return frozenset(source_of(run) for run in self._finished if run not in tags)

    @cached_property
    def labelled(self) -> Mapping[str, tuple[str, ...]]:
        """Labelled datasets (``source:digest``) with the TRAIN runs that used them; run or input is tagged so."""
        tags, pairs = self.run_tags.of(LABELLED), []
        for run in self._train:
            for key in self.run_inputs.get(run, ()):
                digest = self.input_rows[key]["digest"]
                tag = self.input_tags.get((run, str(digest)), {}).get(LABELLED, tags.get(run, ""))
                if present(digest) and tag.strip().lower() == "true":
                    pairs.append((f"{source_of(run)}:{digest}", run))
        return grouped(set(pairs))

    @cached_property
    def annotations(self) -> Mapping[str, tuple[str, ...]]:
        """Dataset (``source:digest``) to the annotation runs that had it as input, newest first."""
        runs = [run for run in self.runs if self._stage(run) == "annotation"]
        pairs = {
            (f"{source_of(run)}:{self.input_rows[key]['digest']}", run)
            for run in runs
            for key in self.run_inputs.get(run, ())
        }
        return {dataset: self.newest_first(found) for dataset, found in grouped(pairs).items()}

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

    @cached_property
    def unassigned(self) -> Mapping[str, frozenset[str]]:
        """Stream to the sources with something of no project that could have one if the stream were read."""
        runs, versions = self.run_fields["project"], self.version_fields["project"]
        lone = [v for v, run in self.version_fields["run"].items() if present(run) and not present(versions[v])]
        return {
            "runs": frozenset(source_of(version) for version in lone),
            "experiments": frozenset(map(source_of, [*lone, *(r for r, own in runs.items() if not present(own))])),
        }

    def sources(self, project: str | None) -> frozenset[str]:
        """Sources with runs or versions that count, of the project or of the whole organisation."""
        if project not in self._sources:
            keys = {*self.runs, *self.versions}
            own = keys if project is None else (key for key in keys if project in self._projects_of(key))
            self._sources[project] = frozenset(map(source_of, own))
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
