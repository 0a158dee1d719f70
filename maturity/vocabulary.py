"""The closed vocabulary in which an indicator's YAML says how it is measured: parsed here, run by ``indicators``.

Takes the ``measure`` node of an indicator; gives a frozen ``Measure``, or faults with file and key. A measure names a
population and one of ``share``, ``count``, ``median``, ``min``, ``max``, ``latest`` or ``function``::

    measure:
      population: TRAIN
      where: {tag: dlemm.stage}                       # narrows the population
      not_applicable_if_all: {…}                      # every member is so: the question does not arise
      share: {all: [{param: seed}, {not: {tag: mlflow.source.git.dirty, equals: 'true'}}]}

Conditions: ``all``, ``any``, ``not``, ``tag``, ``param``, ``field``, ``declared`` (with ``equals``, ``in``, ``not_in``,
``matches``, ``min_length`` or ``names``; alone they ask for a non-empty text), ``metric`` and ``value`` (with ``equals``,
``ge``, ``le``, ``gt``, ``lt``), ``metrics`` (a pattern, with ``at_least``), ``flag``, ``artifact``, ``member``,
``started_within_days``, ``holds`` (a named condition), ``unread`` and the relations of ``RELATIONS``.
A pattern's ``*`` stands for any text without a slash; ``<part>`` likewise, and then distinct parts are counted.
Terms: a number, ``metric``, ``declared`` (with ``default``), ``time``, ``now``, ``annotation``, ``sum``, ``difference``,
``ratio``, ``product``. Times are in days. Every fault is recorded on the node, and parsing goes on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType

from maturity.reader import Node


class Unit(StrEnum):
    """What a population consists of."""

    RUN = "run"
    VERSION = "version"
    MODEL = "model"
    INPUT = "dataset input"
    LOGGED_MODEL = "logged model"
    DATASET = "dataset"
    WEEK = "week"


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
_LOGGED = frozenset({"logged_models"})
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
        )
    }
)
"""FAILED: ALL that failed or were killed. INPUTS: dataset inputs of TRAIN. LABELLED: labelled datasets used by TRAIN.
VERSIONS: created in the window. REGISTERED: every version. MODELS: with a RELEASED or PROD version. WEEKS: pairs of a
PROD version and a full ISO week in the window during which it was live. The others are the model's own populations."""

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
        "reproduced": (Unit.RUN, _RUNS),
        "gate_before_training": (Unit.RUN, _RUNS),
        "one_factor_children": (Unit.RUN, _RUNS),
        "equal_budget_children": (Unit.RUN, _RUNS),
        "same_evaluation_data": (Unit.RUN, _RUNS),
        "data_only_children": (Unit.RUN, _RUNS),
        "held_out_evaluation": (Unit.VERSION, _REGISTRY | _RUNS),
        "second_person": (Unit.VERSION, _REGISTRY | _RUNS),
        "better_than_baseline": (Unit.VERSION, _REGISTRY | _RUNS | {"experiments"}),
    }
)
"""Named conditions, written in ``studies`` and ``lineage``: unit and streams."""

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
    }
)
"""Measures that need code of their own, written in ``functions``: the streams they read."""

_FIELDS: Mapping[Unit, frozenset[str]] = MappingProxyType(
    {
        Unit.RUN: frozenset({"status", "name", "user", "end_at"}),
        Unit.VERSION: frozenset({"run", "user", "description", "status", "logged_model"}),
        Unit.INPUT: frozenset({"name", "digest", "source", "source_type", "context"}),
        Unit.LOGGED_MODEL: frozenset({"name", "status", "flavors"}),
    }
)
_FLAGS: Mapping[Unit, frozenset[str]] = MappingProxyType(
    {
        Unit.INPUT: frozenset({"has_schema"}),
        Unit.LOGGED_MODEL: frozenset({"has_signature", "has_example", "pinned"}),
    }
)
_PLACES: Mapping[str, frozenset[Unit]] = MappingProxyType(
    {
        "tag": frozenset({Unit.RUN, Unit.VERSION, Unit.INPUT}),
        "param": frozenset({Unit.RUN, Unit.VERSION}),
        "field": frozenset(_FIELDS),
        "declared": frozenset({Unit.RUN, Unit.VERSION}),
    }
)
_NAMED = ("project", "registered_model", "version", "run")


@dataclass(frozen=True, slots=True)
class Test:
    """What a text must be. ``kind``: present, equals, in, not_in, matches, min_length or names."""

    kind: str = "present"
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Number:
    value: Fraction


@dataclass(frozen=True, slots=True)
class Metric:
    key: str


@dataclass(frozen=True, slots=True)
class Declared:
    """A number declared by a tag; ``default`` when there is none."""

    key: str
    default: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Time:
    """A tag of the unit read as a time, in days since 1970."""

    key: str


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


Term = Number | Metric | Declared | Time | Now | Annotation | Computed


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Any:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: Condition


@dataclass(frozen=True, slots=True)
class TextIs:
    place: str
    key: str
    test: Test


@dataclass(frozen=True, slots=True)
class Compare:
    left: Term
    op: str
    right: Term


@dataclass(frozen=True, slots=True)
class MetricLogged:
    """At least so many metrics match the pattern (distinct in its ``<part>`` when it has one)."""

    pattern: str
    at_least: int


@dataclass(frozen=True, slots=True)
class Flag:
    name: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A pattern without a slash matches the file name at any depth, one with a slash the whole path."""

    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Member:
    population: Population


@dataclass(frozen=True, slots=True)
class StartedWithin:
    days: int


@dataclass(frozen=True, slots=True)
class Holds:
    name: str


@dataclass(frozen=True, slots=True)
class Unread:
    """Whether it is so stands in facts that no connector reads yet: always unknown."""

    what: str


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
    All
    | Any
    | Not
    | TextIs
    | Compare
    | MetricLogged
    | Flag
    | Artifact
    | Member
    | StartedWithin
    | Holds
    | Unread
    | Related
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
        found = frozenset().union(*(_used(self._unit, part) for part in self._parts()), self._base())
        return found | (self.population.also if self.population else frozenset())

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
        case TextIs(place) if unit is Unit.VERSION and place != "param":
            return _REGISTRY
        case TextIs() | MetricLogged() | Compare() | StartedWithin() if unit is not Unit.LOGGED_MODEL:
            return _RUNS
    return frozenset()


def parse_measure(node: Node) -> Measure | None:
    """Parse the ``measure`` block of an indicator; None when it is not a mapping. Faults are recorded on the node."""
    if not isinstance(node.value, dict):
        node.fault("must be a mapping")
        return None
    hows = [how.value for how in How]
    node.only("population", "where", "not_applicable_if_all", *hows)
    given = [how for how in hows if node.has(how)]
    if len(given) != 1:
        node.fault(f"needs exactly one of {', '.join(hows)}")
        return None
    how = How(given[0])
    if how is How.FUNCTION:
        node.only("function")
        return Measure(None, how, function=node.at("function").choice(*FUNCTIONS))
    population = POPULATIONS[node.at("population").choice(*POPULATIONS)]
    aggregate = how not in (How.SHARE, How.COUNT)
    return Measure(
        population,
        how,
        where=parse_condition(node.at("where"), population.unit) if node.has("where") else None,
        condition=None if aggregate else parse_condition(node.at(how.value), population.unit),
        term=_term(node.at(how.value), population.unit) if aggregate else None,
        not_applicable_if_all=parse_condition(node.at("not_applicable_if_all"), population.unit)
        if node.has("not_applicable_if_all")
        else None,
    )


def parse_condition(node: Node, unit: Unit) -> Condition:
    """Parse one condition on a unit; a faulty one becomes a harmless stand-in and its fault is recorded."""
    heads = [
        key for key in (node.value if isinstance(node.value, dict) else {}) if key in _HEADS or _relation(unit, key)
    ]
    if len(heads) != 1:
        node.fault(f"needs exactly one kind of condition on a {unit}, such as {', '.join(sorted(_HEADS))}")
        return Unread("faulty")
    head = str(heads[0])
    return _related(node, unit, head) if _relation(unit, head) else _HEADS[head](node, unit)


def _relation(unit: Unit, key: object) -> bool:
    return (unit, key) in RELATIONS


def _parts(node: Node, unit: Unit, head: str) -> tuple[Condition, ...]:
    node.only(head)
    children = node.at(head).list()
    if not children:
        node.fault("needs at least one condition", head)
    return tuple(parse_condition(child, unit) for child in children) or (Unread("faulty"),)


def _all(node: Node, unit: Unit) -> Condition:
    return All(_parts(node, unit, "all"))


def _any(node: Node, unit: Unit) -> Condition:
    return Any(_parts(node, unit, "any"))


def _not(node: Node, unit: Unit) -> Condition:
    node.only("not")
    return Not(parse_condition(node.at("not"), unit))


def _text(node: Node, unit: Unit, *extra: str) -> TextIs:
    place = next(place for place in _PLACES if node.has(place))
    tests = ("equals", "in", "not_in", "matches", "min_length", "names")
    node.only(place, *tests, *extra)
    key = node.at(place).str()
    if unit not in _PLACES[place]:
        node.fault(f"a {unit} has no {place}", place)
    elif place == "field" and key not in _FIELDS[unit]:
        node.fault(f"must be one of {', '.join(sorted(_FIELDS[unit]))}", place)
    given = [test for test in tests if node.has(test)]
    if len(given) > 1:
        node.fault(f"takes one test, not {', '.join(given)}")
    return TextIs(place, key, _test(node.at(given[0]), given[0]) if given else Test())


def _test(node: Node, kind: str) -> Test:
    if kind in ("in", "not_in"):
        return Test(kind, tuple(child.str() for child in node.list()))
    if kind == "min_length":
        return Test(kind, (str(node.int(least=1)),))
    if kind == "names":
        return Test(kind, (node.choice(*_NAMED),))
    text = node.str()
    if kind == "matches":
        try:
            re.compile(text)
        except re.error as error:
            node.fault(f"is not a regular expression: {error}")
            return Test()
    return Test(kind, (text,))


_OPS = {"equals": "==", "ge": ">=", "le": "<=", "gt": ">", "lt": "<"}


def _value(node: Node, unit: Unit) -> Condition:
    head = "value" if node.has("value") else "metric"
    node.only(head, *_OPS)
    if unit not in (Unit.RUN, Unit.VERSION, Unit.DATASET):
        node.fault(f"a {unit} has no {head}", head)
    left = Metric(node.at(head).str()) if head == "metric" else _term(node.at(head), unit)
    parts = tuple(Compare(left, sign, _term(node.at(op), unit)) for op, sign in _OPS.items() if node.has(op))
    if not parts:
        return Compare(left, "==", left)
    return parts[0] if len(parts) == 1 else All(parts)


def _metrics(node: Node, unit: Unit) -> Condition:
    node.only("metrics", "at_least")
    if unit not in (Unit.RUN, Unit.VERSION):
        node.fault(f"a {unit} has no metrics", "metrics")
    return MetricLogged(node.at("metrics").str(), node.at("at_least").int(least=1) if node.has("at_least") else 1)


def _flag(node: Node, unit: Unit) -> Condition:
    node.only("flag")
    allowed = _FLAGS.get(unit, frozenset())
    if node.at("flag").str() not in allowed:
        node.fault(f"a {unit} has the flags {', '.join(sorted(allowed)) or 'none'}", "flag")
    return Flag(str(node.at("flag").value))


def _artifact(node: Node, unit: Unit) -> Condition:
    node.only("artifact")
    if unit not in (Unit.RUN, Unit.VERSION):
        node.fault(f"a {unit} has no artifact", "artifact")
    return Artifact(tuple(child.str() for child in node.at("artifact").list()))


def _member(node: Node, unit: Unit) -> Condition:
    node.only("member")
    allowed = [name for name, population in POPULATIONS.items() if population.unit is unit]
    if not allowed:
        node.fault(f"a {unit} is in no population", "member")
        return Unread("faulty")
    return Member(POPULATIONS[node.at("member").choice(*allowed)])


def _started(node: Node, unit: Unit) -> Condition:
    node.only("started_within_days")
    if unit is not Unit.RUN:
        node.fault(f"a {unit} has no start", "started_within_days")
    return StartedWithin(node.at("started_within_days").int(least=1))


def _holds(node: Node, unit: Unit) -> Condition:
    node.only("holds")
    name = node.at("holds").choice(*HOLDS)
    if HOLDS[name][0] is not unit:
        node.fault(f"{name} is a condition on a {HOLDS[name][0]}, not on a {unit}", "holds")
    return Holds(name)


def _unread(node: Node, unit: Unit) -> Condition:
    node.only("unread")
    return Unread(node.at("unread").str())


_HEADS = {
    "all": _all, "any": _any, "not": _not, "tag": _text, "param": _text, "field": _text, "declared": _text,
    "metric": _value, "value": _value, "metrics": _metrics, "flag": _flag, "artifact": _artifact, "member": _member,
    "started_within_days": _started, "holds": _holds, "unread": _unread,
}  # fmt: skip


def _related(node: Node, unit: Unit, relation: str) -> Condition:
    node.only(relation, "at_least", "distinct")
    target = RELATIONS[unit, relation][0]
    distinct = node.at("distinct")
    if node.has("distinct") and not any(distinct.has(place) for place in ("tag", "param")):
        distinct.fault("must name a tag or a param")
        return Unread("faulty")
    return Related(
        relation,
        target,
        parse_condition(node.at(relation), target),
        at_least=node.at("at_least").int(least=1) if node.has("at_least") else 1,
        every=relation.startswith("every_"),
        distinct=_text(distinct, target) if node.has("distinct") else None,
    )


def _term(node: Node, unit: Unit) -> Term:
    """Parse a term; a plain number stands for itself."""
    if not isinstance(node.value, dict):
        return Number(node.fraction(least=None))
    kinds = ("metric", "declared", "time", "now", "annotation", "sum", "difference", "ratio", "product")
    node.only(*kinds, "default")
    given = [kind for kind in kinds if node.has(kind)]
    if len(given) != 1 or (node.has("default") and given != ["declared"]):
        node.fault(f"needs exactly one of {', '.join(kinds)} (and a default only with declared)")
        return Number(Fraction(0))
    return _term_of(node, unit, given[0])


def _term_of(node: Node, unit: Unit, kind: str) -> Term:
    child = node.at(kind)
    if kind == "now":
        return Now()
    if kind == "annotation":
        if unit is not Unit.DATASET:
            node.fault(f"a {unit} has no annotation", kind)
        return Annotation(tuple(key.str() for key in child.list()))
    if kind in ("sum", "difference", "ratio", "product"):
        parts = tuple(_term(part, unit) for part in child.list())
        if len(parts) < 2 or (kind in ("difference", "ratio") and len(parts) != 2):
            child.fault("needs two terms")
        return Computed(kind, parts)
    if unit not in (Unit.RUN, Unit.VERSION):
        node.fault(f"a {unit} has no {kind}", kind)
    if kind == "declared":
        return Declared(child.str(), node.at("default").fraction(least=None) if node.has("default") else None)
    return Metric(child.str()) if kind == "metric" else Time(child.str())
