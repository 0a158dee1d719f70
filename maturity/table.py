"""table: one fact table as a value, and its rows as a typed frame."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_DTYPES = {"id": "object", "text": "object", "number": "float64", "ms": "Int64", "count": "Int64", "flag": "boolean"}

_LONG = frozenset({"artifacts", "run_metrics", "run_params", "run_tags"})


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its kind (id, text, number, ms, count, flag) and its meaning in one sentence."""

    name: str
    kind: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Table:
    """One fact table: the stream of a source that fills it, its columns, and its meaning."""

    name: str
    stream: str
    meaning: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def empty(self) -> pd.DataFrame:
        return self.frame([])

    def frame(self, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
        """Rows as a typed frame. A missing key is a missing value; an unknown key is a mistake of the caller."""
        import pandas as pd  # only those who hold facts need it; the pages do not

        rows = list(rows)
        for row in rows:
            if unknown := set(row) - set(self.names):
                raise KeyError(f"{self.name} has no column {sorted(unknown)}")
        return pd.DataFrame(
            {c.name: pd.Series([row.get(c.name) for row in rows], dtype=_DTYPES[c.kind]) for c in self.columns}
        )

    def from_parquet(self, content: bytes) -> pd.DataFrame:
        """A stored table, columns typed and in order. Raises ``ValueError`` if the content is no such table.

        Tables with many rows a run hold ids and names as categories, so that a million runs fit in memory.
        """
        import pandas as pd
        import pyarrow.parquet as pq

        buffer = io.BytesIO(content)
        schema = pq.read_schema(buffer)
        if missing := set(self.names) - set(schema.names):
            raise ValueError(f"table {self.name} lacks {sorted(missing)}")
        repeated = [c.name for c in self.columns if self._held_as(c) == "category" and _is_text(schema.field(c.name))]
        columns = {}
        with pq.ParquetFile(buffer, read_dictionary=repeated) as file:
            for column in self.columns:  # one by one, so that only one is held twice
                columns[column.name] = _held(file.read(columns=[column.name])[column.name], self._held_as(column))
        return pd.DataFrame(columns, copy=False)

    def _held_as(self, column: Column) -> str:
        """The type of a column that was read. Of a table with many rows a run, ids and names are held as numbers."""
        if self.name not in _LONG or _DTYPES[column.kind] != "object":
            return _DTYPES[column.kind]
        return "str" if column.name == "value" else "category"


def stacked(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Frames of one table one below the other; a column held as numbers in all of them stays so."""
    import pandas as pd
    from pandas.api.types import union_categoricals

    if len(frames) == 1:
        return frames[0].reset_index(drop=True)
    of = {name: [frame[name] for frame in frames] for name in frames[0].columns}
    repeated = {name for name, columns in of.items() if all(c.dtype == "category" for c in columns)}
    parts = {
        name: union_categoricals(columns) if name in repeated else pd.concat(columns, ignore_index=True)
        for name, columns in of.items()
    }
    return pd.DataFrame(parts, copy=False)


def _held(column: pa.ChunkedArray, dtype: str) -> Any:
    import pandas as pd

    if dtype == "object":
        return pd.Series(_texts(column), dtype="object")
    if dtype in ("category", "str"):
        column = _only_texts(column)
        return _coded(column) if dtype == "category" else pd.Series(pd.array(column, dtype="str"))
    return column.to_pandas(integer_object_nulls=True).astype(dtype)


def _is_text(field: pa.Field) -> bool:
    import pyarrow.types as types

    return bool(types.is_string(field.type) or types.is_large_string(field.type))


def _only_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column that holds texts or nothing. Raises ``ValueError`` for another: a file may come from anywhere."""
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_null(kind):
        return pa.chunked_array([pa.nulls(len(column), pa.large_string())])
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise ValueError(f"a column of texts holds {kind}")
    return column


def _coded(column: pa.ChunkedArray) -> pd.Series:
    """Texts as numbers and the different texts, each once."""
    import pandas as pd
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    chunks = column.unify_dictionaries().chunks
    codes = [chunk.indices.fill_null(-1).cast(pa.int32()) for chunk in chunks]
    texts = chunks[0].dictionary if chunks else pa.array([], pa.large_string())
    numbers = pa.chunked_array(codes, pa.int32()).to_numpy()
    return pd.Series(pd.Categorical.from_codes(numbers, pd.Index(pd.array(texts, dtype="str"))))


def _texts(column: pa.ChunkedArray) -> Any:
    """Texts as objects, equal ones of a chunk as one object: an id stands in many rows. Missing ones are None."""
    import numpy as np

    parts = []
    for chunk in column.chunks:
        found = chunk.dictionary_encode()
        distinct = np.array([*found.dictionary.to_pylist(), None], dtype=object)
        parts.append(distinct[found.indices.fill_null(len(found.dictionary)).to_numpy()])
    return np.concatenate(parts) if parts else np.array([], dtype=object)


def table(name: str, stream: str, meaning: str, *columns: tuple[str, str, str]) -> Table:
    """A table from its columns, each (name, kind, meaning)."""
    return Table(name, stream, meaning, tuple(Column(*column) for column in columns))
