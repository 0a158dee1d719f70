"""The columns of runs and of their dataset inputs, each made into a column of values when it is first asked for.

Takes a frame with one row per thing; gives ``Fields`` (column to id to value) and ``Inputs`` (id to its row).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from maturity.columns import Coded, Column, Groups, Numbers, Written
from maturity.keyed import present
from maturity.rolls import Array, Roll, coded, texts_of


class Fields(Mapping[str, Column[Any]]):
    """Name of a column to a column of values, missing ones left out. Of rows with one id the last counts."""

    def __init__(self, frame: pd.DataFrame, key: str) -> None:
        ids = texts_of(frame[key])
        self.roll, self._frame = Roll(ids), frame
        self._places = self.roll.places(ids)
        self._found: dict[str, Column[Any]] = {}

    def __getitem__(self, name: str) -> Column[Any]:
        if name not in self._found:
            self._found[name] = column_of(self.roll, self._places, self._frame[name])
        return self._found[name]

    def numbers(self, name: str) -> Numbers:
        """A column of whole numbers. Raises ``TypeError`` for another."""
        found = self[name]
        if not isinstance(found, Numbers):
            raise TypeError(f"{name} holds no numbers")
        return found

    def texts(self, name: str) -> Coded[str]:
        """A column of texts. Raises ``TypeError`` for another."""
        found = self[name]
        if not isinstance(found, Coded):
            raise TypeError(f"{name} holds no texts")
        return found

    def written(self, name: str) -> Column[str]:
        """A column as texts, blank ones left out."""
        found = self[name]
        return found.within(found.where(present)) if isinstance(found, Coded) else Written.of(self.numbers(name))

    def __iter__(self) -> Iterator[str]:
        return iter(map(str, self._frame.columns))

    def __len__(self) -> int:
        return len(self._frame.columns)


def column_of(roll: Roll, places: Array, values: pd.Series) -> Column[Any]:
    """A column of a frame whose rows have these places: whole numbers, or texts as they stand."""
    if values.dtype == "Int64":
        held = values.notna().to_numpy()
        numbers, mask = np.zeros(len(roll), np.int64), np.zeros(len(roll), bool)
        numbers[places] = values.to_numpy(dtype=np.int64, na_value=0)
        mask[places] = held
        return Numbers(roll, numbers, mask)
    codes, distinct = coded(values)
    found = np.full(len(roll), -1, np.int32)
    found[places] = codes
    return Coded(roll, found, distinct.to_pylist())


class Inputs(Mapping[str, Mapping[str, Any]]):
    """Dataset inputs by id: ``run/name@digest``, with ``#2`` … for a repetition."""

    def __init__(self, frame: pd.DataFrame, runs: Roll) -> None:
        ids = _ids(frame)
        self.roll, self._runs = Roll.of_texts(ids), runs
        rows = np.zeros(len(self.roll), np.int64)
        rows[self.roll.places(pa.array(ids, pa.large_string()))] = np.arange(len(ids))
        self._frame = frame.iloc[rows]

    @cached_property
    def of_runs(self) -> Groups:
        """Run to its inputs."""
        return Groups(self._runs, self.roll, self._runs.places_of(*coded(self._frame["run"])))

    @cached_property
    def _columns(self) -> Mapping[str, Array]:
        return {str(name): self._frame[name].to_numpy(dtype=object) for name in self._frame.columns}

    def column(self, name: str) -> Coded[str]:
        """A column of texts, blank ones left out."""
        codes, distinct = coded(self._frame[name])
        whole = Coded(self.roll, codes, distinct.to_pylist())
        return whole.within(whole.where(present))

    def flags(self, name: str) -> tuple[Array, Array]:
        """A column of yes and no as two masks: those that are yes, and those of which it is unknown."""
        missing = self._frame[name].isna().to_numpy(dtype=bool)
        return self._frame[name].fillna(False).to_numpy(dtype=bool), missing

    def __getitem__(self, key: str) -> Mapping[str, Any]:
        place = self.roll.place(key)
        if place < 0:
            raise KeyError(key)
        found = {name: values[place] for name, values in self._columns.items()}
        return {name: value if present(value) else None for name, value in found.items()}

    def __contains__(self, key: object) -> bool:
        return self.roll.place(key) >= 0

    def __iter__(self) -> Iterator[str]:
        return iter(self.roll.names.tolist())

    def __len__(self) -> int:
        return len(self.roll)


def _ids(frame: pd.DataFrame) -> Array:
    """The id of each row. Repetitions are numbered in the order of all their columns."""
    parts = ([value if isinstance(value, str) else "" for value in frame[name].tolist()] for name in ("name", "digest"))
    pairs = zip(frame["run"].tolist(), *parts, strict=True)
    ids = np.array([f"{run}/{name}@{digest}" for run, name, digest in pairs], dtype=object)
    again = np.flatnonzero(pd.Series(ids, dtype="object").duplicated(keep=False).to_numpy())
    records = zip(again.tolist(), frame.iloc[again].to_dict("records"), strict=True)
    texts = {row: [str(value) for value in record.values()] for row, record in records}
    seen: dict[str, int] = defaultdict(int)
    for row in sorted(texts, key=lambda row: texts[row]):
        key = str(ids[row])
        seen[key] += 1
        ids[row] = key if seen[key] == 1 else f"{key}#{seen[key]}"
    return ids
