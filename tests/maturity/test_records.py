"""Incidents, monitoring and lineage come from other sources than runs and versions: whose word counts, and when."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from maturity.assembly import assemble
from maturity.examples import AS_OF, facts_of
from maturity.facts import TABLES, Facts, Part, Reading, Statement, StreamReading
from maturity.indicators import measure
from maturity.keyed import DAY
from maturity.populations import Populations
from maturity.reader import read_yaml
from maturity.schema import load_model
from maturity.scorecard import Outcome
from maturity.vocabulary import parse_measure
from maturity.words import sentence

MODEL = load_model()
TRACKING = ("experiments", "runs", "logged_models", "artifacts", "registry")
INCIDENT = {
    "incident": "1",
    "kind": "model",
    "version": "m/1",
    "opened_at": AS_OF - DAY,
    "restored_at": AS_OF - DAY // 2,
}
VERSION = {"version": "m/1", "name": "m", "number": "1", "status": "READY", "created_at": AS_OF - 9 * DAY}
ALIAS = {"name": "m", "alias": "live", "version": "m/1"}


def part(source, states, finished=AS_OF, **rows):
    streams = tuple(StreamReading(stream, state, 0, "said so") for stream, state in states.items())
    tables = {name: TABLES[name].frame(given) for name, given in rows.items()}
    return Part(source, Statement("kind", "", 0, finished, streams), tables)


def tracking(source="t", **rows):
    return part(source, dict.fromkeys(TRACKING, Reading.READ), **rows)


def found(key, *parts):
    facts = assemble(parts, TABLES["projects"].empty())
    return measure(MODEL, MODEL.indicators[key], facts, as_of=AS_OF, project=None)


def test_incidents_count_from_a_source_that_has_no_runs():
    beside = part("i", {"incidents": Reading.READ}, finished=AS_OF - 7, incidents=[INCIDENT])
    finding = found("INC-01", tracking(model_versions=[VERSION]), beside)
    assert (finding.passing, finding.value, finding.read_at) == (("i:1",), 1, AS_OF - 7)


def test_incidents_need_no_tracking_server_at_all():
    assert found("INC-02", part("i", {"incidents": Reading.READ}, incidents=[INCIDENT])).value == 12


def test_a_tracking_server_alone_cannot_tell_of_incidents():
    assert found("INC-02", tracking()).outcome is Outcome.NOT_SUPPORTED


def test_one_source_of_incidents_that_did_not_answer_keeps_the_whole_from_a_value():
    silent = part("j", {"incidents": Reading.COULD_NOT_LOOK})
    finding = found("INC-02", part("i", {"incidents": Reading.READ}, incidents=[INCIDENT]), silent)
    assert (finding.outcome, finding.details["source"]) == (Outcome.COULD_NOT_LOOK, "j")


LEVEL = {"version": "m/1", "name": "live/primary", "day": AS_OF - DAY, "value": 0.9}


def test_monitoring_speaks_of_a_version_of_another_source():
    beside = part("p", {"service_levels": Reading.READ}, service_levels=[LEVEL])
    assert found("MON-02", tracking(model_versions=[VERSION], aliases=[ALIAS]), beside).value == 1


def test_where_two_registries_have_a_version_of_that_name_neither_is_meant():
    both = [tracking(source, model_versions=[VERSION], aliases=[ALIAS]) for source in ("t", "u")]
    beside = part("p", {"service_levels": Reading.READ}, service_levels=[LEVEL])
    assert found("MON-02", *both, beside).value == 0


@pytest.mark.parametrize("change", [{"value": float("nan")}, {"day": AS_OF + DAY}, {"version": None}, {"name": "live"}])
def test_a_measurement_does_not_count_when(change):
    beside = part("p", {"service_levels": Reading.READ}, service_levels=[{**LEVEL, **change}])
    assert found("MON-02", tracking(model_versions=[VERSION], aliases=[ALIAS]), beside).value == 0


def test_monitoring_that_is_down_takes_nothing_from_what_runs_show_in_full():
    monitor = {"run": "r", "experiment": "e", "status": "FINISHED", "lifecycle": "active", "start_at": AS_OF - DAY}
    tags = [{"run": "r", "key": key, "value": value} for key, value in
            (("dlemm.stage", "monitor"), ("dlemm.model_version", "m/1"))]  # fmt: skip
    metrics = [{"run": "r", "key": "live/primary", "value": 0.9, "at": AS_OF - DAY}]
    rows = {
        "runs": [monitor],
        "run_tags": tags,
        "run_metrics": metrics,
        "model_versions": [VERSION],
        "aliases": [ALIAS],
    }
    down = part("p", {"service_levels": Reading.COULD_NOT_LOOK})
    assert found("MON-02", tracking(**rows), down).value == 1
    assert found("MON-02", tracking(model_versions=[VERSION], aliases=[ALIAS]), down).outcome is Outcome.COULD_NOT_LOOK


def test_an_incident_of_the_future_has_not_happened():
    facts = facts_of({"facts": {"incidents": [{"opened_at": 1}, {"incident": "x", "opened_at": -1, "closed_at": 1}]}})
    incidents = Populations(MODEL, facts, AS_OF).incidents
    assert {key: row["closed_at"] for key, row in incidents.items()} == {"s:x": None}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{population: INCIDENTS, median: {time: dlemm.alert_at}}", "median.time"),
        ("{population: INCIDENTS, median: {metric: acc}}", "median.metric"),
        ("{population: INCIDENTS, share: {metric: acc}}", "share.metric"),
        ("{population: INCIDENTS, share: {tag: a}}", "share.tag"),
        ("{population: INCIDENTS, share: {field: opened_at}}", "share.field"),
        ("{population: INCIDENTS, latest: {time: opened_at}}", "latest"),
        ("{population: PROD, median: {mean: [a]}}", "median.mean"),
    ],
)
def test_what_an_incident_or_a_version_has_not_is_named_with_its_place(text, place):
    faults = []
    parse_measure(read_yaml(text, "t.yaml", faults))
    assert place in [fault.key for fault in faults]


def test_a_late_tag_is_told_in_words():
    example = {"runs": [{"times": 2, "id": None, "stage": "train", "tags": {"mlflow.source.git.commit": "c"}}]}
    facts = facts_of(example)
    row = {"entity": "run", "id": "s:r1", "field": "tag", "key": "dlemm.stage", "new": "train"}
    changes = TABLES["changes"].frame([{**row, "after": AS_OF - 5 * DAY, "before": AS_OF - 4 * DAY}])
    indicator = MODEL.indicators["EXP-02"]
    finding = measure(
        MODEL, indicator, Facts(MappingProxyType({**facts.tables, "changes": changes}), facts.statements),
        as_of=AS_OF, project=None,
    )  # fmt: skip
    assert "tagged only after the work was over: 1" in sentence(finding, indicator, "en")
    assert "其中 1 个虽通过" in sentence(finding, indicator, "zh")
