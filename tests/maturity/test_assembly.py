from __future__ import annotations

import pytest

from maturity.assembly import assemble
from maturity.facts import TABLES, Facts, Part, Reading, Statement, StreamReading

STREAMS = ("experiments", "runs", "logged_models", "artifacts", "registry")
REFERENCE = {"key": "dlemm.origin", "value": "reference"}


def part(source: str = "mlflow", **rows: list[dict[str, object]]) -> Part:
    statement = Statement("mlflow", "http://m.example", 0, 1, tuple(StreamReading(s, Reading.READ) for s in STREAMS))
    return Part(source, statement, {name: TABLES[name].frame(content) for name, content in rows.items()})


def facts(*parts: Part, include_reference: bool = False) -> Facts:
    projects = TABLES["projects"].frame([{"project": "p", "experiments": '["e*"]', "models": '["m*"]'}])
    return assemble(parts, projects, include_reference=include_reference)


def test_the_same_id_in_two_sources_is_two_things() -> None:
    runs = [{"run": "r1", "experiment": "1"}]
    assert list(facts(part("a", runs=runs), part("b", runs=runs))["runs"]["run"]) == ["a:r1", "b:r1"]


def test_a_source_may_appear_only_once() -> None:
    with pytest.raises(ValueError, match="only once"):
        facts(part(), part())


def test_a_tag_names_the_project_before_a_pattern_does() -> None:
    found = facts(
        part(
            experiments=[{"experiment": "1", "name": "e1"}, {"experiment": "2", "name": "other"}],
            runs=[{"run": "a", "experiment": "1"}, {"run": "b", "experiment": "2"}, {"run": "c", "experiment": "2"}],
            run_tags=[
                {"run": "b", "key": "dlemm.project", "value": "p"},
                {"run": "c", "key": "dlemm.project", "value": "unknown"},
            ],
        )
    )
    assert dict(zip(found["runs"]["run"], found["runs"]["project"], strict=True)) == {
        "mlflow:a": "p",
        "mlflow:b": "p",
        "mlflow:c": None,
    }


REFERENCES = {
    "a run": {"runs": [{"run": "r"}], "run_tags": [{"run": "r", **REFERENCE}]},
    "a child of a run": {
        "runs": [{"run": "r"}, {"run": "c"}],
        "run_tags": [{"run": "r", **REFERENCE}, {"run": "c", "key": "mlflow.parentRunId", "value": "r"}],
    },
    "a version tagged itself": {
        "model_versions": [{"version": "x/1", "name": "x"}],
        "version_tags": [{"version": "x/1", **REFERENCE}],
        "aliases": [{"name": "x", "alias": "champion", "version": "x/1"}],
        "registered_models": [{"name": "x"}],
    },
    "a version known by its logged model": {
        "runs": [{"run": "r"}],
        "run_tags": [{"run": "r", **REFERENCE}],
        "logged_models": [{"model": "m-1", "run": "r"}],
        "model_versions": [{"version": "x/1", "name": "x", "logged_model": "m-1"}],
        "aliases": [{"name": "x", "alias": "champion", "version": "x/1"}],
        "alias_sightings": [{"name": "x", "alias": "champion", "version": "x/1"}],
        "registered_models": [{"name": "x"}],
    },
}


@pytest.mark.parametrize("rows", REFERENCES.values(), ids=REFERENCES)
def test_nothing_of_the_reference_pipeline_is_left(rows: dict[str, list[dict[str, object]]]) -> None:
    left = facts(part(**rows))
    kept = facts(part(**rows), include_reference=True)
    assert all(len(left[table]) == 0 for table in rows)
    assert all(len(kept[table]) == len(content) for table, content in rows.items())


def test_what_merely_has_a_like_name_stays() -> None:
    rows = REFERENCES["a version tagged itself"] | {"runs": [{"run": "own", "name": "mlflow:x"}]}
    assert list(facts(part(**rows))["runs"]["run"]) == ["mlflow:own"]


def test_a_model_with_a_version_of_its_own_stays_known() -> None:
    rows = {
        "registered_models": [{"name": "x"}],
        "model_versions": [{"version": "x/1", "name": "x"}, {"version": "x/2", "name": "x"}],
        "version_tags": [{"version": "x/1", **REFERENCE}],
    }
    left = facts(part(**rows))
    assert list(left["model_versions"]["version"]) == ["mlflow:x/2"]
    assert list(left["registered_models"]["name"]) == ["mlflow:x"]
