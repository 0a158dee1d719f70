"""Measuring: what counts, what does not, and what is said when a source could not be read."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType

import pytest

from maturity import conditions, indicators, measures
from maturity.assembly import assemble
from maturity.examples import AS_OF, SOURCE, facts_of
from maturity.facts import TABLES, Facts, Part, Reading, Statement, StreamReading
from maturity.functions import median, spearman
from maturity.indicators import measure, measure_all
from maturity.keyed import DAY, compiled, number_of, time_of
from maturity.populations import GoLive, Populations
from maturity.reader import read_yaml
from maturity.schema import Indicator, Text
from maturity.scorecard import Outcome
from maturity.vocabulary import parse_measure
from tests.maturity.small import small_model


def indicator(text, key="T-01", kind="share"):
    faults = []
    parsed = parse_measure(read_yaml(text, "t.yaml", faults))
    assert faults == []
    return Indicator(key, kind, "negative", 1, Text("Name", "名称"), Text("d", "定义"), parsed, None, ())


TRAINED = indicator("{population: TRAIN, share: {param: seed}}")
LIVE = indicator("{population: REGISTERED, count: {member: PROD}}", kind="count")
RELEASED = indicator("{population: RELEASED, share: {tag: dlemm.approved_by}}")
MODEL = small_model({"T-01": TRAINED, "T-02": replace(LIVE, id="T-02"), "T-03": replace(RELEASED, id="T-03")})


def found(what, example, project=None):
    return measure(MODEL, what, facts_of(example), as_of=AS_OF, project=project)


def counted(what, *runs):
    finding = found(what, {"runs": list(runs)})
    return finding.numerator, finding.denominator


def live(*versions):
    return found(LIVE, {"versions": list(versions)}).passing


# which runs count


@pytest.mark.parametrize(
    ("run", "counts"),
    [
        ({}, True),
        ({"day": -180}, True),
        ({"day": -180.001}, False),
        ({"day": 0}, True),
        ({"day": 0.001}, False),
        ({"lifecycle": "deleted"}, False),
        ({"status": "FAILED"}, False),
        ({"status": "RUNNING"}, False),
        ({"stage": "evaluate"}, False),
        ({"stage": "retrain"}, True),
        ({"stage": "Train"}, False),
        ({"stage": " train "}, True),
        ({"stage": None}, False),
        ({"stage": None, "models": [{}]}, True),
        ({"stage": "deploy", "models": [{}]}, False),
    ],
)
def test_a_run_counts_as_training_when(run, counts):
    assert counted(TRAINED, {"stage": "train", "params": {"seed": 1}, **run}) == ((1, 1) if counts else (0, 0))


def test_two_runs_of_one_name_are_two_runs():
    assert counted(TRAINED, {"times": 2, "name": "same", "stage": "train", "params": {"seed": 1}}) == (2, 2)


def test_a_trial_is_no_training_of_its_own_beside_a_parent_that_is_one():
    trials = [{"times": 5, "stage": "train", "params": {"seed": 1}}]
    assert counted(TRAINED, {"stage": "train", "children": trials}) == (0, 1)
    assert counted(TRAINED, {"stage": "comparison", "children": trials}) == (5, 5)


def test_a_trial_is_an_ordinary_run_of_all():
    everything = indicator("{population: ALL, share: {param: seed}}")
    parent = {"stage": "train", "children": [{"times": 5, "stage": "train", "params": {"seed": 1}}]}
    assert counted(everything, parent) == (5, 6)


def test_a_stage_is_one_stage_with_or_without_blanks_around_it():
    tagged = indicator("{population: ALL, share: {tag: dlemm.stage, equals: evaluate}}")
    members = indicator("{population: EVALUATE, share: {tag: dlemm.stage}}")
    assert counted(tagged, {"stage": "evaluate "}) == (1, 1)
    assert counted(members, {"stage": "evaluate "}) == (1, 1)


@pytest.mark.parametrize(
    ("parent", "counts"),
    [
        ({"day": -11}, 1),
        ({"day": -10}, 1),
        ({"day": -9}, 10),
        ({"day": -11, "experiment": "e2"}, 10),
        ({"day": -11, "status": "FAILED"}, 9),
    ],
)
def test_runs_hide_behind_a_parent_only_in_its_experiment_and_after_its_start(parent, counts):
    children = {"times": 9, "stage": "train", "parent": "good"}
    good = {"id": "good", "stage": "train", "params": {"seed": 1}, **parent}
    assert counted(TRAINED, good, children)[1] == counts


def test_runs_that_are_each_others_parents_hide_none():
    def circle(*ids):
        return [{"id": one, "parent": ids[i - 1], "stage": "train"} for i, one in enumerate(ids)]

    assert counted(TRAINED, *circle("a", "b")) == (0, 2)
    assert counted(TRAINED, *circle("a", "b", "c"), {"id": "d", "parent": "a", "stage": "train"}) == (0, 3)
    assert counted(TRAINED, *circle("a", "b"), {"id": "x", "stage": "train"}, {"parent": "x", "stage": "train"}) == (
        0,
        3,
    )


def test_a_run_that_names_itself_as_parent_still_counts():
    assert counted(TRAINED, {"id": "x", "parent": "x", "stage": "train", "params": {"seed": 1}}) == (1, 1)


# which values count


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1.797e308, -1.7976931348623157e308])
def test_a_metric_that_is_not_finite_is_not_logged(value):
    logged = indicator("{population: TRAIN, share: {metric: acc}}")
    assert counted(logged, {"stage": "train", "metrics": {"acc": value}}) == (0, 1)
    assert counted(logged, {"stage": "train", "metrics": {"acc": 1e300}}) == (1, 1)


def test_an_empty_text_is_absent_and_a_very_long_one_is_a_text():
    assert counted(TRAINED, {"stage": "train", "params": {"seed": ""}}) == (0, 1)
    assert counted(TRAINED, {"stage": "train", "params": {"seed": "7" * 5000}}) == (1, 1)


@pytest.mark.parametrize("hostile", ["[" * 5000, "1e999999999", "0001-01-01T00:00:00+23:59", "{" * 9, "\0"])
def test_no_tag_however_hostile_stops_measuring(hostile):
    for text in (
        "{population: ALL, share: {tag: dlemm.x, names: registered_model}}",
        "{population: ALL, share: {value: {declared: dlemm.x}, ge: 1}}",
        "{population: ALL, share: {value: {time: dlemm.x}, ge: 99999}}",
    ):
        assert counted(indicator(text), {"tags": {"x": hostile}}) == (0, 1)


def test_metrics_are_compared_exactly():
    least = indicator("{population: TRAIN, share: {metric: acc, ge: '0.3'}}")
    assert counted(least, {"stage": "train", "metrics": {"acc": 0.3}}) == (1, 1)
    assert counted(least, {"stage": "train", "metrics": {"acc": 0.1 + 0.2}}) == (1, 1)
    assert counted(least, {"stage": "train", "metrics": {"acc": 0.3 - 1e-16}}) == (0, 1)


def test_a_share_is_exact_and_names_everyone():
    finding = found(TRAINED, {"runs": [{"times": 2, "stage": "train"}, {"stage": "train", "params": {"seed": 1}}]})
    assert (finding.value, finding.outcome, finding.unit) == (Fraction(1, 3), None, "run")
    assert (finding.passing, finding.failing) == (("s:r3",), ("s:r1", "s:r2"))
    assert finding.window == (AS_OF - 180 * DAY, AS_OF)
    assert finding.read_at == AS_OF - DAY


# production


@pytest.mark.parametrize(
    ("version", "is_live"),
    [
        ({"alias": "champion"}, True),
        ({"alias": "prod"}, True),
        ({"alias": "Champion"}, False),
        ({"alias": "challenger"}, False),
        ({"stage": "Production"}, False),
        ({"deployed": -1}, True),
        ({"deployed": 0}, True),
        ({"deployed": 0.5}, False),
        ({"tags": {"deployed_at": "yes"}}, False),
        ({"tags": {"deployed_at": "9" * 5000}}, False),
        ({"tags": {"deployed_at": str(AS_OF - DAY)}}, True),
        ({"tags": {"deployed_at": "2025-12-01"}}, True),
        ({"deployed": -9, "tags": {"retired_at": {"day": -1}}}, False),
        ({"deployed": -9, "tags": {"retired_at": {"day": 1}}}, True),
        ({"deployed": -9, "tags": {"retired_at": "soon"}}, False),
        ({"alias": "live", "deployed": 5}, True),
        ({"alias": "live", "created": 1}, False),
        ({"seen": [-3, -2]}, False),
        ({"seen": [-3, -3]}, False),  # the server told of an alias that is gone by now
    ],
)
def test_a_version_is_live_when(version, is_live):
    assert live(version) == (("s:m/1",) if is_live else ())


def go_live(*versions):
    return dict(Populations(MODEL, facts_of({"versions": list(versions)}), AS_OF).go_live)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ({"deployed": -5, "seen": [-3, -2]}, GoLive(AS_OF - 5 * DAY, True)),
        ({"seen": [-3, -2]}, GoLive(AS_OF - 2 * DAY, False, AS_OF - 3 * DAY)),
        ({"seen": [None, -2]}, GoLive(AS_OF - 2 * DAY, False, None)),
        ({"seen": [-3, -3]}, GoLive(AS_OF - 3 * DAY, True, AS_OF - 3 * DAY)),
        ({"deployed": -5, "seen": [-3, -3]}, GoLive(AS_OF - 5 * DAY, True)),
        ({"deployed": 1, "seen": [-3, -2]}, GoLive(AS_OF - 2 * DAY, False, AS_OF - 3 * DAY)),
        ({"alias": "staging", "seen": [-3, -2]}, None),
        ({"seen": [-3, 2]}, None),
        ({"alias": "champion"}, None),
    ],
)
def test_the_production_time_is_the_tag_else_the_first_reading_with_the_alias(version, expected):
    assert go_live(version).get("s:m/1") == expected


def test_a_release_that_was_only_seen_says_how_wide_its_interval_is():
    details = found(RELEASED, {"versions": [{"seen": [-9, -2]}, {"seen": [-3, -2]}, {"deployed": -5}]}).details
    assert details == {"seen_only": "2", "widest_interval_days": "7"}
    assert found(RELEASED, {"versions": [{"seen": [None, -2]}]}).details["widest_interval_days"] == "open"
    assert found(RELEASED, {"versions": [{"deployed": -2}]}).details == {}


def test_a_version_looks_at_its_source_run_and_at_every_linked_run_but_not_at_its_neighbours():
    metric = indicator("{population: RELEASED, share: {metric: acc}}")
    linked = {"deployed": -5, "linked": [{"stage": "evaluate", "metrics": {"acc": 1}}]}
    source = {"deployed": -5, "run": {"metrics": {"acc": 1}}}
    bare = {"deployed": -5}
    assert found(metric, {"versions": [linked, source, bare]}).passing == ("s:m/1", "s:m/2")


def test_the_newest_run_of_a_version_speaks():
    value = indicator("{population: RELEASED, max: {metric: acc}}", kind="bound_ge")
    version = {"deployed": -5, "run": {"day": -9, "metrics": {"acc": 1}}}
    newer = {"day": -8, "metrics": {"acc": 0.5}}
    assert found(value, {"versions": [{**version, "linked": [newer]}]}).value == Fraction(1, 2)
    assert found(value, {"versions": [{**version, "linked": [{**newer, "day": -10}]}]}).value == 1


# nothing to see, or not able to look


def test_no_run_is_no_evidence_and_not_zero():
    finding = found(TRAINED, {})
    assert (finding.outcome, finding.value, finding.n) == (Outcome.NO_EVIDENCE, None, 0)
    assert finding.reason == "empty_population"


def test_without_any_source_nobody_looked():
    empty = assemble([], TABLES["projects"].empty())
    finding = measure(MODEL, TRAINED, empty, as_of=AS_OF, project=None)
    assert (finding.outcome, finding.reason) == (Outcome.COULD_NOT_LOOK, "no_source")


@pytest.mark.parametrize("stream", ["runs", "registry"])
def test_a_stream_that_could_not_be_read_is_no_evidence_of_absence(stream):
    what = TRAINED if stream == "runs" else LIVE
    finding = found(what, {"streams": {stream: "could_not_look"}})
    assert (finding.outcome, finding.value, finding.reason) == (Outcome.COULD_NOT_LOOK, None, "stream_not_read")
    assert finding.details == {"stream": stream, "source": SOURCE, "why": f"{stream} said so"}


@pytest.mark.parametrize(
    ("version", "project", "outcome"),
    [
        ({}, "p", Outcome.COULD_NOT_LOOK),
        ({}, None, None),
        ({"project": "p"}, "p", None),
        ({"project": "p"}, "q", Outcome.NO_EVIDENCE),
        ({"run": None}, "p", Outcome.NO_EVIDENCE),
    ],
)
def test_what_may_belong_to_a_project_through_an_unread_run_could_not_be_looked_at(version, project, outcome):
    for stream in ("runs", "experiments"):
        example = {
            "projects": [{"project": "p"}, {"project": "q"}],
            "versions": [{"deployed": -5, "run": "r9", **version}],
            "streams": {stream: "could_not_look"},
        }
        finding = found(RELEASED, example, project)
        assert finding.outcome is outcome
        if outcome is Outcome.COULD_NOT_LOOK:
            assert finding.details == {"stream": stream, "source": SOURCE, "why": f"{stream} said so"}


def test_a_version_beside_one_that_may_belong_to_the_project_does_not_speak_for_both():
    versions = [{"deployed": -5, "project": "p"}, {"deployed": -5, "run": "r9"}]
    example = {"projects": [{"project": "p"}], "versions": versions, "streams": {"runs": "could_not_look"}}
    assert found(RELEASED, example, "p").outcome is Outcome.COULD_NOT_LOOK
    assert found(TRAINED, {**example, "streams": {}}, "p").outcome is Outcome.NO_EVIDENCE


def test_a_first_release_could_not_be_looked_at_while_its_project_is_unknown():
    example = {
        "projects": [{"project": "p", "idea": -90}],
        "versions": [{"deployed": -5, "run": "r9"}],
        "streams": {"runs": "could_not_look"},
    }
    assert found(indicator("{function: lead_time_known}"), example).outcome is Outcome.COULD_NOT_LOOK


def test_a_run_may_belong_to_a_project_through_an_unread_experiment():
    example = {"projects": [{"project": "p"}], "streams": {"experiments": "could_not_look"}}
    assert found(TRAINED, {**example, "runs": [{"stage": "train"}]}, "p").outcome is Outcome.COULD_NOT_LOOK
    assert found(TRAINED, {**example, "runs": [{"stage": "train", "project": "p"}]}, "p").value == 0


def test_of_a_share_that_must_be_small_those_counted_are_the_failing_ones():
    bad = indicator("{population: RELEASED, share: {tag: dlemm.rolled_back_at}}", kind="bound_le")
    example = {"versions": [{"deployed": -5}, {"deployed": -9, "tags": {"rolled_back_at": {"day": -8}}}]}
    finding = found(bad, example)
    assert (finding.value, finding.numerator, finding.denominator) == (Fraction(1, 2), 1, 2)
    assert (finding.passing, finding.failing) == (("s:m/1",), ("s:m/2",))
    most = indicator("{population: RELEASED, max: {metric: acc}}", kind="bound_le")
    measured = found(most, {"versions": [{"deployed": -5, "run": {"metrics": {"acc": 1}}}, {"deployed": -5}]})
    assert (measured.passing, measured.failing) == (("s:m/1",), ("s:m/2",))


def test_a_stream_that_is_not_asked_for_does_not_matter():
    example = {"runs": [{"stage": "train", "params": {"seed": 1}}], "streams": {"registry": "could_not_look"}}
    assert found(TRAINED, example).value == 1


def test_unread_logged_models_matter_only_when_a_finished_run_names_no_stage():
    unread = {"streams": {"logged_models": "could_not_look"}}
    tagged = {"stage": "train", "params": {"seed": 1}}
    assert found(TRAINED, {"runs": [tagged], **unread}).value == 1
    assert found(TRAINED, {"runs": [tagged, {}], **unread}).outcome is Outcome.COULD_NOT_LOOK


def test_a_stream_that_no_source_has_is_not_supported():
    finding = found(LIVE, {"streams": {"registry": "not_supported"}})
    assert (finding.outcome, finding.reason) == (Outcome.NOT_SUPPORTED, "stream_not_supported")


def test_an_indicator_without_a_measure_is_not_supported():
    bare = replace(TRAINED, measure=None, reason=Text("why", "原因"))
    assert found(bare, {}).outcome is Outcome.NOT_SUPPORTED
    assert found(bare, {}).reason == "no_source_yet"


FILES = indicator("{population: TRAIN, share: {artifact: [a.txt]}}")


def test_owners_whose_files_were_not_listed_are_left_out_and_counted():
    seen = {"stage": "train", "artifacts": ["deep/a.txt"]}
    runs = [{"times": 2, **seen}, {"stage": "train"}, {"stage": "train", "listed": False}]
    finding = found(FILES, {"runs": runs})
    assert (finding.numerator, finding.denominator) == (2, 3)
    assert finding.details == {"unknown": "1", "of": "4"}


@pytest.mark.parametrize(("unread", "outcome"), [(1, None), (2, Outcome.COULD_NOT_LOOK)])
def test_more_than_half_unread_is_could_not_look(unread, outcome):
    runs = [{"stage": "train", "artifacts": ["a.txt"]}, {"times": unread, "stage": "train", "listed": False}]
    assert found(FILES, {"runs": runs}).outcome is outcome


def test_an_unread_file_list_does_not_matter_where_the_answer_is_known_without_it():
    both = indicator("{population: TRAIN, share: {all: [{param: seed}, {artifact: [a.txt]}]}}")
    either = indicator("{population: TRAIN, share: {any: [{param: seed}, {artifact: [a.txt]}]}}")
    neither = indicator("{population: TRAIN, share: {not: {artifact: [a.txt]}}}")
    unread = {"stage": "train", "listed": False}
    assert counted(both, unread) == (0, 1)
    assert counted(either, {**unread, "params": {"seed": 1}}) == (1, 1)
    assert found(neither, {"runs": [unread]}).outcome is Outcome.COULD_NOT_LOOK


@pytest.mark.parametrize(
    ("pattern", "folder", "outcome"),
    [
        ("a.txt", "docs/", Outcome.COULD_NOT_LOOK),
        ("docs/a.txt", "docs/", Outcome.COULD_NOT_LOOK),
        ("docs/a.txt", "plots/", None),
        ("docs/a.txt", "docs/deep/", None),
        ("docs/*/a.txt", "docs/deep/", Outcome.COULD_NOT_LOOK),
        ("docs/a.txt", "docs/a.txt/", None),
        ("docs/**.txt", "docs/deep/", Outcome.COULD_NOT_LOOK),
        ("**", "docs/", None),
    ],
)
def test_a_file_that_may_lie_in_a_folder_nobody_opened_is_unknown(pattern, folder, outcome):
    what = indicator(f"{{population: TRAIN, share: {{artifact: ['{pattern}']}}}}")
    finding = found(what, {"runs": [{"stage": "train", "artifacts": [folder, "b.txt"]}]})
    assert finding.outcome is outcome
    assert finding.value == {None: Fraction(pattern == "**")}.get(outcome)


# projects and sources


def test_a_project_sees_its_own_runs_and_the_organisation_sees_all():
    example = {
        "projects": [{"project": "p"}, {"project": "q"}],
        "runs": [
            {"stage": "train", "project": "p", "params": {"seed": 1}},
            {"stage": "train", "project": "q"},
            {"stage": "train"},
        ],
    }
    shares = {project: found(TRAINED, example, project).value for project in (None, "p", "q")}
    assert shares == {None: Fraction(1, 3), "p": 1, "q": 0}


def source(name, state=Reading.READ, finished=AS_OF, runs=()):
    streams = tuple(
        StreamReading(stream, state if stream == "runs" else Reading.READ)
        for stream in ("experiments", "runs", "logged_models", "artifacts", "registry")
    )
    rows = [
        {"run": run, "experiment": "e", "status": "FINISHED", "lifecycle": "active", "start_at": AS_OF - DAY}
        for run in runs
    ]
    tags = [{"run": run, "key": "dlemm.stage", "value": "train"} for run in runs]
    tables = {"runs": TABLES["runs"].frame(rows), "run_tags": TABLES["run_tags"].frame(tags)}
    return Part(name, Statement("mlflow", "", 0, finished, streams), tables)


def of_sources(*parts):
    return measure(MODEL, TRAINED, assemble(parts, TABLES["projects"].empty()), as_of=AS_OF, project=None)


def test_one_source_that_could_not_be_read_keeps_the_whole_from_a_value():
    unread = source("b", Reading.COULD_NOT_LOOK)
    assert of_sources(source("a", runs=["1"])).n == 1
    assert of_sources(source("a", runs=["1"]), unread).outcome is Outcome.COULD_NOT_LOOK


def test_the_same_id_in_two_sources_is_two_runs_and_the_oldest_reading_counts():
    finding = of_sources(source("a", finished=AS_OF - 5, runs=["1"]), source("b", finished=AS_OF - 9, runs=["1"]))
    assert finding.failing == ("a:1", "b:1")
    assert finding.read_at == AS_OF - 9


# everything at once


BUSY = {
    "projects": [{"project": "q", "idea": -90}, {"project": "p", "idea": -90}],
    "runs": [
        {"times": 3, "stage": "train", "project": "p", "params": {"seed": 1}, "inputs": ["training:d1", "training:d1"]},
        {"stage": "train", "project": "q"},
    ],
    "versions": [{"project": "p", "alias": "champion", "seen": [-4, -3], "run": {"stage": "train"}}],
}


def test_measure_all_gives_every_indicator_for_the_organisation_and_each_project_in_order():
    findings = measure_all(MODEL, facts_of(BUSY), as_of=AS_OF, projects=["q", "p", "p"])
    assert [(f.indicator, f.project) for f in findings] == [
        (key, project) for key in ("T-01", "T-02", "T-03") for project in (None, "p", "q")
    ]
    facts = facts_of(BUSY)
    for finding in findings:
        alone = measure(MODEL, MODEL.indicators[finding.indicator], facts, as_of=AS_OF, project=finding.project)
        assert alone == finding


def test_the_order_of_rows_does_not_change_a_finding():
    facts = facts_of(BUSY)
    turned = {name: frame.iloc[::-1].reset_index(drop=True) for name, frame in facts.tables.items()}
    other = Facts(MappingProxyType(turned), facts.statements)
    projects = ["p", "q"]
    assert measure_all(MODEL, facts, as_of=AS_OF, projects=projects) == measure_all(
        MODEL, other, as_of=AS_OF, projects=projects
    )


# small parts


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("# Data", True),
        ("## 2. data and labels", True),
        ("**Data**", True),
        ("**Data**:", True),
        ("Data:", True),
        ("数据\n# Data：", True),
        ("Data\r\n----", True),
        ("* __Data__", False),
        ("Data were collected last year.", False),
        ("Data: some", False),
        ("Data", False),
        ("#Data", False),
        ("# Database", False),
        ("# The data", False),
        ("**Data** were collected", False),
        ("Data " + "were collected in many places " * 4 + ":", False),
    ],
)
def test_a_heading_is_a_marked_line_and_no_prose(text, has):
    what = indicator("{population: ALL, share: {tag: mlflow.note.content, heading: data}}")
    assert counted(what, {"tags": {"mlflow.note.content": text}}) == (int(has), 1)


@pytest.mark.parametrize(("text", "expected"), [("a" * 1000, (1, 1)), (" " + "b" * 1000 + "a", (0, 1))])
def test_a_regular_expression_looks_at_the_first_thousand_characters(text, expected):
    assert counted(indicator("{population: ALL, share: {tag: dlemm.x, matches: a}}"), {"tags": {"x": text}}) == expected


def test_the_named_conditions_and_functions_are_exactly_those_of_the_vocabulary():
    assert set(measures.HOLDS) == set(conditions._NAMED)
    assert set(measures.FUNCTIONS) == set(indicators._FUNCTIONS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-01", AS_OF),
        ("2026-01-01T01:00:00+01:00", AS_OF),
        ("2026-01-01T00:00:00Z", AS_OF),
        (str(AS_OF), AS_OF),
        ("2026", None),
        ("", None),
        ("9" * 15, None),
        ("yesterday", None),
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000),
        (None, None),
    ],
)
def test_a_time_is_read_as_iso_or_milliseconds(text, expected):
    assert time_of(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.01", Fraction(1, 100)), (" -2e-3 ", Fraction(-1, 500)), ("1e999999999", None), ("1/3", None), ("fast", None)],
)
def test_a_declared_number_is_exact_and_bounded(text, expected):
    assert number_of(text) == expected


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("a/*", "a/b", True),
        ("a/*", "a/b/c", False),
        ("a/**", "a/b/c", True),
        ("a/<x>/m", "a/b/m", True),
        ("a/<x>/m", "a//m", False),
        ("a.b", "axb", False),
        ("**", "a/b\nc", True),
    ],
)
def test_a_pattern_matches(pattern, text, matches):
    assert (compiled(pattern).fullmatch(text) is not None) == matches


def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two():
    assert median([Fraction(4), Fraction(1), Fraction(2)]) == 2
    assert median([Fraction(4), Fraction(1), Fraction(2), Fraction(3)]) == Fraction(5, 2)


def test_the_rank_correlation_agrees_with_scipy_also_with_ties():
    stats = pytest.importorskip("scipy.stats")
    xs, ys = [Fraction(x) for x in (1, 2, 2, 3, 5, 8)], [Fraction(y) for y in (2, 1, 4, 4, 3, 9)]
    assert float(spearman(xs, ys)) == pytest.approx(
        stats.spearmanr(list(map(float, xs)), list(map(float, ys))).statistic
    )
    assert spearman(xs, [Fraction(1)] * 6) is None
    assert spearman(xs[:1], ys[:1]) is None
