"""An owner in a real browser: accept a proposed name, count one by hand, see what a pattern matches."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from assessments.evidence.collect import collect
from assessments.organisations.models import names_of
from assessments.ratings.assess import assess
from tests.assessments.conftest import Scripted, World, _own_data_folder, scripted, world  # noqa: F401
from tests.assessments.ratings.test_assess import AS_OF, START
from tests.assessments.web.test_names import their_rows
from tests.journeys.test_first_visit import browser, page, sign_in  # noqa: F401

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def site(transactional_db: None, live_server: LiveServer, world: World, scripted: Callable[[Scripted], None]) -> str:  # noqa: F811
    scripted(Scripted(their_rows(), now=START))
    collect(world.acme.sources.get())
    assess(world.acme, as_of=AS_OF)
    return str(live_server.url)


def test_a_proposal_is_accepted_with_one_button_and_a_name_is_counted_while_it_is_written(
    page: Page,  # noqa: F811
    world: World,  # noqa: F811
) -> None:
    sign_in(page)
    page.get_by_role("link", name="Names", exact=True).click()
    expect(page.get_by_text("explains 9 of the 9 without it")).to_be_visible()
    page.get_by_role("button", name="Accept git_sha as mlflow.source.git.commit").click()
    expect(page.get_by_role("button", name="Remove git_sha")).to_be_visible()
    expect(page.get_by_role("button", name="Assess now")).to_be_visible()
    page.get_by_label("Your name").fill("model__random_state")
    page.get_by_label("It is a").select_option("param")
    page.get_by_label("Our name", exact=True).fill("seed")
    expect(page.get_by_text("Held by 10; 10 of them lack our name")).to_be_visible()
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("button", name="Remove model__random_state")).to_be_visible()
    assert [row.theirs for row in names_of(world.acme).rows] == ["git_sha", "model__random_state"]


def test_what_a_pattern_matches_is_shown_while_it_is_written(page: Page) -> None:  # noqa: F811
    sign_in(page)
    page.get_by_role("link", name="Projects", exact=True).click()
    page.get_by_role("link", name="Edit Fraud").click()
    page.get_by_label("Experiments by name, one pattern a line").fill("nothing*")
    expect(page.get_by_text("0 matching")).to_be_visible()
    page.get_by_label("Experiments by name, one pattern a line").fill("frau?")
    expect(page.get_by_text("1 matching")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Projects", exact=True)).to_be_visible()


@pytest.mark.parametrize("name", ["names", "projects", "projects/fraud", "project-add"])
def test_the_pages_do_not_scroll_sideways_on_a_narrow_screen(page: Page, name: str) -> None:  # noqa: F811
    sign_in(page)
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(page.url.split("/organisations")[0] + f"/organisations/acme/{name}/")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
