"""Texts and numbers of the units of a world: tags, parameters, fields, metrics, declarations, and terms made of them.

Takes a ``Populations``; gives dictionaries from id to value, ids without a value left out.

A version has its own tags and fields. Parameters, metrics and artifacts it takes from its source run and from every run
tagged ``dlemm.model_version`` with it; where several log the same name, the run that started last speaks.
``declared`` looks at the thing itself and then outwards: a version, its registered model, its runs; a run, the version
it is linked to with that version's model, its experiment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from fractions import Fraction
from typing import Any, TypeVar

from maturity import measures as m
from maturity.columns import Coded, Column, Exact, Numbers, Same
from maturity.keyed import DAY, number_of, present, time_of
from maturity.measures import Term, Unit
from maturity.populations import Populations
from maturity.rolls import Ids, common

_T = TypeVar("_T")


class Values:
    """Values over a world; those of a term are worked out once and kept."""

    def __init__(self, world: Populations) -> None:
        self.world = world
        self._numbers: dict[tuple[Unit, Term], Mapping[str, Fraction]] = {}
        self._texts: dict[tuple[Unit, str, str], Mapping[str, str]] = {}
        self._ids: dict[Unit, AbstractSet[str]] = {}

    def ids(self, unit: Unit) -> AbstractSet[str]:
        """Every thing of a unit that counts."""
        world = self.world
        if unit not in self._ids:
            of: dict[Unit, Callable[[], Iterable[str]]] = {
                Unit.RUN: lambda: world.runs,
                Unit.VERSION: lambda: world.versions,
                Unit.MODEL: lambda: world.version_fields["name"].values(),
                Unit.INPUT: lambda: world.input_rows.roll.all(),
                Unit.LOGGED_MODEL: lambda: world.logged_fields["run"],
                Unit.DATASET: lambda: world.labelled,
                Unit.WEEK: lambda: world.weeks,
                Unit.INCIDENT: lambda: world.incidents,
            }
            found = of[unit]()
            self._ids[unit] = found if isinstance(found, Ids) else frozenset(found)
        return self._ids[unit]

    def texts(self, unit: Unit, place: str, key: str) -> Mapping[str, str]:
        """Id to a non-empty text: a tag, a parameter, a field or a declaration."""
        asked = (unit, place, key)
        if asked not in self._texts:
            self._texts[asked] = self._texts_at(unit, place, key)
        return self._texts[asked]

    def _texts_at(self, unit: Unit, place: str, key: str) -> Mapping[str, str]:
        world = self.world
        if place == "field":
            return self._fields(unit, key)
        if unit is Unit.INPUT:
            return world.tagged_inputs(key)
        if unit is Unit.VERSION:
            of: dict[str, Callable[[], Mapping[str, str]]] = {
                "tag": lambda: world.version_tags.of(key),
                "param": lambda: self.from_runs(world.run_params.of(key)),
                "declared": lambda: {**self.from_runs(world.run_tags.of(key)), **self._of_version(key)},
            }
            return of[place]()
        if place == "declared":
            return world.run_tags.texts_of(key).over(self._outside(key))
        return (world.run_tags if place == "tag" else world.run_params).of(key)

    def _fields(self, unit: Unit, key: str) -> Mapping[str, str]:
        world = self.world
        if unit is Unit.INPUT:
            return world.input_rows.column(key)
        if unit is Unit.INCIDENT:
            values: Mapping[str, Any] = {i: row[key] for i, row in world.incidents.items()}
        elif unit is Unit.RUN:
            return world.run_fields.written(key)
        else:
            values = (world.version_fields if unit is Unit.VERSION else world.logged_fields)[key]
        return {i: str(value) for i, value in values.items() if present(value)}

    def _of_version(self, key: str) -> dict[str, str]:
        """Version to what it or its registered model declares."""
        models = self.world.model_tags.of(key)
        names = self.world.version_fields["name"]
        return {version: models[name] for version, name in names.items() if name in models} | {
            version: value for version, value in self.world.version_tags.of(key).items() if version in names
        }

    def _outside(self, key: str) -> Coded[str]:
        """Run to what its experiment declares, or, before that, the version it is linked to."""
        world = self.world
        experiments, versions = world.experiment_tags.of(key), self._of_version(key)
        linked = {run: versions[ver] for run, ver in world.linked_versions.items() if ver in versions}
        return Coded.of(world.roll, linked).over(world.run_fields.texts("experiment").map(experiments.get))

    def from_runs(self, values: Mapping[str, _T]) -> dict[str, _T]:
        """Version to the value of the newest of its runs that has one."""
        found = {}
        for version, runs in self.world.evidence_runs.items():
            for run in runs:
                if run in values:
                    found[version] = values[run]
                    break
        return found

    def numbers(self, unit: Unit, term: Term) -> Mapping[str, Fraction]:
        """Id to the exact value of a term, ids without one left out."""
        key = (unit, term)
        if key not in self._numbers:
            self._numbers[key] = self._values(unit, term)
        return self._numbers[key]

    def _values(self, unit: Unit, term: Term) -> Mapping[str, Fraction]:
        world = self.world
        match term:
            case m.Number(value):
                return same(self.ids(unit), value)
            case m.Now():
                return same(self.ids(unit), Fraction(world.as_of, DAY))
            case m.Metric(key):
                return self._metric(unit, key)
            case m.Declared(key, default):
                return self._declared(unit, key, default)
            case m.Mean(patterns):
                means = world.run_means(patterns)
                return {i: sum(map(_exact, found), Fraction(0)) / len(found) for i, found in means.items()}
            case m.Time(key) if unit is Unit.INCIDENT:
                return {i: Fraction(at, DAY) for i, at in world.incident_times(key).items()}
            case m.Time(key):
                return mapped(self.texts(unit, "tag", key), _days_of)
            case m.Annotation(keys):
                return self._annotation(keys)
        return self._computed(unit, term)

    def _declared(self, unit: Unit, key: str, default: Fraction | None) -> Mapping[str, Fraction]:
        """Numbers in tags. The default stands where nothing is declared, not where what is declared is no number."""
        texts = self.texts(unit, "declared", key)
        found = mapped(texts, number_of)
        if default is None:
            return found
        if isinstance(texts, Coded) and isinstance(found, Coded):
            return found.over(Coded.same(texts.roll, ~texts.mask, default))
        return {**dict.fromkeys(self.ids(unit) - texts.keys(), default), **found}

    def _metric(self, unit: Unit, key: str) -> Mapping[str, Fraction]:
        values = self.logged(unit, key)
        if isinstance(values, Numbers):
            return Exact(values.roll, values.numbers, values.mask)
        return {i: Fraction(repr(float(value))) for i, value in values.items()}

    def logged(self, unit: Unit, key: str) -> Mapping[str, float]:
        """Id to the last finite value of a metric."""
        values = self.world.run_metrics.of(key)
        return self.from_runs(values) if unit is Unit.VERSION else values

    def _annotation(self, keys: tuple[str, ...]) -> Mapping[str, Fraction]:
        found = {}
        for dataset, runs in self.world.annotations.items():
            logged = (
                self.world.run_metrics.of(key)[run]
                for run in runs
                for key in keys
                if run in self.world.run_metrics.of(key)
            )
            for value in logged:
                found[dataset] = Fraction(repr(float(value)))
                break
        return found

    def _computed(self, unit: Unit, term: m.Computed) -> Mapping[str, Fraction]:
        parts = [self.numbers(unit, part) for part in term.parts]
        ids = common([keys_of(part) for part in parts])
        found = {i: _arithmetic(term.op, [part[i] for part in parts]) for i in ids}
        return {i: value for i, value in found.items() if value is not None}


def keys_of(values: Mapping[str, Any]) -> AbstractSet[str]:
    """The ids that have a value."""
    return values.ids if isinstance(values, Column) else frozenset(values)


def mapped(values: Mapping[str, str], change: Callable[[str], _T | None]) -> Mapping[str, _T]:
    """The values after ``change``, without those that become None; a repeated one is changed once."""
    if isinstance(values, Coded):
        return values.map(change)
    found = {i: change(value) for i, value in values.items()}
    return {i: value for i, value in found.items() if value is not None}


def same(ids: AbstractSet[str], value: _T) -> Mapping[str, _T]:
    """One value for every id."""
    return Same(ids.roll, value) if isinstance(ids, Ids) else dict.fromkeys(ids, value)


def _days_of(text: str) -> Fraction | None:
    at = time_of(text)
    return None if at is None else Fraction(at, DAY)


def _exact(value: float) -> Fraction:
    return Fraction(repr(value))


def _arithmetic(op: str, parts: list[Fraction]) -> Fraction | None:
    if op == "sum":
        return sum(parts, Fraction(0))
    if op == "difference":
        return parts[0] - parts[1]
    if op == "ratio":
        return parts[0] / parts[1] if parts[1] else None
    product = Fraction(1)
    for part in parts:
        product *= part
    return product
