"""The site in Chinese: no page leaves an English sentence of ours standing."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from django.test import Client
from django.urls import reverse

from assessments.evidence.collect import collect
from assessments.ratings.assess import assess
from integrations.connectors.base import SENTENCES, Reason
from maturity.schema import load_model
from tests.assessments.conftest import Scripted, World
from tests.assessments.ratings.test_assess import AS_OF, START, rows

Use = Callable[[Scripted], None]
CAPABILITIES = list(load_model().capabilities)
SPOKEN = ("aria-label", "title", "alt", "placeholder")
UNTRANSLATED = {"code", "pre", "script", "style"}
NAMES = {"DLE-MM", "MLflow", "Acme", "English", "PDF", "JSON", "UTC", "MD", "DG", "DO", "A", "s", "fraud", "mlflow"}
NAMES |= {"http", "status"}  # the technical detail behind a reason stays as the connector wrote it
"""What stays Latin on a page that shows no text of the model: names, formats, units, ids and keys of the tests."""


class Visible(HTMLParser):
    """The texts that a reader sees or hears on a page, code left out."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._code = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._code += tag in UNTRANSLATED
        self.texts += [value for name, value in attrs if name in SPOKEN and value]

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in UNTRANSLATED

    def handle_data(self, data: str) -> None:
        if not self._code and data.strip():
            self.texts.append(" ".join(data.split()))


def english(html: str) -> list[str]:
    """Texts with a Latin word that is no name and no id."""
    word = re.compile(r"(?<![\w/.:-])[A-Za-z]+(?:-[A-Za-z]+)*(?![\w/.:-])")
    return [text for text in Visible(html).texts if set(word.findall(text)) - NAMES]


def phrases(html: str) -> list[str]:
    """Texts with four Latin words in a row: model texts name methods and ``{values}``, but never a whole sentence."""
    row = re.compile(r"(?:\b[A-Za-z][a-z']*[ ,;]+){3}[a-z]+\b")
    return [text for text in Visible(html).texts if row.search(re.sub(r"\{[^}]*\}", "", text))]


@pytest.fixture
def chinese(client: Client) -> Client:
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "zh-hans"
    return client


@pytest.fixture
def assessed(chinese: Client, world: World, scripted: Use) -> Client:
    """Alice reads Acme in Chinese. The registry could not be read, the artifacts depended on it."""
    unread = {
        "registry": f"server_error: {SENTENCES[Reason.SERVER_ERROR]} (status 500)",
        "logged_models": f"depends: {SENTENCES[Reason.DEPENDS]} (experiments)",
        "artifacts": f"unreachable: {SENTENCES[Reason.UNREACHABLE]}",
    }
    scripted(Scripted(rows(10, seeded=9), now=START, unread=unread))
    collect(world.acme.sources.get())
    assess(world.acme, as_of=AS_OF)
    chinese.force_login(world.alice)
    return chinese


def test_the_finder_of_english_finds_it() -> None:
    html = (
        '<p aria-label="Result">3 级</p><p>数据 Sources</p><code>manage.py collect</code><p>MD1 Acme https://a.b/c</p>'
    )
    assert english(html) == ["Result", "数据 Sources"]
    assert phrases("<p>来源：The server could not be reached。</p><p>含 Grad-CAM 与 kappa</p>") == [
        "来源：The server could not be reached。"
    ]


@pytest.mark.parametrize("name", ["sources", "report"])
def test_a_page_of_an_organisation_is_chinese(assessed: Client, name: str) -> None:
    answer = assessed.get(reverse(name, args=["acme"]))
    assert answer.status_code == 200
    assert english(answer.content.decode()) == []


def test_the_overview_is_chinese(assessed: Client) -> None:
    html = assessed.get(reverse("overview", args=["acme"])).content.decode()
    gaps = re.sub(r'<ol class="gaps">.*?</ol>', "", html, flags=re.DOTALL)  # model texts, which name methods and tags
    assert english(gaps) == []
    assert [text for text in Visible(html).texts if re.search(r"[\u3400-\u9fff][,;:]", text)] == []
    assert phrases(html) == []


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_capability_is_chinese_even_where_a_source_could_not_be_read(assessed: Client, capability: str) -> None:
    html = assessed.get(reverse("capability", args=["acme", capability])).content.decode()
    assert phrases(html) == []
    assert [sentence for sentence in SENTENCES.values() if sentence.rstrip(".") in html] == []


def test_a_capability_tells_in_chinese_why_a_source_could_not_be_read(assessed: Client) -> None:
    html = assessed.get(reverse("capability", args=["acme", "DO1"])).content.decode()
    assert "数据源 mlflow 的模型注册表未能读取（服务器报告内部错误（status 500））" in html


def test_the_sources_page_names_the_stream_that_another_one_needs(assessed: Client) -> None:
    assert "它所依赖的内容未能读取（实验）。" in assessed.get(reverse("sources", args=["acme"])).content.decode()


@pytest.mark.parametrize("name", ["overview", "sources", "report"])
def test_a_page_is_chinese_before_anything_was_collected(chinese: Client, world: World, name: str) -> None:
    chinese.force_login(world.alice)
    assert english(chinese.get(reverse(name, args=["acme"])).content.decode()) == []


def test_pages_that_belong_to_no_organisation_are_chinese(chinese: Client, world: World) -> None:
    pages = [chinese.get(reverse("sign-in")), chinese.post(reverse("sign-in"), {"username": "", "password": "x"})]
    chinese.force_login(world.alice)
    pages.append(chinese.get("/no-such-page/"))
    world.acme.memberships.all().delete()
    pages.append(chinese.get(reverse("home")))
    assert [page.status_code for page in pages] == [200, 200, 404, 200]
    assert [english(page.content.decode()) for page in pages] == [[]] * 4


def test_the_manual_is_chinese_around_its_text(chinese: Client, db: None) -> None:
    html = chinese.get(reverse("help")).content.decode()
    assert english(re.sub(r'<div class="prose">.*</main>', "", html, flags=re.DOTALL)) == []
    assert phrases(html) == []
