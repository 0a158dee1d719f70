"""What a collection says when the server cannot be read: one table of troubles, streams and reasons."""

from __future__ import annotations

import logging
import time

import orjson
import pytest

from integrations.connectors.base import SENTENCES, Reason
from maturity.facts import Reading
from tests.integrations.connectors.recorder import Recorder, collected, mlflow
from tests.integrations.servers import Answer, free_port, stub_server

HTML = (("Content-Type", "text/html"),)
LOGIN = Answer(200, b"<!DOCTYPE html><html><body>Please sign in</body></html>", HTML)
EXPERIMENT = {"experiment_id": "1", "name": "e", "lifecycle_stage": "active"}
RUN = {"info": {"run_id": "r1", "experiment_id": "1", "start_time": 1, "status": "FINISHED"}, "data": {}}


def json(**content: object) -> Answer:
    return Answer(200, orjson.dumps(content))


def server(line: str, **other: Answer) -> Answer:
    """A tiny MLflow with one experiment and one run; ``other`` replaces answers by the word found in the path."""
    for word, answer in other.items():
        if word in line.replace("-", "_"):
            return answer
    if "experiments" in line:
        return json(experiments=[EXPERIMENT])
    if "runs" in line:
        return json(runs=[RUN])
    return Answer(200, b"3.1.0") if "version" in line.split("?")[0].rpartition("/")[2] else json()


TROUBLES = {
    "401": (Answer(401), Reason.UNAUTHORISED),
    "403": (Answer(403, b'{"error_code": "PERMISSION_DENIED"}'), Reason.FORBIDDEN),
    "403 for the host name": (Answer(403, b"Invalid Host header - possible DNS rebinding"), Reason.BAD_HOST),
    "404": (Answer(404, b"<html>no</html>", HTML), Reason.NOT_FOUND),
    "400": (Answer(400, b'{"error_code": "INVALID_PARAMETER_VALUE"}'), Reason.BAD_REQUEST),
    "500": (Answer(500), Reason.SERVER_ERROR),
    "501": (Answer(501), Reason.SERVER_ERROR),
    "504": (Answer(504), Reason.TOO_SLOW),
    "429": (Answer(429), Reason.BUSY),
    "garbage": (Answer(200, b"\x00\xff{{{"), Reason.GARBAGE),
    "a list instead of an object": (Answer(200, b"[1]"), Reason.GARBAGE),
    "runs that are no list": (json(runs="many", experiments={"a": 1}, registered_models=[7]), Reason.GARBAGE),
    "rows of another shape": (
        json(runs=[{"info": 5}], experiments=[{"x": 1}], registered_models=[{"name": 3}]),
        Reason.GARBAGE,
    ),
    "nothing at all": (Answer(200, b""), Reason.GARBAGE),
    "damaged compression": (Answer(200, b"not gzip", (("Content-Encoding", "gzip"),)), Reason.GARBAGE),
    "stacked compression": (Answer(200, b"{}", (("Content-Encoding", "gzip, gzip"),)), Reason.GARBAGE),
    "a login page": (LOGIN, Reason.LOGIN_PAGE),
    "a login page called JSON": (Answer(200, LOGIN.body), Reason.LOGIN_PAGE),
    "a redirect to a login": (Answer(302, headers=(("Location", "https://sso.example/login"),)), Reason.LOGIN_PAGE),
    "another redirect": (Answer(301, headers=(("Location", "http://169.254.169.254/"),)), Reason.REDIRECTED),
    "a redirect to https": (Answer(308, headers=(("Location", "https://127.0.0.1/x"),)), Reason.REDIRECTED),
    "too slow": (Answer(delay=5), Reason.TOO_SLOW),
    "cut short": (Answer(claim=500), Reason.CUT_SHORT),
    "too large": (Answer(200, b'{"x": "' + b"a" * 70_000 + b'"}'), Reason.TOO_LARGE),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_a_server_in_trouble_is_not_an_empty_server(name: str) -> None:
    answer, reason = TROUBLES[name]
    with stub_server(lambda line, body, n: answer) as stub:
        sink, statement = collected(stub.url, timeout=0.2 if answer.delay else 20, max_bytes=64_000)
    assert {stream.state for stream in statement.streams} == {Reading.COULD_NOT_LOOK}
    assert not statement.complete
    experiments = statement.stream("experiments")
    assert experiments.reason.startswith(f"{reason}: {SENTENCES[reason]}")
    assert experiments.rows == 0
    assert not any(sink.tables.values())


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_with_the_runs_alone_leaves_the_other_streams_standing(name: str) -> None:
    answer, reason = TROUBLES[name]
    with stub_server(lambda line, body, n: server(line, runs=answer)) as stub:
        _, statement = collected(stub.url, timeout=0.3 if answer.delay else 20, max_bytes=64_000, page_size=60)
    assert statement.stream("experiments").state is Reading.READ
    assert statement.stream("registry").state is Reading.READ
    runs = statement.stream("runs")
    assert (runs.state, runs.rows) == (Reading.COULD_NOT_LOOK, 0)
    assert runs.reason.startswith(f"{reason}: ")
    assert statement.stream("artifacts").state is Reading.COULD_NOT_LOOK


@pytest.mark.parametrize("name", ["401", "500", "too slow", "a login page", "cut short"])
def test_a_check_gives_the_same_reason(name: str) -> None:
    answer, reason = TROUBLES[name]
    with stub_server(lambda line, body, n: answer) as stub:
        check = mlflow(stub.url, timeout=0.2 if answer.delay else 20).check()
    assert not check.ok
    assert check.reason.startswith(f"{reason}: ")


def test_a_server_that_is_down_is_asked_for_once_only() -> None:
    sink, statement = collected(f"http://127.0.0.1:{free_port()}")
    assert {stream.state for stream in statement.streams} == {Reading.COULD_NOT_LOOK}
    assert {stream.reason for stream in statement.streams} == {f"unreachable: {SENTENCES[Reason.UNREACHABLE]}"}
    assert statement.counts["requests"] == 6
    assert not any(sink.tables.values())


def test_a_page_that_fails_in_the_middle_fails_the_stream() -> None:
    def half(line: str, body: bytes, n: int) -> Answer:
        if b"start_time >= 9" in body:
            return Answer(500)
        return server(
            line, runs=json(runs=[{**RUN, "info": {**RUN["info"], "run_id": f"r{n}", "start_time": n}} for n in (1, 9)])
        )

    with stub_server(half) as stub:
        sink, statement = collected(stub.url, page_size=2)
    assert [row["run"] for row in sink.tables["runs"]] == ["r1"]
    assert sink.windows == [(None, 9)]
    assert statement.counts["windows_failed"] == 1
    runs = statement.stream("runs")
    assert (runs.state, runs.rows) == (Reading.COULD_NOT_LOOK, 0)
    assert runs.reason.startswith("server_error: ")


def test_pages_that_do_not_advance_are_refused() -> None:
    with stub_server(
        lambda line, body, n: server(line, experiments=json(experiments=[EXPERIMENT], next_page_token="x"))
    ) as stub:
        _, statement = collected(stub.url)
    assert statement.stream("experiments").reason.startswith("garbage: ")
    with stub_server(lambda line, body, n: server(line, runs=json(runs=[RUN], next_page_token="x"))) as stub:
        _, statement = collected(stub.url)
    assert statement.stream("runs").reason.startswith("garbage: ")


@pytest.mark.parametrize("starts", [[5, 3], [5, 3, 9]], ids=["descending", "mixed"])
def test_runs_out_of_order_are_refused(starts: list[int]) -> None:
    runs = [{**RUN, "info": {**RUN["info"], "run_id": f"r{s}", "start_time": s}} for s in starts]
    with stub_server(lambda line, body, n: server(line, runs=json(runs=runs))) as stub:
        _, statement = collected(stub.url)
    assert statement.stream("runs").reason.startswith("garbage: ")


def test_a_server_without_logged_models_and_without_the_tag_does_not_support_them() -> None:
    with stub_server(lambda line, body, n: server(line, logged_models=Answer(404, b"<html>", HTML))) as stub:
        _, statement = collected(stub.url)
    models = statement.stream("logged_models")
    assert models.state is Reading.NOT_SUPPORTED
    assert "MLflow 3" in models.reason
    assert statement.complete


def test_a_server_without_a_registry_does_not_support_it() -> None:
    with stub_server(lambda line, body, n: server(line, registered_models=Answer(404))) as stub:
        _, statement = collected(stub.url)
    assert statement.stream("registry").state is Reading.NOT_SUPPORTED
    assert statement.complete


HISTORY = [{"artifact_path": "clf", "model_uuid": "u1", "flavors": {"sklearn": {}, "python_function": {}}}]


def test_models_of_mlflow_2_are_read_from_the_history_tag() -> None:
    tagged = {**RUN, "data": {"tags": [{"key": "mlflow.log-model.history", "value": orjson.dumps(HISTORY).decode()}]}}

    def two(line: str, body: bytes, n: int) -> Answer:
        if "path=clf%2FMLmodel" in line:
            return Answer(200, b"flavors: {sklearn: {}}\nsignature: {inputs: '[1]', outputs: '[1]'}\n")
        if "path=clf%2Frequirements.txt" in line:
            return Answer(200, b"scikit-learn==1.6.0\n")
        if "artifacts/list" in line:
            inside = [{"path": "clf/MLmodel"}, {"path": "clf/requirements.txt"}]
            return json(files=inside if "path=clf" in line else [{"path": "clf", "is_dir": True}])
        return server(line, logged_models=Answer(404), runs=json(runs=[tagged]))

    with stub_server(two) as stub:
        sink, statement = collected(stub.url)
    assert statement.stream("logged_models").state is Reading.READ
    assert "logged_models_from_tags:1" in statement.notes
    (row,) = sink.tables["logged_models"]
    assert (row["model"], row["run"], row["name"], row["flavors"]) == ("u1", "r1", "clf", "sklearn")
    assert (row["has_signature"], row["has_example"], row["pinned"]) == (True, False, True)
    assert [row["path"] for row in sink.of("artifacts", "owner", "u1")] == ["MLmodel", "requirements.txt"]


def test_one_unreadable_list_is_recorded_and_the_rest_goes_on() -> None:
    runs = [{**RUN, "info": {**RUN["info"], "run_id": f"r{n:02}", "start_time": n}} for n in range(10)]

    def store(line: str, body: bytes, n: int) -> Answer:
        broken = Answer(500) if "r02" in line else json(files=[{"path": "a"}])
        return server(line, artifacts=broken, runs=json(runs=runs))

    with stub_server(store) as stub:
        sink, statement = collected(stub.url)
    listings = {row["owner"]: row["read"] for row in sink.tables["artifact_listings"]}
    assert listings == {f"r{n:02}": n != 2 for n in range(10)}
    assert {row["owner"] for row in sink.tables["artifacts"]} == {owner for owner, read in listings.items() if read}
    assert statement.stream("artifacts").state is Reading.READ
    assert "artifacts_unreadable:1" in statement.notes


def test_more_than_a_tenth_of_unreadable_lists_is_too_little_known() -> None:
    runs = [{**RUN, "info": {**RUN["info"], "run_id": f"r{n:02}", "start_time": n}} for n in range(10)]

    def store(line: str, body: bytes, n: int) -> Answer:
        broken = Answer(500) if "r02" in line or "r05" in line else json(files=[{"path": "a"}])
        return server(line, artifacts=broken, runs=json(runs=runs))

    with stub_server(store) as stub:
        _, statement = collected(stub.url)
    assert statement.stream("artifacts").state is Reading.COULD_NOT_LOOK
    assert statement.stream("artifacts").reason.startswith("server_error: ")


def test_an_artifact_store_out_of_order_is_not_asked_for_ever() -> None:
    runs = [{**RUN, "info": {**RUN["info"], "run_id": f"r{n}", "start_time": n}} for n in range(40)]
    with stub_server(lambda line, body, n: server(line, artifacts=Answer(500), runs=json(runs=runs))) as stub:
        _, statement = collected(stub.url)
        asked = sum("artifacts" in line for line, _ in stub.seen)
    assert asked == 20  # ten runs, each asked for twice
    assert statement.stream("artifacts").state is Reading.COULD_NOT_LOOK
    assert statement.stream("runs").state is Reading.READ


def lookups_of(limit: int) -> list[str]:
    """Who is asked for artifacts when four runs and three models are there, one of each behind a version."""
    runs = [{**RUN, "info": {**RUN["info"], "run_id": f"r{n}", "start_time": n}} for n in (1, 2, 3, 4)]
    runs[2]["outputs"] = {"model_outputs": [{"model_id": "m-c"}]}
    models = [{"info": {"model_id": f"m-{key}", "source_run_id": "r3", "status": "x"}} for key in "cba"]
    version = {"name": "n", "version": "1", "run_id": "r1", "source": "models:/m-a"}

    def small(line: str, body: bytes, n: int) -> Answer:
        return server(
            line,
            directories=json(files=[]),
            artifacts=json(files=[]),
            registered_models=json(registered_models=[{"name": "n"}]),
            model_versions=json(model_versions=[version]),
            logged_models=json(models=models),
            runs=json(runs=runs),
        )

    with stub_server(small) as stub:
        sink, statement = collected(stub.url, artifact_lookups=limit)
    left_out = 7 - len(sink.tables["artifact_listings"])
    assert (f"artifacts_not_asked:{left_out}" in statement.notes) is (left_out > 0)
    return [row["owner"] for row in sink.tables["artifact_listings"]]


def test_what_stands_behind_versions_is_looked_into_first_then_runs_with_models_then_the_newest() -> None:
    assert lookups_of(0) == []
    assert lookups_of(2) == ["m-a", "r1"]
    assert lookups_of(4) == ["m-c", "m-b", "m-a", "r1"]
    assert lookups_of(6) == ["m-c", "m-b", "m-a", "r1", "r3", "r4"]
    assert lookups_of(100) == ["m-c", "m-b", "m-a", "r1", "r3", "r4", "r2"]


def test_a_sink_may_end_the_collection() -> None:
    class Cancelled(Exception):
        pass

    class Impatient(Recorder):
        def progress(self, done: int, total: int | None, what: str) -> None:
            raise Cancelled

    with stub_server(lambda line, body, n: server(line)) as stub, pytest.raises(Cancelled):
        mlflow(stub.url).collect(Impatient())


def test_a_page_too_large_is_asked_for_in_halves() -> None:
    def heavy(line: str, body: bytes, n: int) -> Answer:
        big = "runs/search" in line and orjson.loads(body)["max_results"] > 10
        return Answer(200, b"x" * 70_000) if big else server(line)

    with stub_server(heavy) as stub:
        sink, statement = collected(stub.url, max_bytes=64_000)
    assert statement.complete
    assert [row["run"] for row in sink.tables["runs"]] == ["r1"]


SECRET = "s3cr3t-value"


@pytest.mark.parametrize(
    "settings", [{"token": SECRET}, {"username": "ann", "password": SECRET}], ids=["token", "password"]
)
def test_secrets_go_to_the_server_and_nowhere_else(settings: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with stub_server(lambda line, body, n: Answer(401, SECRET.encode())) as stub:
        connector = mlflow(stub.url, **settings)
        _, statement = collected(stub.url, **settings)
        sent = stub.seen[0][1]["Authorization"]
    assert sent.startswith("Bearer " if "token" in settings else "Basic ")
    shown = repr(connector._config) + repr(connector) + repr(statement) + str(connector.check()) + caplog.text
    assert SECRET not in shown
    assert sent not in shown


def test_a_workspace_is_named_in_every_request() -> None:
    with stub_server(lambda line, body, n: server(line)) as stub:
        collected(stub.url, workspace="team-a")
    assert {headers.get("X-MLFLOW-WORKSPACE") for _, headers in stub.seen} == {"team-a"}


def test_a_slow_drip_is_cut_off_by_the_total_time() -> None:
    began = time.monotonic()
    with stub_server(lambda line, body, n: Answer(body=b" " * 500 + b"{}", drip=0.05)) as stub:
        assert mlflow(stub.url, timeout=0.2).check().reason.startswith("too_slow: ")
    assert time.monotonic() - began < 10


def test_the_servers_clock_is_compared_with_ours() -> None:
    ahead = (("Date", "Thu, 01 Jan 2099 00:00:00 GMT"),)
    with stub_server(lambda line, body, n: Answer(server(line).status, server(line).body, ahead)) as stub:
        _, statement = collected(stub.url)
    assert statement.counts["server_clock_ahead_s"] == pytest.approx(4_070_908_800 - time.time(), abs=3)
