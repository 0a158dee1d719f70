"""Where a check could be met by a gesture, or say no of what nobody looked at: it does neither."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from integrations.connectors.repository_files import TEXT_BYTES
from integrations.connectors.repository_marks import marks_of
from integrations.connectors.repository_roles import Role
from maturity.assembly import assemble
from maturity.check_facts import LOOKED_INTO, Content
from maturity.check_measures import parse_check_measure
from maturity.checks import measure_check
from maturity.examples import AS_OF, facts_of
from maturity.facts import TABLES, Facts, Part, Reading, Statement, StreamReading
from maturity.keyed import DAY
from maturity.populations import Populations
from maturity.reader import read_yaml
from maturity.report_conditions import report_holds
from maturity.schema import load_model
from maturity.scorecard import Outcome

MODEL = load_model()
DATASHEET, SCHEMA, CODE, TESTED = "DG1.2.2/2", "DG2.2.1/1", "MD6.1.1/1", "MD6.2.2/1"
RULES, STATISTICS, TEMPLATE, REVIEWS = "MD6.3.1/1", "MD6.4.1/1", "MD6.3.2/1", "MD6.2.1/1"
TESTS = "test loss,shape,transform"
GOOD_SHEET = "datasheet licence,permitted_use,source"


def found(key, project=None, notes=(), **example):
    facts = facts_of(example)
    statements = {source: replace(one, notes=notes) for source, one in facts.statements.items()}
    world = Populations(MODEL, Facts(facts.tables, statements), AS_OF)
    return measure_check(world, MODEL.checks[key], project)


# gestures


@pytest.mark.parametrize(("key", "role"), [(SCHEMA, "expectation"), (CODE, "train"), ("DG4.1.1/1", "preprocess")])
def test_an_empty_file_named_right_is_nothing(key, role):
    assert found(key, repositories=[{"files": [{"file": role, "size": 0}]}]).value == 0
    assert found(key, repositories=[{"files": [{"file": role, "size": 1}]}]).value == 1


@pytest.mark.parametrize("role", [Role.CI, Role.HOOKS])
def test_a_word_in_a_comment_of_a_configuration_is_no_step(role):
    assert "secrets_scan" not in marks_of(
        role, "jobs:\n  # later: gitleaks\n  a: # trufflehog one day\n    run: make\n"
    )
    assert "secrets_scan" in marks_of(role, "jobs:\n  - run: gitleaks detect # nightly\n")


def test_a_comment_in_a_test_tests_nothing_and_the_name_of_its_file_still_speaks():
    assert marks_of(Role.TEST, "tests/test_transform.py\n# empty batch, missing modality\n") == {"transform"}


def test_an_old_result_kept_in_the_repository_does_not_hide_that_the_tests_fail_today():
    files = [TESTS, "coverage line_rate:80", "test_result passed"]
    assert found(TESTED, repositories=[{"files": files, "ci": [{"status": "failed"}]}]).value == 0
    assert found(TESTED, repositories=[{"files": files}]).value == 1
    assert found(TESTED, repositories=[{"files": [*files, "test_result failed"]}]).value == 0


def test_approvals_of_half_the_changes_say_nothing_of_the_other_half():
    def share(approved, unknown, refused=0):
        changes = ((approved, 1), (unknown, "unknown"), (refused, 0))
        rows = [{"times": times, "approvals": approvals} for times, approvals in changes if times]
        return found(REVIEWS, repositories=[{"changes": rows}])

    assert share(5, 5).outcome is Outcome.COULD_NOT_LOOK
    assert share(7, 3).outcome is Outcome.COULD_NOT_LOOK
    assert (share(8, 2).value, share(8, 2).n) == (1, 8)
    assert share(1, 1, 8).value == Fraction(1, 9)


def test_the_template_itself_is_not_every_project_that_started():
    projects = [{"project": key, "started": -50} for key in ("a", "b")]
    shared = {"files": ["template", "dependencies shared:acme-ml"]}
    assert found(TEMPLATE, projects=projects, repositories=[shared]).outcome is Outcome.COULD_NOT_LOOK
    own = [{**shared, "project": key} for key in ("a", "b")]
    assert found(TEMPLATE, projects=projects, repositories=own).value == 1


def test_a_good_datasheet_in_one_repository_excuses_no_bad_one_in_another():
    repositories = [{"files": [GOOD_SHEET]}, {"files": ["train"]}]
    assert found(DATASHEET, repositories=repositories).value == 1
    assert found(DATASHEET, repositories=[*repositories, {"files": ["datasheet source"]}]).value == 0


# what nobody looked at


def test_the_largest_file_looked_into_is_the_connectors():
    assert LOOKED_INTO == TEXT_BYTES


@pytest.mark.parametrize(
    ("key", "file"),
    [
        ("MD6.5.1/1", {"file": "train", "size": LOOKED_INTO + 1}),
        ("DG5.3.2/1", {"file": "ci", "size": LOOKED_INTO + 1}),
        (DATASHEET, {"file": "datasheet", "size": LOOKED_INTO + 1}),
    ],
)
def test_a_file_too_large_to_be_looked_into_may_carry_any_mark(key, file):
    example = {"projects": [{"project": "a"}], "repositories": [{"project": "a", "files": [file]}]}
    assert found(key, **example).outcome is Outcome.COULD_NOT_LOOK


def test_coverage_in_a_file_too_large_to_be_looked_into_is_unknown():
    files = [TESTS, "test_result passed", {"file": "coverage", "size": LOOKED_INTO + 1}]
    assert found(TESTED, repositories=[{"files": files}]).outcome is Outcome.COULD_NOT_LOOK


@pytest.mark.parametrize("note", ["files_cut", "files_not_looked_into"])
@pytest.mark.parametrize(("key", "files"), [("DG5.3.2/1", ["ci", "train"]), ("DG4.2.1/1", ["train", "serve"])])
def test_what_the_collection_left_out_is_no_no(note, key, files):
    assert found(key, repositories=[{"files": files}]).value == 0
    assert found(key, notes=(note,), repositories=[{"files": files}]).outcome is Outcome.COULD_NOT_LOOK


def test_a_list_of_files_that_was_cut_never_says_that_a_file_is_missing_nor_that_every_file_is_good():
    assert found(CODE, notes=("files_cut",), repositories=[{"files": ["other"]}]).outcome is Outcome.COULD_NOT_LOOK
    sheet = found(DATASHEET, notes=("files_cut",), repositories=[{"files": [GOOD_SHEET]}])
    assert sheet.outcome is Outcome.COULD_NOT_LOOK
    assert found(CODE, notes=("files_cut",), repositories=[{"files": ["train"]}]).value == 1


@pytest.mark.parametrize("stream", ["ci", "reviews"])
def test_statistics_that_no_source_has_are_not_missing_statistics(stream):
    days = (-10, -40, -70)
    repository = {"ci": [{"day": day} for day in days], "changes": [{"day": day, "approvals": 1} for day in days]}
    assert found(STATISTICS, repositories=[repository]).value == 1
    less = {key: rows for key, rows in repository.items() if key != {"ci": "ci", "reviews": "changes"}[stream]}
    assert found(STATISTICS, repositories=[less]).value == 0
    hidden = found(STATISTICS, repositories=[less], streams={stream: "not_supported"})
    assert hidden.outcome is Outcome.COULD_NOT_LOOK


def test_tests_that_are_not_there_are_a_no_even_where_no_source_tells_of_ci():
    assert found(TESTED, repositories=[{"files": ["test loss"]}], streams={"ci": "not_supported"}).value == 0
    tested = found(TESTED, repositories=[{"files": [TESTS]}], streams={"ci": "not_supported"})
    assert tested.outcome is Outcome.COULD_NOT_LOOK


def test_months_whose_changes_have_unknown_approvals_are_unknown():
    ci = [{"day": day} for day in (-10, -40, -70)]
    changes = [{"day": -10, "approvals": 1}, {"day": -40, "approvals": "unknown"}, {"day": -70, "approvals": 0}]
    assert found(STATISTICS, repositories=[{"ci": ci, "changes": changes}]).outcome is Outcome.COULD_NOT_LOOK
    assert found(STATISTICS, repositories=[{"ci": ci, "changes": changes[:1]}]).value == 0


def test_a_file_of_rules_that_says_nothing_of_checks_is_no_sign_that_there_are_none():
    ci = "ci on_change,smoke_training,tests"
    assert found(RULES, repositories=[{"files": [ci, "protection"]}]).outcome is Outcome.COULD_NOT_LOOK
    assert found(RULES, repositories=[{"files": [ci, "protection required_checks,tests"]}]).value == 0


@pytest.mark.parametrize("coverage", [float("inf"), 61.0, -1.0])
def test_a_coverage_that_is_no_share_measures_nothing(coverage):
    repository = {"files": [TESTS], "ci": [{"coverage": coverage}]}
    assert found(TESTED, repositories=[repository]).value == 0


def test_what_a_row_of_a_cut_report_lacks_may_have_been_left_out_and_what_it_says_counts():
    node = read_yaml("{report: x, holds: {every_row: {all: [{value: a}, {value: b, equals: 1}]}}}", "t.yaml", [])
    condition = parse_check_measure(node).condition
    assert report_holds(condition, Content({}, ({"a": "x"},), cut=True)) is None
    assert report_holds(condition, Content({}, ({"b": Fraction(2)},), cut=True)) is False


# changes that another source tells of


def test_a_change_sent_for_a_repository_by_its_name_belongs_to_the_project_of_that_repository():
    sent = [{"repository": "api", "number": f"#{n}", "merged_at": -5, "approvals": 1} for n in range(5)]
    example = {"repositories": [{"name": "api", "project": "p"}], "facts": {"change_requests": sent}}
    assert (found(REVIEWS, "p", **example).value, found(REVIEWS, "p", **example).n) == (1, 5)
    assert found(REVIEWS, "q", **example).reason == "no_change"
    twice = {**example, "repositories": [*example["repositories"], {"name": "api", "project": "q"}]}
    assert found(REVIEWS, "p", **twice).reason == "no_change"


def test_a_change_that_two_sources_tell_of_is_one_change():
    changes = [{"times": 5, "approvals": "unknown"}]
    sent = [{"repository": "api", "number": str(n), "merged_at": -5, "approvals": 1} for n in range(5)]
    example = {"repositories": [{"name": "api", "changes": changes}], "facts": {"change_requests": sent}}
    for project in (None, "p"):
        finding = found(REVIEWS, project, **example)
        assert (finding.value, finding.n) == (1, 5)


def test_a_repository_that_two_sources_read_is_one_to_its_ci_and_its_changes():
    def part(source, streams, rows):
        names = sorted({table.stream for table in TABLES.values()} - {"projects"})
        readings = tuple(StreamReading(name, Reading(streams.get(name, "not_supported"))) for name in names)
        statement = Statement("test", "http://x.test", AS_OF - DAY, AS_OF - DAY, readings)
        return Part(source, statement, {name: TABLES[name].frame(given) for name, given in rows.items()})

    own = {"repository": "abc", "name": "api", "project": "p", "read_at": AS_OF - DAY, "commits": 5}
    marks = {"test": "loss,shape,transform", "coverage": "line_rate:80"}
    files = [{"repository": "abc", "path": r, "role": r, "size": 9, "marks": m} for r, m in marks.items()]
    read = [
        part(key, {"repository": "read"}, {"repositories": [own], "repository_files": files}) for key in ("g1", "g2")
    ]
    run = {"ci_run": "1", "repository": "api", "job": "tests", "status": "passed", "at": AS_OF - DAY}
    merged = [{"repository": "api", "number": str(n), "merged_at": AS_OF - DAY, "approvals": 1} for n in range(5)]
    sent = part("sent", {"ci": "read", "reviews": "read"}, {"ci_runs": [run], "change_requests": merged})
    projects = TABLES["projects"].frame([{"project": "p", "experiments": "[]", "models": "[]"}])
    world = Populations(MODEL, assemble([*read, sent], projects), AS_OF)
    assert measure_check(world, MODEL.checks[TESTED], "p").value == 1
    reviews = measure_check(world, MODEL.checks[REVIEWS], "p")
    assert (reviews.value, reviews.n) == (1, 5)
