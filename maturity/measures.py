"""How an indicator is measured, as values: units, populations, conditions, terms and the measure made of them.

``vocabulary`` parses these from YAML and ``indicators`` works them out; here they only say what they are and which
streams of a source they look at. All are frozen, so that equal conditions are worked out once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType


class Unit(StrEnum):
    """What a population consists of."""

    RUN = "run"
    VERSION = "version"
    MODEL = "model"
    INPUT = "dataset input"
    LOGGED_MODEL = "logged model"
    DATASET = "dataset"
    WEEK = "week"
    INCIDENT = "incident"


class How(StrEnum):
    """How a number comes out of a population."""

    SHARE = "share"
    COUNT = "count"
    MEDIAN = "median"
    MIN = "min"
    MAX = "max"
    LATEST = "latest"
    FUNCTION = "function"


@dataclass(frozen=True, slots=True)
class Population:
    """A population: its unit, the streams it cannot do without, and those it needs for some of its members."""

    name: str
    unit: Unit
    must: frozenset[str]
    also: frozenset[str] = frozenset()


_RUNS, _REGISTRY = frozenset({"runs"}), frozenset({"registry"})
_LOGGED, _INCIDENTS = frozenset({"logged_models"}), frozenset({"incidents"})
POPULATIONS: Mapping[str, Population] = MappingProxyType(
    {
        population.name: population
        for population in (
            Population("ALL", Unit.RUN, _RUNS),
            Population("TRAIN", Unit.RUN, _RUNS, _LOGGED),
            Population("RETRAIN", Unit.RUN, _RUNS),
            Population("EVALUATE", Unit.RUN, _RUNS),
            Population("MONITOR", Unit.RUN, _RUNS),
            Population("FAILED", Unit.RUN, _RUNS),
            Population("INPUTS", Unit.INPUT, _RUNS, _LOGGED),
            Population("LABELLED", Unit.DATASET, _RUNS, _LOGGED),
            Population("VERSIONS", Unit.VERSION, _REGISTRY),
            Population("REGISTERED", Unit.VERSION, _REGISTRY),
            Population("PROD", Unit.VERSION, _REGISTRY),
            Population("RELEASED", Unit.VERSION, _REGISTRY),
            Population("MODELS", Unit.MODEL, _REGISTRY),
            Population("WEEKS", Unit.WEEK, _REGISTRY | _RUNS),
            Population("INCIDENTS", Unit.INCIDENT, _INCIDENTS),
        )
    }
)
"""FAILED: ALL that failed or were killed. INPUTS: dataset inputs of TRAIN. LABELLED: labelled datasets used by TRAIN.
VERSIONS: created in the window. REGISTERED: every version. MODELS: with a RELEASED or PROD version. WEEKS: pairs of a
PROD version and a full ISO week in the window during which it was live. INCIDENTS: opened in the
window. The others are the model's own populations."""

RELATIONS: Mapping[tuple[Unit, str], tuple[Unit, frozenset[str]]] = MappingProxyType(
    {
        (Unit.RUN, "some_input"): (Unit.INPUT, _RUNS),
        (Unit.RUN, "every_input"): (Unit.INPUT, _RUNS),
        (Unit.RUN, "some_model"): (Unit.LOGGED_MODEL, _LOGGED),
        (Unit.RUN, "children"): (Unit.RUN, _RUNS),
        (Unit.RUN, "every_child"): (Unit.RUN, _RUNS),
        (Unit.VERSION, "source_run"): (Unit.RUN, _RUNS),
        (Unit.VERSION, "some_run"): (Unit.RUN, _RUNS),
        (Unit.VERSION, "experiment_run"): (Unit.RUN, _RUNS),
        (Unit.VERSION, "some_model"): (Unit.LOGGED_MODEL, _LOGGED),
        (Unit.MODEL, "production_version"): (Unit.VERSION, _REGISTRY),
        (Unit.WEEK, "some_run"): (Unit.RUN, _RUNS),
        (Unit.DATASET, "annotation_run"): (Unit.RUN, _RUNS),
    }
)
"""From one unit to others. ``some_run`` of a version: its source run and every run tagged dlemm.model_version with it;
of a week: that version's MONITOR runs started in the week. ``children``: runs whose mlflow.parentRunId is the run."""

HOLDS: Mapping[str, tuple[Unit, frozenset[str]]] = MappingProxyType(
    {
        "separate_splits": (Unit.RUN, _RUNS),
        "reproduced": (Unit.RUN, _RUNS | {"experiments"}),
        "gate_before_training": (Unit.RUN, _RUNS),
        "one_factor_children": (Unit.RUN, _RUNS),
        "equal_budget_children": (Unit.RUN, _RUNS),
        "same_evaluation_data": (Unit.RUN, _RUNS),
        "data_only_children": (Unit.RUN, _RUNS),
        "same_format": (Unit.VERSION, _REGISTRY),
        "held_out_evaluation": (Unit.VERSION, _REGISTRY | _RUNS | {"experiments"}),
        "second_person": (Unit.VERSION, _REGISTRY | _RUNS),
        "better_than_baseline": (Unit.VERSION, _REGISTRY | _RUNS | {"experiments"}),
        "traced_lately": (Unit.VERSION, _REGISTRY | {"traces"}),
        "drift_watched": (Unit.WEEK, _REGISTRY | {"service_levels"}),
        "quality_watched": (Unit.VERSION, _REGISTRY | {"service_levels"}),
        "schema_in_lineage": (Unit.INPUT, _RUNS | {"lineage"}),
    }
)
"""Named conditions, written in ``studies``, ``lineage`` and ``monitored``: unit and streams."""

FUNCTIONS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "lead_time_known": _REGISTRY | {"projects"},
        "days_to_first_baseline": _RUNS | {"projects"},
        "lifecycle_decisions": _REGISTRY | _RUNS,
        "rank_correlation": _REGISTRY | _RUNS | {"experiments"},
        "alert_rules": _RUNS,
        "ablation_arms": _RUNS,
        "augmentation_methods": _RUNS,
        "augmentations_measured": _RUNS,
        "delivery_metrics": _REGISTRY | _RUNS | {"experiments"},
        "valid_comparisons": frozenset({"delivery"}),
        "improving_periods": frozenset({"delivery"}),
        "days_to_regression_test": _RUNS | _INCIDENTS,
        "hours_to_restore": _INCIDENTS,
    }
)
"""Measures that need code of their own (``functions``, ``outcomes``): the streams they cannot do without."""

ALSO: Mapping[str, frozenset[str]] = MappingProxyType({"delivery_metrics": _INCIDENTS})
"""Streams that a function reads as well where a source has them."""


@dataclass(frozen=True, slots=True)
class Test:
    """What a text must be. ``kind``: present, equals, in, not_in, matches, min_length, heading or names."""

    kind: str = "present"
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Number:
    """A number written in the YAML."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Metric:
    """The value of a metric."""

    key: str


@dataclass(frozen=True, slots=True)
class Declared:
    """A number declared by a tag; ``default`` when there is none."""

    key: str
    default: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Time:
    """A tag of the unit read as a time, or a moment of an incident; in days since 1970."""

    key: str


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of a run over its history and over all metrics that match one of the patterns."""

    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Now:
    """The time of the assessment, in days since 1970."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """The newest value among these metrics, logged by annotation runs of a dataset."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Computed:
    """``op`` of two or more terms: sum, product, difference, ratio. Nothing when a part is missing."""

    op: str
    parts: tuple[Term, ...]


Term = Number | Metric | Declared | Time | Mean | Now | Annotation | Computed


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """At least one part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Condition


@dataclass(frozen=True, slots=True)
class TextIs:
    """A text (tag, param, field or declaration) is what the test asks."""

    place: str
    key: str
    test: Test


@dataclass(frozen=True, slots=True)
class Compare:
    """Two terms compare so; where either has no value, they do not."""

    left: Term
    op: str
    right: Term


@dataclass(frozen=True, slots=True)
class NamesLike:
    """At least so many metrics or params match the pattern (distinct in its ``<part>`` when it has one)."""

    table: str
    pattern: str
    at_least: int


@dataclass(frozen=True, slots=True)
class Flag:
    """A yes or no of a dataset input or logged model is yes."""

    name: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A pattern without a slash matches the file name at any depth, one with a slash the whole path."""

    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """It belongs to the population."""

    population: Population


@dataclass(frozen=True, slots=True)
class StartedWithin:
    """A run started at most so many days before ``as_of``."""

    days: int


@dataclass(frozen=True, slots=True)
class Holds:
    """A named condition holds."""

    name: str


@dataclass(frozen=True, slots=True)
class Faulty:
    """Stands in for a condition that could not be parsed; its fault is recorded."""


@dataclass(frozen=True, slots=True)
class Related:
    """At least so many related things (or every one) fulfil the condition; ``distinct`` counts values of a text."""

    relation: str
    target: Unit
    condition: Condition
    at_least: int = 1
    every: bool = False
    distinct: TextIs | None = None


Condition = (
    All | Any | Not | TextIs | Compare | NamesLike | Flag | Artifact | Member | StartedWithin | Holds | Faulty | Related
)


@dataclass(frozen=True, slots=True)
class Measure:
    """How an indicator is measured. ``must``: streams without which it cannot be; ``streams``: all it looks at."""

    population: Population | None
    how: How
    where: Condition | None = None
    condition: Condition | None = None
    term: Term | None = None
    function: str = ""
    not_applicable_if_all: Condition | None = None

    @property
    def streams(self) -> frozenset[str]:
        return self.asked | (self.population.also if self.population else frozenset())

    @property
    def asked(self) -> frozenset[str]:
        """The streams of its conditions and terms, and those its population cannot do without."""
        parts = (_used(self._unit, part) for part in self._parts())
        return frozenset().union(*parts, self._base(), ALSO.get(self.function, frozenset()))

    @property
    def must(self) -> frozenset[str]:
        return frozenset().union(*(_required(self._unit, part) for part in self._parts()), self._base())

    @property
    def _unit(self) -> Unit:
        return self.population.unit if self.population else Unit.RUN

    def _parts(self) -> list[Condition]:
        found = [part for part in (self.where, self.condition) if part is not None]
        return [*found, Compare(self.term, ">=", self.term)] if self.term is not None else found

    def _base(self) -> frozenset[str]:
        return self.population.must if self.population else FUNCTIONS.get(self.function, frozenset())


def _used(unit: Unit, part: Condition) -> frozenset[str]:
    """Every stream a condition looks at."""
    match part:
        case All(parts) | Any(parts):
            return frozenset().union(*(_used(unit, child) for child in parts))
        case Not(child):
            return _used(unit, child)
        case Related(relation, target, child):
            return RELATIONS[unit, relation][1] | _used(target, child)
    return _own(unit, part)


def _required(unit: Unit, part: Condition) -> frozenset[str]:
    """The streams without which the condition can never be judged: of alternatives only what all of them need."""
    match part:
        case All(parts):
            return frozenset().union(*(_required(unit, child) for child in parts))
        case Any(parts):
            return frozenset.intersection(*(_required(unit, child) for child in parts))
        case Not(child):
            return _required(unit, child)
        case Related(relation, target, child):
            return RELATIONS[unit, relation][1] | _required(target, child)
    return _own(unit, part)


def _own(unit: Unit, part: Condition) -> frozenset[str]:
    match part:
        case Artifact():
            return frozenset({"artifacts"})
        case Holds(name):
            return HOLDS[name][1]
        case Member(population):
            return population.must
        case Compare(left, _, right) if any(isinstance(term, Mean) for term in (left, right)):
            return _RUNS | {"metric_history"}
        case TextIs(_, _, Test("names", ("version",))) if unit is Unit.INCIDENT:
            return _INCIDENTS | _REGISTRY
        case TextIs() | Compare() if unit is Unit.INCIDENT:
            return _INCIDENTS
        case TextIs("declared"):
            return _RUNS | (_REGISTRY if unit is Unit.VERSION else frozenset({"experiments"}))
        case TextIs(place) if unit is Unit.VERSION and place != "param":
            return _REGISTRY
        case TextIs() | NamesLike() | Compare() | StartedWithin() if unit is not Unit.LOGGED_MODEL:
            return _RUNS
    return frozenset()
