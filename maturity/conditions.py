"""Judges conditions over every unit of a world at once: which fulfil them, and of which nothing can be said.

Takes ``Populations`` and the conditions of ``measures``; gives a ``Verdict`` of two sets of ids. Three values are kept
apart throughout (the strong three-valued logic of S. C. Kleene, Introduction to Metamathematics, 1952, §64): a file
list that was not read says neither that a file is there nor that it is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from operator import eq, ge, gt, le, lt
from typing import Any

import numpy as np

from maturity import lineage, monitored, studies
from maturity import measures as m
from maturity.columns import Coded, Column
from maturity.keyed import DAY, compiled, headings_of, present
from maturity.measures import Condition, Term, Unit
from maturity.populations import Populations
from maturity.rolls import Array, Ids, common, union
from maturity.values import Values, keys_of
from maturity.world import names_in, source_of

_NOTHING: frozenset[str] = frozenset()
_LONGEST_TEXT = 1000  # characters a regular expression looks at, so that none takes long
_OPS: Mapping[str, Callable[[Fraction, Fraction], bool]] = {"==": eq, ">=": ge, "<=": le, ">": gt, "<": lt}
_NAMED: Mapping[str, Callable[[Populations, str], bool | None]] = {
    **lineage.HOLDS,
    **studies.HOLDS,
    **monitored.HOLDS,
}

_CANDIDATES: Mapping[str, Callable[[Populations], Iterable[str]]] = {
    **lineage.CANDIDATES,
    **studies.CANDIDATES,
    **monitored.CANDIDATES,
}
"""Of some named conditions the only things that can fulfil them, or of which it can be unknown."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Ids that fulfil a condition, and ids of which it is unknown. All others do not fulfil it."""

    yes: AbstractSet[str]
    unknown: AbstractSet[str] = _NOTHING


class Judge(Values):
    """Conditions over a world; each is worked out once and kept."""

    def __init__(self, world: Populations) -> None:
        super().__init__(world)
        self._verdicts: dict[tuple[Unit, Condition], Verdict] = {}

    def verdict(self, unit: Unit, condition: Condition) -> Verdict:
        """Which things of a unit fulfil a condition."""
        key = (unit, condition)
        if key not in self._verdicts:
            self._verdicts[key] = self._judge(unit, condition)
        return self._verdicts[key]

    def _judge(self, unit: Unit, condition: Condition) -> Verdict:
        match condition:
            case m.All(()):
                return Verdict(self.ids(unit))
            case m.All(parts):
                return self._every(unit, [self.verdict(unit, part) for part in parts])
            case m.Any(parts):
                found = [self.verdict(unit, part) for part in parts]
                yes = union(part.yes for part in found)
                return Verdict(yes, union(part.unknown for part in found) - yes)
            case m.Not(part):
                inner = self.verdict(unit, part)
                return Verdict(self.ids(unit) - inner.yes - inner.unknown, inner.unknown)
            case m.Related():
                return self._related(unit, condition)
        return self._single(unit, condition)

    def _every(self, unit: Unit, found: list[Verdict]) -> Verdict:
        yes = common([part.yes for part in found])
        possible = common([union((part.yes, part.unknown)) for part in found])
        return Verdict(yes, possible - yes)

    def _single(self, unit: Unit, condition: Condition) -> Verdict:
        match condition:
            case m.TextIs(place, key, test):
                return self._text_is(unit, place, key, test)
            case m.Compare(left, op, right):
                return self._compare(unit, left, op, right)
            case m.NamesLike(table, pattern, at_least):
                return self._names_like(unit, table, pattern, at_least)
            case m.Flag(name):
                return self._flag(unit, name)
            case m.Artifact(patterns):
                return self._artifact(unit, patterns)
            case m.Member(population):
                return Verdict(self.world.ids_of(population.name))
            case m.StartedWithin(days):
                start = self.world.run_fields.numbers("start_at")
                return Verdict(Ids(start.roll, start.mask & (start.numbers >= self.world.as_of - days * DAY)))
            case m.Holds(name):
                return self._holds(unit, name)
        return Verdict(_NOTHING, self.ids(unit))

    def _holds(self, unit: Unit, name: str) -> Verdict:
        asked = _CANDIDATES[name](self.world) if name in _CANDIDATES else self.ids(unit)
        answers = {key: _NAMED[name](self.world, key) for key in asked}
        yes = self._known_ids(unit, (key for key, answer in answers.items() if answer))
        return Verdict(yes, self._known_ids(unit, (key for key, answer in answers.items() if answer is None)))

    def _known_ids(self, unit: Unit, keys: Iterable[str]) -> AbstractSet[str]:
        """Those that are things of a unit, as a set of its kind."""
        every = self.ids(unit)
        return every.roll.only(keys) if isinstance(every, Ids) else every & frozenset(keys)

    # texts

    def _text_is(self, unit: Unit, place: str, key: str, test: m.Test) -> Verdict:
        texts = self.texts(unit, place, key)
        check = self._check(test, unit)
        yes: AbstractSet[str]
        if test.kind == "present":
            yes = self.ids(unit) & keys_of(texts)
        elif isinstance(texts, Coded) and not _needs_id(test):
            yes = texts.where(lambda text: check(text.strip(), ""))
        else:
            yes = self._known_ids(unit, (i for i, text in texts.items() if check(text.strip(), i)))
        if unit is Unit.LOGGED_MODEL and key == "flavors":
            return Verdict(yes, self.ids(unit) - texts.keys())
        return Verdict(yes)

    def _check(self, test: m.Test, unit: Unit) -> Callable[[str, str], bool]:
        values = test.values
        if test.kind == "matches":
            expression = re.compile(values[0])
            return lambda text, _: expression.search(text[:_LONGEST_TEXT]) is not None
        if test.kind == "heading":
            wanted = re.compile(rf"{re.escape(values[0])}\b", re.IGNORECASE)
            return lambda text, _: any(wanted.match(heading) for heading in headings_of(text))
        if test.kind == "names" and values[0] == "project":  # a thing belongs to one project: a list is no key
            projects = self._known("project")
            return lambda text, _: text in projects
        if test.kind == "names":
            known = self._known(values[0])
            if unit is Unit.INCIDENT:  # it comes from another source than what it names
                known = known | {key.partition(":")[2] for key in known}
            return lambda text, i: any(f"{source_of(i)}:{name}" in known or name in known for name in names_in(text))
        return {
            "present": lambda text, _: True,
            "equals": lambda text, _: text == values[0],
            "in": lambda text, _: text in values,
            "not_in": lambda text, _: text not in values,
            "min_length": lambda text, _: len(text) >= int(values[0]),
        }[test.kind]

    def _known(self, what: str) -> AbstractSet[str]:
        world = self.world
        if what == "project":
            return frozenset(world.facts["projects"]["project"])
        if what == "registered_model":
            return frozenset(chain(world.facts["registered_models"]["name"], world.version_fields["name"].values()))
        return world.versions if what == "version" else world.runs

    def _compare(self, unit: Unit, left: Term, op: str, right: Term) -> Verdict:
        if isinstance(left, m.Metric) and left == right:  # only whether it is logged
            return Verdict(self.ids(unit) & keys_of(self.logged(unit, left.key)))
        a, b, compare = self.numbers(unit, left), self.numbers(unit, right), _OPS[op]
        if isinstance(a, Column) and isinstance(b, Column) and (found := a.compared(op, compare, b)) is not None:
            return Verdict(found)
        both = common([keys_of(a), keys_of(b)])
        return Verdict(self._known_ids(unit, (i for i in both if compare(a[i], b[i]))))

    def _names_like(self, unit: Unit, table: str, pattern: str, at_least: int) -> Verdict:
        keyed = self.world.run_metrics if table == "metrics" else self.world.run_params
        places, names = keyed.named_like(pattern)
        if unit is Unit.VERSION:
            return Verdict(self._versions_with(places, names, at_least))
        if unit is not Unit.RUN:
            return Verdict(_NOTHING)
        mask = np.zeros(len(keyed.roll), bool)
        if at_least > 1:
            pairs = np.unique(places.astype(np.int64) << 32 | names)
            mask = np.bincount(pairs >> 32, minlength=len(mask)) >= at_least
        else:
            mask[places] = True
        return Verdict(Ids(keyed.roll, mask))

    def _versions_with(self, places: Array, names: Array, at_least: int) -> frozenset[str]:
        """Versions whose runs together have at least so many different names."""
        runs, roll = self.world.evidence_runs, self.world.roll
        asked = roll.only(chain.from_iterable(runs.values()))
        rows = np.flatnonzero(asked.mask[places])
        found: dict[int, set[int]] = {}
        for place, name in zip(places[rows].tolist(), names[rows].tolist(), strict=True):
            found.setdefault(place, set()).add(name)
        parts = {v: set[int]().union(*(found.get(roll.place(run), ()) for run in mine)) for v, mine in runs.items()}
        return frozenset(version for version, mine in parts.items() if len(mine) >= at_least)

    # things that may not have been read

    def _flag(self, unit: Unit, name: str) -> Verdict:
        if unit is Unit.INPUT:
            inputs = self.world.input_rows
            told, missing = inputs.flags(name)
            return Verdict(Ids(inputs.roll, told), Ids(inputs.roll, missing))
        flags: Mapping[str, Any] = self.world.logged_fields[name]
        yes = frozenset(i for i, flag in flags.items() if present(flag) and bool(flag))
        return Verdict(yes, frozenset(i for i, flag in flags.items() if not present(flag)))

    def _artifact(self, unit: Unit, patterns: tuple[str, ...]) -> Verdict:
        expressions = [(compiled(pattern), "/" in pattern) for pattern in patterns]
        having = self.world.with_artifact(
            lambda path: any(e.fullmatch(path if whole else path.rpartition("/")[2]) for e, whole in expressions)
        )
        clear = self.world.listed - self.world.with_artifact(
            lambda path: path.endswith("/") and any(_may_hold(path, pattern) for pattern in patterns)
        )
        if unit is Unit.RUN:
            return self._artifact_of_runs(having, clear)
        owners = {key: self._owners(unit, key) for key in self.ids(unit)}
        yes = frozenset(key for key, own in owners.items() if not having.isdisjoint(own))
        return Verdict(yes, frozenset(key for key, own in owners.items() if not clear.issuperset(own)) - yes)

    def _artifact_of_runs(self, having: frozenset[str], clear: frozenset[str]) -> Verdict:
        world, of_model = self.world, self.world.logged_fields["run"]
        yes = world.roll.only(chain(having, (run for model in having if (run := of_model.get(model)))))
        hidden = (run for run, models in world.run_models.items() if not clear.issuperset(models))
        return Verdict(yes, world.runs - (world.roll.only(clear) - world.roll.only(hidden)) - yes)

    def _owners(self, unit: Unit, key: str) -> list[str]:
        """Whose artifacts belong to a run or a version: its runs, their logged models, the version's own."""
        runs = self.world.evidence_runs.get(key, ()) if unit is Unit.VERSION else (key,)
        own = self.world.logged_of_version(key) if unit is Unit.VERSION else ()
        return [*own, *runs, *(model for run in runs for model in self.world.run_models.get(run, ()))]

    # relations

    def _related(self, unit: Unit, condition: m.Related) -> Verdict:
        inner = self.verdict(condition.target, condition.condition)
        if unit is Unit.RUN and condition.distinct is None and condition.relation in ("some_input", "every_input"):
            return self._related_inputs(condition, inner)
        decide = self._every_one if condition.every else self._enough
        named = self._named(condition)
        pairs = list(self._relation(unit, condition.relation))
        seen: dict[int, bool | None] = {}  # many versions share the runs of one experiment: one tuple, judged once
        for _, things in pairs:
            if id(things) not in seen:
                counted = things if named is None else tuple(i for i in things if i in named)
                sure = [i for i in counted if i in inner.yes]
                maybe = [i for i in counted if i in inner.yes or i in inner.unknown] if inner.unknown else sure
                possible = decide(condition, maybe, counted, named)
                seen[id(things)] = True if decide(condition, sure, counted, named) else None if possible else False
        yes = self._known_ids(unit, (key for key, things in pairs if seen[id(things)]))
        unknown = self._known_ids(unit, (key for key, things in pairs if seen[id(things)] is None))
        return Verdict(yes, union((self._unseen(unit, condition.relation), unknown)) - yes)

    def _related_inputs(self, condition: m.Related, inner: Verdict) -> Verdict:
        """The same over the inputs of runs, counted for all runs at once."""
        inputs, every = self.world.run_inputs, self.world.input_rows.roll
        sure = inputs.counted(every.only(inner.yes).mask)
        possible = inputs.counted(every.only(union((inner.yes, inner.unknown))).mask)
        total = inputs.counted(np.ones(len(every), bool))
        held = [(n == total) & (total > 0) if condition.every else n >= condition.at_least for n in (sure, possible)]
        yes = Ids(self.world.roll, held[0] & (total > 0))
        return Verdict(yes, Ids(self.world.roll, held[1] & (total > 0)) - yes)

    def _named(self, condition: m.Related) -> Mapping[str, str] | None:
        """The texts that are counted as distinct, of the things that have one; None when things are counted."""
        distinct = condition.distinct
        if distinct is None:
            return None
        check = self._check(distinct.test, condition.target)
        texts = self.texts(condition.target, distinct.place, distinct.key)
        return {i: text.strip() for i, text in texts.items() if check(text.strip(), i)}

    @staticmethod
    def _every_one(_: m.Related, found: list[str], things: tuple[str, ...], __: Mapping[str, str] | None) -> bool:
        return len(found) == len(things) > 0

    @staticmethod
    def _enough(condition: m.Related, found: list[str], _: tuple[str, ...], named: Mapping[str, str] | None) -> bool:
        return len(found if named is None else {named[i] for i in found}) >= condition.at_least

    def _unseen(self, unit: Unit, relation: str) -> AbstractSet[str]:
        """Things whose logged models nobody could read: none found says nothing."""
        if relation != "some_model":
            return _NOTHING
        every = self.ids(unit)
        if isinstance(every, Ids):
            return every - every.of_sources(lambda source: self.world.read(source, "logged_models"))
        return frozenset(i for i in every if not self.world.read(i, "logged_models"))

    def _relation(self, unit: Unit, relation: str) -> Iterable[tuple[str, tuple[str, ...]]]:
        world = self.world
        if relation == "some_run":
            return world.evidence_runs.items() if unit is Unit.VERSION else self._monitored()
        of_run = {"some_input": world.run_inputs, "every_input": world.run_inputs, "children": world.children,
                  "every_child": world.children, "annotation_run": world.annotations}  # fmt: skip
        if relation in of_run:
            return of_run[relation].items()
        if relation == "some_model":
            return (
                world.run_models.items()
                if unit is Unit.RUN
                else ((i, world.logged_of_version(i)) for i in world.versions)
            )
        if relation == "production_version":
            return [(name, (version,)) for name, version in world.carrying]
        runs = {version: run for version in world.versions if (run := world.source_run(version))}
        if relation == "source_run":
            return [(version, (run,)) for version, run in runs.items()]
        experiments = world.run_fields["experiment"]
        return [(version, world.experiment_runs.get(experiments.get(run), ())) for version, run in runs.items()]

    def _monitored(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        """Week to the MONITOR runs of its version that started in it."""
        start, monitors = self.world.run_fields["start_at"], self.world.ids_of("MONITOR")
        for week, (version, monday) in self.world.weeks.items():
            runs = self.world.evidence_runs.get(version, ())
            yield week, tuple(run for run in runs if run in monitors and monday <= start[run] < monday + 7 * DAY)


def _needs_id(test: m.Test) -> bool:
    """Whether it matters whose text it is: a name is looked for in the source of the thing."""
    return test.kind == "names" and test.values[0] != "project"


def _may_hold(folder: str, pattern: str) -> bool:
    """Whether a file that matches the pattern could lie in a folder that was not opened (``docs/``)."""
    wanted, above = pattern.split("/"), folder.rstrip("/").split("/")
    if len(wanted) == 1:  # a file name at any depth
        return True
    for want, name in zip(wanted, above, strict=False):
        if "**" in want or not compiled(want).fullmatch(name):
            return "**" in want
    return len(above) < len(wanted)
