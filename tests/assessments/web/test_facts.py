from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from assessments.evidence import store
from assessments.evidence.collect import collect
from assessments.ratings.assess import assess
from assessments.ratings.browsing import SUFFIX
from assessments.ratings.results import latest
from assessments.web.facts import harmless
from tests.assessments.conftest import Scripted, World
from tests.assessments.ratings.test_assess import AS_OF, START, rows

Use = Callable[[Scripted], None]
HOSTILE = ['<script>alert("x")</script>', '=HYPERLINK("http://evil.example")', "n" * 5000, "名字 🚀", "a\x00b"]


@pytest.fixture
def assessed(signed_in: Client, world: World, scripted: Use) -> World:
    """Acme with seventy training runs, sixty of them pinned to a commit; the first five have hostile names."""
    read = rows(70, seeded=60)
    for run, name in zip(read["runs"], HOSTILE, strict=False):
        run |= {"name": name, "user": name}
    scripted(Scripted(read, now=START))
    collect(world.acme.sources.get())
    assess(world.acme, as_of=AS_OF)
    return world


def get(client: Client, name: str = "facts", **query: Any) -> Any:
    return client.get(reverse(name, kwargs={"key": "acme"}), query)


def links(client: Client) -> list[str]:
    html = client.get(reverse("capability", kwargs={"key": "acme", "capability": "MD1"})).content.decode()
    return [link.replace("&amp;", "&") for link in re.findall(r'href="([^"]*/facts/\?[^"]*)"', html)]


def test_every_finding_of_the_capability_page_leads_to_its_facts(signed_in: Client, assessed: World) -> None:
    found = links(signed_in)
    assert any("finding=EXP-02&of=fraud" in link for link in found)
    for link in found:
        assert signed_in.get(link).status_code == 200


def test_all_ids_are_there_fifty_a_page_and_linked_to_the_server(signed_in: Client, assessed: World) -> None:
    pages = [get(signed_in, finding="EXP-02", of="fraud", page=n).content.decode() for n in (1, 2)]
    shown = [re.findall(r'href="http://127.0.0.1:9/#/experiments/1/runs/(r\d+)"', html) for html in pages]
    finding = next(
        f for f in latest(assessed.acme).scorecard().findings if (f.indicator, f.project) == ("EXP-02", "fraud")
    )
    assert len(shown[0]) == 50
    assert {f"mlflow:{run}" for runs in shown for run in runs} == {*finding.passing, *finding.failing}


def test_filters_narrow_the_table_and_stay_in_the_links(signed_in: Client, assessed: World) -> None:
    failing = get(signed_in, finding="EXP-02", of="fraud", outcome="fails").content.decode()
    assert len(re.findall(r"/runs/r\d+", failing)) == 10
    passing = get(signed_in, finding="EXP-02", of="fraud", outcome="passes").content.decode()
    assert 'href="?finding=EXP-02&amp;of=fraud&amp;outcome=passes&amp;page=2"' in passing
    assert "Nothing fits this filter" in get(signed_in, finding="EXP-02", of="fraud", q="no such run").content.decode()


@pytest.mark.parametrize("number", ["0", "-1", "x", "99", "²", "9" * 30])
def test_a_page_that_does_not_exist_gives_the_nearest(signed_in: Client, assessed: World, number: str) -> None:
    assert get(signed_in, finding="EXP-02", of="fraud", page=number).status_code == 200


def test_hostile_names_are_shown_as_text(signed_in: Client, assessed: World) -> None:
    html = get(signed_in, finding="EXP-02", of="fraud", q="script").content.decode()
    assert "&lt;script&gt;" in html
    assert "<script>alert" not in html
    assert get(signed_in, finding="EXP-02", of="fraud", q="' OR 1=1 --\x00%_\\").status_code == 200


@pytest.mark.parametrize("query", [{}, {"finding": "EXP-99"}, {"finding": "EXP-02", "of": "no-such-project"}])
def test_a_finding_that_does_not_exist_is_not_found(signed_in: Client, assessed: World, query: Any) -> None:
    assert get(signed_in, **query).status_code == get(signed_in, "facts-file", **query).status_code == 404


def test_the_file_holds_every_row_and_no_formula(signed_in: Client, assessed: World) -> None:
    answer = get(signed_in, "facts-file", finding="EXP-02", of="fraud")
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    table = list(csv.DictReader(io.StringIO(text)))
    assert len(table) == 70
    assert "attachment" in answer["Content-Disposition"]
    assert {row["id"] for row in table} == {f"r{n}" for n in range(70)}
    assert [row["name"] for row in table if "HYPERLINK" in row["name"]] == ['\'=HYPERLINK("http://evil.example")']


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@x", "\tx", "\r=1", "  =1"])
def test_a_cell_that_looks_like_a_formula_is_made_text(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"


def test_other_cells_stay_as_they_are() -> None:
    assert [harmless(cell) for cell in ("a=b", "", None, "名")] == ["a=b", "", "", "名"]


def test_a_result_from_before_facts_could_be_browsed_says_so(signed_in: Client, assessed: World) -> None:
    assessment = assessed.acme.assessments.get()
    del assessment.summary["browsing"], assessment.summary["signals"]
    assessment.save()
    assert "Assess again" in get(signed_in, finding="EXP-02").content.decode()
    assert "Assess again" in signed_in.get(reverse("signals", kwargs={"key": "acme"})).content.decode()


def test_a_damaged_file_is_a_clear_answer(signed_in: Client, assessed: World) -> None:
    store.path_of(assessed.acme.pk, latest(assessed.acme).browsing, SUFFIX).unlink()
    for name in ("facts", "facts-file"):
        answer = get(signed_in, name, finding="EXP-02", of="fraud")
        assert answer.status_code == 500
        assert "cannot be read" in answer.content.decode()


def test_signals_are_named_with_their_ids_and_what_was_done(signed_in: Client, world: World, scripted: Use) -> None:
    read = rows(12, seeded=12)
    read["runs"][0] |= {"end_at": START - 2 * 3_600_000, "name": "<b>late</b>"}
    scripted(Scripted(read, now=START))
    collect(world.acme.sources.get())
    assess(world.acme, as_of=AS_OF)
    html = signed_in.get(reverse("signals", kwargs={"key": "acme"})).content.decode()
    assert "Runs that end before they start" in html
    assert "left out" in html
    assert "/#/experiments/1/runs/r0" in html
    assert "signal(s)" in signed_in.get(reverse("overview", kwargs={"key": "acme"})).content.decode()


def test_reference_runs_that_were_left_out_are_counted_as_a_signal(
    signed_in: Client, world: World, scripted: Use
) -> None:
    read = rows(12, seeded=12)
    read["run_tags"] += [{"run": "r1", "key": "dlemm.origin", "value": "reference"}]
    scripted(Scripted(read, now=START))
    collect(world.acme.sources.get())
    assess(world.acme, as_of=AS_OF)
    html = signed_in.get(reverse("signals", kwargs={"key": "acme"})).content.decode()
    assert "Reference runs" in html
    assert "1 · left out" in html


def test_in_a_demonstration_reference_runs_are_not_called_left_out(
    signed_in: Client, world: World, scripted: Use
) -> None:
    world.acme.demo = True
    world.acme.save()
    read = rows(12, seeded=12)
    read["run_tags"] += [{"run": "r1", "key": "dlemm.origin", "value": "reference"}]
    scripted(Scripted(read, now=START))
    collect(world.acme.sources.get())
    assess(world.acme, as_of=AS_OF)
    html = signed_in.get(reverse("signals", kwargs={"key": "acme"})).content.decode()
    assert "1 · counts" in html
