"""The connector for MLflow's database: the same facts as over REST, from a database it cannot harm."""

from __future__ import annotations

import contextlib
import io
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from integrations.connectors import mlflow_sql_databases
from integrations.connectors.base import ConfigError, Connector, connector, link
from integrations.connectors.mlflow_sql import MlflowSqlConnector, parse
from integrations.connectors.mlflow_sql_databases import file_of
from maturity.facts import TABLES, Reading, Statement
from tests.integrations.connectors import databases
from tests.integrations.connectors.conftest import Filled
from tests.integrations.connectors.recorder import Recorder, collected
from tests.integrations.servers import MlflowServer, mlflow_server

SAME_STREAMS = ("experiments", "runs", "registry")
MOMENT = 1_700_000_000_000


class Questions:
    """Puts MLflow's own questions, as its client would, but also those that the client would not let pass."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=f"{url}/api/2.0/mlflow/", timeout=60, trust_env=False)

    def __call__(self, path: str, method: str = "POST", **question: Any) -> dict[str, Any]:
        answer = self._http.request(method, path, json=question)
        answer.raise_for_status()
        return dict(answer.json())

    def run(self, experiment: str, **question: Any) -> str:
        made = self("runs/create", experiment_id=experiment, **{"user_id": "ann", "start_time": MOMENT, **question})
        return str(made["run"]["info"]["run_id"])


def fill(url: str, accents: int = 4000) -> None:
    """Awkward content: tongues, quotes, line ends, empty and odd values, ties, deletions, prompts, datasets."""
    ask = Questions(url)
    first = ask("experiments/create", name='naïve "実験", a\nb', tags=[{"key": "team", "value": "x,\"y\"\n'z'"}])
    other = ask("experiments/create", name="gone")["experiment_id"]
    key = str(first["experiment_id"])
    ask.run(other, run_name="in a deleted experiment")
    ask("experiments/delete", experiment_id=other)
    rich = ask.run(key, run_name="rich")
    pairs = {"a": "1", "B": "", "é": "ü" * 400, "Z,": '"', "_": "\\N", "nul": "NULL", "z": "a\r\nb", "emoji": "🙂"}
    values = {"acc": 0.1 + 0.2, "tiny": 5e-324, "nan": "NaN", "up": "Infinity", "down": "-Infinity", "Big": 1e22}
    ask(
        "runs/log-batch",
        run_id=rich,
        params=[{"key": k, "value": v} for k, v in pairs.items() if k.isascii() and "," not in k],
        metrics=[{"key": k, "value": v, "timestamp": MOMENT + 1, "step": -3} for k, v in values.items()],
        tags=[
            *({"key": k, "value": v} for k, v in pairs.items() if "," not in k),
            {"key": "long", "value": "é" * 7000},
            {"key": "repository", "value": "https://me:hunter2@git.example/x.git and ssh://git@h/y"},
            {"key": "mail", "value": "me@example.org"},
        ],
    )
    for number in range(5):
        tied = ask.run(key, run_name=f"tied {number}", tags=[{"key": "mlflow.parentRunId", "value": rich}])
        ask("runs/update", run_id=tied, status="FINISHED", end_time=MOMENT + number)
    ask("runs/delete", run_id=tied)
    ask.run(key, start_time=5, user_id="")
    ask.run(key, start_time=4_070_908_800_000, run_name="future")
    datasets(ask, rich, tied, accents)
    registry(ask, rich, key)


def datasets(ask: Questions, rich: str, tied: str, accents: int) -> None:
    """Inputs with and without tags, schema and context; one source is longer than what is kept, with 4000 accents."""
    plain = {"name": "d", "digest": "1", "source_type": "local", "source": "https://u:p@h/a?b"}
    inputs: list[dict[str, Any]] = [
        {"dataset": {**plain, "schema": '{"a": 1}'}, "tags": [{"key": "mlflow.data.context", "value": "train"}]},
        {"dataset": {**plain, "digest": "2", "schema": "{}"}, "tags": [{"key": k, "value": f"v{k}"} for k in "ba"]},
        {"dataset": {**plain, "digest": "3", "name": "Ä", "source": "s" * 60_000 + "é" * accents}, "tags": []},
    ]
    ask("runs/log-inputs", run_id=rich, datasets=inputs)
    ask("runs/restore", run_id=tied)
    ask("runs/log-inputs", run_id=tied, datasets=inputs[:1])
    ask("runs/delete", run_id=tied)


def registry(ask: Questions, run: str, experiment: str) -> None:
    """Models of which one is a prompt, versions of which one is deleted, aliases, stages, and logged models."""
    ask("registered-models/create", name="b modèle", description="d", tags=[{"key": "owner", "value": "ann"}])
    ask("registered-models/create", name="A")
    ask("registered-models/create", name="p", tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}])
    for number in range(11):
        ask("model-versions/create", name="A", source=f"mlflow-artifacts:/{experiment}/{run}/artifacts", run_id=run)
        if number == 9:
            ask("model-versions/delete", "DELETE", name="A", version="10")
    ask("model-versions/transition-stage", name="A", version="2", stage="Production", archive_existing_versions=False)
    ask("model-versions/set-tag", name="A", version="2", key="validation_status", value="approved")
    for alias in ("prod", "Challenger"):
        ask("registered-models/alias", name="A", alias=alias, version="2")
    for name in ("m1", "m2"):
        ask("logged-models", experiment_id=experiment, name=name, source_run_id=run)


@dataclass(frozen=True, slots=True)
class Both:
    """A server and the settings that lead to its database."""

    url: str
    settings: dict[str, Any]


def backend(given: databases.Given) -> tuple[str, str]:
    return "--backend-store-uri", given.mlflow


@contextlib.contextmanager
def on_sqlite(folder: Path) -> Iterator[Both]:
    with mlflow_server(folder) as server:
        fill(server.url)
        yield Both(server.url, {"base_url": f"sqlite:///{folder}/mlflow.db"})


@contextlib.contextmanager
def on_postgres(folder: Path) -> Iterator[Both]:
    with databases.postgres_database() as given, mlflow_server(folder, options=backend(given)) as server:
        fill(server.url)
        databases.let_read(given)
        yield Both(server.url, {"base_url": given.url, "username": given.reader, "password": given.password})


@contextlib.contextmanager
def on_mysql(folder: Path) -> Iterator[Both]:
    (folder / "mysql").mkdir()
    with databases.mysql_database(folder / "mysql") as given, mlflow_server(folder, options=backend(given)) as server:
        fill(server.url, accents=2000)  # its columns end at 64 KiB
        yield Both(server.url, {"base_url": given.url, "username": given.reader, "password": given.password})


BACKENDS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Both]]] = {
    "sqlite": on_sqlite,
    "postgres": on_postgres,
    "mysql": on_mysql,
}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres), "mysql"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with BACKENDS[request.param](tmp_path_factory.mktemp(request.param)) as given:
        yield given


def reader(settings: dict[str, Any]) -> Connector:
    """The connector where the operator lets the folder of the database be read."""
    folders = (str(Path(file_of(settings["base_url"])).parent),)
    return connector("mlflow-sql", settings, folders=folders)


def read(settings: dict[str, Any]) -> tuple[Recorder, Statement]:
    sink = Recorder()
    return sink, reader(settings).collect(sink)


def parquet(sink: Recorder, table: str) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(sink.frame(table), preserve_index=False), content)
    return content.getvalue()


def same_facts(rest: Recorder, found: Recorder) -> None:
    for name, table in TABLES.items():
        if table.stream in SAME_STREAMS:
            assert parquet(found, name) == parquet(rest, name), name


def test_the_database_tells_the_same_facts_as_the_server(both: Both) -> None:
    rest, _ = collected(both.url, artifact_lookups=0)
    found, statement = read(both.settings)
    assert statement.complete
    same_facts(rest, found)
    assert len(found.tables["runs"]) >= 9
    assert found.of("run_tags", "key", "repository")[0]["value"] == "https://git.example/x.git and ssh://h/y"


def test_logged_models_are_the_servers_without_what_their_files_tell(both: Both) -> None:
    rest, _ = collected(both.url, artifact_lookups=0)
    found, _ = read(both.settings)
    by_id = [sorted(sink.tables["logged_models"], key=lambda row: row["model"]) for sink in (rest, found)]
    assert by_id[0] == by_id[1] != []


def test_everything_is_said_to_be_read_whole_and_artifacts_are_said_to_be_unknown(both: Both) -> None:
    sink, statement = read(both.settings)
    assert sink.windows == [(None, None)]
    assert statement.stream("artifacts").state is Reading.NOT_SUPPORTED
    for stream in (*SAME_STREAMS, "logged_models"):
        written = sum(len(rows) for name, rows in sink.tables.items() if TABLES[name].stream == stream)
        assert (statement.stream(stream).state, statement.stream(stream).rows) == (Reading.READ, written)
    assert statement.counts["runs"] == len(sink.tables["runs"])
    assert "runs_in_future:1" in statement.notes


def test_chunks_and_answers_that_are_too_large_change_nothing(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = read(both.settings)
    from integrations.connectors import mlflow_sql_cursors

    for module in (mlflow_sql_databases, mlflow_sql_cursors):
        monkeypatch.setattr(module, "LARGEST_ANSWER", 300)
    monkeypatch.setattr(mlflow_sql_databases._Postgres, "runs_at_once", 2)
    monkeypatch.setattr(mlflow_sql_cursors._Cursors, "runs_at_once", 3)
    small, statement = read(both.settings)
    assert statement.complete
    assert small.tables["run_inputs"] == whole.tables["run_inputs"]
    same_facts(whole, small)


def test_a_check_signs_in_and_names_the_schema(both: Both) -> None:
    check = reader(both.settings).check()
    assert (check.ok, check.reason) == (True, "")
    assert check.server_version.startswith("schema ")


def test_a_wrong_password_or_database_is_named_and_never_repeated(both: Both) -> None:
    if both.settings["base_url"].startswith("sqlite"):
        wrong = {**both.settings, "base_url": both.settings["base_url"] + ".not"}
        assert reader(wrong).check().reason.startswith("not_found:")
        return
    secret = {**both.settings, "password": "hunter2"}
    checked = reader(secret)
    if not (both.settings["base_url"].startswith("postgresql") and checked.check().ok):  # a server that trusts loopback
        assert checked.check().reason.startswith("unauthorised:")
        assert "hunter2" not in checked.check().reason + repr(parse(secret))
    other = {**both.settings, "base_url": both.settings["base_url"] + "_not"}
    statement = reader(other).collect(Recorder())
    assert statement.stream("runs").state is Reading.COULD_NOT_LOOK
    assert statement.stream("runs").reason.split(":")[0] in ("not_found", "forbidden")


@pytest.mark.postgres
def test_a_database_of_something_else_and_one_that_may_not_be_read_are_refused() -> None:
    with databases.postgres_database() as given:
        settings = {"base_url": given.url, "username": given.reader, "password": given.password}
        assert "not an MLflow database" in reader(settings).check().reason
        with psycopg.connect(given.admin, autocommit=True) as admin:
            for table in ("alembic_version", "experiments", "runs"):
                admin.execute(f"CREATE TABLE {table} (version_num text)")
            admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {given.reader}")
        assert "a schema that this version does not know" in reader(settings).check().reason


def test_a_file_that_is_none_of_mlflows_is_refused_in_the_same_words_as_one_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("x" * 5000)
    with sqlite3.connect(tmp_path / "own.sqlite3") as other:
        other.execute("CREATE TABLE auth_user (password)")
    reasons = {
        connector("mlflow-sql", {"base_url": f"sqlite:///{tmp_path}/{name}"}, folders=(str(tmp_path),)).check().reason
        for name in ("secret.txt", "own.sqlite3", "missing.db", ".")
    }
    assert len(reasons) == 1
    assert "not an MLflow database" in reasons.pop()
    assert not (tmp_path / "missing.db").exists()


def test_addresses_and_files_that_are_not_allowed_are_never_touched(tmp_path: Path) -> None:
    folder, secret = tmp_path / "open", tmp_path / "x.db"
    folder.mkdir()
    for address in (f"sqlite:///{secret}", f"sqlite:///{folder}/../x.db", f"sqlite:///{folder}/%2e%2e/x.db"):
        for folders in ((), (str(folder),)):
            with pytest.raises(ConfigError, match="not in a folder that this installation may read"):
                connector("mlflow-sql", {"base_url": address}, folders=folders)
    swapped = connector("mlflow-sql", {"base_url": f"sqlite:///{folder}/x.db"}, folders=(str(folder),))
    (folder / "x.db").symlink_to(secret)
    assert swapped.check().reason.startswith("address_refused:")
    for scheme in ("postgresql", "mysql"):
        config = parse({"base_url": f"{scheme}://db.example/mlflow", "username": "u"})
        metadata = MlflowSqlConnector(config, resolver=lambda host, port: ["169.254.169.254"])
        assert metadata.check().reason.startswith("address_refused:")


@pytest.mark.parametrize(
    ("scheme", "module", "package"), [("postgresql", "psycopg", "psycopg"), ("mysql", "pymysql", "PyMySQL")]
)
def test_a_driver_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, scheme: str, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    settings = {"base_url": f"{scheme}://127.0.0.1/mlflow", "username": "u"}
    reason = connector("mlflow-sql", settings).check().reason
    assert reason.startswith("depends:")
    assert f"install the Python package {package}" in reason
    assert not connector("mlflow-sql", settings).collect(Recorder()).complete


@pytest.mark.parametrize(
    "address",
    [
        "",
        "http://h/x",
        "postgresql://u:p@h/x",
        "postgresql://h",
        "mysql://h/a/b",
        "sqlite://h/x",
        "postgresql://h/x?y=z",
    ],
)
def test_an_address_that_is_none_is_told_before_anything_is_asked(address: str) -> None:
    with pytest.raises(ConfigError, match="base_url"):
        parse({"base_url": address, "username": "u"})


def test_links_lead_to_mlflows_pages_where_these_are_known() -> None:
    settings = {"base_url": "postgresql://h/x", "web_url": "https://mlflow.example"}
    assert link("mlflow-sql", settings, "experiments", "7") == "https://mlflow.example/#/experiments/7"
    assert link("mlflow-sql", {"base_url": "postgresql://h/x"}, "experiments", "7") is None


def test_what_mlflows_own_client_wrote_reads_the_same(filled: Filled, mlflow_server: MlflowServer) -> None:
    rest, _ = collected(filled.url, artifact_lookups=0)
    found, statement = read({"base_url": f"sqlite:///{mlflow_server.folder}/mlflow.db"})
    assert statement.complete
    same_facts(rest, found)
