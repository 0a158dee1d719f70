"""wanted_names: every tag, parameter and metric name that a model looks for, where, and which indicators use it.

Takes a model; gives ``Wanted`` names in order. Most stand in the measures; those that named conditions, functions and
populations look for stand in tables here, and a test compares these with the source code.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from maturity import measures as m
from maturity.measures import Condition, Measure, Term, Unit
from maturity.names import Place, compatible
from maturity.schema import Model

_OUTWARD = {
    Unit.RUN: (Place.TAG, Place.EXPERIMENT_TAG, Place.VERSION_TAG, Place.MODEL_TAG),
    Unit.VERSION: (Place.VERSION_TAG, Place.MODEL_TAG, Place.TAG),
}
_TAG = {Unit.RUN: (Place.TAG,), Unit.VERSION: (Place.VERSION_TAG,)}
_RUN, _VERSION, _METRIC, _PARAM = (Place.TAG,), (Place.VERSION_TAG,), (Place.METRIC,), (Place.PARAM,)
_COMMIT = (("mlflow.source.git.commit", _RUN), ("dlemm.git.commit", _RUN))
_PRIMARY = (("dlemm.primary_metric", (Place.TAG, Place.EXPERIMENT_TAG)),)
_PRIMARY_OF = (("mlflow.experiment.primaryMetric.name", (Place.EXPERIMENT_TAG,)),)
_ABLATION = (("dlemm.ablation.factor", _RUN), ("seed", _PARAM))

Fixed = tuple[tuple[str, tuple[Place, ...]], ...]
EVERYWHERE: Fixed = (
    ("dlemm.stage", _RUN),
    ("dlemm.project", (Place.TAG, Place.VERSION_TAG, Place.MODEL_TAG)),
    ("dlemm.model_version", _RUN),
    ("mlflow.parentRunId", _RUN),
)
"""Names that settle what belongs to what, for every indicator."""
OF_POPULATION: Mapping[str, Fixed] = {
    **dict.fromkeys(("PROD", "RELEASED", "MODELS", "WEEKS"), (("dlemm.deployed_at", _VERSION),)),
    "LABELLED": (("dlemm.dataset.labelled", _RUN),),
}
_STAGES = ("train", "evaluate")  # the populations look for them
_RETIRED: Fixed = (("dlemm.retired_at", _VERSION),)
_BASELINE: Fixed = (
    ("dlemm.role", _RUN),
    ("dlemm.primary_metric.greater_is_better", (Place.TAG, Place.EXPERIMENT_TAG)),
    ("mlflow.experiment.primaryMetric.greaterIsBetter", (Place.EXPERIMENT_TAG,)),
)
OF_CODE: Mapping[str, Fixed] = {
    "reproduced": (("dlemm.reproduces", _RUN), ("dlemm.repro.tolerance", _RUN), *_PRIMARY, *_PRIMARY_OF),
    "gate_before_training": (("dq/expectations_failed", _METRIC), ("train/**", _METRIC)),
    "one_factor_children": (("dlemm.role", _RUN), *_ABLATION),
    "equal_budget_children": (("cost/gpu_hours", _METRIC), ("budget", _PARAM)),
    "data_only_children": (*_COMMIT, ("seed", _PARAM)),
    "same_format": (("dlemm.serving_format", _VERSION), ("dlemm.training_format", _VERSION)),
    "held_out_evaluation": (*_PRIMARY, *_PRIMARY_OF),
    "second_person": (("dlemm.approved_by", _VERSION), ("mlflow.user", _RUN)),
    "better_than_baseline": (*_BASELINE, *_PRIMARY, *_PRIMARY_OF),
    "days_to_first_baseline": (("dlemm.role", _RUN),),
    "lifecycle_decisions": (
        ("dlemm.rolled_back_at", _VERSION),
        ("dlemm.decision.policy", _VERSION),
        ("dlemm.decision.evidence", _VERSION),
        *_RETIRED,
    ),
    "rank_correlation": (("live/primary", _METRIC), *_PRIMARY, *_PRIMARY_OF),
    "alert_rules": (("alert.<name>.threshold", _PARAM), ("alert.<name>.owner", _PARAM)),
    "ablation_arms": _ABLATION,
    "augmentation_methods": (("augmentation", _PARAM), ("seed", _PARAM)),
    "augmentations_measured": (
        ("augmentation", _PARAM),
        ("aug/accuracy_delta_pct", _METRIC),
        ("aug/train_time_delta_pct", _METRIC),
    ),
    "delivery_metrics": (*_COMMIT, ("dlemm.change_type", _VERSION), ("dlemm.deployed_at", _VERSION)),
    "days_to_regression_test": (("eval/**", _METRIC),),
}
"""Names that the named conditions and functions look for."""
Found = Iterator[tuple[str, tuple[Place, ...], tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A name that the model looks for. ``pattern``: it stands for many. ``values``: texts that it must be somewhere.

    ``places``: where it is looked for, the nearest first. ``everywhere``: all indicators rest on it.
    """

    name: str
    places: tuple[Place, ...]
    indicators: tuple[str, ...]
    values: tuple[str, ...] = ()
    everywhere: bool = False

    @property
    def pattern(self) -> bool:
        return "*" in self.name or "<" in self.name

    def matches(self, name: str) -> bool:
        """Whether this is the name, or a pattern of it. ``**`` alone is no name: it would be every one."""
        return self.name == name or (self.pattern and self.name != "**" and _like(self.name, name))


def vocabulary(model: Model) -> tuple[Wanted, ...]:
    """Every name that the model looks for: those everything rests on first, then tags, parameters and metrics."""
    places: dict[tuple[str, str], dict[Place, None]] = defaultdict(dict)
    users: dict[tuple[str, str], set[str]] = defaultdict(set)
    values: dict[tuple[str, str], set[str]] = defaultdict(set)
    always = {(_kind(where), name) for name, where in EVERYWHERE}
    for name, where in EVERYWHERE:
        places[_kind(where), name].update(dict.fromkeys(where))
    values["0 tag", "dlemm.stage"].update(_STAGES)
    for indicator in model.indicators.values():
        for name, where, texts in _of_measure(indicator.measure):
            key = (_kind(where), name)
            places[key].update(dict.fromkeys(where))
            users[key].add(indicator.id)
            values[key].update(texts)
    return tuple(
        Wanted(key[1], tuple(places[key]), tuple(sorted(users[key])), tuple(sorted(values[key])), key in always)
        for key in sorted(places, key=lambda key: (key not in always, *key))
    )


def _kind(places: tuple[Place, ...]) -> str:
    """Tags of whatever thing are one kind: a name that is declared may stand on several things."""
    return {Place.METRIC: "2 metric", Place.PARAM: "1 param"}.get(places[0], "0 tag")


def _of_measure(measure: Measure | None) -> Found:
    if measure is None:
        return
    unit = measure.population.unit if measure.population else Unit.RUN
    yield from _fixed(OF_CODE.get(measure.function, ()))
    if measure.population:
        yield from _fixed(OF_POPULATION.get(measure.population.name, ()))
    for part in (measure.where, measure.condition, measure.not_applicable_if_all):
        if part is not None:
            yield from _of_condition(unit, part)
    if measure.term is not None:
        yield from _of_term(unit, measure.term)


def _of_condition(unit: Unit, part: Condition) -> Found:
    match part:
        case m.All(parts) | m.Any(parts):
            for child in parts:
                yield from _of_condition(unit, child)
        case m.Not(child):
            yield from _of_condition(unit, child)
        case m.Related(_, target, child, distinct=distinct):
            yield from _of_condition(target, child)
            yield from _of_condition(target, distinct) if distinct else ()
        case m.TextIs(place, key, test):
            if places := _places(unit, place):
                yield key, places, test.values if test.kind in ("equals", "in") else ()
        case _:
            yield from _of_simple(unit, part)


def _of_simple(unit: Unit, part: Condition) -> Found:
    """The names of a condition that holds no other."""
    match part:
        case m.Compare(left, _, right):
            yield from _of_term(unit, left)
            yield from _of_term(unit, right)
        case m.NamesLike(table, pattern):
            yield pattern, _METRIC if table == "metrics" else _PARAM, ()
        case m.Member(population):
            yield from _fixed(OF_POPULATION.get(population.name, ()))
        case m.Holds(name):
            yield from _fixed(OF_CODE.get(name, ()))


def _of_term(unit: Unit, term: Term) -> Found:
    match term:
        case m.Computed(_, parts):
            for part in parts:
                yield from _of_term(unit, part)
        case m.Metric(key):
            yield key, _METRIC, ()
        case m.Mean(keys) | m.Annotation(keys):
            yield from ((key, _METRIC, ()) for key in keys)
        case m.Declared(key) if unit in _OUTWARD:
            yield key, _OUTWARD[unit], ()
        case m.Time(key) if unit in _TAG:
            yield key, _TAG[unit], ()


def _places(unit: Unit, place: str) -> tuple[Place, ...]:
    if place == "param":
        return _PARAM
    return (_OUTWARD if place == "declared" else _TAG if place == "tag" else {}).get(unit, ())


def _fixed(rows: Fixed) -> Found:
    return ((name, places, ()) for name, places in rows)


def _like(pattern: str, name: str) -> bool:
    """As ``keyed.compiled`` reads a pattern; that module needs pandas, which pages must not load."""
    if not name.startswith(re.split(r"[<*]", pattern, maxsplit=1)[0]):
        return False
    parts = re.split(r"(<[^>]*>|\*\*|\*)", pattern)
    kinds = {"**": ".*", "*": "[^/]*"}
    text = "".join("[^/]+" if part[:1] == "<" else kinds.get(part) or re.escape(part) for part in parts)
    return re.fullmatch(text, name, re.DOTALL) is not None


def place_for(wanted: Sequence[Wanted], name: str, origin: Place) -> Place | None:
    """Where a name of ours is seen for what stands at ``origin``; None when the model never looks for it there."""
    found = {place for one in wanted if one.matches(name) for place in one.places if compatible(origin, place)}
    return origin if origin in found else min(found, default=None)
