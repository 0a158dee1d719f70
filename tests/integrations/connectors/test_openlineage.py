"""The OpenLineage connector on events that the project's own client wrote, and on lines that are no events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from integrations.connectors.base import ConfigError
from integrations.connectors.openlineage import (
    LONGEST_LINE,
    NO_EVENTS,
    connect,
    parse,
)
from maturity.facts import Reading, Statement
from tests.integrations.connectors.recorder import Recorder
from tests.integrations.servers import Answer, stub_server

RECORDED = Path(__file__).parent / "recordings" / "openlineage-1.54.ndjson"


def collected(**settings: Any) -> tuple[Recorder, Statement]:
    sink = Recorder()
    return sink, connect(settings, folders=[settings.get("folder", "")]).collect(sink)


def event(**more: Any) -> dict[str, Any]:
    return {
        "eventType": "COMPLETE",
        "eventTime": "2026-03-01T02:00:00Z",
        "run": {"runId": "r"},
        "job": {"namespace": "n", "name": "j"},
        "inputs": [{"namespace": "file", "name": "a.csv"}],
        **more,
    }


def written(folder: Path, *events: dict[str, Any], name: str = "events.ndjson") -> Path:
    (folder / name).write_bytes(b"\n".join(map(orjson.dumps, events)))
    return folder


def test_events_of_the_real_client_become_rows() -> None:
    sink, statement = collected(folder=str(RECORDED.parent))
    assert statement.complete
    rows = sink.tables["lineage_datasets"]
    assert [(row["state"], row["direction"], row["dataset"]) for row in rows] == [
        ("START", "input", "postgres://db:5432/shop.public.payments"),
        ("COMPLETE", "input", "postgres://db:5432/shop.public.payments"),
        ("COMPLETE", "output", "s3://features/fraud/train.parquet"),
        ("FAIL", "input", "file//data/plain.csv"),
    ]
    assert [row["version"] for row in rows] == ["2026-03-01", "2026-03-01", "17", None]
    assert [row["has_schema"] for row in rows] == [True, True, False, False]
    assert [row["has_quality"] for row in rows] == [True, True, False, False]
    assert rows[0]["at"] == 1_772_330_400_000
    assert rows[3]["at"] == 1_772_416_800_250
    assert {row["job"] for row in rows} == {"fraud/prepare"}
    assert len({row["event"] for row in rows}) == 3
    assert len(sink.frame("lineage_datasets")) == 4
    assert connect({"folder": str(RECORDED.parent)}, folders=[str(RECORDED.parent)]).check().ok


def test_sign_in_details_inside_a_namespace_are_not_kept() -> None:
    sink, _statement = collected(folder=str(RECORDED.parent))
    assert b"secret" in RECORDED.read_bytes()
    assert "secret" not in str(sink.tables["lineage_datasets"])


def test_an_event_written_down_twice_counts_once(tmp_path: Path) -> None:
    written(tmp_path, event(), event())
    again = dict(reversed(event().items()))
    written(tmp_path, again, name="copy.jsonl")
    sink, statement = collected(folder=str(tmp_path))
    assert len(sink.tables["lineage_datasets"]) == 1
    assert statement.counts["events_repeated"] == 2


@pytest.mark.parametrize(
    "line",
    [
        b"not JSON",
        b"[1]",
        b"7",
        b'{"run": 5}',
        b'{"eventTime": "2026-0',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"run": "' + b"a" * LONGEST_LINE + b'"}',
        orjson.dumps(event(eventTime="yesterday")),
        orjson.dumps(event(eventTime="2026-03-01T02:00:00")),
        orjson.dumps(event(run={})),
        orjson.dumps(event(inputs=[{"namespace": "a"}])),
        orjson.dumps(event(inputs="many")),
    ],
)
def test_a_bad_line_is_counted_and_stops_nothing(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "events.ndjson").write_bytes(orjson.dumps(event()) + b"\n" + line + b"\n\n")
    sink, statement = collected(folder=str(tmp_path))
    assert statement.complete
    assert len(sink.tables["lineage_datasets"]) == 1
    assert statement.counts["bad_lines"] >= 1
    assert statement.notes == (f"bad_lines:{statement.counts['bad_lines']}",)


def test_lines_none_of_which_is_an_event_are_no_empty_source(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text("{}")
    _sink, statement = collected(folder=str(tmp_path))
    assert statement.stream("lineage").state is Reading.COULD_NOT_LOOK
    assert statement.stream("lineage").reason == f"no_events: {NO_EVENTS}"
    assert not connect({"folder": str(tmp_path)}, folders=[str(tmp_path)]).check().ok


def test_events_about_jobs_and_datasets_alone_are_counted_apart(tmp_path: Path) -> None:
    job = {key: value for key, value in event().items() if key != "run"}
    written(tmp_path, event(), job)
    _sink, statement = collected(folder=str(tmp_path))
    assert statement.notes == ("other_events:1",)


def test_an_empty_folder_is_read_and_a_missing_one_is_not(tmp_path: Path) -> None:
    assert collected(folder=str(tmp_path))[1].complete
    _sink, statement = collected(folder=str(tmp_path / "gone"))
    assert statement.stream("lineage").reason.startswith("not_found: ")


def test_a_link_in_the_folder_leads_nowhere(tmp_path: Path) -> None:
    outside = written(tmp_path, event()) / "events.ndjson"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "other.ndjson").symlink_to(outside)
    assert collected(folder=str(folder))[0].tables["lineage_datasets"] == []


def test_a_deleted_facet_is_no_facet(tmp_path: Path) -> None:
    facets = {"schema": {"_deleted": True, "fields": [1]}, "dataQualityMetrics": {"rowCount": 1}, "version": None}
    written(tmp_path, event(inputs=[{"namespace": "a", "name": "b", "facets": facets}], eventType="RUNNING"))
    row = collected(folder=str(tmp_path))[0].tables["lineage_datasets"][0]
    assert (row["has_schema"], row["has_quality"], row["version"], row["state"]) == (False, True, None, "OTHER")


def test_too_much_is_said_and_not_cut(tmp_path: Path) -> None:
    written(tmp_path, *(event(run={"runId": str(n)}) for n in range(100)))
    _sink, statement = collected(folder=str(tmp_path), max_bytes=2000)
    assert statement.stream("lineage").reason.startswith("too_large: ")


def test_events_are_read_from_an_address() -> None:
    with stub_server(lambda line, body, n: Answer(200, RECORDED.read_bytes())) as stub:
        sink, statement = collected(base_url=f"{stub.url}/events.ndjson", token="t0ken")
    assert statement.complete
    assert len(sink.tables["lineage_datasets"]) == 4
    assert stub.seen[0][1]["Authorization"] == "Bearer t0ken"


def test_an_address_that_refuses_is_no_empty_source() -> None:
    with stub_server(lambda line, body, n: Answer(403)) as stub:
        sink, statement = collected(base_url=stub.url)
    assert statement.stream("lineage").reason.startswith("forbidden: ")
    assert sink.tables["lineage_datasets"] == []


def test_a_folder_is_read_only_inside_one_that_the_operator_allows(tmp_path: Path) -> None:
    for folders in ((), (str(tmp_path / "open"),)):
        with pytest.raises(ConfigError, match="not in a folder that this installation may read"):
            connect({"folder": str(tmp_path)}, folders=folders)
    assert connect({"path": str(RECORDED)}, allow_private=()).check().ok


@pytest.mark.parametrize("settings", [{}, {"folder": "a", "base_url": "http://h"}, {"folder": "a", "token": "t"}])
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        parse(settings, folders=["/"])
