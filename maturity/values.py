"""Texts and numbers of the units of a world: tags, parameters, fields, metrics, declarations, and terms made of them.

Takes a ``Populations``; gives dictionaries from id to value, ids without a value left out.

A version has its own tags and fields. Parameters, metrics and artifacts it takes from its source run and from every run
tagged ``dlemm.model_version`` with it; where several log the same name, the run that started last speaks.
``declared`` looks at the thing itself and then outwards: a version, its registered model, its runs; a run, the version
it is linked to with that version's model, its experiment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any, TypeVar

from maturity import measures as m
from maturity.keyed import DAY, number_of, present, time_of
from maturity.measures import Term, Unit
from maturity.populations import Populations

_T = TypeVar("_T")


class Values:
    """Values over a world; those of a term are worked out once and kept."""

    def __init__(self, world: Populations) -> None:
        self.world = world
        self._numbers: dict[tuple[Unit, Term], Mapping[str, Fraction]] = {}
        self._ids: dict[Unit, frozenset[str]] = {}

    def ids(self, unit: Unit) -> frozenset[str]:
        """Every thing of a unit that counts."""
        world = self.world
        if unit not in self._ids:
            of: dict[Unit, Callable[[], Iterable[str]]] = {
                Unit.RUN: lambda: world.runs,
                Unit.VERSION: lambda: world.versions,
                Unit.MODEL: lambda: world.version_fields["name"].values(),
                Unit.INPUT: lambda: world.input_rows,
                Unit.LOGGED_MODEL: lambda: world.logged_fields["run"],
                Unit.DATASET: lambda: world.labelled,
                Unit.WEEK: lambda: world.weeks,
            }
            self._ids[unit] = frozenset(of[unit]())
        return self._ids[unit]

    def texts(self, unit: Unit, place: str, key: str) -> Mapping[str, str]:
        """Id to a non-empty text: a tag, a parameter, a field or a declaration."""
        world = self.world
        if place == "field":
            return self._fields(unit, key)
        if unit is Unit.INPUT:
            tags = {
                i: world.input_tags.get((str(row["run"]), str(row["digest"])), {})
                for i, row in world.input_rows.items()
            }
            return {i: found[key] for i, found in tags.items() if key in found}
        if unit is Unit.VERSION:
            return {
                "tag": lambda: world.version_tags.of(key),
                "param": lambda: self.from_runs(world.run_params.of(key)),
                "declared": lambda: {**self.from_runs(world.run_tags.of(key)), **self._of_version(key)},
            }[place]()
        if place == "declared":
            return {**self._outside(key), **world.run_tags.of(key)}
        return (world.run_tags if place == "tag" else world.run_params).of(key)

    def _fields(self, unit: Unit, key: str) -> Mapping[str, str]:
        world = self.world
        if unit is Unit.INPUT:
            values: Mapping[str, Any] = {i: row[key] for i, row in world.input_rows.items()}
        else:
            of = {
                Unit.RUN: world.run_fields,
                Unit.VERSION: world.version_fields,
                Unit.LOGGED_MODEL: world.logged_fields,
            }
            values = of[unit][key]
        return {i: str(value) for i, value in values.items() if present(value)}

    def _of_version(self, key: str) -> dict[str, str]:
        """Version to what it or its registered model declares."""
        models = self.world.model_tags.of(key)
        names = self.world.version_fields["name"]
        return {version: models[name] for version, name in names.items() if name in models} | {
            version: value for version, value in self.world.version_tags.of(key).items() if version in names
        }

    def _outside(self, key: str) -> dict[str, str]:
        """Run to what its experiment declares, or, before that, the version it is linked to."""
        world = self.world
        experiments, versions = world.experiment_tags.of(key), self._of_version(key)
        found = {run: experiments[e] for run, e in world.run_fields["experiment"].items() if e in experiments}
        return found | {run: versions[ver] for run, ver in world.linked_versions.items() if ver in versions}

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
                return dict.fromkeys(self.ids(unit), value)
            case m.Now():
                return dict.fromkeys(self.ids(unit), Fraction(world.as_of, DAY))
            case m.Metric(key):
                return self._metric(unit, key)
            case m.Declared(key, default):
                return self._declared(unit, key, default)
            case m.Time(key):
                times = {i: time_of(text) for i, text in self.texts(unit, "tag", key).items()}
                return {i: Fraction(at, DAY) for i, at in times.items() if at is not None}
            case m.Annotation(keys):
                return self._annotation(keys)
        return self._computed(unit, term)

    def _declared(self, unit: Unit, key: str, default: Fraction | None) -> Mapping[str, Fraction]:
        """Numbers in tags. The default stands where nothing is declared, not where what is declared is no number."""
        texts = self.texts(unit, "declared", key)
        numbers = {i: number_of(text) for i, text in texts.items()}
        found = {i: number for i, number in numbers.items() if number is not None}
        return found if default is None else dict.fromkeys(self.ids(unit) - texts.keys(), default) | found

    def _metric(self, unit: Unit, key: str) -> Mapping[str, Fraction]:
        return {i: Fraction(repr(float(value))) for i, value in self.logged(unit, key).items()}

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
        ids = frozenset.intersection(*(frozenset(part) for part in parts))
        found = {i: _arithmetic(term.op, [part[i] for part in parts]) for i in ids}
        return {i: value for i, value in found.items() if value is not None}


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
