"""The Prometheus connector: a real server with a past of its own, and a stub that misbehaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from integrations.connectors.base import ConfigError, Reason, link
from integrations.connectors.http import Timing
from integrations.connectors.prometheus import DAY, PARTIAL, POINTS, SEVERAL, PrometheusConnector, parse
from maturity.facts import Reading, Statement
from tests.integrations.connectors.recorder import Recorder
from tests.integrations.prometheus_server import prometheus_server
from tests.integrations.servers import Answer, Stub, stub_server

NOW = 1_772_409_600 + 3600  # 2026-03-02 01:00 UTC
MIDNIGHT = NOW - 3600
UP = {"name": "availability", "query": "avg(up)"}


def connector(url: str, *queries: dict[str, Any], **settings: Any) -> PrometheusConnector:
    timing = Timing(now=lambda: NOW, sleep=lambda _: None, chance=lambda: 0.5)
    return PrometheusConnector(parse({"base_url": url, "queries": list(queries or [UP]), **settings}), timing=timing)


def collected(url: str, *queries: dict[str, Any], **settings: Any) -> tuple[Recorder, Statement]:
    sink = Recorder()
    return sink, connector(url, *queries, **settings).collect(sink)


def past(days: int) -> str:
    """Hourly samples; of two targets one was down for half of the last day, and drift is never a number."""
    lines = ["# TYPE up gauge"]
    hours = [MIDNIGHT - days * DAY + hour * 3600 - 1800 for hour in range(1, days * 24 + 1)]
    for job in ("a", "b"):
        lines += [f'up{{job="{job}"}} {int(job == "a" or t <= MIDNIGHT - DAY // 2)} {t}' for t in hours]
    lines += ["# TYPE drift gauge", *(f"drift NaN {t}" for t in hours)]
    lines += ["# TYPE latency_ms gauge", *(f"latency_ms 250 {t}" for t in hours)]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus_server(tmp_path_factory.mktemp("prometheus"), past(10)) as url:
        yield url


def test_a_real_server_gives_one_value_a_day(server: str) -> None:
    queries = (
        {
            "name": "availability",
            "query": "avg(avg_over_time(up[1d]))",
            "project": "fraud",
            "version": "fraud/3",
            "target": 0.99,
        },
        {"name": "latency_p99_s", "query": "max_over_time(latency_ms[1d])", "unit": "ms", "target": 300},
    )
    sink, statement = collected(server, *queries, days=30)
    assert statement.complete
    assert statement.stream("service_levels").rows == 20
    assert statement.server_version.startswith("2.")
    rows = sink.of("service_levels", "name", "availability")
    assert [row["day"] for row in rows] == [(MIDNIGHT - n * DAY) * 1000 for n in range(10, 0, -1)]
    assert [row["value"] for row in rows[:-1]] == [1.0] * 9
    assert rows[-1]["value"] == pytest.approx(0.75)
    assert (rows[0]["project"], rows[0]["version"], rows[0]["target"]) == ("fraud", "fraud/3", 0.99)
    latency = sink.of("service_levels", "name", "latency_p99_s")[0]
    assert (latency["value"], latency["target"], latency["project"]) == (0.25, 0.3, None)
    assert len(sink.frame("service_levels")) == 20


def test_a_real_server_with_several_series_is_not_guessed_at(server: str) -> None:
    several = {"name": "availability", "query": "avg_over_time(up[1d])"}
    good = {"name": "requests", "query": "sum(sum_over_time(up[1d]))"}
    _sink, statement = collected(server, good, several)
    assert statement.stream("service_levels").state is Reading.COULD_NOT_LOOK
    assert statement.stream("service_levels").reason == f"unusable_query: {SEVERAL} (availability)"
    assert statement.notes == ("query_refused:availability",)
    assert connector(server, good, several).check().reason == f"unusable_query: {SEVERAL} (availability)"
    assert connector(server, good).check().ok


def test_a_real_server_names_the_query_it_does_not_understand(server: str) -> None:
    _sink, statement = collected(server, {"name": "error_rate", "query": "sum(rate("})
    reason = statement.stream("service_levels").reason
    assert reason.startswith(f"{Reason.BAD_REQUEST}: ")
    assert reason.endswith("(error_rate: status 400)")


def test_values_that_are_no_number_are_dropped_and_counted(server: str) -> None:
    sink, statement = collected(server, {"name": "drift/amount", "query": "max_over_time(drift[1d])"})
    assert statement.complete
    assert statement.counts["values_not_finite"] == 10
    assert sink.tables["service_levels"] == []
    assert statement.notes == ("queries_without_data:1",)


def test_a_query_without_data_is_read_to_the_end_and_noted(server: str) -> None:
    _sink, statement = collected(server, {"name": "requests", "query": "sum(no_such_metric)"})
    assert statement.complete
    assert statement.notes == ("queries_without_data:1",)


def answer_with(result: Any, **more: Any) -> Answer:
    data = {"resultType": "matrix", "result": result}
    return Answer(200, orjson.dumps({"status": "success", "data": data, **more}))


def days_of(line: str) -> list[int]:
    asked = parse_qs(urlsplit(line.split(" ", 1)[1]).query)
    return list(range(int(asked["start"][0]), int(asked["end"][0]) + 1, int(asked["step"][0])))


def whole(line: str) -> Answer:
    if "query_range" not in line:
        return Answer(200, b'{"status": "success", "data": {"version": "3.1.0"}}')
    return answer_with([{"metric": {}, "values": [[day, "1"] for day in days_of(line)]}])


def asked(stub: Stub) -> list[list[int]]:
    return [days_of(line) for line, _headers in stub.seen if "query_range" in line]


def served(answer: Callable[[str], Answer], **settings: Any) -> tuple[Recorder, Statement, Stub]:
    with stub_server(lambda line, body, n: answer(line)) as stub:
        sink, statement = collected(stub.url, **settings)
    return sink, statement, stub


def test_no_question_asks_for_more_points_than_a_server_gives() -> None:
    sink, statement, stub = served(whole, days=25_000)
    assert [len(days) for days in asked(stub)] == [POINTS, POINTS, 5000]
    assert statement.stream("service_levels").rows == 25_000
    assert len({row["day"] for row in sink.tables["service_levels"]}) == 25_000


def test_a_question_that_is_too_much_is_asked_in_halves() -> None:
    def answer(line: str) -> Answer:
        if "query_range" in line and len(days_of(line)) > 50:
            return Answer(422, b'{"status": "error", "errorType": "execution", "error": "too many samples"}')
        return whole(line)

    sink, statement, _stub = served(answer)
    assert statement.complete
    assert sorted(row["day"] for row in sink.tables["service_levels"]) == [
        (MIDNIGHT - n * DAY) * 1000 for n in range(180, 0, -1)
    ]


def test_an_error_of_every_size_ends_the_query_after_few_questions() -> None:
    error = Answer(422, b'{"status": "error", "errorType": "execution", "error": "secret-label-value"}')
    _sink, statement, stub = served(lambda line: error if "query_range" in line else whole(line))
    assert statement.stream("service_levels").reason.endswith("(availability: status 422)")
    assert "secret-label-value" not in str(statement)
    assert len(asked(stub)) < 12


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (answer_with([], warnings=["fetch series from store: timeout"]), PARTIAL),
        (answer_with([{"metric": {}, "values": []}, {"metric": {"a": "b"}, "values": []}]), SEVERAL),
        (answer_with([{"metric": {}, "histograms": []}]), "values of another shape"),
        (answer_with([{"metric": {}, "values": [[MIDNIGHT - 17, "1"]]}]), "a time that was not asked for"),
        (answer_with([{"metric": {}, "values": [[MIDNIGHT + DAY, "1"]]}]), "a time that was not asked for"),
        (answer_with("many"), "series of another shape"),
        (Answer(200, b'{"status": "success", "data": {"resultType": "vector", "result": []}}'), "not an answer of"),
        (Answer(200, b'{"status": "error"}'), "not an answer of"),
        (Answer(200, b"<html>Sign in</html>", (("Content-Type", "text/html"),)), "login_page"),
        (Answer(401), "unauthorised"),
        (Answer(503), "server_error"),
        (Answer(200, b'{"x": "' + b"a" * 70_000 + b'"}'), "too_large"),
        (Answer(claim=500), "cut_short"),
    ],
)
def test_an_answer_that_cannot_be_used_is_never_a_smaller_success(answer: Answer, said: str) -> None:
    sink, statement, _stub = served(lambda line: answer if "query_range" in line else whole(line), max_bytes=64_000)
    stream = statement.stream("service_levels")
    assert stream.state is Reading.COULD_NOT_LOOK
    assert said in stream.reason
    assert sink.tables["service_levels"] == []


def test_remarks_of_the_query_language_are_no_missing_data() -> None:
    series = [{"metric": {}, "values": [[MIDNIGHT, "0.5"]]}]
    remark = "PromQL info: metric might not be a counter"
    sink, statement, _stub = served(
        lambda line: answer_with(series, warnings=[remark]) if "query_range" in line else whole(line)
    )
    assert statement.complete
    assert [row["value"] for row in sink.tables["service_levels"]] == [0.5]


def test_series_that_change_from_one_question_to_the_next_are_several() -> None:
    def answer(line: str) -> Answer:
        if "query_range" not in line:
            return whole(line)
        days = days_of(line)
        return answer_with([{"metric": {"pod": str(days[0])}, "values": [[days[0], "1"]]}])

    _sink, statement, _stub = served(answer, days=POINTS + 1)
    assert SEVERAL in statement.stream("service_levels").reason


def test_a_server_that_does_not_tell_its_version_is_read() -> None:
    _sink, statement, _stub = served(lambda line: whole(line) if "query_range" in line else Answer(404))
    assert (statement.complete, statement.server_version) == (True, "")


def test_sign_in_details_are_sent_and_never_shown() -> None:
    _sink, statement, stub = served(whole, token="hidden-token")
    assert all(headers["Authorization"] == "Bearer hidden-token" for _line, headers in stub.seen)
    assert "hidden-token" not in repr(parse({"base_url": "http://h", "queries": [UP], "token": "hidden-token"}))
    assert "hidden-token" not in str(statement)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"queries": []}, "queries"),
        ({"queries": "avg(up)"}, "queries"),
        ({"queries": [UP, UP]}, "queries 2"),
        ({"queries": [{"name": "availability"}]}, "queries 1"),
        ({"queries": [{**UP, "unit": "bananas"}]}, "queries 1"),
        ({"queries": [{**UP, "version": "3"}]}, "queries 1"),
        ({"queries": [{**UP, "target": float("nan")}]}, "queries 1"),
        ({"queries": [{**UP, "step": 5}]}, "queries 1"),
        ({"queries": [{**UP, "name": 5}]}, "queries 1"),
        ({"days": 0}, "days"),
        ({"username": "a"}, "password"),
        ({"base_url": "ftp://h"}, "base_url"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"base_url": "http://h", "queries": [UP], **settings})
    assert [fault.field for fault in caught.value.faults] == [field]


def test_a_query_has_a_page_and_nothing_else_has() -> None:
    config = {"base_url": "https://prometheus.example", "queries": [UP]}
    found = link("prometheus", config, "service_levels", "availability")
    assert found is not None
    assert found.startswith("https://prometheus.example/graph?g0.expr=avg%28up%29&")
    assert link("prometheus", config, "service_levels", "other") is None
    assert link("prometheus", {**config, "base_url": "javascript:1"}, "service_levels", "availability") is None
