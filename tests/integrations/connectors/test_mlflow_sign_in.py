"""Signing in for real: MLflow's own basic authentication, and proxies that want a token or headers of their own."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator

import httpx
import pytest

from integrations.connectors.base import ConfigError, Reason
from integrations.connectors.http import Timing
from integrations.connectors.mlflow import MlflowConnector, parse
from maturity.facts import Reading
from tests.integrations.connectors.recorder import Naps, Recorder, collected, mlflow
from tests.integrations.servers import Answer, MlflowServer, Stub, mlflow_server, stub_server
from tests.services import missing

pytestmark = pytest.mark.server
ADMIN, ANN = ("admin", "an-admin-password-1"), ("ann", "ann-password-1")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A server that asks for a name and password; Ann may not see one of its experiments."""
    if importlib.util.find_spec("flask_wtf") is None:
        missing("flask-wtf, which MLflow's basic authentication needs")
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\n"
        f"admin_username = {ADMIN[0]}\nadmin_password = {ADMIN[1]}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    settings = {"MLFLOW_AUTH_CONFIG_PATH": f"{folder}/auth.ini", "MLFLOW_FLASK_SERVER_SECRET_KEY": "for tests"}
    with pytest.MonkeyPatch.context() as patch:
        for key, value in settings.items():
            patch.setenv(key, value)
        with mlflow_server(folder, options=("--app-name", "basic-auth")) as server:
            _fill(server.url)
            yield server


def _fill(url: str) -> None:
    def post(path: str, body: dict[str, str]) -> httpx.Response:
        answer = httpx.post(f"{url}{path}", json=body, auth=ADMIN, timeout=30, trust_env=False)
        answer.raise_for_status()
        return answer

    post("/api/2.0/mlflow/users/create", {"username": ANN[0], "password": ANN[1]})
    post("/api/2.0/mlflow/experiments/create", {"name": "open"})
    closed = post("/api/2.0/mlflow/experiments/create", {"name": "closed"}).json()["experiment_id"]
    post("/api/2.0/mlflow/runs/create", {"experiment_id": closed})
    grant = {"username": ANN[0], "resource_type": "experiment", "resource_id": closed, "permission": "DENY"}
    post("/api/3.0/mlflow/users/permissions/grant", grant)


def test_a_good_password_reads_everything(guarded: MlflowServer) -> None:
    sink, statement = collected(guarded.url, username=ADMIN[0], password=ADMIN[1])
    assert statement.complete, statement.streams
    assert {"open", "closed"} <= {row["name"] for row in sink.tables["experiments"]}
    assert len(sink.tables["runs"]) == 1


def test_a_wrong_password_says_so_and_does_not_repeat_it(guarded: MlflowServer) -> None:
    connector = mlflow(guarded.url, username=ADMIN[0], password="not-the-password")
    check = connector.check()
    assert not check.ok
    assert check.reason.startswith(f"{Reason.UNAUTHORISED}:")
    assert "not-the-password" not in check.reason
    _, statement = collected(guarded.url, username=ADMIN[0], password="not-the-password")
    assert {stream.state for stream in statement.streams} == {Reading.COULD_NOT_LOOK}


def test_without_sign_in_details_nothing_is_read(guarded: MlflowServer) -> None:
    sink, statement = collected(guarded.url)
    assert not statement.complete
    assert not any(sink.tables.values())


def test_an_experiment_that_an_account_may_not_see_is_not_there_at_all(guarded: MlflowServer) -> None:
    """MLflow hides it without a word; the application compares with the experiments seen before."""
    sink, statement = collected(guarded.url, username=ANN[0], password=ANN[1])
    assert statement.complete, statement.streams
    names = {row["name"] for row in sink.tables["experiments"]}
    assert "open" in names
    assert "closed" not in names
    assert sink.tables["runs"] == []


@contextlib.contextmanager
def proxy(url: str, **wanted: str) -> Iterator[str]:
    """A proxy in front of a server that lets nobody pass without the wanted headers; gives its address."""
    stubs: list[Stub] = []

    def forward(line: str, body: bytes, number: int) -> Answer:
        sent = {name.lower().replace("-", "_"): value for name, value in stubs[0].seen[number][1].items()}
        if any(sent.get(name) != value for name, value in wanted.items()):
            return Answer(401, b"who are you?")
        method, path = line.split(" ", 1)
        kind = {"Content-Type": "application/json"} if body else {}
        real = httpx.request(method, url + path, content=body, headers=kind, timeout=30, trust_env=False)
        return Answer(real.status_code, real.content, (("Content-Type", real.headers["Content-Type"]),))

    with stub_server(forward) as stub:
        stubs.append(stub)
        yield stub.url


def test_a_token_passes_a_proxy_that_wants_one(empty_mlflow: MlflowServer) -> None:
    with proxy(empty_mlflow.url, authorization="Bearer sesame") as url:
        assert mlflow(url, token="sesame").check().ok
        _, statement = collected(url, token="sesame")
        refused = mlflow(url, token="open-barley").check()
    assert statement.complete, statement.streams
    assert refused.reason.startswith(f"{Reason.UNAUTHORISED}:")
    assert "open-barley" not in refused.reason


def test_headers_of_its_own_pass_a_proxy_that_wants_them(empty_mlflow: MlflowServer) -> None:
    setting = '{"CF-Access-Client-Id": "us", "CF-Access-Client-Secret": "sesame"}'
    with proxy(empty_mlflow.url, cf_access_client_id="us", cf_access_client_secret="sesame") as url:
        assert mlflow(url, headers=setting).check().ok
        assert not mlflow(url).check().ok
    config = parse({"base_url": empty_mlflow.url, "headers": setting})
    assert "sesame" not in repr(config)


def test_secret_headers_over_plain_http_are_remarked_upon() -> None:
    setting = '{"X-Key": "sesame"}'
    assert parse({"base_url": "http://tracking.example", "headers": setting}).sends_secrets_openly
    assert not parse({"base_url": "https://tracking.example", "headers": setting}).sends_secrets_openly


@pytest.mark.parametrize(
    "setting",
    [
        "X-Key: sesame",
        '["sesame"]',
        '{"X Key": "sesame"}',
        '{"Host": "sesame"}',
        '{"X-Key": "sesame\\r\\nX-Other: 1"}',
        '{"X-Key": 17}',
        '{"X-Key": "sésame"}',
    ],
)
def test_headers_that_cannot_be_sent_are_refused_without_repeating_them(setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"base_url": "https://tracking.example", "headers": setting})
    assert [fault.field for fault in caught.value.faults] == ["headers"]
    assert "sesame" not in str(caught.value)


def test_there_is_only_one_way_to_authorise() -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"base_url": "https://a.example", "token": "t", "headers": '{"authorization": "Bearer x"}'})
    assert [fault.field for fault in caught.value.faults] == ["headers"]


def test_questions_keep_the_pace_that_a_server_allows(empty_mlflow: MlflowServer) -> None:
    naps = Naps()
    timing = Timing(monotonic=lambda: 100.0, sleep=naps)
    statement = MlflowConnector(parse({"base_url": empty_mlflow.url, "requests_per_second": 5}), timing=timing).collect(
        Recorder()
    )
    assert statement.complete, statement.streams
    waits = sorted(round(nap, 3) for nap in naps.taken)
    assert waits == [round(n / 5, 3) for n in range(1, statement.counts["requests"])]
