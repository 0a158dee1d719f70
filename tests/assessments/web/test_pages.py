from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from assessments.evidence import store
from assessments.evidence.collect import collect
from assessments.ratings.assess import assess
from tests.assessments.conftest import Scripted, World
from tests.assessments.ratings.test_assess import AS_OF, START, rows

Use = Callable[[Scripted], None]


@pytest.fixture
def page(signed_in: Client, world: World, scripted: Use) -> Callable[..., Any]:
    """Alice's view of Acme after an assessment of ten runs, one of them without a commit."""
    scripted(Scripted(rows(10, seeded=9), now=START))
    collect(world.acme.sources.get())
    assess(world.acme, as_of=AS_OF)

    def get(name: str, accept: str = "en", **kwargs: str) -> Any:
        return signed_in.get(reverse(name, kwargs={"key": "acme", **kwargs}), HTTP_ACCEPT_LANGUAGE=accept)

    return get


def test_the_overview_shows_dimensions_heatmap_radar_and_gaps(page: Callable[..., Any]) -> None:
    html = page("overview").content.decode()
    for expected in ("Data Governance", "Model Development", "Deployment", 'class="heat"', "<polygon", "Level 0"):
        assert expected in html
    assert html.count('scope="row"') == 18


def test_the_overview_takes_few_queries_whatever_the_number_of_runs(
    page: Callable[..., Any], world: World, scripted: Use
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert page("overview").status_code == 200
        return len(captured)

    few = queries()
    scripted(Scripted(rows(400, seeded=100), now=START + 1))
    collect(world.acme.sources.get())
    assess(world.acme, as_of=AS_OF)
    assert queries() == few <= 12


def test_a_capability_shows_three_numbers_the_finding_the_formula_and_the_runs(page: Callable[..., Any]) -> None:
    html = page("capability", capability="MD1").content.decode()
    assert "9 of 10" in html
    assert "divided by" in html
    assert 'href="http://127.0.0.1:9/#/experiments/1/runs/r9"' in html
    for label in ("Claimed", "Evidenced", "Rated"):
        assert label in html


def test_the_same_page_in_chinese_has_no_english_sentence_of_ours(page: Callable[..., Any]) -> None:
    html = page("capability", accept="zh-hans", capability="MD1").content.decode()
    assert 'lang="zh-hans"' in html
    for expected in ("实验管理与可复现", "自报", "评定"):
        assert expected in html
    for english in ("Claimed", "Practices", "Confidence", "Formula", "that fail", "needed"):
        assert english not in html


def test_the_sources_page_states_what_was_read(page: Callable[..., Any]) -> None:
    html = page("sources").content.decode()
    assert "Completeness statement" in html
    assert "read to the end" in html


def test_an_unknown_capability_is_not_found(page: Callable[..., Any]) -> None:
    assert page("capability", capability="ZZ9").status_code == 404


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_json_report_and_the_pack_can_be_downloaded(page: Callable[..., Any], language: str) -> None:
    assert page("report-file", language=language, kind="json").json()
    assert page("report-file", language=language, kind="dlemm").content.startswith(b"PK")


def test_a_report_in_a_language_that_does_not_exist_is_not_found(page: Callable[..., Any]) -> None:
    assert page("report-file", language="xx", kind="pdf").status_code == 404


def test_before_the_first_assessment_the_page_says_how_to_get_one(signed_in: Client) -> None:
    assert "manage.py assess acme" in signed_in.get(reverse("overview", args=["acme"])).content.decode()


def test_an_altered_pack_is_refused_with_a_clear_sentence(page: Callable[..., Any], world: World) -> None:
    assessment = world.acme.assessments.get()
    path = store.path_of(world.acme.pk, assessment.pack_sha256, "dlemm")
    path.write_bytes(path.read_bytes()[:-1])
    answer = page("report-file", language="en", kind="dlemm")
    assert answer.status_code == 500
    assert "was altered after it was stored" in answer.content.decode()
