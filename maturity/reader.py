"""Reads YAML and collects every fault with its file and key, instead of stopping at the first.

Takes text; gives ``Node`` values that know where they stand. A reader that finds something wrong records a
fault and returns a harmless stand-in, so that one pass over a file reports everything that is wrong in it.
A value that is not there at all is reported once: what would have been inside it stays silent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeVar

import yaml

_DEEPEST = 40
_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18}|/[0-9]{1,18})?")
_Option = TypeVar("_Option", bound=str)


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that is wrong: the file, the key inside it (empty for the file as a whole), and a sentence."""

    file: str
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.message}" if self.key else f"{self.file}: {self.message}"


class ModelError(ValueError):
    """A model or answer file is faulty; ``faults`` holds every fault found."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(set(faults)))
        super().__init__("\n".join(str(fault) for fault in self.faults))


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses what plain data does not need and what can hide a mistake or blow up a small file.

    Aliases, tags, nesting deeper than ``_DEEPEST``, keys that are not text and keys given twice are all refused.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it untyped
        if isinstance(event, yaml.AliasEvent):
            raise _refusal("aliases are not allowed", event)
        if getattr(event, "tag", None) is not None:
            raise _refusal(f"tags such as {event.tag} are not allowed", event)
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _refusal(f"nested deeper than {_DEEPEST} levels", event)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _refusal(f"a key must be text, not {_shown(key)}", key_node)
            if key in seen:
                raise _refusal(f"key {key!r} is given twice", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _refusal(message: str, place: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=message, problem_mark=place.start_mark)


@dataclass(slots=True)
class Node:
    """A value at a place in a file. Reading a wrong value adds to ``faults``, which all nodes of a load share.

    A ``silent`` node records nothing, because what is wrong with it has been said already.
    """

    value: Any
    file: str
    key: str = ""
    faults: list[Fault] = field(default_factory=list)
    silent: bool = False

    @property
    def sound(self) -> bool:
        """Whether nothing wrong was found so far at this place or inside it."""
        return not self.silent and not any(
            fault.file == self.file and _within(fault.key, self.key) for fault in self.faults
        )

    def fault(self, message: str, key: str = "") -> None:
        """Record that this value (or the one under ``key``) is wrong."""
        if not self.silent:
            self.faults.append(Fault(self.file, _join(self.key, key), message))

    def at(self, key: str | int) -> Node:
        """The node under ``key``; a missing one has the value None. Silent when this is no mapping (or list)."""
        value: Any = None
        if isinstance(key, int):
            if self._is(list, "a list") and key < len(self.value):
                value = self.value[key]
        elif self._is(Mapping, "a mapping"):
            value = self.value.get(key)
        return Node(value, self.file, _join(self.key, key), self.faults, self.silent)

    def has(self, key: str) -> bool:
        return isinstance(self.value, Mapping) and key in self.value

    def only(self, *allowed: str) -> None:
        """Fault every key that is not allowed, naming the ones that are."""
        for key, child in self.items():
            if key not in allowed:
                child.fault(f"unknown key; allowed are {', '.join(allowed)}")

    def items(self) -> Iterator[tuple[str, Node]]:
        """Key and node of a mapping, in file order."""
        if self._is(Mapping, "a mapping"):
            for key in self.value:
                yield key, self.at(key)

    def _is(self, kind: type, name: str) -> bool:
        if not isinstance(self.value, kind):
            self._wrong(f"must be {name}")
            self.silent = True
            return False
        return True

    def _wrong(self, message: str) -> None:
        self.fault("is missing" if self.value is None else message)

    def choice(self, *allowed: _Option) -> _Option:
        """One of the allowed words."""
        for option in allowed:
            if self.value == option:
                return option
        self._wrong(f"must be one of {', '.join(allowed)}, not {_shown(self.value)}")
        return allowed[0]

    def fraction(self, *, least: Fraction | None = Fraction(0), most: Fraction | None = None) -> Fraction:
        """An exact number: text (``'0.85'``, ``2/3``) or a whole number of at most 18 digits, never a binary float."""
        if isinstance(self.value, float):
            self._wrong("write a number that is compared exactly as text, for example '0.85'")
            return Fraction(0)
        number = _exact(self.value)
        if number is None:
            self._wrong("must be a number such as '0.85', 2/3 or 1")
            return Fraction(0)
        if (least is not None and number < least) or (most is not None and number > most):
            self.fault(_bounds(least, most))
        return number

    def list(self, *, least: int = 0) -> list[Node]:
        """The nodes of a list of at least ``least`` entries."""
        if not self._is(list, "a list"):
            return []
        if len(self.value) < least:
            self.fault(f"needs at least {least} {'entry' if least == 1 else 'entries'}")
        return [self.at(index) for index in range(len(self.value))]

    def str(self, *, empty: bool = False) -> str:
        """Text. A bare ``No`` or ``12`` is faulted, because YAML reads it as something else."""
        if not isinstance(self.value, str):
            self._wrong(f"must be text, not {_shown(self.value)}; put it in quotes")
            return ""
        if not self.value.strip() and not empty:
            self.fault("must not be empty")
        return self.value

    def int(self, *, least: int = 0) -> int:
        if isinstance(self.value, int) and not isinstance(self.value, bool) and self.value >= least:
            return int(self.value)
        self._wrong(f"must be a whole number of at least {least}")
        return least

    def bool(self) -> bool:
        if isinstance(self.value, bool):
            return self.value
        self._wrong("must be true or false")
        return False


def read_yaml(text: str, file: str, faults: list[Fault]) -> Node:
    """Parse one YAML text. What cannot be parsed, or is empty, becomes one fault and a silent node."""
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        return unreadable(file, f"{where}{error.problem or 'not YAML'}", faults)
    except RecursionError:
        return unreadable(file, "not readable as YAML: nested too deeply", faults)
    except (yaml.YAMLError, ValueError) as error:  # characters that YAML forbids; a date such as 2026-13-01
        return unreadable(file, f"not readable as YAML: {str(error).splitlines()[0]}", faults)
    if value is None:
        return unreadable(file, "is empty", faults)
    return Node(value, file, "", faults)


def unreadable(file: str, message: str, faults: list[Fault]) -> Node:
    """Record that a file as a whole is of no use, and stand in for it silently."""
    faults.append(Fault(file, "", message))
    return Node(None, file, "", faults, silent=True)


def _exact(value: Any) -> Fraction | None:
    """The number that ``value`` writes, or None. The length is bounded, since 1e999999999 would never end."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    if isinstance(value, int):
        return Fraction(value) if abs(value) < 10**18 else None
    try:
        return Fraction(value) if _NUMBER.fullmatch(value) else None
    except ZeroDivisionError:
        return None


def _bounds(least: Fraction | None, most: Fraction | None) -> str:
    if least is None:
        return f"must be at most {most}"
    return f"must be at least {least}" if most is None else f"must lie between {least} and {most}"


def _shown(value: Any) -> str:
    """A value as a message shows it: short, whatever its size."""
    return repr(value)[:60] if isinstance(value, str | float | bool) else f"a value of type {type(value).__name__}"


def _within(key: str, place: str) -> bool:
    return not place or key == place or key.startswith((f"{place}.", f"{place}["))


def _join(base: str, key: str | int) -> str:
    if isinstance(key, int):
        return f"{base}[{key}]"
    return f"{base}.{key}" if base and key else base or key
