"""Very many ids held in order, and sets of them as one byte for each.

A ``Roll`` holds the ids of one kind in order; the number of an id in it is its *place*. ``Ids`` is a set of them. A
million runs and a hundred questions fit in memory this way and are answered array by array; everything else may still
ask for one id at a time.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

Array = np.ndarray[Any, Any]


def coded(series: pd.Series) -> tuple[Array, pa.Array]:
    """A column of texts as numbers and the texts they stand for; -1 where there is none."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        return series.cat.codes.to_numpy(), pa.array(series.cat.categories, pa.large_string())
    return coded_texts(texts_of(series))


def coded_texts(texts: pa.Array | pa.ChunkedArray) -> tuple[Array, pa.Array]:
    """Texts as numbers and what they stand for; -1 where there is none."""
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    if isinstance(whole, pa.ChunkedArray):  # pyarrow keeps an empty one in chunks
        whole = pa.array([], pa.large_string())
    found = whole.dictionary_encode()
    return found.indices.fill_null(-1).to_numpy(zero_copy_only=False), found.dictionary


def texts_of(series: pd.Series) -> pa.Array:
    """A column of texts as one array; missing ones are null."""
    found = pa.array(series, pa.large_string(), from_pandas=True)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


class Roll:
    """Ids in order, without repetition."""

    def __init__(self, ids: pa.Array) -> None:
        unique = pc.unique(ids).drop_null()
        self.texts: pa.Array = unique.take(pc.array_sort_indices(unique))
        self._tuples: dict[bytes, tuple[str, ...]] = {}

    @classmethod
    def of_texts(cls, ids: Iterable[str]) -> Roll:
        return cls(pa.array(list(ids), pa.large_string()))

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def names(self) -> Array:
        """The ids as objects."""
        found: Array = self.texts.to_numpy(zero_copy_only=False)
        return found

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names.tolist())}

    def place(self, key: object) -> int:
        """The place of an id, -1 when it has none."""
        return self._places.get(key, -1) if isinstance(key, str) else -1

    def places(self, texts: pa.Array) -> Array:
        """The places of many ids, -1 for those that have none."""
        found: Array = pc.index_in(texts, value_set=self.texts).fill_null(-1).to_numpy(zero_copy_only=False)
        return found

    def places_of(self, codes: Array, texts: pa.Array) -> Array:
        """The places of a column that is given as numbers and the texts they stand for."""
        found: Array = np.append(self.places(texts), np.int32(-1)).astype(np.int32, copy=False)[codes]
        return found

    def all(self) -> Ids:
        return Ids(self, np.ones(len(self), bool))

    def only(self, ids: Iterable[Any]) -> Ids:
        """The set of these ids, as far as they are on the roll."""
        if isinstance(ids, Ids) and ids.roll is self:
            return ids
        mask, places = np.zeros(len(self), bool), self._places
        mask[[place for key in ids if (place := places.get(key, -1)) >= 0]] = True
        return Ids(self, mask)

    @cached_property
    def blocks(self) -> Mapping[str, slice]:
        """Source to the places of its ids: they stand together, for they begin alike (``source:``)."""
        found: dict[str, slice] = {}
        names: Sequence[str] = self.names  # type: ignore[assignment]
        start = 0
        while start < len(names):
            source = names[start].partition(":")[0]
            end = max(start + 1, bisect_left(names, f"{source};", start))  # ";" follows ":"
            found[source] = slice(start, end)
            start = end
        return found

    def tuple_of(self, mask: Array) -> tuple[str, ...]:
        """Ids in order; equal sets give the very same tuple, because many indicators share one."""
        key = hashlib.blake2b(np.packbits(mask).tobytes(), digest_size=16).digest()
        if key not in self._tuples:
            self._tuples[key] = tuple(self.names[mask].tolist())
        return self._tuples[key]


class Ids(AbstractSet[str]):
    """A set of ids of one roll, iterated in order."""

    __slots__ = ("_count", "mask", "roll")

    def __init__(self, roll: Roll, mask: Array) -> None:
        self.roll, self.mask = roll, mask
        self._count = int(np.count_nonzero(mask))

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> frozenset[Any]:
        return frozenset(it)

    def __contains__(self, key: object) -> bool:
        place = self.roll.place(key)
        return place >= 0 and bool(self.mask[place])

    def __iter__(self) -> Iterator[str]:
        return iter(self.roll.names[self.mask].tolist())

    def __len__(self) -> int:
        return self._count

    def __and__(self, other: AbstractSet[Any]) -> Ids:
        if isinstance(other, Ids) and other.roll is self.roll:
            return Ids(self.roll, self.mask & other.mask)
        return Ids(self.roll, self.mask & self.roll.only(other).mask)

    __rand__ = __and__

    def __or__(self, other: AbstractSet[Any]) -> AbstractSet[Any]:
        if isinstance(other, Ids) and other.roll is self.roll:
            return Ids(self.roll, self.mask | other.mask)
        return self if not other else frozenset(self) | frozenset(other)

    __ror__ = __or__

    def __rsub__(self, other: AbstractSet[Any]) -> AbstractSet[str]:
        return frozenset(key for key in other if key not in self)

    def __sub__(self, other: AbstractSet[Any]) -> Ids:
        return Ids(self.roll, self.mask & ~self.roll.only(other).mask)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Ids) and other.roll is self.roll:
            return bool(np.array_equal(self.mask, other.mask))
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]

    def issuperset(self, other: Iterable[object]) -> bool:
        if isinstance(other, Ids) and other.roll is self.roll:
            return not bool(np.any(other.mask & ~self.mask))
        return all(key in self for key in other)

    def rows_of(self, owners: pd.Series) -> Array:
        """Which rows of a column name one of these ids."""
        found: Array = np.append(self.mask, False)[self.roll.places_of(*coded(owners))]
        return found

    def in_order(self) -> tuple[str, ...]:
        return self.roll.tuple_of(self.mask)

    def of_sources(self, check: Callable[[str], bool]) -> Ids:
        """Those whose source passes."""
        mask = np.zeros(len(self.roll), bool)
        for source, block in self.roll.blocks.items():
            mask[block] = check(source)
        return Ids(self.roll, self.mask & mask)

    def sources(self) -> frozenset[str]:
        """The sources with at least one of these ids."""
        return frozenset(source for source, block in self.roll.blocks.items() if self.mask[block].any())


def union(sets: Iterable[AbstractSet[str]]) -> AbstractSet[str]:
    """All ids of the sets."""
    found: AbstractSet[str] = frozenset()
    for one in sets:
        found = one if not found else found | one if one else found
    return found


def common(sets: Sequence[AbstractSet[str]]) -> AbstractSet[str]:
    """The ids that every one of the sets has."""
    found = sets[0]
    for one in sets[1:]:
        found = found & one
    return found


def in_order(ids: Iterable[str]) -> tuple[str, ...]:
    """Ids as a sorted tuple."""
    return ids.in_order() if isinstance(ids, Ids) else tuple(sorted(ids))
