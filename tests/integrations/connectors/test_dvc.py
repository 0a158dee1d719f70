"""The DVC connector against real git repositories that hold DVC's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from integrations.connectors.dvc import connect
from integrations.connectors.dvc_files import Tracked, Unreadable, data_of
from integrations.connectors.mlflow_models import read_model_file
from maturity.facts import TABLES, Reading, Statement
from tests.integrations.connectors.recorder import Recorder
from tests.integrations.git_server import Repository

LOCK = """schema: '2.0'
stages:
  prepare:
    cmd: python prepare.py
    deps:
    - path: data/raw
      hash: md5
      md5: aa.dir
      size: 10
    outs:
    - path: data/clean.csv
      hash: md5
      md5: bb
      size: 20
"""
PIPELINE = """stages:
  prepare:
    cmd: python prepare.py
    outs: [data/clean.csv]
  train:
    cmd: python train.py
    outs:
    - model.pt: {cache: false}
    - ${item}.csv
"""
SOURCE = "outs:\n- md5: cc.dir\n  size: 5\n  nfiles: 2\n  hash: md5\n  path: raw\n"
BOMB = "a: &a [x, x]\nb: &b [*a, *a]\n" + "".join(f"c{n}: [*b, *b]\n" for n in range(60))
MERGES = "a: &a {x: 1}\nstages:\n  <<: *a\n"


def collected(repository: Repository) -> tuple[Recorder, Statement]:
    sink = Recorder()
    folder = str(repository.folder)
    return sink, connect({"base_url": folder}, folders=(folder,)).collect(sink)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "data.git")


def test_data_comes_with_its_hash_and_the_stage_that_makes_it(repository: Repository) -> None:
    repository.commit(
        {"dvc.yaml": PIPELINE, "dvc.lock": LOCK, "data/raw.dvc": SOURCE, "sub/x.csv.dvc": "outs: [{path: x.csv}]"}
    )
    sink, statement = collected(repository)
    assert statement.complete
    key = sink.tables["tracked_data"][0]["repository"]
    assert sink.tables["tracked_data"] == [
        {"repository": key, "path": path, "digest": digest, "size": size, "stage": stage, "frozen": digest is not None}
        for path, digest, size, stage in [
            ("data/clean.csv", "bb", 20, "prepare"),
            ("data/raw", "cc.dir", 5, None),
            ("model.pt", None, None, "train"),
            ("sub/x.csv", None, None, None),
        ]
    ]
    assert len(TABLES["tracked_data"].frame(sink.tables["tracked_data"])) == 4
    assert collected(repository)[0].tables == sink.tables


@pytest.mark.parametrize(
    "content", [BOMB, MERGES, "- a list", "a: [", "\x00", "!!python/object:os.system x", "", "stages: 3"]
)
def test_a_file_that_is_none_of_dvc_s_is_counted_and_the_others_are_read(repository: Repository, content: str) -> None:
    repository.commit({"dvc.yaml": content, "ok.dvc": SOURCE})
    sink, statement = collected(repository)
    assert statement.complete
    assert statement.counts["files_unreadable"] == 1
    assert "files_unreadable: 1" in statement.notes
    assert [row["path"] for row in sink.tables["tracked_data"]] == ["raw"]


def test_a_deeply_nested_file_is_unreadable_rather_than_a_crash() -> None:
    with pytest.raises(Unreadable):
        data_of("dvc.yaml", b"[" * 100_000)


def test_a_repository_without_dvc_is_not_supported_rather_than_without_data(repository: Repository) -> None:
    repository.commit({"README.md": "x", ".dvc/config": "x"})
    _, statement = collected(repository)
    assert statement.stream("data_versions").state is Reading.NOT_SUPPORTED


def test_a_repository_that_cannot_be_reached_is_no_repository_without_data(tmp_path: Path) -> None:
    folder = str(tmp_path)
    connector = connect({"base_url": folder + "/gone"}, folders=(folder,))
    statement = connector.collect(Recorder())
    assert statement.stream("data_versions").state is Reading.COULD_NOT_LOOK
    assert statement.stream("data_versions").reason.startswith("not_found:")
    assert connector.check().reason.startswith("not_found:")


def test_the_first_format_of_the_lock_has_its_stages_at_the_top() -> None:
    found = data_of("a/dvc.lock", b"make:\n  cmd: x\n  outs:\n  - path: out\n    md5: dd\n")
    assert found == [Tracked("a/out", "dd", None, "make")]


def test_addresses_outside_the_repository_stay_as_they_are() -> None:
    found = data_of("a/x.dvc", b"outs:\n- path: s3://bucket/x\n  etag: ee\n  size: -3\n")
    assert found == [Tracked("s3://bucket/x", "ee", None, None)]


_LONG = "1" + ":1" * 200_000


@pytest.mark.parametrize("number", [_LONG, f'!!int "{_LONG}"', f"{_LONG}.5"])
def test_a_number_that_takes_hours_to_multiply_out_is_refused(number: str) -> None:
    with pytest.raises(Unreadable):
        data_of("dvc.yaml", f"stages: {number}".encode())
    assert read_model_file(f"flavors: {number[:200_000]}".encode()) is None
