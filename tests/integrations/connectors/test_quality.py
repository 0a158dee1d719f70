"""The quality connector against files that Great Expectations, pandera and Evidently wrote themselves."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from integrations.connectors.base import ConfigError
from integrations.connectors.quality import connect, parse
from integrations.connectors.quality_formats import outcomes
from maturity.facts import TABLES, Reading, Statement
from tests.integrations.connectors.recorder import Recorder
from tests.integrations.servers import Answer, stub_server

RECORDINGS = Path(__file__).parent / "recordings" / "quality"

EXPECTED = {
    "evidently-0.4.40-report.json": ("evidently", None, None, True, 0, 0),
    "evidently-0.4.40-snapshot.json": ("evidently", None, None, True, 3, 1),
    "evidently-0.4.40-tests.json": ("evidently", None, None, True, 3, 1),
    "evidently-0.7.23-dump.json": ("evidently", None, "patients", True, 3, 1),
    "evidently-0.7.23-snapshot.json": ("evidently", None, None, False, 3, 1),
    "great_expectations-0.18.22-validation.json": ("great_expectations", "patients_suite", "patients", True, 3, 2),
    "great_expectations-1.24.1-checkpoint.json": ("great_expectations", None, None, False, 2, 1),
    "great_expectations-1.24.1-stored.json": ("great_expectations", "patients_suite", "patients", True, 2, 1),
    "great_expectations-1.24.1-validation.json": ("great_expectations", "patients_suite", "patients", True, 3, 2),
    "pandera-0.17.2-failure_cases.csv": ("pandera", None, None, False, None, 4),
    "pandera-0.17.2-failure_cases.json": ("pandera", None, None, False, None, 4),
    "pandera-0.35.0-failure_cases.csv": ("pandera", "patients", None, False, None, 4),
    "pandera-0.35.0-failure_cases.json": ("pandera", "patients", None, False, None, 4),
    "pandera-0.35.0-report.json": ("pandera", "patients", None, False, None, 4),
}


def collected(folder: Path, **settings: Any) -> tuple[Recorder, Statement]:
    sink = Recorder()
    return sink, connect({"base_url": str(folder), **settings}, folders=(str(folder),)).collect(sink)


def test_every_recording_is_expected() -> None:
    assert {path.name for path in RECORDINGS.iterdir()} == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_file_as_the_tool_wrote_it_is_understood(name: str) -> None:
    found = outcomes((RECORDINGS / name).read_bytes())
    assert found is not None
    [one] = found
    tool, suite, dataset, timed, checks, failed = EXPECTED[name]
    assert (one.tool, one.suite, one.dataset, one.checks, one.failed) == (tool, suite, dataset, checks, failed)
    assert (one.at is not None) is timed


def test_a_folder_is_read_whole_and_twice_the_same() -> None:
    sink, statement = collected(RECORDINGS, project="p", dataset="d")
    assert statement.complete
    rows = sink.tables["quality_results"]
    assert len(TABLES["quality_results"].frame(rows)) == len(EXPECTED) == statement.stream("quality").rows
    assert {row["project"] for row in rows} == {"p"}
    assert {row["dataset"] for row in rows} == {"patients", "d"}
    assert collected(RECORDINGS, project="p", dataset="d")[0].tables == sink.tables


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b"\xff\xfe",
        b"a,b\n1,2\n",
        b'{"results": 3, "statistics": []}',
        b"[" * 100_000,
        b'{"a": NaN}',
        b'{"tests": [], "metrics": [{}]}',
        b'{"SCHEMA": 3}',
        b'[{"check": 1}]',
        b'"\\',
        b'{"version": "1"}',
    ],
)
def test_a_file_of_no_known_format_is_counted_and_the_rest_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    shutil.copy(RECORDINGS / "evidently-0.4.40-tests.json", tmp_path / "b.json")
    sink, statement = collected(tmp_path)
    assert statement.complete
    assert statement.notes == ("files_unknown: 1",)
    assert len(sink.tables["quality_results"]) == 1


def test_nan_and_infinity_inside_a_text_stay_text() -> None:
    text = (
        b'{"suite_name": "NaN \\" Infinity", '
        b'"results": [], "statistics": {"evaluated_expectations": 0, "x": -Infinity}}'
    )
    found = outcomes(text)
    assert found is not None
    assert found[0].suite == 'NaN " Infinity'


def test_links_pipes_and_large_files_are_not_read(tmp_path: Path) -> None:
    folder, outside = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    shutil.copytree(RECORDINGS, outside)
    (folder / "linked").symlink_to(outside)
    (folder / "file.json").symlink_to(outside / "evidently-0.4.40-tests.json")
    os.mkfifo(folder / "pipe.json")
    (folder / "large.json").write_bytes(b" " * 2000)
    sink, statement = collected(folder, max_bytes=1024)
    assert statement.complete
    assert statement.counts == {"files": 0, "files_unknown": 0, "files_too_large": 1}
    assert sink.tables["quality_results"] == []


def test_a_file_in_two_places_counts_once(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        shutil.copy(RECORDINGS / "evidently-0.4.40-tests.json", tmp_path / name)
    assert len(collected(tmp_path)[0].tables["quality_results"]) == 1


def test_files_below_an_address_are_fetched_and_one_that_is_missing_is_told() -> None:
    def answer(line: str, body: bytes, number: int) -> Answer:
        name = line.rpartition("/")[2]
        path = RECORDINGS / name
        return Answer(body=path.read_bytes()) if path.is_file() else Answer(404, b"none")

    names = "a/evidently-0.4.40-tests.json, a/pandera-0.35.0-failure_cases.csv"
    with stub_server(answer) as stub:
        sink = Recorder()
        connector = connect({"base_url": stub.url, "files": names, "token": "t0"})
        assert connector.check().ok
        assert connector.collect(sink).complete
        gone = connect({"base_url": stub.url, "files": names + " gone.json"}).collect(Recorder())
    assert len(sink.tables["quality_results"]) == 2
    assert stub.seen[0][1]["Authorization"] == "Bearer t0"
    assert gone.stream("quality").state is Reading.COULD_NOT_LOOK
    assert gone.stream("quality").reason.startswith("not_found:")


def test_a_folder_that_went_away_is_not_a_folder_without_results(tmp_path: Path) -> None:
    connector = connect({"base_url": f"{tmp_path}/gone"}, folders=(str(tmp_path),))
    stream = connector.collect(Recorder()).stream("quality")
    assert stream.state is Reading.COULD_NOT_LOOK
    assert stream.reason.startswith("not_found:")
    assert not connector.check().ok


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "/etc"},
        {"base_url": "/srv/ok/../../etc"},
        {"base_url": "https://x/y"},
        {"base_url": "https://x/y", "files": "../a.json"},
        {"base_url": "https://x/y", "files": "http://169.254.169.254/a.json"},
        {"base_url": "https://x/y", "files": "a.json", "token": "a", "username": "b", "password": "c"},
        {"base_url": "https://x/y", "files": "a.json", "surprise": 1},
    ],
)
def test_settings_that_could_do_harm_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        parse(settings, folders=("/srv/ok",))
