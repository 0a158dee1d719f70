"""Signals: what looks like gaming or an accident is named, and ordinary work is not."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from maturity.examples import AS_OF, SOURCE, facts_of
from maturity.facts import TABLES, Facts
from maturity.keyed import DAY
from maturity.schema import load_model
from maturity.signals import CROWD, SignalKind, entropy, signals
from maturity.twins import BURST

MODEL = load_model()
WORK = {"stage": "train", "minutes": 60, "params": {"lr": 1}, "metrics": {"acc": 0.9}}


def work(n, **more):
    """Ordinary runs: each at its own time, with its own seed, commit and outcome."""
    return [
        {**WORK, "day": -30.01 + i, "id": f"w{i}", "params": {"seed": i}, "metrics": {"acc": 0.9 + i / 1000},
         "tags": {"mlflow.source.git.commit": f"c{i}"}, **more}
        for i in range(n)
    ]  # fmt: skip


def seen(example, **extra):
    facts = facts_of(example)
    tables = dict(facts.tables)
    for name, rows in extra.items():
        tables[name] = TABLES[name].frame(rows)
    return {one.kind: one for one in signals(MODEL, Facts(MappingProxyType(tables), facts.statements), AS_OF)}


def test_ordinary_work_gives_no_signal():
    assert seen({"runs": work(12)}) == {}


def test_no_facts_give_no_signal():
    assert seen({}) == {}


def test_copies_are_named_but_not_what_they_are_copies_of():
    one = work(1)[0]
    copies = [{**one, "id": f"x{n}", "name": "other", "tags": {"n": n}, "experiment": "e2"} for n in range(3)]
    signal = seen({"runs": [*work(5), *copies]})[SignalKind.COPIED_RUNS]
    assert (signal.ids, signal.n, signal.detail) == (tuple(f"s:x{n}" for n in range(3)), 3, {"originals": 1})


@pytest.mark.parametrize(
    "change",
    [{"day": -30.02}, {"minutes": 61}, {"params": {"seed": 9}}, {"metrics": {"acc": 0.91}}, {"inputs": ["training:d"]}],
)
def test_a_run_that_differs_in_content_or_time_is_no_copy(change):
    assert SignalKind.COPIED_RUNS not in seen({"runs": [*work(5), {**work(1)[0], "id": "x", **change}]})


def test_many_equal_runs_of_a_day_are_a_burst_and_fewer_are_none():
    def equal(n):
        return seen({"runs": [*work(2), *({**WORK, "day": -9.9 + i / 10_000} for i in range(n))]})

    assert SignalKind.REPEATED_RUNS not in equal(BURST - 1)
    signal = equal(BURST)[SignalKind.REPEATED_RUNS]
    assert (signal.n, signal.detail) == (BURST - 1, {"bursts": 1})


@pytest.mark.parametrize(
    ("run", "trivial"),
    [
        ({"minutes": 1 / 60}, True),
        ({"minutes": 1.1 / 60}, False),
        ({"minutes": 0, "metrics": {"loss": 1}}, False),
        ({"minutes": 0, "models": [{}]}, False),
        ({"minutes": 0, "status": "FAILED"}, False),
    ],
)
def test_a_run_is_trivial_when_it_took_no_time_and_left_nothing(run, trivial):
    assert (SignalKind.TRIVIAL_RUNS in seen({"runs": [*work(2), {"stage": "train", "id": "x", **run}]})) is trivial


def test_what_may_have_left_a_model_nobody_could_read_is_not_called_trivial():
    runs = [*work(2), {"stage": "train", "minutes": 0}]
    assert SignalKind.TRIVIAL_RUNS not in seen({"runs": runs, "streams": {"logged_models": "could_not_look"}})


def test_a_run_that_is_all_a_project_has_is_named():
    example = {
        "projects": [{"project": "p"}, {"project": "q"}],
        "runs": [*work(3, project="p"), {**WORK, "id": "x", "project": "q"}],
    }
    signal = seen(example)[SignalKind.LONE_RUN]
    assert (signal.ids, signal.detail) == (("s:x",), {"scopes": 1})


def test_a_digest_in_a_tag_that_no_dataset_has_is_named():
    known, unknown = {"dlemm.dataset.digest": "d1"}, {"dlemm.eval.digest": "made-up"}
    runs = [
        *work(2),
        {**WORK, "id": "x", "day": -8, "tags": unknown},
        {**WORK, "id": "y", "tags": known, "inputs": ["training:d1"]},
    ]
    assert seen({"runs": runs})[SignalKind.UNKNOWN_DIGEST].ids == ("s:x",)


@pytest.mark.parametrize("of", ["container", "image", "code"])
def test_the_digest_of_something_other_than_data_is_no_false_one(of):
    runs = [{**WORK, "id": "x", "tags": {f"dlemm.{of}.digest": "sha256:9f86d0"}}]
    assert SignalKind.UNKNOWN_DIGEST not in seen({"runs": runs})


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        ({"day": 0.5}, SignalKind.STARTS_IN_FUTURE),
        ({"day": -0.5}, SignalKind.STARTS_IN_FUTURE),
        ({"minutes": -1}, SignalKind.ENDS_BEFORE_START),
    ],
)
def test_an_impossible_time_is_named(run, kind):
    """The examples' source was read a day before AS_OF: a run half a day before it began after the reading."""
    assert seen({"runs": [*work(3), {**WORK, "id": "x", **run}]})[kind].ids == ("s:x",)


def test_a_run_older_than_its_experiment_is_named():
    experiments = [{"experiment": "s:e1", "name": "e", "lifecycle": "active", "created_at": AS_OF - 29 * DAY}]
    found = seen({"runs": work(3)}, experiments=experiments)[SignalKind.OLDER_THAN_EXPERIMENT]
    assert found.ids == ("s:w0",)


def test_many_runs_at_one_millisecond_are_named_and_at_midnight_not():
    at_once = [{**run, "day": -9.123} for run in work(CROWD)]
    assert seen({"runs": at_once})[SignalKind.SAME_MOMENT].n == CROWD
    assert SignalKind.SAME_MOMENT not in seen({"runs": at_once[1:]})
    assert SignalKind.SAME_MOMENT not in seen({"runs": [{**run, "day": -9} for run in at_once]})


def test_reference_runs_that_were_left_out_are_counted():
    facts = facts_of({"runs": work(3)})
    (signal,) = signals(MODEL, facts, AS_OF, reference_left_out=7)
    assert (signal.kind, signal.ids, signal.n) == (SignalKind.REFERENCE_RUNS, (), 7)


def change(**more):
    at = {"after": AS_OF - 10 * DAY, "before": AS_OF - 9 * DAY}
    return {
        "entity": "run",
        "id": f"{SOURCE}:w0",
        "field": "tag",
        "key": "dlemm.stage",
        "old": None,
        "new": "train",
        **at,
        **more,
    }


def test_tags_that_came_late_are_named():
    signal = seen({"runs": work(3)}, changes=[change()])[SignalKind.BACK_FILLED_TAGS]
    assert (signal.ids, signal.detail) == (("s:w0",), {"tags": 1})


@pytest.mark.parametrize(
    "more", [{"key": "team"}, {"new": None}, {"field": "status"}, {"id": "s:gone"}, {"entity": "model_version"}]
)
def test_a_change_is_no_late_tag_when(more):
    assert SignalKind.BACK_FILLED_TAGS not in seen({"runs": work(3)}, changes=[change(**more)])


def test_deleted_and_vanished_runs_are_counted_as_a_share():
    runs = [*work(3), {**WORK, "id": "x", "lifecycle": "deleted"}]
    gone = change(field="existence", key="", id="s:gone", old="exists", new=None)
    signal = seen({"runs": runs}, changes=[gone])[SignalKind.DELETED_RUNS]
    assert (signal.ids, signal.detail) == (("s:gone", "s:x"), {"of": 5, "share": 0.4})


def test_one_seed_one_commit_and_one_description_everywhere_are_named():
    versions = [{"description": "good model", "number": n + 1} for n in range(CROWD)]
    same = {"params": {"seed": 42}, "tags": {"mlflow.source.git.commit": "c"}}
    found = seen({"runs": work(CROWD, **same), "versions": versions})
    kinds = (SignalKind.ONE_SEED, SignalKind.ONE_COMMIT, SignalKind.ONE_DESCRIPTION)
    assert {kind: (found[kind].n, found[kind].detail["distinct"]) for kind in kinds} == dict.fromkeys(kinds, (CROWD, 1))


def test_the_entropy_of_two_equally_frequent_texts_is_one_bit():
    assert entropy(["a", "b", "a", "b"]) == 1
    assert entropy(["a", "a"]) == entropy([]) == 0
