"""The document: its numbers are those of the scorecard, its evidence is cited, and both languages are whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from assessments.reports.document import SHOWN_BLOCKERS, SHOWN_OVER_CLAIMS, ReportDocument
from assessments.reports.labels import labels, method_note
from assessments.reports.parts import CheckItem
from maturity.answers import Answers, Waiver
from maturity.facts import TABLES
from maturity.gaps import GapKind, gaps
from maturity.phrases import UNITS
from maturity.schema import load_model
from maturity.scorecard import Outcome
from maturity.scoring import score
from maturity.vocabulary import Unit
from tests.assessments.reports import samples


def texts(value: Any) -> Iterator[str]:
    """Every text in JSON data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)


def checks(document: ReportDocument) -> list[CheckItem]:
    return [
        check
        for capability in document.capabilities
        for practice in capability.practices
        for project in practice.projects
        for check in project.checks
    ]


def test_the_result_is_told_with_its_dimensions_interval_and_lowest_capability() -> None:
    card, document = samples.scorecard(), samples.document()
    assert card.level is not None
    assert card.index is not None
    levels = ", ".join(f"{d.dimension} {d.level.rated}" for d in card.dimensions if d.level)
    assert document.result.sentence == f"Level {card.level.rated} ({levels})"
    assert f"verified {card.level.lower}, claimed {card.level.claimed}" in document.result.interval
    assert f"possible {card.level.upper}" in document.result.interval
    assert str(card.lowest) in document.result.index
    assert document.result.overall.index is not None
    assert document.result.overall.index.rated.exact == card.index.rated
    assert document.result.overall.lowest == card.lowest


def test_every_level_index_and_value_is_the_scorecards_own() -> None:
    card, document = samples.scorecard(), samples.document()
    for item, result in zip(document.capabilities, card.capabilities, strict=True):
        assert (item.standing.id, item.standing.level) == (result.capability, result.level)
        index = item.standing.index
        assert (index.map(lambda n: n.exact) if index else None) == result.index
        for practice, rated in zip(item.practices, result.practices, strict=True):
            assert (practice.id, practice.codes, practice.claim) == (rated.practice, rated.codes, rated.claim)
            assert (practice.values.map(lambda n: n.exact) if practice.values else None) == rated.values
            assert len(practice.projects) == len(rated.ratings)
    cells = [cell for group in document.heatmap for row in group.rows for cell in row.cells]
    states = [state for capability in card.capabilities for state in capability.achievements]
    for cell, state in zip(cells, states, strict=True):
        exact = state.achievement.rated if state.achievement else None
        assert (cell.level, cell.achievement.exact if cell.achievement else None) == (state.level, exact)


def test_the_radar_has_the_level_of_every_rated_capability_in_three_views() -> None:
    card, chart = samples.scorecard(), samples.document().radar
    rated = [capability for capability in card.capabilities if capability.level]
    assert [axis.key for axis in chart.axes] == [capability.capability for capability in rated]
    for series in chart.series:
        assert series.levels == tuple(c.level[series.view] for c in rated if c.level)  # type: ignore[index]


def test_gaps_stand_in_the_order_of_worth_and_claims_with_the_largest_gap_first() -> None:
    card, document = samples.scorecard(), samples.document()
    found = gaps(load_model(), card)[:SHOWN_BLOCKERS]
    assert [(one.practice, one.level, one.gain.exact) for one in document.blockers] == [
        (gap.practice, gap.level, gap.gain) for gap in found
    ]
    shown = [(one.practice, one.gap.exact) for one in document.over_claims]
    assert shown == [(gap.practice, gap.gap) for gap in card.gaps[:SHOWN_OVER_CLAIMS]]
    assert [gap for _, gap in shown] == sorted((gap for _, gap in shown), reverse=True)
    assert str(len(card.gaps)) in document.over_claims_note


def test_a_finding_cites_its_first_fifty_ids_with_links_and_says_how_many_more() -> None:
    finding = next(f for f in samples.scorecard().findings if len(f.passing) == 70 and f.project)
    shown = next(
        c for c in checks(samples.document()) if c.evidence and c.evidence.indicator == finding.indicator
        and c.evidence.project == finding.project
    )  # fmt: skip
    assert shown.evidence is not None
    cited = shown.evidence.passing
    assert [one.id for one in cited.ids] == list(finding.passing[:50])
    assert (cited.more, cited.count) == (20, 70)
    assert cited.ids[0].link == samples.address("run", finding.passing[0])
    assert shown.evidence.sources == ("lab",)
    assert shown.evidence.read_at == "2025-02-20 06:00 UTC"


def test_every_check_that_was_measured_cites_its_indicator_and_source() -> None:
    measured = [check for check in checks(samples.document()) if check.value is not None]
    assert len(measured) > 20
    for check in measured:
        assert check.evidence is not None
        assert check.evidence.indicator in check.name
        assert check.evidence.sources


@pytest.mark.parametrize(
    ("good", "n", "low", "high", "borderline"),
    [(9, 10, "59.6 %", "98.2 %", True), (45, 50, "78.6 %", "95.7 %", True), (400, 400, "99 %", "100 %", False)],
)
def test_a_share_has_its_wilson_interval_and_is_borderline_when_the_target_lies_inside(
    good: int, n: int, low: str, high: str, borderline: bool
) -> None:
    model, projects = load_model(), ("fraud",)
    findings = samples.findings(model, projects)
    ids = tuple(f"lab:r{number}" for number in range(n))
    findings = [
        replace(f, outcome=None, reason="", details={}, value=Fraction(good, n), n=n, numerator=good, denominator=n,
                passing=ids[:good], failing=ids[good:]) if f.indicator == "DAT-02" else f
        for f in findings
    ]  # fmt: skip
    card = score(model, findings, Answers(), projects=projects, as_of=samples.AS_OF)
    check = next(c for c in checks(samples.document(card=card)) if c.key == "DG1.2.1/1")
    assert check.interval is not None
    assert (check.interval.low.shown, check.interval.high.shown, check.interval.borderline) == (low, high, borderline)
    assert ("borderline" in check.sentence) is borderline


def test_provisional_and_restricted_results_say_so_and_why() -> None:
    model = load_model()
    waivers = tuple(Waiver(p.id, None, "none", "none", "assessor") for p in model.practices.values() if p.na_reason)
    card = score(model, [], Answers(waivers=waivers), projects=("fraud",), as_of=samples.AS_OF)
    assert card.provisional
    restricted = replace(card, restricted_scope=True, na_share=Fraction(1, 4))
    flags = {flag.key: flag.text for flag in samples.document(card=restricted).result.flags}
    assert set(flags) == {"provisional", "restricted", "waived"}
    assert "50 %" in flags["provisional"]
    assert "80 %" in flags["provisional"]
    assert "25 %" in flags["restricted"]
    assert f": {card.waivers}." in flags["waived"]


def test_what_does_not_apply_is_listed_with_its_reason() -> None:
    document = samples.document()
    held = [one for one in document.left_out if one.held]
    assert {one.project for one in held} == {"fraud", "vision"}
    assert all("the labels are sensor readings" in one.text and "assessor" in one.text for one in held)
    practices = {p.id: p for c in document.capabilities for p in c.practices}
    assert all(not practices[one.on].applicable for one in held)


def test_sources_say_what_was_read_and_what_was_not() -> None:
    (source,) = samples.document().sources
    assert (source.key, source.address, source.complete) == ("lab", "https://mlflow.example", False)
    states = {stream.name: (stream.state_name, stream.reason) for stream in source.streams}
    assert states["runs"] == ("read to the end", "")
    assert states["artifact lists"] == ("could not look", "the server answered 503 three times")


def test_weights_an_organisation_set_itself_are_named() -> None:
    card = samples.scorecard()
    weights = replace(card.weights, dimensions={**card.weights.dimensions, "DG": Fraction(2)})
    notes = {note.key: note.text for note in samples.document(card=replace(card, weights=weights)).method}
    assert "DG 2" in notes["weights"]
    assert "weights" not in {note.key for note in samples.document().method}


def test_without_projects_sources_and_answers_the_report_still_stands() -> None:
    card = score(load_model(), [], Answers(), projects=(), as_of=samples.AS_OF)
    document = samples.document(card=card, statements={})
    assert document.result.sentence == "Level 0 (DG 0, MD 0, DO 0)"
    assert document.blockers_note == labels("en")["no_project_yet"]
    assert document.sources == ()


def test_a_result_that_is_not_rated_has_no_number_in_place_of_a_level() -> None:
    card = replace(samples.scorecard(), level=None, index=None)
    document = samples.document(card=card)
    assert document.result.sentence.startswith("Not rated (")
    assert document.result.interval == ""
    assert document.result.index == "No index: a dimension is not rated."


def test_the_json_reads_back_as_the_same_document_and_is_canonical() -> None:
    document = samples.document("zh")
    content = document.to_bytes()
    assert ReportDocument.from_json(json.loads(content)) == document
    assert samples.document("zh").to_bytes() == content
    data = json.loads(content)
    assert json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":")) == content.decode().rstrip("\n")
    rated = next(c for c in data["capabilities"] if "index" in c["standing"])["standing"]["index"]["rated"]
    assert re.fullmatch(r"\d+/\d+", rated["exact"])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_text_has_an_open_gap_or_the_name_of_a_key(language: str) -> None:
    found = list(texts(samples.document(language, demo=True).to_json()))
    keys = {key for key in labels("en") if "_" in key}
    assert not [text for text in found if re.search(r"\{\w*\}", text)]
    codes = set(Outcome)  # an outcome is given as its code, with its name beside it
    assert not [text for text in found if text in keys - codes]


def test_the_chinese_report_says_nothing_of_ours_in_english() -> None:
    model = load_model()
    foreign = {
        "the server is older than 3.0",
        "the server answered 503 three times",
        "the labels are sensor readings",
        "Example Works",
    }
    known = r"MLflow|DLE-MM|python -m maturity verify FILE --id|SHA-256|UTC"
    allowed = re.compile(rf"{known}|https?://\S+|lab:\w+|[A-Z]+[A-Z0-9]*(-\d+)?(\.\d)*")
    own = {text for text in texts(samples.document("zh").to_json()) if " " in text}
    english = {row.en for p in model.practices.values() for row in (p.name, p.criterion)}
    assert not own & english
    labels_en = {text for text in labels("en").values() if " " in text}
    assert not own & labels_en
    left = [
        text for text in own
        if not re.search(r"[\u4e00-\u9fff]", text)
        and re.search(r"[a-z]{4,} [a-z]{4,}", allowed.sub("", text))
        and text not in foreign
    ]  # fmt: skip
    assert left == []


def test_every_label_and_note_has_both_languages_with_the_same_gaps() -> None:
    english, chinese = labels("en"), labels("zh")
    for key, text in english.items():
        assert text
        assert chinese[key]
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", chinese[key])), key
    assert method_note("exact", "en").text != method_note("exact", "zh").text


def test_a_finding_without_ids_names_every_source_that_was_read() -> None:
    document = samples.document(statements={"lab": samples.STATEMENT, "other": samples.STATEMENT})
    found = [check.evidence for check in checks(document) if check.evidence]
    empty = [one.sources for one in found if not one.passing.count + one.failing.count]
    cited = [one.sources for one in found if one.passing.count + one.failing.count]
    assert set(empty) == {("lab", "other")}
    assert set(cited) == {("lab",)}


def test_everything_the_engine_can_name_has_a_word_in_the_report() -> None:
    units = {f"unit_{unit.replace(' ', '_')}" for unit in (*Unit, *UNITS)}
    streams = {f"stream_{table.stream}" for table in TABLES.values()}
    kinds = {*load_model().kinds, "claim", "nothing_kind", "waiver"}
    assert units | streams | kinds | set(GapKind) | set(Outcome) <= set(labels("zh"))
