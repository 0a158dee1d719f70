from __future__ import annotations

import sqlite3
from typing import Any

import pandas as pd
import pytest

from assessments.evidence import store
from assessments.ratings.browsing import PAGE, SUFFIX, Browser, Wish
from assessments.ratings.gathering import gathered
from maturity.facts import TABLES, Facts
from maturity.scorecard import Finding

MANY = 100_000


def facts(runs: list[dict[str, Any]]) -> Facts:
    tables = {name: table.empty() for name, table in TABLES.items()}
    projects = pd.Series([run.pop("project", None) for run in runs], dtype="object")
    tables["runs"] = TABLES["runs"].frame(runs).assign(project=projects)
    tables["experiments"] = TABLES["experiments"].frame([{"experiment": "ml:1", "name": "fraud"}])
    return Facts(tables, {})


def run(number: int, **more: Any) -> dict[str, Any]:
    return {"run": f"ml:r{number}", "experiment": "ml:1", "start_at": number, "status": "FINISHED", **more}


def browser(content: bytes) -> Browser:
    return Browser(1, store.keep_bytes(1, content, SUFFIX))


def finding(passing: list[str], failing: list[str], project: str | None = None, unit: str = "run") -> Finding:
    return Finding("EXP-02", project, None, unit=unit, passing=tuple(passing), failing=tuple(failing))


@pytest.fixture(scope="module")
def large() -> bytes:
    runs = [run(n, name=f"run {n}", user="ann" if n % 1000 == 0 else "bob") for n in range(MANY)]
    ids = [one["run"] for one in runs]
    return gathered(facts(runs), [finding(ids[10:], ids[:5])])


def test_a_hundred_thousand_runs_are_all_there_page_by_page(large: bytes) -> None:
    with browser(large) as open_file:
        found = open_file.find("EXP-02", None, Wish())
        assert found is not None
        assert found.counts == {"fails": 5, "passes": MANY - 10, "left": 5}
        first = list(open_file.rows(found, 0, PAGE))
        last = list(open_file.rows(found, len(found.places) - 1, PAGE))
        every = {row.id for row in open_file.rows(found)}
    assert [row.outcome for row in first[:6]] == ["fails"] * 5 + ["passes"]
    assert first[5].id == f"ml:r{MANY - 1}"
    assert [row.id for row in last] == ["ml:r10"]
    assert len(every) == MANY - 5


def test_a_text_and_an_outcome_narrow_what_is_found(large: bytes) -> None:
    with browser(large) as open_file:
        by_person = open_file.find("EXP-02", None, Wish(text="ANN"))
        failing = open_file.find("EXP-02", None, Wish(outcome="fails", text="ann"))
        nothing = open_file.find("EXP-02", None, Wish(text="100%_"))
    assert by_person is not None
    assert failing is not None
    assert nothing is not None
    assert (len(by_person.places), len(failing.places), len(nothing.places)) == (100, 1, 0)


def test_a_finding_of_a_project_does_not_list_the_runs_of_another() -> None:
    runs = [run(1, project="fraud"), run(2, project="fraud"), run(3, project="churn")]
    with browser(gathered(facts(runs), [finding(["ml:r1"], [], "fraud"), finding(["ml:r1"], ["ml:r3"])])) as open_file:
        of_project = open_file.find("EXP-02", "fraud", Wish(outcome="left"))
        of_all = open_file.find("EXP-02", None, Wish(project="churn"))
        assert of_project is not None
        assert of_all is not None
        assert [row.id for row in open_file.rows(of_project)] == ["ml:r2"]
        assert [row.id for row in open_file.rows(of_all)] == ["ml:r3"]


def test_an_id_that_stands_in_no_table_is_kept_with_its_id() -> None:
    weeks = finding(["ml:m/1 2025-W07"], [], unit="week")
    with browser(gathered(facts([]), [weeks])) as open_file:
        found = open_file.find("EXP-02", None, Wish())
        assert found is not None
        assert [row.id for row in open_file.rows(found)] == ["ml:m/1 2025-W07"]


def test_a_finding_that_is_not_there_is_not_found(large: bytes) -> None:
    with browser(large) as open_file:
        assert open_file.find("EXP-99", None, Wish()) is None
        assert open_file.find("EXP-02", "fraud", Wish()) is None


def test_equal_facts_give_equal_bytes() -> None:
    runs = [run(1), run(2)]
    assert gathered(facts(runs), [finding(["ml:r1"], [])]) == gathered(facts(runs), [finding(["ml:r1"], [])])


def test_a_file_that_was_altered_or_is_gone_is_noticed() -> None:
    sha256 = store.keep_bytes(1, gathered(facts([run(1)]), [finding(["ml:r1"], [])]), SUFFIX)
    path = store.path_of(1, sha256, SUFFIX)
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM facts")
    database.close()
    with pytest.raises(store.EvidenceDamaged, match="altered"):
        Browser(1, sha256)
    path.unlink()
    with pytest.raises(store.EvidenceDamaged, match="cannot be read"):
        Browser(1, sha256)
