"""Stored tables come back as they were, however their rows lie in the file."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maturity.facts import TABLES
from maturity.table import stacked

ROWS = [
    {"run": "a", "experiment": "1", "start_at": 2**53 + 1, "name": ""},
    {"run": "b", "experiment": None, "start_at": None, "name": "学习"},
    {"run": "a", "experiment": "1", "start_at": -1, "name": None},
]


def stored(rows_per_group: int) -> bytes:
    buffer = io.BytesIO()
    table = pa.Table.from_pandas(TABLES["runs"].frame(ROWS), preserve_index=False)
    pq.write_table(table, buffer, row_group_size=rows_per_group)
    return buffer.getvalue()


@pytest.mark.parametrize("rows_per_group", [1, 2, 100])
def test_a_table_comes_back_as_it_was(rows_per_group: int) -> None:
    expected, found = TABLES["runs"].frame(ROWS), TABLES["runs"].from_parquet(stored(rows_per_group))
    assert found.dtypes.equals(expected.dtypes)
    assert found.astype(object).where(found.notna(), None).to_dict("records") == expected.astype(object).where(
        expected.notna(), None
    ).to_dict("records")
    assert found["name"].tolist() == ["", "学习", None]


def test_equal_ids_of_a_file_are_one_object() -> None:
    first, _, third = TABLES["runs"].from_parquet(stored(100))["run"]
    assert first is third


def test_a_table_without_a_column_is_refused() -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"run": ["a"]}), buffer)
    with pytest.raises(ValueError, match="lacks"):
        TABLES["runs"].from_parquet(buffer.getvalue())


def long_table(columns: dict[str, list[object]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "rows", [[], [{}, {}], [{"run": "a", "key": "k"}, {"run": "a"}, {"key": "k", "value": "学习"}]]
)
@pytest.mark.parametrize("name", ["run_tags", "run_metrics", "artifacts"])
def test_a_long_table_comes_back_as_it_was(name: str, rows: list[dict[str, object]]) -> None:
    known = [{k: 1.5 if (name, k) == ("run_metrics", "value") else v for k, v in row.items()} for row in rows]
    known = [{k: v for k, v in row.items() if k in TABLES[name].names} for row in known]
    frame, buffer = TABLES[name].frame(known), io.BytesIO()
    frame.to_parquet(buffer, index=False)
    found = TABLES[name].from_parquet(buffer.getvalue())
    assert list(found.columns) == list(frame.columns)
    assert found.astype(object).where(found.notna(), None).to_dict("records") == frame.astype(object).where(
        frame.notna(), None
    ).to_dict("records")


@pytest.mark.parametrize("column", ["run", "key", "value"])
@pytest.mark.parametrize("values", [[1, 2], [[1], [2]], [b"\xff", b"b"]])
def test_a_long_table_that_holds_no_texts_is_refused(column: str, values: list[object]) -> None:
    plain: dict[str, list[object]] = {"run": ["a", "b"], "key": ["a", "b"], "value": ["a", "b"]}
    with pytest.raises(ValueError, match="texts"):
        TABLES["run_tags"].from_parquet(long_table({**plain, column: values}))


def test_frames_held_as_numbers_stay_so_when_they_are_stacked() -> None:
    one, other = (
        TABLES["run_tags"].from_parquet(long_table({"run": [run, "x"], "key": ["k", "j"], "value": ["v", "w"]}))
        for run in ("a", "b")
    )
    found = stacked([one, other])
    assert found["run"].dtype == "category"
    assert found.to_dict("list") == {"run": ["a", "x", "b", "x"], "key": ["k", "j"] * 2, "value": ["v", "w"] * 2}
