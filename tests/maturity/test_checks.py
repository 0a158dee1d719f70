"""Pipeline and repository checks: how the vocabulary is read, what counts, what is unknown, and how it is told."""

from __future__ import annotations

import json
from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.connectors.repository_roles import Role
from maturity import check_measures as m
from maturity import check_words, phrases
from maturity.answers import Answers
from maturity.check_facts import CheckFacts, Content
from maturity.check_measures import ROLES, keys_of, parse_check_measure
from maturity.check_words import check_sentence, formula
from maturity.checks import measure_check, measure_checks
from maturity.examples import AS_OF, facts_of
from maturity.indicators import measure_all
from maturity.keyed import DAY
from maturity.populations import Populations
from maturity.reader import read_yaml
from maturity.report_conditions import report_holds
from maturity.schema import load_model
from maturity.scorecard import Outcome
from maturity.scoring import score
from tests.project.test_docs import LANGUAGES, page, table_rows
from tests.project.tree import ROOT

MODEL = load_model()
COMPUTED = [check for check in MODEL.checks.values() if check.measure is not None]
PARITY, REVIEWS, DATASHEET, RULES = "DG4.2.1/2", "MD6.2.1/1", "DG1.2.2/2", "MD6.3.1/1"
GOOD = {"kind": "parity", "values": {"transform": {"samples": 5, "max_abs_diff": 0}}}
BAD = {"kind": "parity", "values": {"transform": {"samples": 5, "max_abs_diff": 1}}}


def found(key, project=None, **example):
    world = Populations(MODEL, facts_of(example), AS_OF)
    return measure_check(world, MODEL.checks[key], project)


def condition(text):
    faults = []
    measure = parse_check_measure(read_yaml(text, "t.yaml", faults))
    return measure, [str(fault) for fault in faults]


# reading the vocabulary


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{}", "t.yaml: needs report, repository or share"),
        ("{report: a}", "t.yaml: holds: is missing"),
        ("{report: a, holds: {value: x, gee: 1}}", "t.yaml: holds.gee: unknown key"),
        ("{report: a, holds: {value: x, ge: 1, le: 2}}", "t.yaml: holds: may have only one of"),
        ("{report: a, holds: {value: x, is: ja}}", "t.yaml: holds.is: must be true or false"),
        ("{report: a, of: best, holds: {value: x}}", "t.yaml: of: must be one of newest, some"),
        ("{report: a, holds: {file: train}}", "t.yaml: holds.file: unknown key"),
        ("{repository: {file: trian}}", "t.yaml: repository.file: must be one of"),
        ("{repository: {commits: 0}}", "t.yaml: repository.commits: must be a whole number of at least 1"),
        ("{repository: {all: []}}", "t.yaml: repository.all: needs at least 1 entry"),
        ("{share: approved_changes, at_least: '2'}", "t.yaml: at_least: must lie between 0 and 1"),
        ("{share: approved_changes, at_least: 0}", "t.yaml: at_least: must be above 0"),
        ("{share: projects, at_least: 1, repository: {value: x}}", "t.yaml: repository.value: unknown key"),
    ],
)
def test_what_is_wrong_in_a_measure_is_told_with_its_key(text, fault):
    assert [told for told in condition(text)[1] if told.startswith(fault)], condition(text)[1]


def test_all_faults_of_a_measure_are_told_at_once():
    _, faults = condition("{report: '', of: best, holds: {all: [{value: x, ge: a}, {rows: {at_least: 0}}]}}")
    assert len(faults) == 4


def test_the_roles_are_those_that_the_git_connector_gives():
    assert {role.value for role in Role} == ROLES


# which reports count


def test_the_newest_report_decides_whatever_an_older_one_showed():
    assert found(PARITY, reports=[{**GOOD, "day": -9}, {**BAD, "day": -2}]).value == 0
    assert found(PARITY, reports=[{**BAD, "day": -9}, {**GOOD, "day": -2}]).value == 1


@pytest.mark.parametrize("day", [1, "unknown", -400])
def test_a_report_of_the_future_without_a_date_or_of_long_ago_does_not_count(day):
    finding = found(PARITY, reports=[{**GOOD, "day": day}])
    assert (finding.outcome, finding.reason) == (Outcome.NO_EVIDENCE, "no_report")


def test_the_age_of_a_report_is_the_age_of_the_evidence():
    finding = found(PARITY, reports=[{**GOOD, "day": -100}])
    assert finding.read_at == AS_OF - 100 * DAY
    scorecard = score(MODEL, [finding], Answers(), projects=[], as_of=date(2026, 1, 1))
    assert scorecard.findings == (finding,)


@pytest.mark.parametrize("project", [None, "q", "nobody"])
def test_a_report_of_no_known_project_is_credited_to_none(project):
    example = {"projects": [{"project": "p"}, {"project": "q"}], "reports": [{**GOOD, "project": "typo"}, GOOD]}
    world = Populations(MODEL, facts_of(example), AS_OF)
    findings = {f.project: f for f in measure_checks(world, ["p", "q"]) if f.indicator == PARITY}
    assert findings[None].value == 1
    assert {findings[key].outcome for key in ("p", "q")} == {Outcome.NO_EVIDENCE}
    assert measure_check(world, MODEL.checks[PARITY], project).value == (1 if project is None else None)


def test_a_report_gets_the_project_of_its_run_and_its_own_word_goes_first():
    example = {
        "projects": [{"project": "p"}, {"project": "q"}],
        "runs": [{"id": "r1", "project": "p"}],
        "reports": [{**GOOD, "run": "r1"}, {**BAD, "run": "r1", "project": "q"}, {**BAD, "run": "elsewhere"}],
    }
    assert found(PARITY, "p", **example).value == 1
    assert found(PARITY, "q", **example).value == 0


def test_a_report_that_names_an_unknown_project_does_not_fall_back_to_its_run():
    example = {"projects": [{"project": "p"}], "runs": [{"id": "r1", "project": "p"}]}
    assert found(PARITY, "p", **example, reports=[{**GOOD, "run": "r1", "project": "x"}]).value is None


@pytest.mark.parametrize(
    "report",
    [{**GOOD, "origin": "reference"}, {**GOOD, "run": "r1"}, {**GOOD, "run": "child"}],
)
def test_a_report_of_the_reference_pipeline_counts_for_nobody(report):
    runs = [{"id": "r1", "tags": {"origin": "reference"}, "children": [{"id": "child"}]}]
    assert found(PARITY, runs=runs, reports=[report]).outcome is Outcome.NO_EVIDENCE


def test_of_two_reports_of_one_moment_the_lower_id_decides():
    assert found(PARITY, reports=[GOOD, BAD]).value == 1
    assert found(PARITY, reports=[BAD, GOOD]).value == 0


# whether sources could be read


@pytest.mark.parametrize(("key", "stream"), [(PARITY, "reports"), (DATASHEET, "repository"), (REVIEWS, "reviews")])
def test_without_a_source_that_has_the_stream_a_check_is_not_supported(key, stream):
    finding = found(key, streams={stream: "not_supported"})
    assert (finding.outcome, finding.reason) == (Outcome.NOT_SUPPORTED, "stream_not_supported")


@pytest.mark.parametrize(
    ("key", "stream", "example"),
    [
        (PARITY, "reports", {}),
        (PARITY, "reports", {"reports": [BAD]}),
        (DATASHEET, "repository", {"repositories": [{"files": ["train"]}]}),
        (REVIEWS, "reviews", {"repositories": [{"changes": [{"approvals": 1}]}]}),
        ("MD6.2.2/1", "ci", {"repositories": [{"files": ["test loss,shape,transform", "coverage line_rate:80"]}]}),
    ],
)
def test_a_no_does_not_stand_when_something_could_not_be_read(key, stream, example):
    finding = found(key, streams={stream: "could_not_look"}, **example)
    assert (finding.outcome, finding.value) == (Outcome.COULD_NOT_LOOK, None)
    assert finding.details["stream"] == stream


def test_what_was_seen_to_hold_stands_when_another_source_could_not_be_read():
    assert found(PARITY, streams={"reports": "could_not_look"}, reports=[GOOD]).value == 1


def test_whose_a_report_is_cannot_be_known_while_experiments_were_not_read():
    example = {"projects": [{"project": "p"}], "streams": {"experiments": "could_not_look"}, "reports": [GOOD]}
    assert found(PARITY, "p", **example).outcome is Outcome.COULD_NOT_LOOK


def test_without_any_source_nobody_looked():
    facts = facts_of({})
    world = Populations(MODEL, type(facts)(facts.tables, {}), AS_OF)
    finding = measure_check(world, MODEL.checks[PARITY], None)
    assert (finding.outcome, finding.reason) == (Outcome.COULD_NOT_LOOK, "no_source")


# repositories


def test_a_repository_of_another_project_is_not_looked_at_and_one_that_serves_all_is():
    files = ["datasheet licence,permitted_use,source"]
    assert found(DATASHEET, "p", repositories=[{"project": "q", "files": files}]).reason == "no_repository"
    assert found(DATASHEET, "p", repositories=[{"files": files}]).value == 1


def test_a_ci_run_of_another_project_proves_nothing_for_this_one():
    tested = {"files": ["test loss,shape,transform", "coverage line_rate:80"]}
    own, other = ({"repositories": [{**tested, "ci": [{"project": key}]}]} for key in ("p", "q"))
    assert found("MD6.2.2/1", "p", **own).value == 1
    assert found("MD6.2.2/1", "p", **other).value == 0


def test_a_ci_run_may_name_a_repository_by_a_name_that_only_one_has():
    tested = {"name": "api", "files": ["test loss,shape,transform", "coverage line_rate:80"]}
    ci = [{"repository": "api"}]
    assert found("MD6.2.2/1", repositories=[tested], ci=ci).value == 1
    assert found("MD6.2.2/1", repositories=[tested, {"name": "api"}], ci=ci).value == 0


@pytest.mark.parametrize(("approved", "worth"), [(8, 1), (4, Fraction(17, 40)), (0, 0)])
def test_a_share_below_its_target_counts_in_proportion(approved, worth):
    changes = [{"times": approved, "approvals": 1}, {"times": 10 - approved, "approvals": 0}]
    finding = found(REVIEWS, "p", projects=[{"project": "p"}], repositories=[{"changes": changes}])
    scorecard = score(MODEL, [finding], Answers(), projects=["p"], as_of=date(2026, 1, 1))
    (leaf,) = (leaf for _, _, leaf in scorecard.leaves() if leaf.check == REVIEWS)
    assert leaf.values.rated == worth


def test_a_check_that_is_met_counts_in_full():
    finding = found(PARITY, "p", projects=[{"project": "p"}], reports=[{**GOOD, "project": "p"}])
    scorecard = score(MODEL, [finding], Answers(), projects=["p"], as_of=date(2026, 1, 1))
    (leaf,) = (leaf for _, _, leaf in scorecard.leaves() if leaf.check == PARITY)
    assert (leaf.values.rated, leaf.kind, leaf.settled) == (1, "pipeline", True)


def test_every_check_is_measured_for_every_project_of_the_scope_and_once():
    facts = facts_of({"projects": [{"project": "p"}, {"project": "q"}], "reports": [GOOD]})
    findings = measure_all(MODEL, facts, as_of=AS_OF, projects=["q", "p"])
    places = [(finding.indicator, finding.project) for finding in findings]
    assert len(set(places)) == len(places)
    wanted = {(c.key, p) for c in COMPUTED for p in _scopes(c)}
    assert {place for place in places if "/" in place[0]} == wanted


def _scopes(check):
    practice = MODEL.practices[check.key.partition("/")[0]]
    return (None, "p", "q") if practice.scope == "project" else (None,)


# what is unknown


def test_a_report_that_was_too_large_never_gives_a_no_for_what_was_left_out():
    rows = {"every_row": {"value": "a"}}
    measure, _ = condition(f"{{report: x, holds: {rows}}}".replace("'", ""))
    full, lacking = ({"a": Fraction(1)},), ({"b": Fraction(1)},)
    assert report_holds(measure.condition, Content({}, full, cut=True)) is None
    assert report_holds(measure.condition, Content({}, lacking, cut=True)) is None
    assert report_holds(measure.condition, Content({}, full, cut=False)) is True
    assert report_holds(measure.condition, Content({}, (), cut=False)) is False


cells = st.one_of(st.fractions(), st.text(max_size=5))
tables = st.dictionaries(st.sampled_from(["a", "a.b", "b", "votes.0", "", "@x", "transform.samples"]), cells)


@given(values=tables, rows=st.lists(tables, max_size=4), cut=st.booleans())
def test_whatever_a_report_holds_every_condition_has_an_answer(values, rows, cut):
    content = Content(values, tuple(rows), cut)
    for check in COMPUTED:
        if check.measure.form == "report":
            verdict = report_holds(check.measure.condition, content)
            assert verdict in (True, False, None)
            assert verdict is not None or cut


@given(values=tables, rows=st.lists(tables, max_size=4))
def test_leaving_something_out_never_turns_an_answer_round(values, rows):
    for check in COMPUTED:
        if check.measure.form == "report":
            whole = report_holds(check.measure.condition, Content(values, tuple(rows), cut=False))
            part = report_holds(check.measure.condition, Content(values, tuple(rows[:1]), cut=bool(rows[1:])))
            assert part in (None, whole)


# telling


@pytest.mark.parametrize("check", COMPUTED, ids=lambda check: check.key)
def test_every_formula_is_told_in_both_languages(check):
    english, chinese = formula(check.measure, "en"), formula(check.measure, "zh-hans")
    assert english != chinese
    assert not any("\u4e00" <= letter <= "\u9fff" for letter in english)
    assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese)
    assert all(key in english for key, _ in keys_of(check.measure.condition))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("check", COMPUTED, ids=lambda check: check.key)
def test_every_finding_of_a_check_has_a_sentence_without_gaps(check, language):
    for example in check.examples:
        said = check_sentence(found(check.key, **example), check, language)
        assert check.text.in_(language) in said
        assert "{" not in said
        assert said.endswith("。" if language == "zh" else ".")


def test_the_sentence_tells_what_was_seen_needed_and_when():
    finding = found(REVIEWS, repositories=[{"changes": [{"times": 7, "approvals": 1}, {"times": 3}]}])
    said = check_sentence(finding, MODEL.checks[REVIEWS], "en")
    assert "7 of 10 (70.0 %; 95 % interval 39.7 %–89.2 %), needed ≥ 80.0 %: not met" in said
    assert "As of 2025-12-31" in said


def test_every_reason_is_used_and_stands_apart_from_those_of_indicators():
    assert set(check_words.REASONS_OF_CHECKS) & set(phrases.REASONS) == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_manual_lists_what_the_checks_read_of_every_report(language):
    rows = {cells[0].strip("`"): cells for cells in table_rows(page("reports", language)) if len(cells) == 4}
    kinds = {check.measure.report for check in COMPUTED if check.measure.form == "report"}
    assert kinds <= set(rows)
    for kind in kinds:
        checks = [c for c in COMPUTED if c.measure.report == kind]
        keys = dict.fromkeys(key for c in checks for key in keys_of(c.measure.condition))
        for place, in_rows in ((1, False), (2, True)):
            wanted = dict.fromkeys(f"`{key}`" for key, in_row in keys if in_row is in_rows)
            assert rows[kind][place] == (", ".join(wanted) or "–"), kind
        assert rows[kind][3] == ", ".join(c.key for c in checks)


def test_the_published_schema_names_the_kinds_that_the_checks_read():
    schema = json.loads((ROOT / "assessments" / "web" / "static" / "web" / "report.schema.json").read_text("utf-8"))
    kinds = {check.measure.report for check in COMPUTED if check.measure.form == "report"}
    assert schema["properties"]["kind"]["examples"] == sorted(kinds)


def test_a_measure_of_one_kind_never_judges_another():
    with pytest.raises(TypeError):
        report_holds(m.Commits(1), Content({}, (), cut=False))
    facts = CheckFacts(Populations(MODEL, facts_of({"repositories": [{}]}), AS_OF))
    assert len(facts.repositories(None)) == 1
