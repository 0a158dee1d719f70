"""The model as data: faulty models are refused with file and key, and the bundled one is whole."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import pytest

from maturity.schema import BUNDLED, Capability, Model, ModelError, Practice, Text, load_model, parse_model

MODEL = """\
model:
  key: small
  version: '1'
  name: {en: Small, zh: 小模型}
  status: {en: For tests, zh: 供测试}
levels:
- {level: 0, name: {en: None, zh: 无}, meaning: {en: Nothing, zh: 没有}}
- {level: 1, name: {en: Done, zh: 已做}, meaning: {en: Done once, zh: 做过一次}}
rating_scale:
- {code: N, name: {en: Not, zh: 未}, low: '0', high: '0.15', claim_value: '0'}
- {code: P, name: {en: Partially, zh: 部分}, low: '0.15', high: '0.5', claim_value: '0.33'}
- {code: L, name: {en: Largely, zh: 大部分}, low: '0.5', high: '0.85', claim_value: '0.67'}
- {code: F, name: {en: Fully, zh: 完全}, low: '0.85', high: '1', claim_value: '1'}
evidence_kinds:
- {kind: mlflow, klass: machine, cap: '1', validity_days: 90, confidence: '1'}
- {kind: pipeline, klass: machine, cap: '1', validity_days: 90, confidence: '1'}
- {kind: repo, klass: machine, cap: '1', validity_days: 90, confidence: '1'}
- {kind: export, klass: machine, cap: '1', validity_days: 60, confidence: '0.9'}
- {kind: document, klass: human, cap: '0.85', validity_days: 365, confidence: '0.6'}
- {kind: interview, klass: human, cap: '0.67', validity_days: 180, confidence: '0.4'}
- {kind: document+interview, klass: human, cap: '1', confidence: '0.8'}
- {kind: substitute_document, klass: human, cap: '0.85', validity_days: 180, confidence: '0.5'}
parameters:
  claim_only_cap: '0.33'
  below_target_factor: '0.85'
  veto_at_or_below: '0.15'
  level_gate: '0.5'
  base_gate: '0.85'
  dimension_share: 2/3
  dimension_slack: 1
  organisation_cap_if_any_project_N: '0.85'
  min_applicable_weight_share: '0.5'
  provisional_if_confidence_below: '0.5'
  provisional_if_answer_coverage_below: '0.8'
  restricted_scope_if_na_weight_above: '0.2'
  confidence_high: '0.75'
  confidence_medium: '0.5'
  sample_projects_above: 10
  window_days: 180
  decimals: 4
production_aliases: [champion]
populations: {}
seeds:
  S01: {en: Idea, zh: 想法}
external_models:
  other: {en: Another model, zh: 另一模型}
dimensions:
- {id: D, name: {en: Data, zh: 数据}, weight: 1}
"""

CAPABILITY = """\
id: D1
dimension: D
name: {en: Sources, zh: 来源}
purpose: {en: Know them, zh: 了解来源}
weight: 1
practices:
- id: D1.1.1
  level: 1
  name: {en: A list, zh: 清单}
  criterion: {en: There is a list, zh: 有清单}
  scope: project
  weight: 1
  combine: any
  evidence:
  - kind: document
    check: {en: The list, zh: 清单文件}
  - {kind: mlflow, indicator: X-01, op: '>=', target: '0.5'}
  na_reason: {en: No data, zh: 没有数据}
  seeds: [S01]
  maps: {other: [A.1]}
- id: D1.1.2
  level: 1
  name: {en: In time, zh: 及时}
  criterion: {en: It is new, zh: 足够新}
  scope: organisation
  weight: 1
  combine: all
  evidence:
  - {kind: mlflow, indicator: X-02, op: <=, target: '30'}
  seeds: []
  maps: {}
"""

INDICATORS = """\
indicators:
- id: X-01
  type: share
  absence: negative
  n_min: 5
  name: {en: Share of runs, zh: 运行占比}
  definition: {en: Runs by runs, zh: 运行除以运行}
  reason: {en: No source yet, zh: 尚无来源}
- id: X-02
  type: bound_le
  absence: neutral
  n_min: 1
  name: {en: Lag, zh: 滞后}
  definition: {en: Days, zh: 天数}
  reason: {en: No source yet, zh: 尚无来源}
"""

SMALL = {"model.yaml": MODEL, "D1-sources.yaml": CAPABILITY, "indicators/X.yaml": INDICATORS}


def small() -> dict[str, bytes]:
    return {name: text.encode() for name, text in SMALL.items()}


def changed(file: str, old: str, new: str) -> dict[str, bytes]:
    """The small model with one piece of one file replaced; the piece must stand there once."""
    assert SMALL[file].count(old) == 1, f"{old!r} stands {SMALL[file].count(old)} times in {file}"
    return {**small(), file: SMALL[file].replace(old, new).encode()}


def faults_of(files: Mapping[str, bytes]) -> list[str]:
    with pytest.raises(ModelError) as caught:
        parse_model(files)
    assert str(caught.value) == "\n".join(map(str, caught.value.faults))
    return [str(fault) for fault in caught.value.faults]


def without(file: str) -> dict[str, bytes]:
    return {name: content for name, content in small().items() if name != file}


def test_a_small_model_is_read_as_written() -> None:
    model = parse_model(small())
    first, second = model.capabilities["D1"].practices
    assert [check.key for check in first.checks] == ["D1.1.1/1", "D1.1.1/2"]
    assert first.checks[0].text == Text("The list", "清单文件")
    assert (first.checks[1].indicator, first.checks[1].op, first.checks[1].target) == ("X-01", ">=", Fraction(1, 2))
    assert (first.seeds, dict(first.maps), first.na_reason) == (
        ("S01",),
        {"other": ("A.1",)},
        Text("No data", "没有数据"),
    )
    assert (second.scope, second.combine, second.checks[0].op, second.na_reason) == ("organisation", "all", "<=", None)
    assert model.parameters.dimension_share == Fraction(2, 3)
    assert model.kinds["document+interview"].validity_days is None
    assert model.dimensions[0].capabilities == (model.capabilities["D1"],)
    assert set(model.files) == set(SMALL)


TOP, CAP, IND = "model.yaml", "D1-sources.yaml", "indicators/X.yaml"
ID2 = "- id: D1.1.2"
FAULTY = [
    ("missing top file", without(TOP), ["model.yaml: is missing"]),
    ("empty file", {**small(), CAP: b""}, [f"{CAP}: is empty"]),
    ("empty indicator file", {**small(), IND: b"# none\n"}, [f"{IND}: is empty"]),
    ("syntax error", changed(CAP, "weight: 1\npractices", "weight: [1\npractices"), [f"{CAP}: line 6, column 10: "]),
    ("syntax error in the top file", {**small(), TOP: b"model: ]\n"}, ["model.yaml: line 1, column 8: "]),
    ("not UTF-8", {**small(), CAP: CAPABILITY.encode("gb18030")}, [f"{CAP}: is not UTF-8 text (byte 44)"]),
    ("too large", {**small(), CAP: b"#" * 2_000_001}, [f"{CAP}: is larger than 2000000 bytes"]),
    ("alias", changed(CAP, "maps: {}", "maps: &m {x: *m}"), [f"{CAP}: line 31, column 16: aliases are not allowed"]),
    ("deep nesting", changed(CAP, "maps: {}", "maps: " + "[" * 500), [f"{CAP}: line 31, column 46: nested deeper"]),
    ("key twice", changed(CAP, "scope: project", "level: 1\n  scope: project"), ["key 'level' is given twice"]),
    ("not a mapping", {**small(), CAP: b"- 1\n"}, [f"{CAP}: must be a mapping"]),
    (
        "a folder too many",
        {**small(), "old/D1-x.yaml": b"a: 1"},
        ["old/D1-x.yaml: stands in a folder that is not part"],
    ),
    (
        "unknown key",
        changed(CAP, "scope: project", "scopes: project"),
        ["practices[0].scope: is missing", "scopes: unknown"],
    ),
    ("unknown parameter", changed(TOP, "decimals", "decimal"), ["parameters.decimal: unknown", "decimals: is missing"]),
    ("bare No", changed(CAP, "en: No data", "en: No"), [f"{CAP}: practices[0].na_reason.en: must be text, not False"]),
    ("bare number", changed(TOP, "version: '1'", "version: 1.0"), ["model.yaml: model.version: must be text, not 1.0"]),
    (
        "float target",
        changed(CAP, "'0.5'", "0.5"),
        ["practices[0].evidence[1].target: write a number that is compared"],
    ),
    ("float parameter", changed(TOP, "base_gate: '0.85'", "base_gate: 0.85"), ["parameters.base_gate: write a number"]),
    (
        "unreadable number",
        changed(TOP, "2/3", "two thirds"),
        ["model.yaml: parameters.dimension_share: must be a number"],
    ),
    ("number out of range", changed(TOP, "2/3", "3/2"), ["parameters.dimension_share: must lie between 0 and 1"]),
    (
        "no window",
        changed(TOP, "window_days: 180", "window_days: 0"),
        ["parameters.window_days: must be a whole number"],
    ),
    (
        "no Chinese",
        changed(CAP, "{en: Know them, zh: 了解来源}", "{en: Know them}"),
        [f"{CAP}: purpose.zh: is missing"],
    ),
    ("empty Chinese", changed(CAP, "zh: 清单文件", "zh: ''"), ["practices[0].evidence[0].check.zh: must not be empty"]),
    ("missing mapping", changed(CAP, "name: {en: Sources, zh: 来源}\n", ""), [f"{CAP}: name: is missing"]),
    (
        "missing parameters",
        changed(TOP, "parameters:", "production_alias:"),
        ["parameters: is missing", "production_alias: "],
    ),
    (
        "no evidence",
        changed(CAP, "\n  - {kind: mlflow, indicator: X-02, op: <=, target: '30'}", " []"),
        ["[1].evidence: needs"],
    ),
    (
        "evidence left out",
        changed(CAP, "  evidence:\n  - {kind", "  seed:\n  - {kind"),
        ["[1].evidence: is", "[1].seed: unkn"],
    ),
    (
        "unknown kind of check",
        changed(CAP, "kind: document", "kind: video"),
        ["evidence[0].kind: must be one of mlflow"],
    ),
    (
        "no practice",
        {**small(), CAP: CAPABILITY.split("- id")[0].replace("s:\n", "s: []\n").encode()},
        ["practices: needs"],
    ),
    ("zero weight", changed(TOP, "数据}, weight: 1", "数据}, weight: 0"), ["dimensions[0].weight: must be above 0"]),
    ("unknown indicator", changed(CAP, "X-02", "X-09"), ["practices[1].evidence[0].indicator: unknown indicator X-09"]),
    ("unknown seed", changed(CAP, "[S01]", "[S01, S02]"), [f"{CAP}: practices[0].seeds[1]: unknown seed S02"]),
    (
        "unknown external model",
        changed(CAP, "{other:", "{others:"),
        ["practices[0].maps.others: unknown external model"],
    ),
    (
        "unknown dimension",
        changed(CAP, "dimension: D", "dimension: E"),
        [f"{CAP}: dimension: unknown", "has no capability"],
    ),
    ("unknown level", changed(CAP, f"{ID2}\n  level: 1", "- id: D1.2.2\n  level: 2"), ["[1].level: unknown level 2"]),
    ("practice id of another level", changed(CAP, ID2, "- id: D1.3.1"), ["practices[1].id: must be written D1.1.<n>"]),
    ("practice id twice", changed(CAP, ID2, "- id: D1.1.1"), [f"{CAP}: practices[1].id: D1.1.1 is given twice"]),
    (
        "file named otherwise",
        {**without(CAP), "E1-x.yaml": CAPABILITY.encode()},
        ["E1-x.yaml: id: the file of capability D1"],
    ),
    (
        "indicator twice",
        changed(IND, "id: X-02", "id: X-01"),
        [f"{IND}: indicators[1].id: indicator X-01 is given", "X-02"],
    ),
    (
        "neither measure nor reason",
        changed(IND, "天数}\n  reason:", "天数}\n  examples: []\n  reasons:"),
        ["either", "unkn"],
    ),
    ("target the wrong way round", changed(CAP, "op: '>='", "op: <="), ["evidence[1].op: must be >=, because X-01"]),
    ("bound the wrong way round", changed(CAP, "op: <=", "op: '>='"), ["evidence[0].op: must be <=, because X-02"]),
    (
        "share of nothing",
        changed(CAP, "'0.5'", "'0'"),
        ["evidence[1].target: must be above 0, because X-01 is of type"],
    ),
    (
        "share above one",
        changed(CAP, "'0.5'", "'50'"),
        ["evidence[1].target: must be at most 1, because X-01 is a share"],
    ),
    ("gap in the scale", changed(TOP, "high: '0.5'", "high: '0.4'"), ["model.yaml: rating_scale: must cover 0 to 1"]),
    (
        "scale folded back",
        changed(TOP, "low: '0.15', high: '0.5'", "low: '0.15', high: '0.1'"),
        ["rating_scale: must cover"],
    ),
    ("scale out of order", changed(TOP, "code: N", "code: P"), ["model.yaml: rating_scale: must list N, P, L, F"]),
    ("claim outside its range", changed(TOP, "'0.67'}", "'0.9'}"), ["the claim value of L must lie in its own range"]),
    ("gap in the levels", changed(TOP, "level: 1", "level: 2"), ["model.yaml: levels: must count 0, 1, 2"]),
    (
        "level left out",
        changed(TOP, "- {level: 1", "other:\n- {level: 1"),
        ["levels: needs at least 2 entries", "other: unk"],
    ),
    (
        "kind left out",
        changed(TOP, "- {kind: repo,", "- {kind: mlflow,"),
        ["kind repo is missing", "mlflow is given twice"],
    ),
    (
        "dimension twice",
        changed(TOP, "- {id: D,", "- {id: D, name: {en: D, zh: 数}, weight: 1}\n- {id: D,"),
        ["D is given twice"],
    ),
    ("no production alias", changed(TOP, "[champion]", "[]"), ["production_aliases: needs at least 1 entry"]),
]


@pytest.mark.parametrize(("files", "parts"), [case[1:] for case in FAULTY], ids=[case[0] for case in FAULTY])
def test_a_faulty_model_is_refused_with_file_and_key_and_nothing_else_is_said(
    files: dict[str, bytes], parts: list[str]
) -> None:
    found = faults_of(files)
    assert len(found) == len(parts), found
    for part in parts:
        assert any(part in fault for fault in found), (part, found)
    assert all(fault.startswith((*files, "model.yaml")) for fault in found)


def test_all_faults_of_all_files_are_reported_at_once() -> None:
    files = {
        TOP: MODEL.replace("'0.33'}", "0.33}").replace("  S01: {en: Idea, zh: 想法}", "  S02: {en: Idea}").encode(),
        CAP: CAPABILITY.replace("combine: any", "combine: some").replace("X-02", "X-09").encode(),
        IND: INDICATORS.replace("n_min: 5", "n_min: -5").encode(),
        "indicators/Y.yaml": b"indicators: [\n",
        "E1-more.yaml": CAPABILITY.replace("D1", "E1").replace("weight: 1\npractices", "practices").encode(),
    }
    assert [fault[: fault.rindex(": ")] for fault in faults_of(files)] == [
        "D1-sources.yaml: practices[0].combine",
        "D1-sources.yaml: practices[0].seeds[0]",
        "E1-more.yaml: practices[0].seeds[0]",
        "E1-more.yaml: weight",
        "indicators/X.yaml: indicators[0].n_min",
        "indicators/Y.yaml: line 2, column 1",
        "model.yaml: rating_scale[1].claim_value",
        "model.yaml: seeds.S02.zh",
    ]


def test_an_unreadable_indicator_file_is_not_held_against_the_checks_that_use_it() -> None:
    assert faults_of({**small(), IND: b"indicators: [\n"}) == [
        "indicators/X.yaml: line 2, column 1: expected the node content, but found '<stream end>'"
    ]


def test_capabilities_given_twice_are_found_across_files() -> None:
    found = faults_of({**small(), "D1-again.yaml": CAPABILITY.encode()})
    assert found == [
        f"{CAP}: {key} is given twice" for key in ("id: D1", "practices[0].id: D1.1.1", "practices[1].id: D1.1.2")
    ]


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_folder_gives_the_same_model_as_its_files(tmp_path: Path) -> None:
    assert load_model(write(tmp_path, small())) == parse_model(small())


def test_a_changed_folder_is_read_anew(tmp_path: Path) -> None:
    before = load_model(write(tmp_path, small()))
    after = load_model(write(tmp_path, changed(CAP, "There is a list", "There is a good list")))
    assert (before.digest, before.practices["D1.1.1"].criterion.en) != (after.digest, "There is a list")
    assert after.practices["D1.1.1"].criterion.en == "There is a good list"


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere: is not a folder"):
        load_model(tmp_path / "nowhere")


def test_a_file_that_cannot_be_read_is_said_so_and_a_large_one_is_not_taken_in(tmp_path: Path) -> None:
    write(tmp_path, {**small(), "D2-large.yaml": b"#" * 3_000_000})
    (tmp_path / "D3-folder.yaml").mkdir()
    with pytest.raises(ModelError) as caught:
        load_model(tmp_path)
    assert [str(fault) for fault in caught.value.faults] == [
        "D2-large.yaml: is larger than 2000000 bytes",
        "D3-folder.yaml: cannot be read: Is a directory",
    ]


@pytest.mark.parametrize("name", list(SMALL))
def test_the_digest_changes_with_any_byte_and_any_name_and_with_nothing_else(name: str) -> None:
    digest = parse_model(small()).digest
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert parse_model(dict(reversed(small().items()))).digest == digest
    assert parse_model({**small(), name: small()[name] + b"\n"}).digest != digest
    renamed = {**without(CAP), "D1-origins.yaml": small()[CAP]}
    assert parse_model(renamed).digest != digest


def test_loading_is_deterministic_whatever_the_order_of_the_files() -> None:
    assert parse_model(small()) == parse_model(dict(reversed(small().items())))


# The bundled model


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model()


def practices_of(model: Model) -> list[Practice]:
    return list(model.practices.values())


def test_the_bundled_model_has_its_full_content(model: Model) -> None:
    assert (model.key, len(model.capabilities), len(model.practices), len(model.indicators)) == ("dle-mm", 18, 126, 96)
    assert {d.id: [c.id for c in d.capabilities] for d in model.dimensions} == {
        key: [f"{key}{n}" for n in range(1, 7)] for key in ("DG", "MD", "DO")
    }
    assert [level.number for level in model.levels] == [0, 1, 2, 3, 4, 5]
    assert len({path.name[:3] for path in BUNDLED.glob("[DM]*.yaml")}) == 18


def test_every_capability_has_one_two_two_one_one_practices(model: Model) -> None:
    def shape(capability: Capability) -> list[str]:
        return [practice.id for level in range(6) for practice in capability.at_level(level)]

    for key, capability in model.capabilities.items():
        assert shape(capability) == [f"{key}.{n}" for n in ("1.1", "2.1", "2.2", "3.1", "3.2", "4.1", "5.1")]
        assert shape(capability) == [practice.id for practice in capability.practices]


def test_level_one_takes_any_evidence_and_the_others_all(model: Model) -> None:
    assert {(p.level == 1, p.combine) for p in practices_of(model)} == {(True, "any"), (False, "all")}
    assert {p.weight for p in practices_of(model)} == {Fraction(1)}
    assert Counter(p.scope for p in practices_of(model)) == {"project": 110, "organisation": 16}
    assert sum(p.na_reason is not None for p in practices_of(model)) == 23


def test_the_evidence_is_of_the_expected_kinds(model: Model) -> None:
    kinds = Counter(check.kind for check in model.checks.values())
    assert kinds == {"mlflow": 110, "document": 52, "pipeline": 23, "repo": 15, "interview": 4}
    sides = Counter(tuple(sorted({check.machine for check in p.checks})) for p in practices_of(model))
    assert sides == {(True,): 74, (False, True): 39, (False,): 13}
    assert sum(any(check.kind == "mlflow" for check in p.checks) for p in practices_of(model)) == 95


def test_only_pipeline_checks_name_a_file_and_all_of_them_do(model: Model) -> None:
    assert all((check.artifact is not None) == (check.kind == "pipeline") for check in model.checks.values())


def test_mlflow_checks_have_a_target_and_the_others_say_in_words_what_must_be_seen(model: Model) -> None:
    for check in model.checks.values():
        measured = (check.indicator is not None, check.op is not None, check.target is not None, check.text is None)
        share = check.measure is not None and check.measure.form == "share"  # the target stands in its measure
        assert measured == ((False, True, True, False) if share else (check.kind == "mlflow",) * 4), check.key


def test_every_indicator_is_used_and_compared_the_way_its_type_asks_for(model: Model) -> None:
    used = {check.indicator: check for check in model.checks.values() if check.indicator}
    assert set(used) == set(model.indicators)
    for check in model.checks.values():
        if check.indicator:
            assert (check.op == "<=") == (model.indicators[check.indicator].type == "bound_le"), check.key


def test_every_seed_and_external_model_is_used(model: Model) -> None:
    assert list(model.seeds) == [f"S{n:02}" for n in range(1, 28)]
    assert {seed for p in practices_of(model) for seed in p.seeds} == set(model.seeds)
    links = Counter(
        {name: sum(len(p.maps.get(name, ())) for p in practices_of(model)) for name in model.external_models}
    )
    assert links == {
        "google_level": 12,
        "microsoft_level": 19,
        "ml_test_score": 49,
        "se4ml": 63,
        "cmmi_v3_pa": 72,
        "nist_ai_rmf": 88,
        "iso42001_annex_a": 36,
        "dcmm_domain": 8,
        "caict_mlops": 21,
        "eu_ai_act_annex_iv": 23,
    }


def test_no_item_of_an_external_model_is_named_twice_by_one_practice(model: Model) -> None:
    for practice in practices_of(model):
        for name, items in practice.maps.items():
            assert len(set(items)) == len(items) > 0, (practice.id, name)


def test_the_numbers_of_the_method_are_these(model: Model) -> None:
    assert [(r.code, r.low, r.high, r.claim_value) for r in model.rating_scale] == [
        ("N", Fraction(0), Fraction(15, 100), Fraction(0)),
        ("P", Fraction(15, 100), Fraction(1, 2), Fraction(33, 100)),
        ("L", Fraction(1, 2), Fraction(85, 100), Fraction(67, 100)),
        ("F", Fraction(85, 100), Fraction(1), Fraction(1)),
    ]
    assert [(k.kind, k.klass, k.cap, k.validity_days, k.confidence) for k in model.kinds.values()] == [
        ("mlflow", "machine", Fraction(1), 90, Fraction(1)),
        ("pipeline", "machine", Fraction(1), 90, Fraction(1)),
        ("repo", "machine", Fraction(1), 90, Fraction(1)),
        ("export", "machine", Fraction(1), 60, Fraction(9, 10)),
        ("document", "human", Fraction(85, 100), 365, Fraction(6, 10)),
        ("interview", "human", Fraction(67, 100), 180, Fraction(4, 10)),
        ("document+interview", "human", Fraction(1), None, Fraction(8, 10)),
        ("substitute_document", "human", Fraction(85, 100), 180, Fraction(5, 10)),
    ]
    p = model.parameters
    assert (p.claim_only_cap, p.below_target_factor, p.veto_at_or_below) == tuple(
        map(Fraction, ("0.33", "0.85", "0.15"))
    )
    assert (p.level_gate, p.base_gate, p.dimension_share, p.dimension_slack) == (
        *map(Fraction, ("1/2", "0.85", "2/3")),
        1,
    )
    assert (p.organisation_cap_if_any_project_N, p.min_applicable_weight_share) == (Fraction("0.85"), Fraction("0.5"))
    assert p.provisional_if_confidence_below == Fraction("0.5")
    assert p.provisional_if_answer_coverage_below == Fraction("0.8")
    assert p.restricted_scope_if_na_weight_above == Fraction("0.2")
    assert (p.confidence_high, p.confidence_medium) == (Fraction("0.75"), Fraction("0.5"))
    assert (p.sample_projects_above, p.window_days, p.decimals) == (10, 180, 4)


@pytest.mark.parametrize(("value", "code"), [("0.15", "N"), ("0.5", "P"), ("0.85", "L"), ("0.8501", "F"), ("0", "N")])
def test_a_boundary_value_belongs_to_the_lower_code(model: Model, value: str, code: str) -> None:
    assert model.code(Fraction(value)) == code


def texts_of(model: Model) -> Iterator[tuple[str, Text]]:
    yield from (("name", model.name), ("status", model.status))
    groups: list[tuple[str, Mapping[str, Text]]] = [
        ("population", model.populations),
        ("seed", model.seeds),
        ("external model", model.external_models),
    ]
    for what, texts in groups:
        yield from ((f"{what} {key}", text) for key, text in texts.items())
    for level in model.levels:
        yield from ((f"level {level.number}", text) for text in (level.name, level.meaning))
    for dimension in model.dimensions:
        yield dimension.id, dimension.name
    for key, capability in model.capabilities.items():
        yield from ((key, text) for text in (capability.name, capability.purpose))
    for key, practice in model.practices.items():
        yield from ((key, text) for text in (practice.name, practice.criterion, practice.na_reason) if text)
    yield from ((key, check.text) for key, check in model.checks.items() if check.text)


HAN = "[\u4e00-\u9fff]"
WRONG = [
    pytest.param(lambda text: not re.search(HAN, text.zh), id="Chinese text without a Chinese character"),
    pytest.param(lambda text: re.search(HAN, text.en), id="English text with a Chinese character"),
    pytest.param(
        lambda text: re.search(rf"{HAN}[,;:()?!.]|[,;:()?!]{HAN}|[,;?!()\"']", text.zh), id="half-width punctuation"
    ),
    pytest.param(lambda text: re.search(rf"{HAN} | {HAN}", text.zh), id="space beside a Chinese character"),
    pytest.param(lambda text: re.search("[，；：（）？！。、]", text.en), id="full-width punctuation in English"),
    pytest.param(lambda text: text.en.strip() != text.en or text.zh.strip() != text.zh, id="space at an end"),
    pytest.param(lambda text: not (text.en[0].isupper() or text.en[0].isdigit()), id="English without a capital"),
]


@pytest.mark.parametrize("wrong", WRONG)
def test_every_text_is_well_set_in_both_languages(model: Model, wrong: Callable[[Text], object]) -> None:
    assert [(key, text) for key, text in texts_of(model) if wrong(text)] == []


def test_what_must_be_seen_is_said_in_a_short_phrase(model: Model) -> None:
    for check in model.checks.values():
        if check.text:
            assert len(check.text.en) <= 100, check.key
            assert len(check.text.zh) <= 45, check.key
            assert not check.text.en.endswith("."), check.key
            assert not check.text.zh.endswith("。"), check.key


def test_a_language_code_gives_the_text_in_that_language(model: Model) -> None:
    assert [model.name.in_(code) for code in ("en", "en-gb", "zh", "zh-hans")] == [
        *[model.name.en] * 2,
        *[model.name.zh] * 2,
    ]


def test_the_bundled_model_is_read_once() -> None:
    assert load_model() is load_model(BUNDLED)
