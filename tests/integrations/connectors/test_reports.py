"""Pipeline reports: the published format, what hostile files do, and the places they are read from."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.connectors import report_files
from integrations.connectors.base import ConfigError, Reason, Refused, connector
from integrations.connectors.mlflow_reports import FOLDER, RunReports
from integrations.connectors.report_files import FIELDS, REQUIRED, report_rows
from integrations.connectors.reports import ReportsConnector, connect, link, parse
from maturity.facts import TABLES, Reading
from tests.integrations.connectors.recorder import Recorder, collected, impatient
from tests.integrations.servers import Answer, stub_server
from tests.project.tree import ROOT

HEAD = {"dlemm_report": "1", "kind": "parity", "made_at": "2026-03-01T08:00:00+00:00"}
MADE_AT = 1_772_352_000_000
CSV = b"""# dlemm_report: 1
# kind: ablation
# made_at: 2026-03-01T08:00:00
# tolerance: 0.001
factor,seed,loss
norm,1,0.5
"""
SCHEMA = ROOT / "assessments" / "web" / "static" / "web" / "report.schema.json"


def content(**more):
    return json.dumps({**HEAD, **more}).encode()


def values(parsed):
    return {(row["row"], row["key"]): row["number"] if row["text"] is None else row["text"] for row in parsed.values}


def typed(parsed):
    """The rows as the application would keep them; an unknown column or a value of the wrong type raises."""
    frames = TABLES["reports"].frame(parsed.reports), TABLES["report_values"].frame(parsed.values)
    for frame in frames:
        frame.to_parquet()
    return frames


# the format


def test_json_becomes_one_report_and_a_row_for_each_value():
    text = content(project="p", run_id="r1", values={"a": {"b": 1, "c": [True, "x"]}}, rows=[{"f": 0.5}, {"f": "y"}])
    parsed = report_rows(text, "reports/parity.json")
    assert parsed.reports == (
        {
            "report": hashlib.sha256(text).hexdigest(),
            "kind": "parity",
            "project": "p",
            "run": "r1",
            "made_at": MADE_AT,
            "file": "reports/parity.json",
        },
    )
    whole = {(None, "a.b"): 1.0, (None, "a.c.0"): 1.0, (None, "a.c.1"): "x"}
    assert values(parsed) == {**whole, (0, "f"): 0.5, (1, "f"): "y"}
    typed(parsed)


def test_csv_says_in_its_first_lines_what_json_says_in_fields():
    parsed = report_rows(CSV, "x.CSV")
    assert (parsed.reports[0]["kind"], parsed.reports[0]["made_at"]) == ("ablation", MADE_AT)
    assert values(parsed) == {(None, "tolerance"): 0.001, (0, "factor"): "norm", (0, "seed"): 1.0, (0, "loss"): 0.5}
    typed(parsed)


@pytest.mark.parametrize("cell", ["007", "1234567890123456", "12e345", "0x1f", "1_000", "nan", "inf"])
def test_digits_that_are_no_plain_number_stay_text_so_that_two_hashes_never_look_alike(cell):
    parsed = report_rows(CSV.replace(b"norm", cell.encode()), "x.csv")
    assert values(parsed)[0, "factor"] == cell


@pytest.mark.parametrize("made_at", ["2026-03-01T09:00:00+01:00", "2026-03-01T08:00:00Z", MADE_AT, str(MADE_AT)])
def test_a_time_may_be_written_in_several_ways(made_at):
    assert report_rows(content(made_at=made_at), "a.json").reports[0]["made_at"] == MADE_AT


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", report_files.UNREADABLE),
        (b"\xff\xfe\x00", report_files.UNREADABLE),
        (b"[1, 2]", report_files.NOT_A_REPORT),
        (b'{"kind": "parity"}', report_files.NOT_A_REPORT),
        (content(dlemm_report="2"), report_files.NOT_A_REPORT),
        (content(dlemm_report=True), report_files.NOT_A_REPORT),
        (content(kind="Drift report!"), report_files.NO_KIND),
        (content(kind=None), report_files.NO_KIND),
        (content(made_at="yesterday"), report_files.NO_DATE),
        (content(made_at=float("nan")), report_files.NO_DATE),
        (content(made_at="9" * 15), report_files.NO_DATE),
        (content(made_at="0001-01-01"), report_files.NO_DATE),
        (b"[" * 200_000, report_files.UNREADABLE),
        (b'{"a":' * 200_000, report_files.UNREADABLE),
        (b" " * (report_files.MOST_BYTES + 1), report_files.TOO_LARGE),
    ],
)
def test_a_file_that_is_no_report_says_why(text, fault):
    parsed = report_rows(text, "a.json")
    assert (parsed.fault, parsed.reports, parsed.values) == (fault, (), ())


def test_a_csv_file_without_the_mark_is_no_report():
    assert report_rows(b"factor,seed\nnorm,1\n", "a.csv").fault == report_files.NOT_A_REPORT


def test_a_number_that_is_not_finite_is_absent():
    parsed = report_rows(content(values={"a": float("nan"), "b": float("inf"), "c": 1}), "a.json")
    assert values(parsed) == {(None, "c"): 1.0}
    assert report_rows(content(values={"a": 1}).replace(b'"a": 1', b'"a": 1e999'), "a.json").values == ()


def test_a_huge_whole_number_is_kept_as_its_digits():
    text = content(values={"a": 1}).replace(b'"a": 1', b'"a": ' + b"9" * 900)
    assert values(report_rows(text, "a.json"))[None, "a"] == "9" * 900


def test_an_empty_row_is_a_row_that_lacks_everything():
    assert [row["row"] for row in report_rows(content(rows=[{}, 5, {"a": None}]), "a.json").values] == [0, 1, 2]


def test_long_texts_stay_equal_only_to_themselves():
    one, same, other = ("x" * 5000 + end for end in "aab")
    found = values(report_rows(content(values={"one": one, "same": same, "other": other}), "a.json"))
    assert found[None, "one"] == found[None, "same"] != found[None, "other"]
    assert len(found[None, "one"]) <= report_files.LONGEST_TEXT


def test_a_million_rows_are_cut_and_the_report_says_so():
    rows = b"".join(b"norm,%d,0.5\n" % n for n in range(1_000_000))
    parsed = report_rows(CSV + rows, "a.csv")
    assert parsed.cut == 1_000_001 - report_files.MOST_ROWS
    assert values(parsed)[None, "@cut"] == parsed.cut
    assert max(row["row"] or 0 for row in parsed.values) == report_files.MOST_ROWS - 1


def test_too_many_values_and_too_deep_ones_are_cut():
    wide = report_rows(content(values={str(n): n for n in range(report_files.MOST_VALUES + 7)}), "a.json")
    assert wide.cut == 7
    deep: object = 1
    for _ in range(report_files.MOST_DEPTH + 1):
        deep = {"a": deep}
    assert report_rows(content(values={"b": deep, "c": 1}), "a.json").cut == 1


def test_nobody_but_the_reader_says_that_something_was_cut():
    assert report_rows(content(values={"@cut": 1, "a": 1}), "a.json").values[0]["key"] == "a"


def test_the_origin_stands_among_the_values():
    assert values(report_rows(content(origin="reference"), "a.json")) == {(None, "origin"): "reference"}


def test_half_a_character_and_nul_do_not_reach_a_store():
    text = content(values={"\ud800": "\ud800x\x00"}, project="\udfff")
    assert b"\\ud800" in text
    typed(report_rows(text, "\udcff.json"))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*FIELDS, "surprise"]) | st.text(max_size=5), anything))
def test_whatever_fields_a_report_has_reading_never_fails(fields):
    for given_fields in (fields, {**fields, **HEAD}):
        parsed = report_rows(json.dumps(given_fields).encode(), "a.json")
        assert bool(parsed.reports) != bool(parsed.fault)
        typed(parsed)


@given(st.binary(max_size=200), st.sampled_from(["a.json", "a.csv", "a"]))
def test_whatever_bytes_a_file_holds_reading_never_fails(tail, name):
    for text in (tail, CSV + tail, json.dumps(HEAD).encode() + tail):
        typed(report_rows(text, name))


def test_the_published_schema_is_that_of_the_reader():
    schema = json.loads(SCHEMA.read_text("utf-8"))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert tuple(schema["properties"]) == FIELDS
    assert tuple(schema["required"]) == REQUIRED
    assert schema["properties"]["dlemm_report"]["const"] == report_files.VERSION
    assert schema["properties"]["kind"]["pattern"] == f"^{report_files._KIND.pattern}$"
    assert schema["properties"]["rows"]["maxItems"] == report_files.MOST_ROWS
    for kind in schema["properties"]["kind"]["examples"]:
        assert report_rows(content(kind=kind), "a.json").reports[0]["kind"] == kind


# a folder


def read(base_url, **more):
    sink = Recorder()
    found = ReportsConnector(parse({"base_url": str(base_url)}, **more), timing=impatient()).collect(sink)
    return sink, found


def test_a_folder_is_read_where_the_operator_opened_it(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "ablation.csv").write_bytes(CSV)
    (tmp_path / "parity.json").write_bytes(content())
    (tmp_path / "again.json").write_bytes(content())
    (tmp_path / "notes.json").write_bytes(b"{}")
    (tmp_path / "readme.txt").write_bytes(b"hello")
    sink, statement = read(tmp_path, folders=[str(tmp_path.parent)])
    assert [row["file"] for row in sink.tables["reports"]] == ["again.json", "deep/ablation.csv"]
    assert statement.stream("reports").state is Reading.READ
    assert statement.stream("reports").rows == sum(map(len, sink.tables.values()))
    assert statement.notes == ("files_not_reports:1",)


@pytest.mark.parametrize("address", ["/etc", "/", "/srv/reports/../../etc", "/srv/reports-of-others"])
def test_any_other_folder_is_refused(address):
    with pytest.raises(ConfigError, match="not in a folder that this installation may read"):
        connect({"base_url": address}, folders=["/srv/reports"])
    with pytest.raises(ConfigError):
        connector("reports", {"base_url": address})


def test_a_link_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path):
    secret, folder = tmp_path / "secret", tmp_path / "open"
    secret.mkdir()
    folder.mkdir()
    (secret / "parity.json").write_bytes(content())
    (folder / "parity.json").symlink_to(secret / "parity.json")
    (folder / "deep").symlink_to(secret, target_is_directory=True)
    sink, statement = read(folder, folders=[str(folder)])
    assert (sink.tables["reports"], statement.complete) == ([], True)


def test_a_folder_that_is_gone_could_not_be_looked_at(tmp_path: Path):
    _, statement = read(tmp_path / "gone", folders=[str(tmp_path)])
    assert statement.stream("reports").state is Reading.COULD_NOT_LOOK
    assert not connect({"base_url": str(tmp_path / "gone")}, folders=[str(tmp_path)]).check().ok


# an address


def serving(**files):
    index = json.dumps({"reports": [name.replace("__", ".") for name in files]}).encode()
    bodies = {f"GET /{name.replace('__', '.')}": body for name, body in files.items()}
    return lambda line, _body, _n: Answer(body={"GET /index.json": index, **bodies}[line])


def test_an_address_lists_its_reports_in_an_index():
    with stub_server(serving(parity__json=content(), ablation__csv=CSV)) as stub:
        sink, statement = read(stub.url)
        assert connect({"base_url": stub.url}).check().ok
    assert {row["kind"] for row in sink.tables["reports"]} == {"parity", "ablation"}
    assert statement.counts == {"reports": 2}


@pytest.mark.parametrize(
    "index",
    [
        {"reports": "a.json"},
        {"reports": [1]},
        {"reports": ["../a.json"]},
        {"reports": ["/etc/a.json"]},
        {"reports": ["http://other.example/a.json"]},
        {"reports": ["//other.example/a.json"]},
        {"reports": ["a\\..\\b.json"]},
        {},
    ],
)
def test_an_index_that_leads_elsewhere_is_refused_and_nothing_is_asked(index):
    with stub_server(lambda *_: Answer(body=json.dumps(index).encode())) as stub:
        _, statement = read(stub.url)
        assert [line for line, _ in stub.seen] == ["GET /index.json"]
    assert statement.stream("reports").state is Reading.COULD_NOT_LOOK


def test_a_listed_report_that_is_not_there_makes_the_reading_incomplete():
    def answer(line, _body, _n):
        return Answer(body=b'{"reports": ["a.json"]}') if "index" in line else Answer(status=404)

    with stub_server(answer) as stub:
        _, statement = read(stub.url)
    assert statement.stream("reports").state is Reading.COULD_NOT_LOOK


def test_private_networks_are_closed_where_the_operator_closed_them():
    with stub_server(serving()) as stub:
        _, statement = read(stub.url, allow_private=[])
        assert stub.seen == []
    assert Reason.ADDRESS_REFUSED in statement.stream("reports").reason


def test_a_token_is_sent_and_never_told():
    with stub_server(serving()) as stub:
        made = connect({"base_url": stub.url, "token": "s3cret"})
        assert made.check().ok
        assert stub.seen[0][1]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(made._config)
    assert link({}, "reports", "x") is None


# artifacts of runs


class Pages:
    def __init__(self):
        self.tables = {"reports": [], "report_values": []}

    def __call__(self, table, rows):
        self.tables[table] += rows


def test_reports_of_a_run_belong_to_it_unless_they_name_another():
    files = {f"{FOLDER}a.json": content(), f"{FOLDER}b.json": content(run_id="r9"), f"{FOLDER}c.csv": CSV}
    pages = Pages()
    RunReports(pages, 10).read("r1", {*files, "other/d.json", f"{FOLDER}e.txt"}, lambda path, cap: files[path])
    assert [row["run"] for row in pages.tables["reports"]] == ["r1", "r9", "r1"]


def test_how_many_reports_are_read_is_limited_and_what_is_left_out_is_counted():
    paths = [f"{FOLDER}{n:03}.json" for n in range(30)]
    asked = []

    def fetched(path, cap):
        asked.append(path)
        return content(values={"n": len(asked)})

    reports = RunReports(Pages(), 25)
    reports.read("r1", paths, fetched)
    reports.read("r2", paths, fetched)
    assert (len(asked), reports.unread) == (25, 35)


def test_a_report_that_cannot_be_read_does_not_keep_the_others_away():
    pages = Pages()

    def fetched(path, cap):
        if path.endswith("a.json"):
            raise Refused(Reason.TOO_LARGE)
        return content() if path.endswith("b.json") else b"{}"

    reports = RunReports(pages, 10)
    reports.read("r1", [f"{FOLDER}{name}.json" for name in "abc"], fetched)
    assert (len(pages.tables["reports"]), reports.unread, reports.others) == (1, 1, 1)


def test_when_the_server_is_gone_reading_ends():
    def fetched(path, cap):
        raise Refused(Reason.UNREACHABLE)

    with pytest.raises(Refused):
        RunReports(Pages(), 10).read("r1", [f"{FOLDER}a.json"], fetched)


def test_the_same_bytes_in_two_runs_are_one_report():
    pages = Pages()
    reports = RunReports(pages, 10)
    for run in ("r1", "r2"):
        reports.read(run, [f"{FOLDER}a.json"], lambda path, cap: content())
    assert [row["run"] for row in pages.tables["reports"]] == ["r1"]


def test_reports_come_from_a_real_tracking_server(empty_mlflow, tmp_path: Path):
    from mlflow import MlflowClient

    client = MlflowClient(empty_mlflow.url)
    experiment = client.create_experiment(f"reports-{time.time_ns()}")
    run = client.create_run(experiment).info.run_id
    (tmp_path / "parity.json").write_bytes(content(values={"a": 1}))
    (tmp_path / "ablation.csv").write_bytes(CSV)
    for name in ("parity.json", "ablation.csv"):
        client.log_artifact(run, str(tmp_path / name), "reports")
    client.set_terminated(run)
    sink, statement = collected(empty_mlflow.url)
    assert {row["kind"] for row in sink.tables["reports"] if row["run"] == run} == {"parity", "ablation"}
    assert statement.stream("reports").state is Reading.READ
    assert {row["key"] for row in sink.tables["report_values"]} >= {"a", "tolerance", "loss"}
