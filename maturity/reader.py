"""Reads YAML and collects every fault with its file and key, instead of stopping at the first.

Takes text; gives ``Node`` values that know where they stand. A reader that finds something wrong records a
fault and returns a harmless stand-in, so that one pass over a file reports everything that is wrong in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import yaml


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that is wrong: the file, the key inside it, and a sentence."""

    file: str
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key or '(top)'}: {self.message}"


class ModelError(ValueError):
    """A model or answer file is faulty; ``faults`` holds every fault found."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(set(faults)))
        super().__init__("\n".join(str(fault) for fault in self.faults))


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice and aliases (which can blow up a small file)."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed", self.peek_event().start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            if not isinstance(key, str | int | bool):
                raise yaml.constructor.ConstructorError(None, None, "a key must be text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


@dataclass(slots=True)
class Node:
    """A value at a place in a file. Reading a wrong value adds to ``faults``, which all nodes of a load share."""

    value: Any
    file: str
    key: str = ""
    faults: list[Fault] = field(default_factory=list)

    def fault(self, message: str, key: str = "") -> None:
        """Record that this value (or the one under ``key``) is wrong."""
        self.faults.append(Fault(self.file, _join(self.key, key), message))

    def at(self, key: str | int) -> Node:
        """The node under ``key``; a missing one has the value None."""
        value: Any = None
        if isinstance(self.value, Mapping):
            value = self.value.get(key)
        elif isinstance(self.value, list) and isinstance(key, int) and key < len(self.value):
            value = self.value[key]
        return Node(value, self.file, _join(self.key, key), self.faults)

    def has(self, key: str) -> bool:
        return isinstance(self.value, Mapping) and key in self.value

    def only(self, *allowed: str) -> None:
        """Fault every key that is not allowed, naming the ones that are."""
        if not isinstance(self.value, Mapping):
            self.fault("must be a mapping")
            return
        for key in self.value:
            if key not in allowed:
                self.fault(f"unknown key; allowed are {', '.join(allowed)}", str(key))

    def items(self) -> Iterator[tuple[str, Node]]:
        """Key and node of a mapping, in file order."""
        if not isinstance(self.value, Mapping):
            self.fault("must be a mapping")
            return
        for key in self.value:
            yield str(key), self.at(key)

    def list(self) -> list[Node]:
        if not isinstance(self.value, list):
            self.fault("must be a list")
            return []
        return [self.at(index) for index in range(len(self.value))]

    def str(self, *, empty: bool = False) -> str:
        """Text. A bare ``No`` or ``12`` is faulted, because YAML reads it as something else."""
        if not isinstance(self.value, str) or not (empty or self.value.strip()):
            self.fault("must be text" if self.value is not None else "is missing")
            return ""
        return self.value

    def int(self, *, least: int = 0) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < least:
            self.fault(f"must be a whole number of at least {least}")
            return least
        return self.value

    def bool(self) -> bool:
        if not isinstance(self.value, bool):
            self.fault("must be true or false")
            return False
        return self.value

    def fraction(self, *, least: Fraction | None = Fraction(0), most: Fraction | None = None) -> Fraction:
        """An exact number. Written as text (``'0.85'``, ``2/3``) or as a whole number, never as a binary float."""
        if isinstance(self.value, float):
            self.fault("write a number that is compared exactly as text, for example '0.85'")
            return Fraction(0)
        try:
            if isinstance(self.value, bool):
                raise TypeError
            number = Fraction(self.value)
        except (TypeError, ValueError, ZeroDivisionError):
            self.fault("must be a number such as '0.85', 2/3 or 1")
            return Fraction(0)
        if (least is not None and number < least) or (most is not None and number > most):
            self.fault(f"must lie between {least} and {most if most is not None else 'infinity'}")
        return number

    def choice(self, *allowed: str) -> str:
        if self.value not in allowed:
            self.fault(f"must be one of {', '.join(allowed)}, not {self.value!r}")
            return allowed[0]
        return str(self.value)


def read_yaml(text: str, file: str, faults: list[Fault]) -> Node:
    """Parse one YAML text. A syntax error becomes a fault and the node's value is None."""
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        faults.append(Fault(file, "", f"{where}{error.problem or 'not YAML'}"))
        value = None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        faults.append(
            Fault(
                file, "", f"not readable as YAML: {str(error).splitlines()[0] if str(error) else 'nested too deeply'}"
            )
        )
        value = None
    return Node(value, file, "", faults)


def _join(base: str, key: str | int) -> str:
    if isinstance(key, int):
        return f"{base}[{key}]"
    return f"{base}.{key}" if base and key else base or key
