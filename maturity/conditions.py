"""Judges conditions over every unit of a world at once: which fulfil them, and of which nothing can be said.

Takes ``Populations`` and the conditions of ``measures``; gives a ``Verdict`` of two sets of ids. Three values are kept
apart throughout (the strong three-valued logic of S. C. Kleene, Introduction to Metamathematics, 1952, §64): a file
list that was not read says neither that a file is there nor that it is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from operator import eq, ge, gt, le, lt
from typing import Any

from maturity import lineage, studies
from maturity import measures as m
from maturity.keyed import DAY, compiled, headings_of, present
from maturity.measures import Condition, Term, Unit
from maturity.populations import Populations
from maturity.values import Values
from maturity.world import World, names_in, source_of

_NOTHING: frozenset[str] = frozenset()
_LONGEST_TEXT = 1000  # characters a regular expression looks at, so that none takes long
_OPS: Mapping[str, Callable[[Fraction, Fraction], bool]] = {"==": eq, ">=": ge, "<=": le, ">": gt, "<": lt}
_NAMED: Mapping[str, Callable[[World, str], bool | None]] = {**lineage.HOLDS, **studies.HOLDS}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Ids that fulfil a condition, and ids of which it is unknown. All others do not fulfil it."""

    yes: frozenset[str]
    unknown: frozenset[str] = _NOTHING


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
                yes = _NOTHING.union(*(part.yes for part in found))
                return Verdict(yes, _NOTHING.union(*(part.unknown for part in found)) - yes)
            case m.Not(part):
                inner = self.verdict(unit, part)
                return Verdict(self.ids(unit) - inner.yes - inner.unknown, inner.unknown)
            case m.Related():
                return self._related(unit, condition)
        return self._single(unit, condition)

    def _every(self, unit: Unit, found: list[Verdict]) -> Verdict:
        yes = frozenset.intersection(*(part.yes for part in found))
        possible = frozenset.intersection(*(part.yes | part.unknown for part in found))
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
                return Verdict(frozenset(self.world.members(population.name)))
            case m.StartedWithin(days):
                since = self.world.as_of - days * DAY
                return Verdict(frozenset(run for run, at in self.world.run_fields["start_at"].items() if at >= since))
            case m.Holds(name):
                return self._holds(unit, name)
        return Verdict(_NOTHING, self.ids(unit))

    def _holds(self, unit: Unit, name: str) -> Verdict:
        yes: set[str] = set()
        unknown: set[str] = set()
        for key in self.ids(unit):
            answer = _NAMED[name](self.world, key)
            if answer is None:
                unknown.add(key)
            elif answer:
                yes.add(key)
        return Verdict(frozenset(yes), frozenset(unknown))

    # texts

    def _text_is(self, unit: Unit, place: str, key: str, test: m.Test) -> Verdict:
        texts = self.texts(unit, place, key)
        check = self._check(test)
        yes = frozenset(i for i, text in texts.items() if check(text.strip(), i)) & self.ids(unit)
        if unit is Unit.LOGGED_MODEL and key == "flavors":
            return Verdict(yes, self.ids(unit) - texts.keys())
        return Verdict(yes)

    def _check(self, test: m.Test) -> Callable[[str, str], bool]:
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
            return lambda text, i: any(f"{source_of(i)}:{name}" in known or name in known for name in names_in(text))
        return {
            "present": lambda text, _: True,
            "equals": lambda text, _: text == values[0],
            "in": lambda text, _: text in values,
            "not_in": lambda text, _: text not in values,
            "min_length": lambda text, _: len(text) >= int(values[0]),
        }[test.kind]

    def _known(self, what: str) -> frozenset[str]:
        world = self.world
        if what == "project":
            return frozenset(world.facts["projects"]["project"])
        if what == "registered_model":
            return frozenset(chain(world.facts["registered_models"]["name"], world.version_fields["name"].values()))
        return world.versions if what == "version" else world.runs

    def _compare(self, unit: Unit, left: Term, op: str, right: Term) -> Verdict:
        if isinstance(left, m.Metric) and left == right:  # only whether it is logged
            return Verdict(frozenset(self.logged(unit, left.key)) & self.ids(unit))
        a, b, compare = self.numbers(unit, left), self.numbers(unit, right), _OPS[op]
        return Verdict(frozenset(i for i in a.keys() & b.keys() if compare(a[i], b[i])) & self.ids(unit))

    def _names_like(self, unit: Unit, table: str, pattern: str, at_least: int) -> Verdict:
        keyed = self.world.run_metrics if table == "metrics" else self.world.run_params
        found: dict[str, set[str]] = {}
        for key, part in keyed.keys_like(pattern).items():
            for run in keyed.of(key):
                found.setdefault(run, set()).add(part)
        if unit is Unit.VERSION:
            runs = self.world.evidence_runs
            found = {version: set().union(*(found.get(run, ()) for run in mine)) for version, mine in runs.items()}
        return Verdict(frozenset(i for i, parts in found.items() if len(parts) >= at_least))

    # things that may not have been read

    def _flag(self, unit: Unit, name: str) -> Verdict:
        if unit is Unit.INPUT:
            flags: Mapping[str, Any] = {i: row[name] for i, row in self.world.input_rows.items()}
        else:
            flags = self.world.logged_fields[name]
        yes = frozenset(i for i, flag in flags.items() if present(flag) and bool(flag))
        return Verdict(yes, frozenset(i for i, flag in flags.items() if not present(flag)))

    def _artifact(self, unit: Unit, patterns: tuple[str, ...]) -> Verdict:
        expressions = [(compiled(pattern), "/" in pattern) for pattern in patterns]
        having = {
            owner
            for owner, paths in self.world.artifact_paths.items()
            if any(
                e.fullmatch(path if whole else path.rpartition("/")[2]) for path in paths for e, whole in expressions
            )
        }
        clear = self.world.listed - {
            owner
            for owner, paths in self.world.artifact_paths.items()
            if any(path.endswith("/") and any(_may_hold(path, pattern) for pattern in patterns) for path in paths)
        }
        yes: set[str] = set()
        unknown: set[str] = set()
        for key in self.ids(unit):
            owners = self._owners(unit, key)
            if not having.isdisjoint(owners):
                yes.add(key)
            elif not clear.issuperset(owners):
                unknown.add(key)
        return Verdict(frozenset(yes), frozenset(unknown))

    def _owners(self, unit: Unit, key: str) -> list[str]:
        """Whose artifacts belong to a run or a version: its runs, their logged models, the version's own."""
        runs = self.world.evidence_runs.get(key, ()) if unit is Unit.VERSION else (key,)
        own = self.world.logged_of_version(key) if unit is Unit.VERSION else ()
        return [*own, *runs, *(model for run in runs for model in self.world.run_models.get(run, ()))]

    # relations

    def _related(self, unit: Unit, condition: m.Related) -> Verdict:
        inner = self.verdict(condition.target, condition.condition)
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
        yes = frozenset(key for key, things in pairs if seen[id(things)])
        unknown = frozenset(key for key, things in pairs if seen[id(things)] is None)
        return Verdict(yes, (self._unseen(unit, condition.relation) | unknown) - yes)

    def _named(self, condition: m.Related) -> Mapping[str, str] | None:
        """The texts that are counted as distinct, of the things that have one; None when things are counted."""
        distinct = condition.distinct
        if distinct is None:
            return None
        check = self._check(distinct.test)
        texts = self.texts(condition.target, distinct.place, distinct.key)
        return {i: text.strip() for i, text in texts.items() if check(text.strip(), i)}

    @staticmethod
    def _every_one(_: m.Related, found: list[str], things: tuple[str, ...], __: Mapping[str, str] | None) -> bool:
        return len(found) == len(things) > 0

    @staticmethod
    def _enough(condition: m.Related, found: list[str], _: tuple[str, ...], named: Mapping[str, str] | None) -> bool:
        return len(found if named is None else {named[i] for i in found}) >= condition.at_least

    def _unseen(self, unit: Unit, relation: str) -> frozenset[str]:
        """Things whose logged models nobody could read: none found says nothing."""
        if relation != "some_model":
            return _NOTHING
        return frozenset(i for i in self.ids(unit) if not self.world.read(i, "logged_models"))

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
        return [(version, world.experiment_runs.get(experiments[run], ())) for version, run in runs.items()]

    def _monitored(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        """Week to the MONITOR runs of its version that started in it."""
        start, monitors = self.world.run_fields["start_at"], set(self.world.members("MONITOR"))
        for week, (version, monday) in self.world.weeks.items():
            runs = self.world.evidence_runs.get(version, ())
            yield week, tuple(run for run in runs if run in monitors and monday <= start[run] < monday + 7 * DAY)


def _may_hold(folder: str, pattern: str) -> bool:
    """Whether a file that matches the pattern could lie in a folder that was not opened (``docs/``)."""
    wanted, above = pattern.split("/"), folder.rstrip("/").split("/")
    if len(wanted) == 1:  # a file name at any depth
        return True
    for want, name in zip(wanted, above, strict=False):
        if "**" in want or not compiled(want).fullmatch(name):
            return "**" in want
    return len(above) < len(wanted)
