from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import maturity
from maturity import canonical, pack
from maturity.answers import Answers
from maturity.assembly import assemble
from maturity.facts import TABLES, Facts, Part
from maturity.name_proposals import SYNONYMS, Held, HeldName, held_names, merged, propose
from maturity.names import Mapped, Names, Place
from maturity.populations import Populations
from maturity.schema import load_model
from maturity.studies import params_of
from maturity.wanted_names import place_for, vocabulary
from tests.maturity.test_assembly import part

NOW = 1_700_000_000_000
SEED = Mapped(Place.PARAM, "seed", "random_state")
STAGE = Mapped(Place.TAG, "dlemm.stage", "step", values={"Training": "train"})
COMMIT = Mapped(Place.TAG, "mlflow.source.git.commit", "git_sha", Place.PARAM)


def facts(*names: Mapped, **rows: list[dict[str, object]]) -> Facts:
    projects = TABLES["projects"].frame([{"project": "p", "experiments": "[]", "models": "[]"}])
    return assemble([part(**rows)], projects, names=Names(names))


def rows(found: Facts, table: str, key: str) -> dict[str, object]:
    frame = found[table]
    frame = frame[frame["key"] == key]
    return dict(zip(frame.iloc[:, 0], frame["value"], strict=True))


def param(run: str, key: str, value: str) -> dict[str, object]:
    return {"run": run, "key": key, "value": value}


def test_a_mapped_name_is_seen_under_ours_and_under_its_own() -> None:
    found = facts(SEED, run_params=[param("a", "random_state", "7")])
    assert rows(found, "run_params", "seed") == rows(found, "run_params", "random_state") == {"mlflow:a": "7"}


def test_an_own_row_wins_unless_it_is_blank() -> None:
    given = [param("a", "seed", "1"), param("a", "random_state", "7"), param("b", "seed", " ")]
    found = facts(SEED, run_params=[*given, param("b", "random_state", "8")])
    world = Populations(load_model(), replace_runs(found, "a", "b"), NOW)
    assert world.run_params.of("seed") == {"mlflow:a": "1", "mlflow:b": "8"}


def replace_runs(found: Facts, *runs: str) -> Facts:
    """The facts with these runs started and active."""
    frame = TABLES["runs"].frame(
        {"run": f"mlflow:{run}", "experiment": "mlflow:1", "lifecycle": "active", "start_at": NOW - 1} for run in runs
    )
    return replace(found, tables={**found.tables, "runs": frame.assign(project=None)})


def test_tables_as_they_are_read_from_the_store_stay_held_as_they_are() -> None:
    """Long tables hold ids and names as numbers; a mapped name must not unfold millions of them."""
    given = part(run_params=[param("a", "random_state", "7"), param("b", "seed", "1"), param("b", "git_sha", "c0")])
    given.tables["run_tags"] = TABLES["run_tags"].frame([param("a", "step", "training"), param("b", "x", "y")])  # type: ignore[index]
    stored = {name: TABLES[name].from_parquet(pack._parquet(frame)) for name, frame in given.tables.items()}
    plain = assemble([Part("m", given.statement, stored)], TABLES["projects"].empty())
    found = assemble(
        [Part("m", given.statement, stored)], TABLES["projects"].empty(), names=Names((SEED, STAGE, COMMIT))
    )
    assert rows(found, "run_params", "seed") == {"m:a": "7", "m:b": "1"}
    assert rows(found, "run_tags", "dlemm.stage") == {"m:a": "train"}
    assert rows(found, "run_tags", COMMIT.ours) == {"m:b": "c0"}
    for table in ("run_params", "run_tags"):
        assert found[table].dtypes.map(str).to_dict() == plain[table].dtypes.map(str).to_dict()


def test_of_two_names_for_one_of_ours_the_earlier_mapping_wins() -> None:
    other = Mapped(Place.PARAM, "seed", "rng")
    given = [param("a", "rng", "1"), param("a", "random_state", "7")]
    assert rows(facts(other, SEED, run_params=given), "run_params", "seed") == {"mlflow:a": "1"}
    assert rows(facts(SEED, other, run_params=given), "run_params", "seed") == {"mlflow:a": "7"}


def test_two_names_can_be_swapped_because_mappings_do_not_follow_one_another() -> None:
    swap = (Mapped(Place.METRIC, "live/primary", "live/proxy"), Mapped(Place.METRIC, "live/proxy", "live/primary"))
    found = facts(*swap, run_metrics=[{"run": "a", "key": "live/proxy", "value": 0.5}])
    assert rows(found, "run_metrics", "live/primary") == {"mlflow:a": 0.5}


def test_a_value_that_is_mapped_is_read_in_our_words_and_others_stay() -> None:
    tags = [param("a", "step", " training "), param("b", "step", "retrain")]
    assert rows(facts(STAGE, run_tags=tags), "run_tags", "dlemm.stage") == {"mlflow:a": "train", "mlflow:b": "retrain"}


def test_a_parameter_can_stand_for_a_tag_of_the_run() -> None:
    found = facts(COMMIT, run_params=[param("a", "git_sha", "c0ffee")])
    assert rows(found, "run_tags", COMMIT.ours) == {"mlflow:a": "c0ffee"}


def test_a_metric_that_is_no_number_stands_for_nothing() -> None:
    row = Mapped(Place.METRIC, "live/primary", "live_acc")
    found = facts(row, run_metrics=[{"run": "a", "key": "live_acc", "value": float("nan")}])
    assert rows(found, "run_metrics", "live/primary") == {}


def test_a_mapped_project_tag_puts_a_run_into_its_project() -> None:
    row = Mapped(Place.TAG, "dlemm.project", "team", values={"Payments": "p"})
    found = facts(row, runs=[{"run": "a"}], run_tags=[param("a", "team", "payments")])
    assert list(found["runs"]["project"]) == ["p"]


def test_a_setting_under_two_names_is_one_difference_and_the_seed_is_none() -> None:
    budget = Mapped(Place.PARAM, "budget", "max_hours")
    given = [param("a", "random_state", "7"), param("a", "max_hours", "2"), param("a", "lr", "1")]
    child = [param("a", "mlflow.parentRunId", "b")]
    found = facts(SEED, budget, run_params=given, run_tags=child)
    world = Populations(load_model(), replace_runs(found, "a", "b"), NOW)
    assert params_of(world, "mlflow:a") == {"budget": "2", "lr": "1"}


def test_a_tag_that_was_added_late_is_late_under_our_name_too() -> None:
    change = {"entity": "run", "id": "a", "field": "tag", "key": "step", "new": "training", "after": 5, "before": 9}
    found = facts(STAGE, changes=[change])["changes"]
    assert list(zip(found["key"], found["new"], strict=True)) == [("step", "training"), ("dlemm.stage", "train")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"ours": "dlemm.origin", "theirs": "x"},
        {"ours": "seed", "theirs": " "},
        {"ours": "seed", "theirs": "seed"},
        {"ours": "seed", "theirs": "x" * 251},
        {"ours": "seed", "theirs": "x", "origin": Place.VERSION_TAG},
    ],
)
def test_a_mapping_that_cannot_be_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"name|stand"):
        Mapped(Place.TAG, **wrong)  # type: ignore[arg-type]


def test_one_name_cannot_stand_for_two_of_ours() -> None:
    with pytest.raises(ValueError, match="only"):
        Names((SEED, replace(SEED, ours="budget")))


def inputs(names: Names) -> pack.Inputs:
    times = {"start_at": NOW, "end_at": NOW + 9000}
    runs = [{"run": "a", "experiment": "1", "status": "FINISHED", "lifecycle": "active", **times}]
    given = part(
        runs=runs,
        experiments=[{"experiment": "1", "name": "e", "lifecycle": "active"}],
        run_params=[param("a", "random_state", "7"), param("a", "git_sha", "c" * 40)],
        run_tags=[param("a", "step", "training")],
        run_metrics=[{"run": "a", "key": "acc", "value": 0.5}],
    )
    return pack.Inputs(
        load_model(),
        (Part(given.source, given.statement, given.tables),),
        TABLES["projects"].frame([{"project": "p", "experiments": '["e"]', "models": "[]"}]),
        Answers(),
        pack.Parameters(as_of=NOW + 10_000, names=names),
    )


def test_a_pack_holds_the_names_and_replays_to_the_same_bytes() -> None:
    with_names = inputs(Names((SEED, STAGE, COMMIT)))
    content = pack.write(with_names, pack.compute(with_names))
    assert pack.read(content)[0].parameters == with_names.parameters
    assert pack.verify(content).ok
    assert pack.compute(inputs(Names())).to_bytes() != pack.compute(with_names).to_bytes()


def test_without_names_the_parameters_are_written_as_before() -> None:
    assert canonical.encode(pack.Parameters(as_of=1)).keys() == {"as_of"}


def test_the_vocabulary_names_everything_that_the_source_code_looks_for() -> None:
    known = {one.name for one in vocabulary(load_model())} | {"dlemm.origin"}
    source = "".join(path.read_text() for path in Path(maturity.__file__).parent.glob("*.py"))
    quoted = set(re.findall(r'"((?:dlemm|mlflow)\.[\w.]*\w)"', source))
    assert quoted - known == set()
    assert set(SYNONYMS) - known == set()


def test_a_name_is_listed_with_its_indicators_and_the_place_it_is_seen_at() -> None:
    wanted = vocabulary(load_model())
    seed = next(one for one in wanted if one.name == "seed")
    assert seed.places == (Place.PARAM,)
    assert len(seed.indicators) >= 3
    assert place_for(wanted, "seed", Place.TAG) is Place.PARAM
    assert place_for(wanted, "seed", Place.METRIC) is None
    assert place_for(wanted, "eval/slice/young/acc", Place.METRIC) is Place.METRIC
    assert place_for(wanted, "whatever", Place.PARAM) is None


def counted() -> Held:
    params = [param(run, "model__random_state", "7") for run in "abc"] + [
        param("a", "seed", "1"),
        param("d", "lr", "1"),
    ]
    tags = [param("a", "step_name", "x"), param("a", "run_type", "Training"), param("b", "run_type", "Eval")]
    tags += [param("b", "git_sha", "c0ffee")]
    tables = {Place.PARAM: params, Place.TAG: tags}
    return held_names(
        {place: [(r["run"], r["key"], r["value"]) for r in found] for place, found in tables.items()},  # type: ignore[misc]
        vocabulary(load_model()),
    )


def test_a_proposal_says_how_many_runs_it_explains_and_its_values() -> None:
    found = {one.mapped.theirs: one for one in propose(vocabulary(load_model()), counted())}
    assert set(found) == {"model__random_state", "run_type", "git_sha"}
    seed = found["model__random_state"]
    assert (seed.mapped.ours, seed.explains, seed.lacking, seed.samples) == ("seed", 2, 3, ("7",))
    assert found["run_type"].mapped.values == {"Training": "train", "Eval": "evaluate"}
    assert found["git_sha"].mapped.ours == "mlflow.source.git.commit"


def test_what_is_mapped_is_not_proposed_again_and_the_order_is_fixed() -> None:
    wanted, held = vocabulary(load_model()), counted()
    first = propose(wanted, held)
    turned = Held(held.counted, {place: dict(reversed(found.items())) for place, found in held.names.items()})
    assert propose(wanted, turned) == first
    assert first[0].mapped not in [one.mapped for one in propose(wanted, held, Names((first[0].mapped,)))]


def test_counts_of_several_sources_are_added() -> None:
    one = Held({"tag": 2}, {"tag": {"x": HeldName(2, ("a",), {"tag:y": 1})}})
    both = merged([one, one])
    assert both.of(Place.TAG, "x") == HeldName(4, ("a",), {"tag:y": 2})
    assert canonical.decode(Held, canonical.encode(both)) == both
