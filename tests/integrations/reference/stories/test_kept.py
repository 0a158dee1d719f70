"""Generated rows kept between processes: equal to those made anew, and made again when a file is damaged."""

from pathlib import Path

import numpy as np
import pytest

from integrations.reference.stories import kept


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept, "folder", tmp_path / "data")
    return tmp_path / "data"


def counted() -> tuple[list[int], dict[str, np.ndarray]]:
    return [], {"x": np.arange(6.0).reshape(2, 3), "y": np.array([True, False])}


def test_rows_are_made_once_and_read_afterwards(folder: Path) -> None:
    made, arrays = counted()
    for _ in range(2):
        found = kept.once("rows-1", lambda: (made.append(1), arrays)[1])
        assert {name: value.tolist() for name, value in found.items()} == {
            name: value.tolist() for name, value in arrays.items()
        }
    assert made == [1]
    assert [file.name for file in folder.iterdir()] == ["rows-1.npz"]


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"PK\x03\x04"])
def test_a_damaged_file_is_made_again(folder: Path, content: bytes) -> None:
    made, arrays = counted()
    folder.mkdir()
    (folder / "rows-1.npz").write_bytes(content)
    kept.once("rows-1", lambda: (made.append(1), arrays)[1])
    assert made == [1]


def test_nothing_is_kept_without_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "folder", None)
    made, arrays = counted()
    for _ in range(2):
        kept.once("rows-1", lambda: (made.append(1), arrays)[1])
    assert made == [1, 1]
