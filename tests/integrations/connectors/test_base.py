"""Settings, registry and links."""

from __future__ import annotations

from typing import Any

import pytest

from integrations.connectors.base import CONNECTORS, FOLDER_KINDS, SENTENCES, ConfigError, Reason, connector, link
from integrations.connectors.mlflow import MlflowConfig, parse

GOOD = {"base_url": "https://mlflow.example.org/tracking/"}


SETTINGS: dict[str, dict[str, Any]] = {
    "mlflow-sql": {"base_url": "postgresql://db.example.org/mlflow", "username": "reader"},
    "quality": {**GOOD, "files": "a.json"},
    "tables": {**GOOD, "columns": {"incident": "Id", "opened_at": "Opened"}, "fixed": {"kind": "model"}},
    "prometheus": {**GOOD, "queries": [{"name": "availability", "query": "up"}]},
}


@pytest.mark.parametrize("kind", CONNECTORS)
def test_every_kind_in_the_registry_loads_and_offers_a_connector(kind: str) -> None:
    assert connector(kind, SETTINGS.get(kind, GOOD)).kind == kind


@pytest.mark.parametrize("kind", sorted(FOLDER_KINDS))
@pytest.mark.parametrize("field", ["base_url", "folder", "file"])
def test_no_kind_reads_a_file_of_this_machine_that_the_operator_did_not_open(kind: str, field: str) -> None:
    given = {name: value for name, value in SETTINGS.get(kind, GOOD).items() if name != "base_url"}
    address = "sqlite:///etc/passwd" if kind == "mlflow-sql" else "/etc/passwd"
    with pytest.raises(ConfigError):
        connector(kind, {**given, field: address})


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(KeyError, match="clearml"):
        connector("clearml", GOOD)


def test_every_reason_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Reason)


def test_settings_are_read_and_defaults_filled_in() -> None:
    config = parse({**GOOD, "token": " abc ", "page_size": 50})
    assert config == MlflowConfig("https://mlflow.example.org/tracking", token="abc", page_size=50)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        parse(
            {"base_url": "ftp://x", "token": "a b", "username": "u:v", "page_size": 0, "timeout": "long", "colour": 1}
        )
    assert {fault.field for fault in error.value.faults} == {
        "base_url",
        "token",
        "username",
        "password",
        "page_size",
        "timeout",
        "colour",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("base_url", ""),
        ("base_url", None),
        ("base_url", 5),
        ("base_url", "file:///etc/passwd"),
        ("base_url", "mlflow.example.org"),
        ("base_url", "http://"),
        ("base_url", "http://me:pw@host"),
        ("base_url", "http://host?x=1"),
        ("base_url", "http://host#x"),
        ("base_url", "http://host:99999"),
        ("base_url", "http://host:0"),
        ("base_url", "http://[::1"),
        ("base_url", "http://ho st"),
        ("base_url", "http://host\\@evil"),
        ("web_url", "javascript:alert(1)"),
        ("token", "a\nX-Evil: 1"),
        ("token", "é"),
        ("token", "x" * 2001),
        ("ca_path", "/no/such/file.pem"),
        ("page_size", 2.5),
        ("page_size", True),
        ("artifact_lookups", -1),
        ("timeout", float("nan")),
    ],
)
def test_a_wrong_setting_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as error:
        parse({**GOOD, field: value})
    assert [fault.field for fault in error.value.faults] == [field]


def test_secrets_appear_neither_in_repr_nor_in_faults() -> None:
    secret = "hunter2-and-more"
    assert secret not in repr(parse({**GOOD, "token": secret}))
    assert secret not in repr(parse({**GOOD, "username": "u", "password": secret}))
    with pytest.raises(ConfigError) as error:
        parse({"base_url": f"http://u:{secret}@h", "token": f"{secret} x", "password": secret})
    assert secret not in str(error.value) + repr(error.value.faults)


def test_secrets_over_plain_http_are_noticed() -> None:
    assert parse({"base_url": "http://tracking.lan", "token": "x"}).sends_secrets_openly
    assert not parse({"base_url": "http://tracking.lan"}).sends_secrets_openly
    assert not parse({"base_url": "http://127.0.0.1:5000", "token": "x"}).sends_secrets_openly
    assert not parse({"base_url": "https://tracking.lan", "token": "x"}).sends_secrets_openly


@pytest.mark.parametrize(
    ("table", "row_id", "experiment", "page"),
    [
        ("experiments", "3", "", "experiments/3"),
        ("runs", "a1b2", "3", "experiments/3/runs/a1b2"),
        ("run", "a1b2", "3", "experiments/3/runs/a1b2"),
        ("logged_models", "m-1", "3", "experiments/3/models/m-1"),
        ("registered_models", "credit risk", "", "models/credit%20risk"),
        ("model", "a/b", "", "models/a%2Fb"),
        ("model_versions", "credit risk/12", "", "models/credit%20risk/versions/12"),
        ("version", 'x"><script>/1', "", "models/x%22%3E%3Cscript%3E/versions/1"),
        ("runs", "../../evil", "3", "experiments/3/runs/..%2F..%2Fevil"),
    ],
)
def test_a_fact_links_to_its_page(table: str, row_id: str, experiment: str, page: str) -> None:
    assert link("mlflow", GOOD, table, row_id, experiment=experiment) == f"https://mlflow.example.org/tracking/#/{page}"


@pytest.mark.parametrize(
    ("config", "table", "row_id"),
    [
        (GOOD, "runs", "a1b2"),  # the experiment is missing
        (GOOD, "model_versions", "no-number"),
        (GOOD, "artifacts", "x"),
        (GOOD, "experiments", ""),
        ({"base_url": "javascript:alert(1)"}, "experiments", "1"),
        ({}, "experiments", "1"),
    ],
)
def test_a_fact_without_a_page_has_no_link(config: dict[str, str], table: str, row_id: str) -> None:
    assert link("mlflow", config, table, row_id) is None


def test_links_use_the_address_people_use() -> None:
    config = {**GOOD, "web_url": "https://ml.example.org"}
    assert link("mlflow", config, "experiments", "1") == "https://ml.example.org/#/experiments/1"
