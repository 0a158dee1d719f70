"""What is known of very many ids, held in arrays and used like dictionaries.

A ``Column`` gives some ids of a ``Roll`` a value: texts that repeat (``Coded``), numbers (``Numbers``), exact fractions
(``Exact``), one value for all (``Same``). ``Groups`` gives owners the ids that belong to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np

from maturity.rolls import Array, Ids, Roll

T = TypeVar("T")
S = TypeVar("S")


_TURNED = {"==": "==", ">=": "<=", "<=": ">=", ">": "<", "<": ">"}


class Column(Mapping[str, T], Generic[T]):
    """Values of some ids of a roll. ``mask`` says which have one; ``at`` gives the value at a place."""

    roll: Roll
    mask: Array

    def at(self, place: int) -> T:
        raise NotImplementedError

    def __getitem__(self, key: str) -> T:
        place = self.roll.place(key)
        if place < 0 or not self.mask[place]:
            raise KeyError(key)
        return self.at(place)

    def get(self, key: object, default: Any = None) -> Any:
        place = self.roll.place(key)
        return self.at(place) if place >= 0 and self.mask[place] else default

    def __contains__(self, key: object) -> bool:
        place = self.roll.place(key)
        return place >= 0 and bool(self.mask[place])

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return int(np.count_nonzero(self.mask))

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self, **other}

    @property
    def ids(self) -> Ids:
        return Ids(self.roll, self.mask)

    def compared(self, op: str, compare: Callable[[Any, Any], bool], other: Column[Any]) -> Ids | None:
        """The ids whose value compares so with that of another column, all at once; None where that is not possible.

        Decimals and the floats next to them stand in the same order, so two metrics compare as their floats do.
        """
        if isinstance(self, Same) and not isinstance(other, Same):
            return other.compared(_TURNED[op], lambda a, b: compare(b, a), self)
        if isinstance(other, Same) and isinstance(self, Exact):
            return self.against(op, other.value)
        if isinstance(other, Same) and isinstance(self, Coded):
            return self.where(lambda value: compare(value, other.value))
        if isinstance(self, Exact) and isinstance(other, Exact):
            return Ids(self.roll, compare(self.numbers, other.numbers) & self.mask & other.mask)
        return None

    def keys(self) -> Ids:  # type: ignore[override]
        return self.ids

    def items(self) -> Any:
        at, names = self.at, self.roll.names
        return ((names[place], at(place)) for place in np.flatnonzero(self.mask).tolist())

    def values(self) -> Any:
        return (self.at(place) for place in np.flatnonzero(self.mask).tolist())


class Coded(Column[T]):
    """Values that repeat: a number at each place, -1 for none, and what the numbers stand for."""

    def __init__(self, roll: Roll, codes: Array, distinct: Sequence[T]) -> None:
        self.roll, self.codes, self.distinct = roll, codes, distinct

    @property
    def mask(self) -> Array:  # type: ignore[override]
        found: Array = self.codes >= 0
        return found

    def at(self, place: int) -> T:
        return self.distinct[int(self.codes[place])]

    def __contains__(self, key: object) -> bool:
        place = self.roll.place(key)
        return place >= 0 and bool(self.codes[place] >= 0)

    def __getitem__(self, key: str) -> T:
        place = self.roll.place(key)
        if place < 0 or self.codes[place] < 0:
            raise KeyError(key)
        return self.distinct[int(self.codes[place])]

    def get(self, key: object, default: Any = None) -> Any:
        place = self.roll.place(key)
        code = self.codes[place] if place >= 0 else -1
        return self.distinct[code] if code >= 0 else default

    def where(self, check: Callable[[T], bool]) -> Ids:
        """The ids whose value passes; each distinct value is asked once."""
        table = np.array([*(check(value) for value in self.distinct), False], bool)
        return Ids(self.roll, table[self.codes])  # -1 is the last

    def map(self, change: Callable[[T], S | None]) -> Coded[S]:
        """The values after ``change``, without those that become None."""
        found = [change(value) for value in self.distinct]
        kept = [value for value in found if value is not None]
        table = np.full(len(found) + 1, -1, np.int32)
        table[[index for index, value in enumerate(found) if value is not None]] = np.arange(len(kept))
        return Coded(self.roll, table[self.codes], kept)

    def over(self, below: Coded[T]) -> Coded[T]:
        """These values, and those of ``below`` where there are none."""
        lower = np.where(below.codes >= 0, below.codes + len(self.distinct), -1)
        return Coded(self.roll, np.where(self.codes >= 0, self.codes, lower), [*self.distinct, *below.distinct])

    def within(self, ids: Ids) -> Coded[T]:
        return Coded(self.roll, np.where(ids.mask, self.codes, -1), self.distinct)

    @classmethod
    def same(cls, roll: Roll, mask: Array, value: T) -> Coded[T]:
        """One value for the ids of a mask."""
        return cls(roll, np.where(mask, np.int32(0), np.int32(-1)), [value])

    @classmethod
    def of(cls, roll: Roll, values: Mapping[str, T]) -> Coded[T]:
        """The values of a dictionary, as far as its keys are on the roll."""
        codes = np.full(len(roll), -1, np.int32)
        distinct: list[T] = []
        for key, value in values.items():
            if (place := roll.place(key)) >= 0:
                codes[place] = len(distinct)
                distinct.append(value)
        return Coded(roll, codes, distinct)


class Numbers(Column[Any]):
    """A number at each place of ``mask``: whole numbers, or finite ones."""

    def __init__(self, roll: Roll, numbers: Array, mask: Array) -> None:
        self.roll, self.numbers, self.mask = roll, numbers, mask

    def at(self, place: int) -> Any:
        return self.numbers[place].item()


class Written(Numbers):
    """The same numbers as texts."""

    @classmethod
    def of(cls, numbers: Numbers) -> Written:
        return cls(numbers.roll, numbers.numbers, numbers.mask)

    def at(self, place: int) -> str:
        return str(self.numbers[place].item())


class Exact(Numbers):
    """The same numbers as exact fractions: what the shortest decimal of each says."""

    def at(self, place: int) -> Fraction:
        return Fraction(repr(float(self.numbers[place])))

    def against(self, op: str, bound: Fraction) -> Ids:
        """The ids whose exact number compares so with a bound.

        Decimals and the floats next to them stand in the same order, so only numbers equal to the float next to the
        bound need the exact comparison.
        """
        near = float(bound)
        equal = self.numbers == near
        below, above, same = self.numbers < near, self.numbers > near, Fraction(repr(near))
        side = (same > bound) - (same < bound)
        found = {
            "==": equal if side == 0 else np.zeros(len(equal), bool),
            "<": below | equal if side < 0 else below,
            "<=": below | equal if side <= 0 else below,
            ">": above | equal if side > 0 else above,
            ">=": above | equal if side >= 0 else above,
        }[op]
        return Ids(self.roll, found & self.mask)


class Same(Column[T]):
    """One value for every id."""

    def __init__(self, roll: Roll, value: T) -> None:
        self.roll, self.mask, self.value = roll, np.ones(len(roll), bool), value

    def at(self, place: int) -> T:
        return self.value


class Groups(Mapping[str, tuple[str, ...]]):
    """Owners and the ids that belong to them, in order: ``owner`` is the owner's place for each member, -1 for none."""

    def __init__(self, owners: Roll, members: Roll, owner: Array) -> None:
        self.owners, self.members, self.owner = owners, members, owner
        self._found: dict[str, tuple[str, ...]] = {}

    @cached_property
    def _order(self) -> tuple[Array, Array]:
        order = np.argsort(self.owner, kind="stable")
        return order, np.searchsorted(self.owner[order], np.arange(len(self.owners) + 1))

    def __getitem__(self, key: str) -> tuple[str, ...]:
        found: tuple[str, ...] = self.get(key)
        if not found:
            raise KeyError(key)
        return found

    def get(self, key: object, default: Any = ()) -> Any:
        if key not in self._found:
            place = self.owners.place(key)
            if place < 0:
                return default
            order, bounds = self._order
            members = order[bounds[place] : bounds[place + 1]]
            if not len(members):
                return default
            self._found[str(key)] = tuple(self.members.names[members].tolist())
        return self._found[str(key)]

    def __contains__(self, key: object) -> bool:
        return bool(self.get(key))

    @property
    def ids(self) -> Ids:
        """The owners that have members."""
        return self.owning(1)

    def owning(self, least: int) -> Ids:
        """The owners that have at least so many members."""
        return Ids(self.owners, self.counted(np.ones(len(self.members), bool)) >= least)

    def of_owners(self, owners: Ids) -> Ids:
        """The members of these owners."""
        return Ids(self.members, np.append(owners.mask, False)[self.owner])

    def counted(self, members: Array) -> Array:
        """For every owner, how many of these members it has."""
        owner = self.owner[members & (self.owner >= 0)]
        return np.bincount(owner, minlength=len(self.owners))

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)
