"""What a project leaves on record before it is published, and the papers made of it."""

import json

import pytest

pytest.importorskip("torch")

import torch

from integrations.reference.ladder import walk
from integrations.reference.ladder.book import Book, Document
from integrations.reference.ladder.workshop import Workshop

BEGIN, END = 1_780_000_000_000, 1_780_086_400_000


def a_book() -> Book:
    book = Book("digits", common={"dlemm.origin": "reference"})
    run = book.run("train-1", "train 1", start_at=BEGIN, end_at=END)
    run.param(opt__amp="off")
    run.metric("eval/accuracy", 0.9)
    book.version("train-1", "train-1", tags={"dlemm.deployed_at": "2026-01-01"})
    return book


def test_every_run_carries_the_common_tags_and_its_metrics_are_dated_at_its_end():
    run = a_book().runs["train-1"]
    assert run.tags["dlemm.origin"] == "reference"
    assert [(point.value, point.at) for point in run.points] == [(0.9, END)]
    assert run.params == {"opt.amp": "off"}


def test_a_key_is_used_once_and_time_runs_forward():
    book = a_book()
    with pytest.raises(ValueError, match="two runs"):
        book.run("train-1", "again", start_at=BEGIN, end_at=END)
    with pytest.raises(ValueError, match="ends before"):
        book.run("back", "backwards", start_at=END, end_at=BEGIN)


def test_a_report_grows_and_stays_one_file_of_the_published_format():
    run = a_book().runs["train-1"]
    run.report("data_quality", {"profile": {"missing": 0}})
    run.report("data_quality", {"pii": {"open_findings": 0}}, [{"a": 1}])
    told = json.loads(run.artifacts["reports/data_quality.json"])
    assert (told["dlemm_report"], told["kind"], told["origin"]) == ("1", "data_quality", "reference")
    assert set(told["values"]) == {"profile", "pii"}
    assert told["rows"] == [{"a": 1}]


@pytest.mark.parametrize(
    "where",
    [
        "train-1",
        "train-1#eval/accuracy",
        "train-1#opt.amp",
        "train-1#dlemm.origin",
        "version:train-1#dlemm.deployed_at",
    ],
)
def test_a_walk_through_finds_the_traces_that_are_there(where):
    assert walk.found(a_book(), where)


@pytest.mark.parametrize("where", ["train-2", "train-1#eval/auc", "version:train-2", "incident:i1", "record#idea_at"])
def test_a_walk_through_does_not_find_what_is_not_there(where):
    assert not walk.found(a_book(), where)


def documented(evidence: tuple[str, ...], monkeypatch, tmp_path, text: str) -> list[dict[str, str]]:
    (tmp_path / "DG3.1.1.md").write_text(text)
    monkeypatch.setattr(walk, "FOLDER", tmp_path)
    book = a_book()
    book.documents["DG3.1.1"] = Document("DG3.1.1", {"readers": 3}, END, evidence)
    return list(walk.verdicts({"digits": book}))


WHOLE = (
    "# Labels of $project\n\n## Who\n\n$readers readers. "
    + "They read every image twice. " * 20
    + "\n\n## When\n\n$date\n"
)


def test_a_whole_document_whose_traces_are_there_gets_both_verdicts_and_names_no_person(monkeypatch, tmp_path):
    both = documented(("train-1#eval/accuracy",), monkeypatch, tmp_path, WHOLE)
    assert [(one["kind"], one["code"]) for one in both] == [("document", "F"), ("interview", "F")]
    assert all("a program" in one["by"] and "not by a person" in one["reason"] for one in both)


def test_a_trace_that_is_missing_costs_the_walk_through(monkeypatch, tmp_path):
    one = documented(("train-1#eval/auc",), monkeypatch, tmp_path, WHOLE)
    assert [verdict["kind"] for verdict in one] == ["document"]


def test_a_document_that_says_little_earns_nothing(monkeypatch, tmp_path):
    assert documented(("train-1",), monkeypatch, tmp_path, "# Labels\n\n$readers readers\n") == []


def test_a_template_that_asks_for_a_fact_nobody_gave_is_an_error(monkeypatch, tmp_path):
    with pytest.raises(KeyError):
        documented(("train-1",), monkeypatch, tmp_path, WHOLE + "$kappa")


def test_work_is_done_once_and_kept_with_its_tensors(tmp_path):
    done = []

    def work():
        done.append(1)
        return {"weights": torch.arange(3.0), "score": 0.5}

    for _ in range(2):
        kept = Workshop(tmp_path, "a").once("train/one", work)
        assert torch.equal(kept["weights"], torch.arange(3.0))
    assert len(done) == 1


def test_work_of_other_code_or_configuration_is_not_used_again(tmp_path):
    Workshop(tmp_path, "a").once("one", lambda: 1)
    assert Workshop(tmp_path, "b").once("one", lambda: 2) == 2


def test_a_file_that_was_damaged_is_done_again(tmp_path):
    shop = Workshop(tmp_path, "a")
    shop.once("one", lambda: 1)
    (file,) = shop.folder.glob("*.pt")
    file.write_bytes(file.read_bytes()[:20])
    assert shop.once("one", lambda: 2) == 2


def test_work_that_fails_leaves_nothing_behind(tmp_path):
    shop = Workshop(tmp_path, "a")
    with pytest.raises(ZeroDivisionError):
        shop.once("one", lambda: 1 / 0)
    assert list(shop.folder.iterdir()) == []
