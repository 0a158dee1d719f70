"""A visit in a real browser: sign in, read a capability, find a run, open the PDF; also dark, narrow and Chinese."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from assessments.evidence.collect import collect
from assessments.ratings.assess import assess
from tests.assessments.conftest import Scripted, World, _own_data_folder, scripted, world  # noqa: F401
from tests.assessments.ratings.test_assess import AS_OF, START, rows
from tests.services import chromium

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # The browser driver runs an event loop in this thread; Django then refuses plain queries without this.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    path = chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def site(transactional_db: None, live_server: LiveServer, world: World, scripted: Callable[[Scripted], None]) -> str:  # noqa: F811
    scripted(Scripted(rows(10, seeded=9), now=START))
    collect(world.acme.sources.get())
    assess(world.acme, as_of=AS_OF)
    return str(live_server.url)


@pytest.fixture
def page(browser: Browser, site: str) -> Iterator[Page]:
    context = browser.new_context(locale="en-GB")
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.goto(f"{site}/")
    yield opened
    context.close()
    assert errors == []


def sign_in(page: Page) -> None:
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill("alice-password")
    page.get_by_role("button", name="Sign in").click()


def test_from_signing_in_to_the_pdf(page: Page) -> None:
    sign_in(page)
    expect(page.get_by_role("heading", name="Acme")).to_be_visible()
    page.get_by_role("link", name="MD1", exact=True).first.click()
    expect(page.get_by_role("heading", name="Experiment Management & Reproducibility")).to_be_visible()
    run = page.get_by_role("link", name="r9", exact=True).first
    expect(run).to_have_attribute("href", "http://127.0.0.1:9/#/experiments/1/runs/r9")
    page.get_by_role("link", name="Report").click()
    address = page.locator("#pdf-en").get_attribute("href")
    answer = page.request.get(page.url.split("/organisations")[0] + str(address))
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.body().startswith(b"%PDF-")


def test_the_language_is_switched_on_the_spot(page: Page) -> None:
    sign_in(page)
    page.get_by_label("Language").select_option("zh-hans")
    expect(page.get_by_role("heading", name="能力", exact=True)).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "zh-hans")


def test_light_and_dark_are_remembered(page: Page) -> None:
    sign_in(page)
    before = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    page.get_by_role("button", name="Light / dark").click()
    after = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    page.reload()
    assert before != after == page.evaluate("getComputedStyle(document.documentElement).backgroundColor")


@pytest.mark.parametrize("name", ["overview", "capabilities/MD1/", "sources/", "report/"])
def test_no_page_scrolls_sideways_on_a_narrow_screen(page: Page, name: str) -> None:
    sign_in(page)
    expect(page.get_by_role("heading", name="Acme")).to_be_visible()
    page.set_viewport_size({"width": 360, "height": 740})
    if name != "overview":
        page.goto(f"{page.url}{name}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
