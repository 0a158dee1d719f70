"""What the world knows beyond runs and versions: incidents, traces, monitoring, lineage; and which runs count twice.

Takes the same as ``World`` and stands on it; gives dictionaries from id to value. A moment later than ``as_of`` has not
happened: an incident restored tomorrow is open today.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from maturity.backfill import late_tags
from maturity.keyed import DAY, compiled, present
from maturity.rolls import Ids, coded
from maturity.twins import bursts, copies
from maturity.world import World, source_of

_TRACED_DAYS = 30
_MOMENT = 1000  # ms


class Records(World):
    """A world with its records. Everything is computed when first asked for and kept."""

    # runs that are no work of their own

    @cached_property
    def copied(self) -> Mapping[str, str]:
        """Copied run to the one that counts for it."""
        return copies(self.facts.tables, self.run_fields)

    @cached_property
    def repeated(self) -> Mapping[str, str]:
        """Run of a burst of equal runs to the one that counts for it."""
        return bursts(self.facts.tables, self.run_fields)

    def trivial(self, run: str) -> bool:
        """Whether a run ended within a second and left neither a metric nor a model: it trained nothing.

        Where the logged models of its source were not read, nobody can say so.
        """
        if run not in self.short:
            return False
        return not (run in self._logging or run in self.run_models or not self.read(run, "logged_models"))

    @cached_property
    def late_tags(self) -> Mapping[str, frozenset[str]]:
        """Run to the tags it was given after its end and within the last 30 days."""
        return late_tags(self.facts["changes"], self.run_fields["end_at"], self.as_of)

    @cached_property
    def short(self) -> Ids:
        """Runs that ended within a second."""
        start, end = self.run_fields.numbers("start_at"), self.run_fields.numbers("end_at")
        return Ids(self.roll, start.mask & end.mask & (end.numbers - start.numbers <= _MOMENT))

    @cached_property
    def _logging(self) -> Ids:
        """Runs with a metric, finite or not."""
        codes, owners = coded(self.facts["run_metrics"]["run"])
        places = self.roll.places_of(codes, owners)
        mask = np.zeros(len(self.roll), bool)
        mask[places[places >= 0]] = True
        return Ids(self.roll, mask)

    @cached_property
    def children(self) -> Mapping[str, tuple[str, ...]]:
        """Parent to its children; of children that are copies of each other, one."""
        found: dict[str, dict[str, str]] = defaultdict(dict)
        for run in sorted(self.parents):
            found[self.parents[run]].setdefault(self.copied.get(run, run), run)
        return {parent: tuple(sorted(runs.values())) for parent, runs in found.items()}

    @cached_property
    def linked_versions(self) -> Mapping[str, str]:
        """As the world says; of copies in one source one is linked, so that no evaluation serves two versions."""
        linked = super().linked_versions
        seen: set[tuple[str, str]] = set()
        found = {}
        for run in sorted(linked):
            mark = (source_of(run), self.copied.get(run, run))
            if mark not in seen:
                found[run] = linked[run]
            seen.add(mark)
        return MappingProxyType(found)

    # incidents

    @cached_property
    def incidents(self) -> Mapping[str, Mapping[str, Any]]:
        """Incident to its fields; only those opened at or before ``as_of``, later moments left out."""
        found = {}
        for row in self.facts["incidents"].to_dict("records"):
            fields = {str(name): value if present(value) else None for name, value in row.items()}
            for name in ("opened_at", "restored_at", "closed_at"):
                at = fields[name]
                fields[name] = None if at is None or at > self.as_of else int(at)
            if fields["opened_at"] is not None:
                found[str(fields["incident"])] = fields
        return MappingProxyType(found)

    def incident_times(self, key: str) -> Mapping[str, int]:
        """Incident to one of its moments in ms, those without it left out."""
        return {i: fields[key] for i, fields in self.incidents.items() if fields[key] is not None}

    # traces

    @cached_property
    def traced(self) -> frozenset[str]:
        """Versions and logged models that a trace of the last 30 days names; a day counts when it began in them."""
        frame, found = self.facts["trace_days"], set()
        since = self.as_of - _TRACED_DAYS * DAY
        for row in _rows(frame):
            if present(row.day) and since <= row.day <= self.as_of and present(row.traces) and row.traces > 0:
                found |= {str(name) for name in (row.version, row.logged_model) if present(name)}
        return frozenset(found)

    # monitoring and lineage

    @cached_property
    def service_days(self) -> Mapping[str, tuple[tuple[str, int], ...]]:
        """Version to the names and days of what monitoring systems measured of it.

        They write ``name/number``; where two registries have such a version, neither is meant.
        """
        meant: dict[str, list[str]] = defaultdict(list)
        for version in self.versions:
            meant[version.partition(":")[2]].append(version)
        found: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for row in _rows(self.facts["service_levels"]):
            versions = meant.get(str(row.version).strip(), ())
            dated = present(row.day) and row.day <= self.as_of
            if len(versions) == 1 and dated and present(row.value) and math.isfinite(row.value):
                found[versions[0]].append((str(row.name), int(row.day)))
        return {version: tuple(rows) for version, rows in found.items()}

    @cached_property
    def described(self) -> frozenset[tuple[str, str]]:
        """Name (with and without its namespace) and version of the datasets to which a lineage event gives a schema."""
        found: set[tuple[str, str]] = set()
        for row in _rows(self.facts["lineage_datasets"]):
            told = present(row.has_schema) and bool(row.has_schema) and present(row.at) and row.at <= self.as_of
            if told and present(row.dataset) and present(row.version):
                name = str(row.dataset).strip()
                found |= {(one, str(row.version).strip()) for one in (name, name.rpartition("/")[2])}
        return frozenset(found)

    # means over a history

    def run_means(self, patterns: tuple[str, ...]) -> Mapping[str, tuple[float, ...]]:
        """Run to the means over its history of the metrics that match one of the patterns."""
        expressions = [compiled(pattern) for pattern in patterns]
        found: dict[str, list[float]] = defaultdict(list)
        for key, means in self._means.items():
            if any(expression.fullmatch(key) for expression in expressions):
                for run, mean in sorted(means.items()):
                    found[run].append(mean)
        return {run: tuple(means) for run, means in found.items()}

    @cached_property
    def _means(self) -> Mapping[str, Mapping[str, float]]:
        found: dict[str, dict[str, float]] = defaultdict(dict)
        for row in _rows(self.facts["run_metric_means"]):
            if row.run in self.runs and present(row.mean) and present(row.points) and row.points > 0:
                found[str(row.key)][str(row.run)] = float(row.mean)
        return found


def _rows(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows of a fact table, each with its columns as attributes."""
    return iter(frame.itertuples(index=False))
