"""The tables connector: files as people keep them, and files that are broken or hostile."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from integrations.connectors import sheets
from integrations.connectors.base import ConfigError
from integrations.connectors.tables import BAD_ROWS, NO_COLUMN, connect, parse
from maturity.facts import Reading, Statement
from tests.integrations.connectors.recorder import Recorder
from tests.integrations.servers import Answer, stub_server

COLUMNS = {"incident": "Ticket", "opened_at": "Opened", "restored_at": "Back up", "severity": "Priority"}
SETTINGS: dict[str, Any] = {"columns": COLUMNS, "fixed": {"kind": "service"}}
HEADER = ("Ticket", "Opened", "Back up", "Priority")
GOOD = ("I-1", "2026-01-31 14:30", "2026-01-31T16:00:00+01:00", "P1")


def as_csv(*rows: Sequence[Any], delimiter: str = ",") -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue().encode()


def as_excel(*rows: Sequence[Any], title: str = "Sheet") -> bytes:
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    page.title = title
    for row in rows:
        page.append(list(row))
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def collected(folder: Path, content: bytes, **settings: Any) -> tuple[Recorder, Statement]:
    (folder / "incidents.csv").write_bytes(content)
    sink = Recorder()
    given = {**SETTINGS, "file": str(folder / "incidents.csv"), **settings}
    return sink, connect(given, folders=[str(folder)]).collect(sink)


def at(*moment: int) -> int:
    return int(datetime.fromisoformat("{:04}-{:02}-{:02}T{:02}:{:02}:00Z".format(*moment)).timestamp() * 1000)


def test_a_csv_file_becomes_incidents(tmp_path: Path) -> None:
    sink, statement = collected(tmp_path, as_csv(HEADER, GOOD, (), ("I-2", "2026-02-01", "", "P2")))
    assert statement.complete
    assert statement.base_url == "incidents.csv"
    first, second = sink.tables["incidents"]
    assert (first["incident"], first["kind"], first["severity"]) == ("I-1", "service", "P1")
    assert (first["opened_at"], first["restored_at"]) == (at(2026, 1, 31, 14, 30), at(2026, 1, 31, 15, 0))
    assert (second["restored_at"], second["closed_at"]) == (None, None)
    assert len(sink.frame("incidents")) == 2


def test_an_excel_file_gives_the_same_as_the_csv_file(tmp_path: Path) -> None:
    rows = (HEADER, GOOD, ("I-2", "2026-02-01", None, "P2"))
    first, second = datetime(2026, 1, 31, 14, 30), datetime(2026, 2, 1)  # noqa: DTZ001 - a spreadsheet knows no zone
    as_dates = (HEADER, (GOOD[0], first, *GOOD[2:]), ("I-2", second, None, "P2"))
    text = collected(tmp_path, as_csv(*rows))[0].tables["incidents"]
    assert collected(tmp_path, as_excel(*rows))[0].tables["incidents"] == text
    assert collected(tmp_path, as_excel(*as_dates))[0].tables["incidents"] == text


def test_times_without_an_offset_are_of_the_time_zone_given(tmp_path: Path) -> None:
    sink, _statement = collected(tmp_path, as_csv(HEADER, GOOD), timezone="Europe/Paris")
    assert sink.tables["incidents"][0]["opened_at"] == at(2026, 1, 31, 13, 30)


def test_other_forms_of_times_words_and_numbers_are_translated(tmp_path: Path) -> None:
    header = ("Run", "Job", "State", "When", "Coverage", "Took")
    content = as_csv(header, ("7", "unit", "OK", "31/01/2026 14:30", "81,5 %", "12,25"), delimiter=";")
    columns = {
        "ci_run": "Run",
        "job": "Job",
        "status": "State",
        "at": "When",
        "coverage": "Coverage",
        "seconds": "Took",
    }
    values = {"status": {"OK": "passed"}, "job": {"unit": "tests"}}
    more = {"time_format": "%d/%m/%Y %H:%M", "decimal": ",", "values": values, "fixed": {"project": "fraud"}}
    sink, statement = collected(tmp_path, content, table="ci_runs", columns=columns, **more)
    assert statement.complete, statement
    row = sink.tables["ci_runs"][0]
    assert (row["ci_run"], row["job"], row["status"], row["project"]) == ("7", "tests", "passed", "fraud")
    assert (row["coverage"], row["seconds"], row["at"]) == (0.815, 12.25, at(2026, 1, 31, 14, 30))


def test_a_day_is_a_date_whatever_the_time_zone(tmp_path: Path) -> None:
    columns = {"name": "What", "day": "Day", "value": "Value"}
    content = as_csv(("What", "Day", "Value"), ("availability", "2026-02-01", "0.999"))
    settings = {"table": "service_levels", "columns": columns, "fixed": {}, "timezone": "Asia/Shanghai"}
    sink, _statement = collected(tmp_path, content, **settings)
    assert sink.tables["service_levels"][0]["day"] == at(2026, 2, 1, 0, 0)


def test_a_formula_counts_as_the_value_stored_with_it(tmp_path: Path) -> None:
    content = as_excel(HEADER, (*GOOD[:3], '="P"&"1"'), ('="I-"&"2"', *GOOD[1:]))
    # The library writes formulas without values; a spreadsheet writes both.
    content = altered(content, b'<f>"I-"&amp;"2"</f><v />', b'<f>"I-"&amp;"2"</f><v>I-2</v>')
    content = altered(content, b'<c r="A3">', b'<c r="A3" t="str">')
    rows = collected(tmp_path, content)[0].tables["incidents"]
    assert [(row["incident"], row["severity"]) for row in rows] == [("I-1", None), ("I-2", "P1")]


def test_faults_are_told_by_row_and_column_in_the_words_of_the_file(tmp_path: Path) -> None:
    good = [(f"I-{n}", *GOOD[1:]) for n in range(100)]
    bad = [("I-200", "last week", "", ""), ("I-0", *GOOD[1:]), ("", GOOD[1], "", ""), ("I-201", "#N/A", "", "")]
    sink, statement = collected(tmp_path, as_csv(HEADER, *good, *bad))
    assert statement.complete
    assert len(sink.tables["incidents"]) == 100
    assert statement.notes == (
        "rows_faulty:4",
        "row_fault:row 102, Opened: must be a time such as 2026-01-31 or 2026-01-31 14:30, not “last week”",
        "row_fault:row 103, Ticket: is the same fact as row 2",
        "row_fault:row 104, Ticket: is required and is missing",
        "row_fault:row 105, Opened: holds the error #N/A",
    )


def test_too_many_faulty_rows_make_the_file_count_for_nothing(tmp_path: Path) -> None:
    good = [(f"I-{n}", *GOOD[1:]) for n in range(19)]
    bad = [(f"J-{n}", "soon", "", "") for n in range(100)]
    assert collected(tmp_path, as_csv(HEADER, *good, *bad[:1]))[1].complete
    sink, statement = collected(tmp_path, as_csv(HEADER, *good, *bad))
    assert statement.stream("incidents").state is Reading.COULD_NOT_LOOK
    assert statement.stream("incidents").reason.startswith(f"bad_rows: {BAD_ROWS} (100/119; row 21, Opened: ")
    assert sink.tables["incidents"] == []
    assert len(statement.notes) == 21


def test_a_restored_service_was_not_restored_before_it_broke(tmp_path: Path) -> None:
    _sink, statement = collected(tmp_path, as_csv(HEADER, ("I-1", "2026-02-02", "2026-02-01", "")))
    assert "row 2, Back up: must not be less than opened_at" in statement.stream("incidents").reason


def test_a_column_that_is_missing_or_there_twice_is_named(tmp_path: Path) -> None:
    _sink, statement = collected(tmp_path, as_csv(("Ticket", "Opened", "Back up", "Opened"), GOOD))
    reason = statement.stream("incidents").reason
    assert reason == f"no_column: {NO_COLUMN} (Opened, Priority; Ticket, Opened, Back up, Opened)"


def bomb() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.xml", "w") as part:
        for _ in range(520):
            part.write(b" " * 1024 * 1024)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b'Ticket,Opened,Back up,Priority\n"never closed', "not_csv"),
        (b"Ticket,Opened,Back up,Priority\n\xff\xfe\xfa", "not_text"),
        (b"a\0b", "not_text"),
        (b"PK\x03\x04 no archive", "not_excel"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 an old workbook", "not_excel"),
        (as_excel(HEADER, GOOD)[:-200], "not_excel"),
        (b"x," * 200_000 + b"\n", "too_large"),
        (b"x" * 200_000 + b"\n", "not_csv"),
    ],
)
def test_a_file_that_cannot_be_read_is_no_empty_table(tmp_path: Path, content: bytes, key: str) -> None:
    sink, statement = collected(tmp_path, content)
    assert statement.stream("incidents").state is Reading.COULD_NOT_LOOK
    assert statement.stream("incidents").reason.partition(":")[0] == key
    assert sink.tables["incidents"] == []


def test_a_file_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    content = bomb()
    assert len(content) < 1024 * 1024
    reason = collected(tmp_path, content)[1].stream("incidents").reason
    assert reason == f"too_large: {sheets.TOO_LARGE} (512 MiB unpacked)"


def altered(content: bytes, old: bytes, new: bytes) -> bytes:
    """A workbook with something replaced in its parts, as no spreadsheet would write it."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(old, new))
    return changed.getvalue()


@pytest.mark.parametrize("number", [b"1048576", b"999999999999"])
def test_a_workbook_that_claims_endless_rows_is_cut_off_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: bytes
) -> None:
    monkeypatch.setattr(sheets, "MOST_ROWS", 1000)
    content = altered(as_excel(HEADER, GOOD, GOOD), b'<row r="3"', b'<row r="' + number + b'"')
    content = altered(content, b'r="A3"', b'r="A' + number + b'"')
    assert collected(tmp_path, content)[1].stream("incidents").reason.startswith("too_large: ")


def test_entities_of_a_workbook_are_not_blown_up(tmp_path: Path) -> None:
    entities = b'<!DOCTYPE x [<!ENTITY a "' + b"a" * 10_000 + b'">'
    entities += b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 100) for n in range(6)) + b"]>"
    content = altered(as_excel(HEADER, GOOD), b"<worksheet ", entities + b"<worksheet ")
    content = altered(content, b"<t>", b"<t>&g;")
    assert collected(tmp_path, content)[1].stream("incidents").reason.startswith("not_excel: ")


def test_a_sheet_is_chosen_by_name(tmp_path: Path) -> None:
    content = as_excel(HEADER, GOOD, title="2026")
    assert collected(tmp_path, content, sheet="2026")[1].complete
    reason = collected(tmp_path, content, sheet="2025")[1].stream("incidents").reason
    assert reason == f"no_sheet: {sheets.NO_SHEET} (2026)"


def test_other_encodings_are_read(tmp_path: Path) -> None:
    text = "单号,Opened,Back up,Priority\nI-1,2026-01-31,,高\n"
    columns = {**COLUMNS, "incident": "单号"}
    for content, encoding in (
        (text.encode("utf-8-sig"), "utf-8"),
        (text.encode("gb18030"), "gb18030"),
        (text.encode("utf-16"), "utf-8"),
    ):
        sink, statement = collected(tmp_path, content, columns=columns, encoding=encoding)
        assert statement.complete, statement
        assert sink.tables["incidents"][0]["severity"] == "高"


def test_a_file_is_read_from_an_address_with_its_token() -> None:
    with stub_server(lambda line, body, n: Answer(200, as_excel(HEADER, GOOD))) as stub:
        sink = Recorder()
        statement = connect({**SETTINGS, "base_url": f"{stub.url}/i.xlsx", "token": "t0ken"}).collect(sink)
    assert statement.complete
    assert stub.seen[0][1]["Authorization"] == "Bearer t0ken"
    with stub_server(lambda line, body, n: Answer(404)) as stub:
        reason = connect({**SETTINGS, "base_url": stub.url}).collect(Recorder()).stream("incidents").reason
    assert reason.startswith("not_found: ")


def test_a_check_reads_the_file_and_tells_its_faults(tmp_path: Path) -> None:
    path = tmp_path / "i.csv"
    path.write_bytes(as_csv(HEADER, GOOD))
    connector = connect({**SETTINGS, "file": str(path)}, folders=[str(tmp_path)])
    assert connector.check().ok
    path.write_bytes(as_csv(HEADER, ("I-1", "soon", "", "")))
    assert "row 2, Opened" in connector.check().reason
    path.unlink()
    assert connector.check().reason.startswith("not_found: ")


@pytest.mark.parametrize("file", ["/etc/hosts", "{folder}/../secret.csv", "{folder}/link.csv", "incidents.csv"])
def test_a_file_is_read_only_inside_a_folder_that_the_operator_allows(tmp_path: Path, file: str) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    (tmp_path / "secret.csv").write_bytes(as_csv(HEADER, GOOD))
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    for folders in ((), (str(folder),)):
        with pytest.raises(ConfigError, match="not in a folder that this installation may read"):
            parse({**SETTINGS, "file": file.format(folder=folder)}, folders=folders)


def test_a_file_that_became_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder, path = tmp_path / "open", tmp_path / "open" / "i.csv"
    folder.mkdir()
    (tmp_path / "secret.csv").write_bytes(as_csv(HEADER, GOOD))
    connector = connect({**SETTINGS, "file": str(path)}, folders=[str(folder)])
    path.symlink_to(tmp_path / "secret.csv")
    assert connector.check().reason.startswith("address_refused: ")


def test_a_file_that_the_application_keeps_needs_no_folder_of_the_operator(tmp_path: Path) -> None:
    (tmp_path / "kept.upload").write_bytes(as_csv(HEADER, GOOD))
    assert connect({**SETTINGS, "path": str(tmp_path / "kept.upload")}, allow_private=()).check().ok


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"table": "runs"}, "table"),
        ({"columns": {"incident": "Ticket"}}, "columns"),
        ({"columns": {**COLUMNS, "colour": "Colour"}}, "columns"),
        ({"columns": ["Ticket"]}, "columns"),
        ({"fixed": {"kind": "service", "severity": "P1"}}, "fixed"),
        ({"values": {"severity": "high"}}, "values severity"),
        ({"timezone": "Mars/North"}, "timezone"),
        ({"encoding": "klingon"}, "encoding"),
        ({"encoding": "undefined"}, "encoding"),
        ({"encoding": "punycode"}, "encoding"),
        ({"time_format": "%d%d"}, "time_format"),
        ({"time_format": "%Q"}, "time_format"),
        ({"time_format": "%"}, "time_format"),
        ({"decimal": ";"}, "decimal"),
        ({"delimiter": "ab"}, "delimiter"),
        ({"base_url": "http://h"}, "file"),
        ({"step": 1}, "step"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse({**SETTINGS, "file": "a", **settings})
    assert field in [fault.field for fault in caught.value.faults]
