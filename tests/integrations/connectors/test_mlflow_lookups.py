"""Looking into artifacts: which folders are opened, and what is said of those that are not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from integrations.connectors.mlflow_api import Api
from integrations.connectors.mlflow_lookups import FOLDERS, Lookups
from integrations.connectors.mlflow_rows import Row


class Store:
    """An artifact store that holds the given files; remembers which folders were asked for."""

    def __init__(self, *files: str) -> None:
        self.files = files
        self.asked: list[str] = []

    def run_files(self, _: str, folder: str) -> list[tuple[str, bool]]:
        self.asked.append(folder)
        start = f"{folder}/" if folder else ""
        below = {path.removeprefix(start).split("/", 1)[0] for path in self.files if path.startswith(start)}
        return sorted((start + name, f"{start}{name}" not in self.files) for name in below)

    def run_file(self, _: str, path: str) -> bytes:
        assert path in self.files
        return b""


def listed(store: Store) -> list[str]:
    written: dict[str, list[Row]] = {}

    def write(table: str, rows: list[Row]) -> None:
        written.setdefault(table, []).extend(rows)

    lookups = Lookups(cast("Api", cast("Any", store)), write, 5)
    lookups.run("r1")
    lookups.finish()
    return [row["path"] for row in written["artifacts"]]


@pytest.mark.parametrize(
    ("files", "paths"),
    [
        (["a.txt"], ["a.txt"]),
        (["docs/model_card.md", "config/env/conda.yaml"], ["config/env/conda.yaml", "docs/model_card.md"]),
        ([f"plots/{n:03}.png" for n in range(201)], ["plots/"]),
        ([f"plots/{n:03}.png" for n in range(200)], [f"plots/{n:03}.png" for n in range(200)]),
        ([f"explain/{n:03}.png" for n in range(201)], [f"explain/{n:03}.png" for n in range(201)]),
    ],
)
def test_the_files_in_folders_are_listed_unless_they_are_many(files: list[str], paths: list[str]) -> None:
    assert listed(Store(*files)) == paths


def test_known_folders_are_opened_first_and_the_rest_is_named_only() -> None:
    others = [f"a{n}/x.txt" for n in range(6)]
    store = Store(*others, *(f"{folder}/x.txt" for folder in FOLDERS))
    assert listed(store) == sorted(
        ["a0/x.txt", "a1/x.txt", "a2/x.txt", "a3/", "a4/", "a5/", *(f"{f}/x.txt" for f in FOLDERS)]
    )
    assert len(store.asked) == 9
