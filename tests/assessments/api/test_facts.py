"""Programs send facts: what is kept, what is refused and in which words, and who may send to whom."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from assessments.evidence import pushed, store
from assessments.evidence.models import Source
from integrations.connectors.base import connector
from integrations.connectors.push import DAMAGED, NOTHING_YET, connect, packed
from integrations.push_client import PushRefused, push, push_tables
from maturity.facts import Reading, Statement
from tests.assessments.conftest import World
from tests.integrations.connectors.recorder import Recorder
from tests.integrations.servers import Answer, stub_server

AT = 1_772_330_400_000
RUN = {"ci_run": "1", "job": "tests", "status": "passed", "at": AT, "coverage": 0.8}
BODY = {"batch": "b1", "table": "ci_runs", "rows": [RUN]}


@pytest.fixture
def source(world: World) -> Source:
    return Source.objects.create(organisation=world.acme, key="ci", kind="push")


@pytest.fixture
def token(source: Source) -> str:
    return pushed.new_token(source, "pipeline")


Send = Callable[..., Any]


@pytest.fixture
def send(token: str) -> Send:
    """Posts a body (bytes as they are) to an organisation with a token, as a program that knows no cookies."""

    def post(body: Any, *, organisation: str = "acme", bearer: str | None = token) -> Any:
        client = Client(enforce_csrf_checks=True)
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        url = reverse("api-facts", kwargs={"key": organisation})
        return client.post(url, content, content_type="application/json", headers=headers)

    return post


def read(source: Source) -> tuple[Recorder, Statement]:
    sink = Recorder()
    return sink, connect(pushed.connector_config(source)).collect(sink)


def test_accepted_facts_are_read_from_the_source(send: Send, source: Source) -> None:
    response = send(BODY)
    assert response.status_code == 201
    assert response.json()["tables"] == {"ci_runs": 1}
    sink, statement = read(source)
    assert statement.complete
    assert [(s.stream, s.rows) for s in statement.streams] == [("ci", 1)]
    row = sink.tables["ci_runs"][0]
    assert (row["ci_run"], row["at"], row["coverage"], row["project"]) == ("1", AT, 0.8, None)
    assert len(sink.frame("ci_runs")) == 1


def test_the_newest_telling_of_a_fact_wins(send: Send, source: Source) -> None:
    send(BODY)
    send({**BODY, "batch": "b2", "rows": [{**RUN, "status": "failed"}, {**RUN, "ci_run": "2"}]})
    rows = read(source)[0].tables["ci_runs"]
    assert sorted((row["ci_run"], row["status"]) for row in rows) == [("1", "failed"), ("2", "passed")]


def test_sending_the_same_batch_again_changes_nothing(send: Send, source: Source) -> None:
    first, again = send(BODY), send({**BODY, "rows": [dict(reversed(RUN.items()))]})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["sha256"] == first.json()["sha256"]
    assert (first.json()["new"], again.json()["new"]) == (True, False)
    assert source.pushed_batches.count() == 1


def test_the_same_key_with_other_rows_is_refused(send: Send, source: Source) -> None:
    send(BODY)
    response = send({**BODY, "rows": [{**RUN, "status": "failed"}]})
    assert response.status_code == 409
    assert "other rows" in response.json()["detail"]
    assert read(source)[0].tables["ci_runs"][0]["status"] == "passed"


def test_several_tables_are_one_batch(send: Send, source: Source) -> None:
    report = {"report": "a" * 64, "kind": "evaluation", "made_at": "2026-03-01T02:00:00Z"}
    value = {"report": "a" * 64, "row": None, "key": "accuracy", "number": 0.9}
    response = send({"batch": "b", "tables": {"reports": [report], "report_values": [value]}})
    assert response.status_code == 201
    sink, statement = read(source)
    assert statement.stream("reports").rows == 2
    assert sink.tables["reports"][0]["made_at"] == AT
    stray = send({"batch": "c", "tables": {"report_values": [value]}})
    assert stray.status_code == 400
    assert stray.json()["faults"][0]["row"] == 1


@pytest.mark.parametrize(
    ("change", "column", "words"),
    [
        ({"status": "green"}, "status", "must be one of passed, failed, cancelled, not “green”"),
        ({"at": AT // 1000}, "at", "looks like seconds, write milliseconds"),
        ({"at": "2026-03-01T02:00:00"}, "at", "must say its offset from UTC"),
        ({"at": "soon"}, "at", "must be a time such as"),
        ({"at": True}, "at", "must be a time"),
        ({"at": AT + 0.5}, "at", "whole milliseconds"),
        ({"at": 10**400}, "at", "must be a time between"),
        ({"coverage": 80}, "coverage", "must be from 0 to 1, not “80”"),
        ({"coverage": "80 %"}, "coverage", "must be a number"),
        ({"seconds": -1}, "seconds", "must not be below 0"),
        ({"job": None}, "job", "is required and is missing"),
        ({"job": "  "}, "job", "is required and is missing"),
        ({"job": ["tests"]}, "job", "must be text"),
        ({"job": "a\x00b"}, "job", "cannot be printed"),
        ({"job": "a" * 600}, "job", "is too long"),
        ({"colour": "red"}, "colour", "ci_runs has no such column"),
    ],
)
def test_a_fault_is_told_by_row_and_column_and_nothing_is_kept(
    send: Send, source: Source, change: dict[str, Any], column: str, words: str
) -> None:
    body = json.dumps({**BODY, "rows": [RUN, {**RUN, "ci_run": "2", **change}]}).encode()
    if b"0" * 400 in body:
        assert send(body).status_code == 400
        return
    response = send(body)
    assert response.status_code == 400
    (fault,) = response.json()["faults"]
    assert (fault["table"], fault["row"], fault["column"]) == ("ci_runs", 2, column)
    assert words in fault["message"]
    assert source.pushed_batches.count() == 0
    assert not list(store.folder(source.organisation_id).glob("*"))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{not json", "not JSON"),
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"batch": NaN}', "not JSON"),
        ([BODY], "must be a JSON object"),
        ({**BODY, "batch": ""}, "batch must be a text"),
        ({**BODY, "batch": 7}, "batch must be a text"),
        ({**BODY, "batch": "b" * 101}, "batch must be a text"),
        ({**BODY, "table": "runs"}, "cannot be sent; known are change_requests"),
        ({**BODY, "table": 5}, "cannot be sent"),
        ({**BODY, "rows": {}}, "list of at least one row"),
        ({**BODY, "rows": []}, "list of at least one row"),
        ({**BODY, "rows": ["x"]}, "must be a JSON object"),
        ({**BODY, "rows": [RUN, RUN]}, "is the same fact as row 1"),
        ({**BODY, "tables": {}}, "either table and rows, or tables"),
        ({"batch": "b"}, "either table and rows, or tables"),
        ({**BODY, "project": "fraud"}, "project is not a field of a batch"),
    ],
)
def test_a_body_of_another_shape_is_refused_in_words(send: Send, source: Source, body: Any, words: str) -> None:
    response = send(body)
    assert response.status_code == 400
    assert words in response.content.decode()
    assert source.pushed_batches.count() == 0


def test_only_the_first_fifty_faults_are_told(send: Send) -> None:
    response = send({**BODY, "rows": [{"ci_run": str(n)} for n in range(200)]})
    assert len(response.json()["faults"]) == 50


def test_what_is_too_large_is_refused_whole(send: Send, source: Source) -> None:
    rows = [{**RUN, "ci_run": str(n)} for n in range(pushed.MOST_ROWS + 1)]
    assert send({**BODY, "rows": rows}).status_code == 413
    assert send(b" " * (pushed.MOST_BYTES + 1)).status_code == 413
    assert send({**BODY, "rows": rows[:-1]}).status_code == 201
    assert len(read(source)[0].tables["ci_runs"]) == pushed.MOST_ROWS


@pytest.mark.parametrize("bearer", [None, "", "dlemm_wrong", "dlemm_\u00e4"])
@pytest.mark.parametrize("organisation", ["acme", "globex", "no-such-one"])
def test_without_a_valid_token_every_organisation_looks_alike(send: Send, bearer: str, organisation: str) -> None:
    response = send(BODY, bearer=bearer, organisation=organisation)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert response.json() == {"detail": "The token is missing, unknown or revoked."}


def test_a_token_opens_its_own_organisation_and_no_other_exists(send: Send, source: Source) -> None:
    foreign, absent = (send(BODY, organisation=key) for key in ("globex", "no-such-one"))
    assert foreign.status_code == absent.status_code == 404
    assert foreign.content == absent.content
    assert source.pushed_batches.count() == 0


def test_a_revoked_token_opens_nothing(send: Send, source: Source) -> None:
    number = source.push_tokens.get().pk
    call_command("push_token", "acme", "ci", "--revoke", str(number), stdout=StringIO())
    assert send(BODY).status_code == 401
    with pytest.raises(CommandError, match="no valid token"):
        call_command("push_token", "acme", "ci", "--revoke", str(number))


def test_a_token_of_a_source_that_became_another_kind_opens_nothing(send: Send, source: Source) -> None:
    Source.objects.filter(pk=source.pk).update(kind="mlflow")
    assert send(BODY).status_code == 401


def test_a_token_is_shown_once_and_kept_as_a_hash(world: World) -> None:
    shown, told = StringIO(), StringIO()
    call_command("push_token", "acme", "builds", "--label", "nightly", stdout=shown, stderr=told)
    token = shown.getvalue().strip()
    assert len(token) > 45
    assert "only once" in told.getvalue()
    assert pushed.token_of(token) is not None
    with connection.cursor() as cursor:
        cursor.execute("select * from evidence_pushtoken")
        assert token not in str(cursor.fetchall())
    listed = StringIO()
    call_command("push_token", "acme", "builds", "--list", stdout=listed)
    assert "valid, last used never nightly" in listed.getvalue()
    assert token not in listed.getvalue()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere", "ci"), "no organisation"),
        (("acme", "mlflow"), "only a source of kind push"),
        (("acme", "No Good"), "small letters"),
        (("acme", "absent", "--list"), "no source"),
    ],
)
def test_the_command_says_what_is_wrong(world: World, arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("push_token", *arguments)


def test_a_source_that_never_received_anything_says_so(source: Source) -> None:
    _sink, statement = read(source)
    assert {stream.state for stream in statement.streams} == {Reading.NOT_SUPPORTED}
    assert {stream.reason for stream in statement.streams} == {NOTHING_YET}


@pytest.mark.parametrize("damage", [b"", b"not gzip", packed({"ci_runs": []})[1], None])
def test_a_damaged_batch_is_never_a_smaller_success(send: Send, source: Source, damage: bytes | None) -> None:
    send(BODY)
    send({**BODY, "batch": "b2", "rows": [{**RUN, "ci_run": "2"}]})
    incident = {"incident": "I-1", "kind": "model", "opened_at": AT}
    send({"batch": "b3", "table": "incidents", "rows": [incident]})
    batch = source.pushed_batches.get(key="b2")
    path = store.path_of(source.organisation_id, batch.file, pushed.SUFFIX)
    path.unlink() if damage is None else path.write_bytes(damage)
    sink, statement = read(source)
    assert statement.stream("ci").reason == f"damaged: {DAMAGED}"
    assert statement.stream("ci").state is Reading.COULD_NOT_LOOK
    assert sink.tables["ci_runs"] == []
    assert statement.stream("incidents").rows == 1


def test_no_setting_of_a_person_leads_to_a_file_of_this_machine(source: Source, world: World) -> None:
    source.config = {"batches": [{"path": "/etc/passwd", "sha256": "", "tables": []}], "path": "/etc/passwd"}
    assert pushed.connector_config(source) == {"batches": []}
    table = Source(organisation=world.acme, key="t", kind="tables", config={"path": "/etc/passwd", "upload": "../x"})
    assert "passwd" not in str(pushed.connector_config(table))
    assert "x" not in Path(pushed.connector_config(table)["path"]).name


def test_an_uploaded_file_is_read_by_its_source(world: World) -> None:
    columns = {"incident": "Id", "opened_at": "Opened"}
    config = {"table": "incidents", "columns": columns, "fixed": {"kind": "model"}, "file": "old.csv"}
    source = Source.objects.create(organisation=world.acme, key="incidents", kind="tables", config=config)
    pushed.keep_upload(source, b"Id,Opened\nI-1,2026-03-01\n")
    sink = Recorder()
    statement = connector("tables", pushed.connector_config(source), allow_private=()).collect(sink)
    assert statement.complete
    assert [row["incident"] for row in sink.tables["incidents"]] == ["I-1"]


@pytest.mark.django_db(transaction=True)
def test_the_client_sends_over_a_real_connection_and_again_without_harm(
    live_server: Any, world: World, source: Source, token: str
) -> None:
    url = f"{live_server.url}/api/v1/organisations/acme/facts/"
    assert push(url, token, "ci_runs", [RUN])["new"] is True
    assert push(url, token, "ci_runs", [RUN])["new"] is False
    assert push_tables(url, token, {"ci_runs": [{**RUN, "status": "failed"}]})["new"] is True
    assert [row["status"] for row in read(source)[0].tables["ci_runs"]] == ["failed"]
    with pytest.raises(PushRefused, match="ci_runs, 1, status: must be one of") as caught:
        push(url, token, "ci_runs", [{**RUN, "status": "green"}])
    assert caught.value.status == 400
    with pytest.raises(PushRefused, match="401"):
        push(url, "wrong", "ci_runs", [RUN])
    with pytest.raises(PushRefused, match="413"):
        push(url, token, "ci_runs", [{**RUN, "job": "x" * 6_000_000}])


@pytest.mark.parametrize(("rows", "status"), [([RUN], 200), ([{**RUN, "status": "failed"}], 409)])
def test_the_same_key_arriving_twice_at_once_is_kept_once(
    send: Send, source: Source, monkeypatch: pytest.MonkeyPatch, rows: list[Any], status: int
) -> None:
    keep, first = store.keep_bytes, []

    def overtaken(*arguments: Any) -> str:
        """The other request comes through between the question whether the key is known and the answer."""
        if not first:
            first.append(True)
            first.append(send({**BODY, "rows": rows}).status_code)
        return keep(*arguments)

    monkeypatch.setattr(store, "keep_bytes", overtaken)
    assert (send(BODY).status_code, first[1]) == (status, 201)
    assert source.pushed_batches.count() == 1


def test_the_client_asks_again_when_that_may_help() -> None:
    naps: list[float] = []
    done = Answer(201, b'{"batch": "b", "new": true}')
    answers = [Answer(503), Answer(claim=50), done]
    with stub_server(lambda line, body, n: answers[n]) as stub:
        assert push(stub.url, "t", "ci_runs", [RUN], sleep=naps.append)["new"]
    assert len(naps) == 2
    assert len(stub.seen) == 3


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Answer(302, headers=(("Location", "http://127.0.0.1:9/"),)), 302),
        (Answer(200, b"<html>Sign in</html>"), 200),
        (Answer(200, b"[1]"), 200),
        (Answer(404, b"<html>"), 404),
        (Answer(403, b"[]"), 403),
    ],
)
def test_the_client_takes_no_other_answer_for_success_and_does_not_ask_again(answer: Answer, status: int) -> None:
    with stub_server(lambda line, body, n: answer) as stub, pytest.raises(PushRefused) as caught:
        push(stub.url, "hidden-token", "ci_runs", [RUN], sleep=lambda _: pytest.fail("no reason to wait"))
    assert caught.value.status == status
    assert "hidden-token" not in str(caught.value)
    assert len(stub.seen) == 1


def test_the_client_gives_up_when_nobody_answers() -> None:
    naps: list[float] = []
    with pytest.raises(PushRefused, match="cannot be reached"):
        push("http://127.0.0.1:9/", "t", "ci_runs", [RUN], sleep=naps.append)
    assert len(naps) == 4
