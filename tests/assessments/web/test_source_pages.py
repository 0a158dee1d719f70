from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from assessments.evidence import adding, pushed
from assessments.evidence.collect import collect
from assessments.evidence.kinds import KINDS, Form
from assessments.evidence.models import Change, Source
from assessments.ratings.assess import assess
from integrations.connectors.base import CONNECTORS, Check
from tests.assessments.conftest import Scripted, World
from tests.assessments.ratings.test_assess import AS_OF, START, rows

Use = Callable[[Scripted], None]
CSV = b"Ticket,Opened\n1,2026-01-01T00:00:00Z\n"
COLUMNS = '{"incident": "Ticket", "opened_at": "Opened"}'


def url(name: str, **more: Any) -> str:
    return reverse(name, kwargs={"key": "acme", **more})


def add(client: Client, kind: str, key: str = "new", **texts: Any) -> Any:
    return client.post(url("source-add"), {"kind": kind, "key": key, **texts})


@pytest.fixture
def table(signed_in: Client, world: World) -> Source:
    """A spreadsheet that still waits for its file."""
    fixed = '{"kind": "model"}'
    answer = add(signed_in, "tables", "incidents", table="incidents", columns=COLUMNS, fixed=fixed)
    assert answer.status_code == 302, answer.content.decode()
    return world.acme.sources.get(key="incidents")


# what a source contributes, and what changed


def test_a_source_says_what_it_feeds(signed_in: Client, world: World, scripted: Use) -> None:
    scripted(Scripted(rows(10, seeded=9), unread={"registry": "forbidden: no"}, now=START))
    collect(world.acme.sources.get())
    assess(world.acme, as_of=AS_OF)
    html = signed_in.get(url("source", source="mlflow")).content.decode()
    assert "This source feeds" in html
    assert "It would feed" in html
    assert f"{url('capability', capability='MD1')}#MD1." in html
    together = signed_in.get(url("contributions")).content.decode()
    assert "What to connect next" in together
    assert "Practices that no source feeds" in together


def test_a_source_without_a_collection_has_a_page(signed_in: Client, world: World) -> None:
    assert "Never collected" in signed_in.get(url("source", source="mlflow")).content.decode()
    assert signed_in.get(url("contributions")).status_code == 200


def test_changes_are_listed_newest_first_with_their_interval(signed_in: Client, world: World) -> None:
    source = world.acme.sources.get()
    start = datetime(2026, 3, 1, 10, tzinfo=UTC)
    for number in range(60):
        before = start + timedelta(hours=number)
        Change.objects.create(
            source=source,
            entity="alias" if number % 2 else "run",
            ident=f"<b>{number}</b>",
            field="tag",
            old=None,
            new="x" * 9000,
            after=before - timedelta(minutes=15),
            before=before,
        )
    first = signed_in.get(url("source-changes", source="mlflow")).content.decode()
    assert "between 2026-03-03 20:45 and 2026-03-03 21:00" in first
    assert "&lt;b&gt;59" in first
    assert "<b>59" not in first
    assert "x" * 400 not in first
    last = signed_in.get(url("source-changes", source="mlflow"), {"page": 2, "kind": ""}).content.decode()
    assert "between 2026-03-01 09:45 and 2026-03-01 10:00" in last
    aliases = signed_in.get(url("source-changes", source="mlflow"), {"kind": "alias", "q": "<b>5"}).content.decode()
    assert "&lt;b&gt;59" in aliases
    assert "&lt;b&gt;58" not in aliases


# forms


def test_every_kind_has_a_form_and_every_form_a_kind(signed_in: Client, world: World) -> None:
    assert set(KINDS) == set(CONNECTORS)
    for kind in KINDS:
        html = signed_in.get(url("source-add"), {"kind": kind}).content.decode()
        for setting in KINDS[kind].settings:
            assert f'name="{setting.name}"' in html


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_setting_of_a_form_is_known_to_its_connector(world: World, kind: str) -> None:
    given = {setting.name: "1" for setting in KINDS[kind].settings if setting.form is not Form.JSON}
    config, secrets = adding.read_settings(KINDS[kind], given)
    told = ""
    try:
        adding.prepare(Source(organisation=world.acme, kind=kind, key="x"), config, secrets)
    except adding.SourceRefused as error:
        told = str(error)
    assert "is not a setting" not in told


def test_a_source_is_added_and_its_secret_never_shown_again(signed_in: Client, world: World) -> None:
    answer = add(signed_in, "mlflow", base_url="http://127.0.0.1:8/", token="very-secret-token", timeout="30")
    assert answer.status_code == 302
    source = world.acme.sources.get(key="new")
    assert source.config == {"base_url": "http://127.0.0.1:8", "timeout": 30}
    assert source.full_config()["token"] == "very-secret-token"
    for name in ("source", "source-edit", "source-remove"):
        assert "very-secret-token" not in signed_in.get(url(name, source="new")).content.decode()


def test_an_empty_secret_keeps_the_old_one_and_a_new_address_asks_for_it(signed_in: Client, world: World) -> None:
    add(signed_in, "mlflow", base_url="http://127.0.0.1:8", token="old-token")
    edit = url("source-edit", source="new")
    assert signed_in.post(edit, {"base_url": "http://127.0.0.1:8", "timeout": "5"}).status_code == 302
    assert world.acme.sources.get(key="new").full_config()["token"] == "old-token"
    moved = signed_in.post(edit, {"base_url": "http://127.0.0.1:7"})
    assert moved.status_code == 400
    assert "entered again" in moved.content.decode()
    assert signed_in.post(edit, {"base_url": "http://127.0.0.1:8", "forget": "on"}).status_code == 302
    assert "token" not in world.acme.sources.get(key="new").full_config()


@pytest.mark.parametrize(
    ("kind", "texts", "told"),
    [
        ("mlflow", {}, "is required"),
        ("mlflow", {"base_url": "ftp://a"}, "must start with http"),
        ("mlflow", {"base_url": "http://127.0.0.1:9"}, "same server already"),
        ("mlflow", {"base_url": "http://a.example", "timeout": "soon"}, "must be a number"),
        ("mlflow", {"base_url": "http://a.example", "timeout": "nan"}, "must be a number"),
        ("mlflow", {"base_url": "http://a.example", "key": "Not A Key"}, "small letters"),
        ("mlflow", {"base_url": "http://a.example", "key": "mlflow"}, "this key already"),
        ("prometheus", {"base_url": "http://a.example", "queries": "[" * 100_000}, "not valid JSON"),
        ("prometheus", {"base_url": "http://a.example", "queries": "[]"}, "queries"),
        ("tables", {"columns": '{"nonsense": "x"}'}, "no column"),
        ("mlflow", {"base_url": "http://a.example", "username": "x:y", "password": "top-secret"}, "colon"),
    ],
)
def test_refused_settings_are_told_and_nothing_is_kept(
    signed_in: Client, world: World, kind: str, texts: dict[str, str], told: str
) -> None:
    answer = signed_in.post(url("source-add"), {"kind": kind, "key": "new", **texts})
    html = answer.content.decode()
    assert answer.status_code == 400
    assert told in html.lower() or told in html
    assert "top-secret" not in html
    assert world.acme.sources.count() == 1


def test_a_connection_is_checked_with_a_plain_reason_and_nothing_is_saved(signed_in: Client, world: World) -> None:
    answer = add(signed_in, "mlflow", base_url="http://127.0.0.1:1", check="1")
    assert "could not be reached" in answer.content.decode()
    assert world.acme.sources.count() == 1
    saved = signed_in.post(url("source-check", source="mlflow")).content.decode()
    assert "could not be reached" in saved


def test_a_server_that_never_answers_does_not_hold_the_page(
    signed_in: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    ended = threading.Event()

    class Endless(Scripted):
        def check(self) -> Check:
            ended.wait(30)
            return Check(True)

    monkeypatch.setattr(adding, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(adding.collect, "connect", lambda source: Endless())
    try:
        assert "too long" in signed_in.post(url("source-check", source="mlflow")).content.decode()
    finally:
        ended.set()


def test_a_source_is_removed_only_after_being_asked(signed_in: Client, world: World) -> None:
    assert "Remove the source" in signed_in.get(url("source-remove", source="mlflow")).content.decode()
    assert world.acme.sources.count() == 1
    assert signed_in.post(url("source-remove", source="mlflow")).status_code == 302
    assert world.acme.sources.count() == 0
    assert world.globex.sources.count() == 1


def test_a_viewer_sees_the_source_and_no_form(client: Client, world: World) -> None:
    client.force_login(world.bob)
    html = client.get(url("source", source="mlflow")).content.decode()
    assert "source-edit" not in html
    assert "/edit/" not in html
    assert "/add-source/" not in client.get(url("sources")).content.decode()


# files and tokens


def test_a_file_is_uploaded_and_read_from_then_on(signed_in: Client, table: Source) -> None:
    assert "waits for its file" in signed_in.get(url("source", source="incidents")).content.decode()
    upload = url("source-upload", source="incidents")
    assert signed_in.post(upload, {"file": SimpleUploadedFile("a.csv", CSV)}).status_code == 302
    table.refresh_from_db()
    assert "upload" in table.config
    assert collect(table).state == "complete"
    edit = {"columns": COLUMNS, "fixed": '{"kind": "data"}', "table": "incidents"}
    assert signed_in.post(url("source-edit", source="incidents"), edit).status_code == 302
    table.refresh_from_db()
    assert "upload" in table.config


@pytest.mark.parametrize("content", [b"", b"\x00\xff\x00", b"Other,Headings\n1,2\n"])
def test_a_file_that_cannot_be_used_is_refused_and_the_old_one_stays(
    signed_in: Client, table: Source, content: bytes
) -> None:
    upload = url("source-upload", source="incidents")
    signed_in.post(upload, {"file": SimpleUploadedFile("a.csv", CSV)})
    table.refresh_from_db()
    before = table.config
    assert signed_in.post(upload, {"file": SimpleUploadedFile("b.csv", content)}).status_code == 400
    assert signed_in.post(upload).status_code == 400
    table.refresh_from_db()
    assert table.config == before


def test_a_file_beyond_the_limit_is_refused(signed_in: Client, table: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "MOST_UPLOAD", 10)
    answer = signed_in.post(url("source-upload", source="incidents"), {"file": SimpleUploadedFile("a.csv", CSV)})
    assert answer.status_code == 400
    assert "20 MB" in answer.content.decode()


def test_a_source_that_takes_no_file_refuses_one(signed_in: Client, world: World) -> None:
    answer = signed_in.post(url("source-upload", source="mlflow"), {"file": SimpleUploadedFile("a.csv", CSV)})
    assert answer.status_code == 400


def test_a_token_is_shown_once_works_and_can_be_revoked(signed_in: Client, world: World) -> None:
    add(signed_in, "push", "ci")
    made = signed_in.post(url("source-token", source="ci"), {"label": "<b>build</b>"})
    html = made.content.decode()
    token = next(word for word in html.replace("<", " ").replace(">", " ").split() if word.startswith("dlemm_"))
    assert made["Cache-Control"].find("no-store") >= 0
    assert "&lt;b&gt;build" in html
    assert pushed.token_of(token) is not None
    assert token not in signed_in.get(url("source", source="ci")).content.decode()
    number = world.acme.sources.get(key="ci").push_tokens.get().pk
    for _ in range(2):
        assert signed_in.post(url("source-token-revoke", source="ci", number=number)).status_code == 302
    assert pushed.token_of(token) is None
    assert signed_in.post(url("source-token-revoke", source="mlflow", number=number)).status_code == 404


def test_a_source_of_another_kind_gets_no_token(signed_in: Client, world: World) -> None:
    assert signed_in.post(url("source-token", source="mlflow")).status_code == 404
