"""Rows from JSON of several server versions, and from the small files of a model."""

from __future__ import annotations

import math
from typing import Any

import pytest

from integrations.connectors.base import Reason, Refused
from integrations.connectors.mlflow_models import (
    ModelFile,
    conda_pinned,
    python_env_pinned,
    read_model_file,
    requirements_pinned,
)
from integrations.connectors.mlflow_rows import (
    LONGEST_VALUE,
    clean_text,
    logged_model,
    models_of_history,
    registered_model_rows,
    run_rows,
    version_rows,
)

INFO = {"run_id": "r", "experiment_id": "1"}


def value_of(kind: str, value: Any) -> Any:
    return run_rows({"info": INFO, "data": {kind: [{"key": "k", "value": value}]}})[f"run_{kind}"][0]["value"]


def test_a_run_of_an_old_server_has_only_the_old_name_of_its_id_and_its_name_in_a_tag() -> None:
    info = {"run_uuid": "r", "experiment_id": "1", "start_time": "12"}
    (row,) = run_rows({"info": info, "data": {"tags": [{"key": "mlflow.runName", "value": "n"}]}})["runs"]
    assert (row["run"], row["name"], row["start_at"], row["end_at"], row["lifecycle"]) == ("r", "n", 12, None, "active")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("NaN", "nan"),
        ("Infinity", "inf"),
        (1.7976931348623157e308, "inf"),
        (-1.7976931348623157e308, "-inf"),
        (0, "0.0"),
    ],
)
def test_odd_metric_values(sent: Any, kept: str) -> None:
    assert repr(value_of("metrics", sent)) == kept
    assert isinstance(value_of("metrics", sent), float)


def test_a_value_is_cut_at_64_kib_between_characters() -> None:
    assert value_of("tags", "é" * 5000) == "é" * 5000
    cut = value_of("tags", "é" * 100_000)
    assert len(cut.encode()) == LONGEST_VALUE
    assert set(cut) == {"é"}
    assert value_of("tags", "a" + "é" * 100_000)[-1] == "é"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("https://me:pw@git.example/a.git", "https://git.example/a.git"),
        ("postgresql+psycopg://u:p@db/x and https://t@h/y", "postgresql+psycopg://db/x and https://h/y"),
        ("https://h/path/@scope/x", "https://h/path/@scope/x"),
        ("mail ann@example.org", "mail ann@example.org"),
        ("https://h/?q=a@b", "https://h/?q=a@b"),
    ],
)
def test_sign_in_details_in_urls_are_dropped(sent: str, kept: str) -> None:
    assert value_of("tags", sent) == kept
    assert value_of("params", sent) == kept


@pytest.mark.parametrize(
    ("schema", "given"), [(None, False), ("", False), ("{}", False), ("null", False), ('{"a": 1}', True)]
)
def test_an_empty_schema_is_no_schema(schema: str | None, given: bool) -> None:
    item = {"dataset": {"name": "d", "digest": "1", "schema": schema}, "tags": []}
    (row,) = run_rows({"info": INFO, "inputs": {"dataset_inputs": [item]}})["run_inputs"]
    assert row["has_schema"] is given
    assert row["context"] is None


@pytest.mark.parametrize(
    "run",
    [
        {},
        {"info": None},
        {"info": {**INFO, "run_id": 7}},
        {"info": {**INFO, "start_time": "noon"}},
        {"info": {**INFO, "start_time": 2**63}},
        {"info": INFO, "data": {"tags": "x"}},
        {"info": INFO, "data": {"metrics": [{"value": 1}]}},
        {"info": INFO, "data": {"metrics": [{"key": "a", "value": "high"}]}},
        {"info": INFO, "data": {"params": [{"key": "a", "value": {}}]}},
        {"info": INFO, "inputs": {"dataset_inputs": [{}]}},
    ],
)
def test_a_run_of_another_shape_is_garbage(run: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        run_rows(run)
    assert refused.value.reason is Reason.GARBAGE


def test_metrics_parameters_and_tags_are_sorted_by_key() -> None:
    items = [{"key": key, "value": "1"} for key in "cab"]
    rows = run_rows({"info": INFO, "data": {"metrics": items, "params": items, "tags": items}})
    for table in ("run_metrics", "run_params", "run_tags"):
        assert [row["key"] for row in rows[table]] == ["a", "b", "c"]


def test_the_status_of_a_logged_model_is_shortened() -> None:
    for sent, kept in {"LOGGED_MODEL_READY": "READY", "LOGGED_MODEL_UPLOAD_FAILED": "FAILED", "NEW": "NEW"}.items():
        assert logged_model({"info": {"model_id": "m-1", "status": sent}})["status"] == kept


@pytest.mark.parametrize("value", ["", "{", "5", '{"a": 1}', "[5]", "[{}]"])
def test_a_history_tag_that_is_no_history_is_passed_over(value: str) -> None:
    run = {"run": "r", "start_at": 1, "end_at": 2}
    assert models_of_history(run, [{"key": "mlflow.log-model.history", "value": value}]) == []


@pytest.mark.parametrize(
    ("source", "model"),
    [
        ("models:/m-0a1f", "m-0a1f"),
        ("models:/m-0a1f/", "m-0a1f"),
        ("models:/fraud/3", None),
        ("s3://b/m-0a1f", None),
        (None, None),
    ],
)
def test_the_logged_model_of_a_version_is_read_from_its_source(source: str | None, model: str | None) -> None:
    (row,) = version_rows({"name": "n", "version": 3, "source": source})["model_versions"]
    assert (row["version"], row["number"], row["logged_model"], row["stage"], row["run"]) == (
        "n/3",
        "3",
        model,
        "None",
        None,
    )


def test_a_prompt_is_no_registered_model() -> None:
    assert registered_model_rows({"name": "p", "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]}) == {}


SIGNED = b"flavors: {b: {}, a: {}}\nsignature: {inputs: '[1]', outputs: '[2]'}\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (SIGNED, ModelFile(("a", "b"), True, False)),
        (SIGNED + b"saved_input_example_info: {artifact_path: x}\n", ModelFile(("a", "b"), True, True)),
        (b"flavors: {a: {}}\nsignature: {inputs: '[1]'}\n", ModelFile(("a",), False, False)),
        (b"flavors: {a: {}}\nsignature: {inputs: '[1]', outputs: '[]'}\n", ModelFile(("a",), False, False)),
        (b"flavors: {a: {}}\nsignature: null\n", ModelFile(("a",), False, False)),
        (b"", None),
        (b"just text", None),
        (b"flavors: [a]\n", None),
        (b"flavors: {a: {}\n", None),
        (b"flavors: &x {a: {}}\nother: *x\n", None),
        (b"flavors: !!python/object/apply:os.system ['true']\n", None),
        (b"flavors: {a: {}}\nx: " + b"[" * 5000, None),
        (b"flavors: {a: {}}\n#" + b"x" * 300_000, None),
        (b"\xff\xfe\x00", None),
        (b"flavors: {a: {}}\nwhen: 2026-99-99\n", None),
    ],
)
def test_an_mlmodel_file_is_read_and_a_hostile_one_refused(content: bytes, told: ModelFile | None) -> None:
    assert read_model_file(content) == told


@pytest.mark.parametrize(
    ("content", "pinned"),
    [
        (b"a==1.0\nb===2\n", True),
        (b"# c\n\na[x,y]==1.0 ; python_version > '3'\n--extra-index-url https://x\n", True),
        (b"a == 1.0  # why\n", True),
        (b"a==1.0 --hash=sha256:00\n", True),
        (b"a==1.0 \\\n    --hash=sha256:00\n", True),
        (b"a==1.0\nb\n", False),
        (b"a>=1.0\n", False),
        (b"a==1.*\n", False),
        (b"a==1.0,<2\n", False),
        (b"a @ https://x/a.whl\n", False),
        (b"-r other.txt\na==1\n", False),
        (b"", False),
        (b"# nothing\n", False),
    ],
)
def test_requirements_are_pinned_only_when_every_one_is(content: bytes, pinned: bool) -> None:
    assert requirements_pinned(content) is pinned


@pytest.mark.parametrize(
    ("content", "pinned"),
    [
        (b"dependencies: [python=3.11.7, pip, {pip: [a==1]}]", True),
        (b"dependencies: [python=3.11.7, conda-forge::numpy==1.2]", True),
        (b"dependencies: [python=3.11.7, {pip: [a]}]", False),
        (b"dependencies: [python>=3, {pip: [a==1]}]", False),
        (b"dependencies: [python, {pip: [a==1]}]", False),
        (b"dependencies: []", False),
        (b"dependencies: 5", False),
        (b"name: x", False),
        (b"{", False),
    ],
)
def test_a_conda_file_is_pinned_only_when_both_halves_are(content: bytes, pinned: bool) -> None:
    assert conda_pinned(content) is pinned


def test_nan_stays_nan() -> None:
    assert math.isnan(value_of("metrics", "NaN"))


@pytest.mark.parametrize(
    ("content", "pinned"),
    [
        (b"python: 3.11.7\ndependencies: [numpy==1.2, pandas==3.0.0]", True),
        (b"dependencies: [numpy>=1.2]", False),
        (b"dependencies: [-r requirements.txt]", False),
        (b"python: 3.11.7", False),
        (b"dependencies: 5", False),
        (b'dependencies: !!int ""', False),
        (b"a: &a [numpy==1]\ndependencies: *a", False),
    ],
)
def test_a_python_environment_is_pinned_by_its_own_lines_only(content: bytes, pinned: bool) -> None:
    assert python_env_pinned(content) is pinned


@pytest.mark.parametrize(
    "content", [b'a: !!int ""', b'a: !!float ""', b'a: !!bool "perhaps"', b"dependencies: [{pip: 5}]"]
)
def test_values_that_trip_the_loader_are_no_pins(content: bytes) -> None:
    assert conda_pinned(content) is False


def test_endless_lines_of_requirements_and_addresses_end() -> None:
    assert not requirements_pinned(b"a" + b" " * 250_000 + b"b")
    assert clean_text("a-" * 30_000 + "://me:hunter2@host") == "a-" * 30_000 + "://host"
