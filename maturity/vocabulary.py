"""The closed vocabulary in which an indicator's YAML says how it is measured: parsed here, run by ``indicators``.

Takes the ``measure`` node of an indicator; gives a frozen ``Measure``, or faults with file and key. A measure names a
population and one of ``share``, ``count``, ``median``, ``min``, ``max``, ``latest`` or ``function``::

    measure:
      population: TRAIN
      where: {tag: dlemm.stage}                       # narrows the population
      not_applicable_if_all: {…}                      # every member is so: the question does not arise
      share: {all: [{param: seed}, {not: {tag: mlflow.source.git.dirty, equals: 'true'}}]}

Conditions: ``all``, ``any``, ``not``; ``tag``, ``param``, ``field``, ``declared`` (with ``equals``, ``in``, ``not_in``,
``matches``, ``min_length``, ``heading`` or ``names``; alone they ask for a non-empty text); ``metric`` and ``value``
(with ``equals``, ``ge``, ``le``, ``gt``, ``lt``); ``metrics`` and ``params`` (a pattern, with ``at_least``); ``flag``,
``artifact``, ``member``, ``started_within_days``, ``holds`` (a named condition), and the relations of ``RELATIONS``.
``exists`` alone is a condition that everything fulfils. In a pattern ``*`` stands for any text without a slash, ``**``
for any text, ``<part>`` is like ``*``, and then distinct parts are counted.

Terms: a number, ``metric``, ``mean`` (patterns), ``declared`` (with ``default``), ``time``, ``now``, ``annotation``,
``sum``, ``difference``, ``ratio``, ``product``. Times are in days. Every fault is recorded, and parsing goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from types import MappingProxyType

from maturity.measures import (
    FUNCTIONS,
    HOLDS,
    POPULATIONS,
    RELATIONS,
    All,
    Annotation,
    Any,
    Artifact,
    Compare,
    Computed,
    Condition,
    Declared,
    Faulty,
    Flag,
    Holds,
    How,
    Mean,
    Measure,
    Member,
    Metric,
    NamesLike,
    Not,
    Now,
    Number,
    Related,
    StartedWithin,
    Term,
    Test,
    TextIs,
    Time,
    Unit,
)
from maturity.reader import Node

_FIELDS: Mapping[Unit, frozenset[str]] = MappingProxyType(
    {
        Unit.RUN: frozenset({"status", "name", "user", "end_at"}),
        Unit.VERSION: frozenset({"run", "user", "description", "status", "logged_model"}),
        Unit.INPUT: frozenset({"name", "digest", "source", "source_type", "context"}),
        Unit.LOGGED_MODEL: frozenset({"name", "status", "flavors"}),
        Unit.INCIDENT: frozenset({"kind", "severity", "version"}),
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
_MOMENTS = frozenset({"opened_at", "restored_at", "closed_at"})
_NAMED = ("project", "registered_model", "version", "run")


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
    if how is How.LATEST and population.unit is not Unit.RUN:
        node.fault(f"a {population.unit} has no start, so there is no latest", "latest")
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
    if node.value == "exists":
        return All(())
    heads = [
        key for key in (node.value if isinstance(node.value, dict) else {}) if key in _HEADS or _relation(unit, key)
    ]
    if len(heads) != 1:
        node.fault(f"needs exactly one kind of condition on a {unit}, such as {', '.join(sorted(_HEADS))}")
        return Faulty()
    head = str(heads[0])
    return _related(node, unit, head) if _relation(unit, head) else _HEADS[head](node, unit)


def _relation(unit: Unit, key: object) -> bool:
    return (unit, key) in RELATIONS


def _parts(node: Node, unit: Unit, head: str) -> tuple[Condition, ...]:
    node.only(head)
    children = node.at(head).list()
    if not children:
        node.fault("needs at least one condition", head)
    return tuple(parse_condition(child, unit) for child in children) or (Faulty(),)


def _all(node: Node, unit: Unit) -> Condition:
    return All(_parts(node, unit, "all"))


def _any(node: Node, unit: Unit) -> Condition:
    return Any(_parts(node, unit, "any"))


def _not(node: Node, unit: Unit) -> Condition:
    node.only("not")
    return Not(parse_condition(node.at("not"), unit))


def _text(node: Node, unit: Unit, *extra: str) -> TextIs:
    place = next(place for place in _PLACES if node.has(place))
    tests = ("equals", "in", "not_in", "matches", "min_length", "heading", "names")
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
        except (re.error, OverflowError, RecursionError) as error:
            node.fault(f"is not a regular expression: {error}")
            return Test()
        if fault := _slow(text):
            node.fault(fault)
            return Test()
    return Test(kind, (text,))


def _slow(pattern: str) -> str:
    """Why a regular expression could take very long on some text; empty when it cannot.

    A repeated group that holds a repetition or alternatives can be taken apart in exponentially many ways.
    """
    if len(pattern) > _LONGEST_PATTERN:
        return f"is longer than {_LONGEST_PATTERN} characters"
    plain = re.sub(r"\[\^?\]?[^\]]*\]", "a", re.sub(r"\\.", "a", pattern, flags=re.DOTALL))
    if len(re.findall(r"[*+]|\{[0-9]*,\}", plain)) > _MOST_REPETITIONS:
        return f"has more than {_MOST_REPETITIONS} repetitions without an upper bound"
    while group := re.search(r"\(([^()]*)\)([*+{]?)", plain):
        inner = re.search(r"[*+{|]", group[1]) is not None
        if inner and group[2]:
            return "repeats a group that holds a repetition or alternatives"
        plain = plain[: group.start()] + ("a*" if inner else "a") + group[2] + plain[group.end() :]
    return ""


_LONGEST_PATTERN, _MOST_REPETITIONS = 200, 3
_OPS = {"equals": "==", "ge": ">=", "le": "<=", "gt": ">", "lt": "<"}


def _value(node: Node, unit: Unit) -> Condition:
    head = "value" if node.has("value") else "metric"
    node.only(head, *_OPS)
    if unit not in (Unit.RUN, Unit.VERSION, Unit.DATASET, *((Unit.INCIDENT,) if head == "value" else ())):
        node.fault(f"a {unit} has no {head}", head)
    left = Metric(node.at(head).str()) if head == "metric" else _term(node.at(head), unit)
    parts = tuple(Compare(left, sign, _term(node.at(op), unit)) for op, sign in _OPS.items() if node.has(op))
    if not parts:
        return Compare(left, "==", left)
    return parts[0] if len(parts) == 1 else All(parts)


def _names_like(node: Node, unit: Unit) -> Condition:
    table = "metrics" if node.has("metrics") else "params"
    node.only(table, "at_least")
    if unit not in (Unit.RUN, Unit.VERSION):
        node.fault(f"a {unit} has no {table}", table)
    return NamesLike(table, node.at(table).str(), node.at("at_least").int(least=1) if node.has("at_least") else 1)


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
        return Faulty()
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


_HEADS: Mapping[str, Callable[[Node, Unit], Condition]] = {
    "all": _all, "any": _any, "not": _not, "tag": _text, "param": _text, "field": _text, "declared": _text,
    "metric": _value, "value": _value, "metrics": _names_like,
    "params": _names_like, "flag": _flag, "artifact": _artifact, "member": _member,
    "started_within_days": _started, "holds": _holds,
}  # fmt: skip


def _related(node: Node, unit: Unit, relation: str) -> Condition:
    node.only(relation, *(() if relation.startswith("every_") else ("at_least", "distinct")))
    target = RELATIONS[unit, relation][0]
    distinct = node.at("distinct")
    if node.has("distinct") and not any(distinct.has(place) for place in ("tag", "param")):
        distinct.fault("must name a tag or a param")
        return Faulty()
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
    kinds = ("metric", "mean", "declared", "time", "now", "annotation", "sum", "difference", "ratio", "product")
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
    if kind == "time" and unit is Unit.INCIDENT:
        return Time(child.choice(*sorted(_MOMENTS)))
    if unit is not Unit.RUN and (unit is not Unit.VERSION or kind == "mean"):
        node.fault(f"a {unit} has no {kind}", kind)
    if kind == "mean":
        return Mean(tuple(pattern.str() for pattern in child.list()))
    if kind == "declared":
        return Declared(child.str(), node.at("default").fraction(least=None) if node.has("default") else None)
    return Metric(child.str()) if kind == "metric" else Time(child.str())


__all__ = ["Measure", "parse_condition", "parse_measure"]
