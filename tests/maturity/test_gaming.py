"""Gaming: what could be done to look better than one is, and that it raises nothing.

Each trick is played on one modest organisation; then every leaf of the scorecard of the bundled model must be worth no
more than before, in every view, and no level may be higher.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import pytest

from maturity.answers import Answers
from maturity.assembly import assemble
from maturity.examples import AS_OF, SOURCE, facts_of
from maturity.facts import TABLES, Facts, Part
from maturity.indicators import measure, measure_all
from maturity.keyed import DAY
from maturity.schema import load_model
from maturity.scorecard import Finding, Scorecard, View
from maturity.scoring import score

MODEL = load_model()
DAY_OF = date(2026, 1, 1)
Example = dict[str, Any]
_VIEWS: tuple[View, ...] = ("evidenced", "lower", "rated")

GOOD: Example = {
    "stage": "train",
    "project": "p",
    "minutes": 60,
    "tags": {
        "mlflow.source.git.commit": "c1",
        "mlflow.source.git.dirty": "false",
        "mlflow.source.type": "JOB",
        "mlflow.note.content": "why this was tried, and what came of it",
        "dlemm.dq.status": "passed",
    },
    "params": {"seed": 1, "device": "cuda", "opt.amp": "on", "opt.grad_accum_steps": 2},
    "metrics": {"acc": 0.8, "dq/train_eval_overlap": 0, "dq/expectations_failed": 0, "train/loss": 0.2,
                "train/throughput_samples_per_s": 9, "train/peak_memory_mb": 7, "cost/gpu_hours": 2},
    "inputs": ["training:d1", "test:t1"],
    "models": [{"flavors": "pytorch", "signature": True, "example": True, "pinned": True}],
    "artifacts": ["requirements.txt"],
}  # fmt: skip
BAD: Example = {"stage": "train", "project": "p"}


def organisation(*more: Example, **extra: Any) -> Example:
    """Two projects, half of whose trainings are well kept; one release, judged once; ``more`` are further runs."""
    runs = [{**GOOD, "day": -50 + day} for day in range(5)] + [{**BAD, "day": -50 + day} for day in range(5)]
    versions = [{"project": "p", "deployed": -5, "run": {**GOOD, "day": -30}}, {"project": "p", "deployed": -4}]
    base: Example = {
        "projects": [{"project": "p", "idea": -90, "started": -80}, {"project": "q"}],
        "experiments": {"e1": {"primary_metric": "acc"}},
        "runs": [*runs, {**BAD, "project": "q"}, *more],
        "versions": versions,
    }
    return {**base, **extra}


def findings_of(facts: Facts) -> tuple[Finding, ...]:
    return measure_all(MODEL, facts, as_of=AS_OF, projects=("p", "q"))


def card_of(facts: Facts) -> Scorecard:
    return score(MODEL, findings_of(facts), Answers(), projects=("p", "q"), as_of=DAY_OF)


HONEST = card_of(facts_of(organisation()))


def worth(card: Scorecard) -> Mapping[tuple[str, ...], Fraction]:
    """Every number of a card that maturity rests on: of leaves in every view, and levels."""
    found: dict[tuple[str, ...], Fraction] = {}
    for practice, rating, leaf in card.leaves():
        found.update(
            ((practice.practice, str(rating.project), leaf.check, view), leaf.values[view])
            for view in _VIEWS
            if leaf.values is not None
        )
    for capability in card.capabilities:
        if capability.level is not None:
            found[capability.capability, "level"] = Fraction(capability.level.evidenced)
    return found


def raised_by(facts: Facts) -> list[tuple[str, ...]]:
    """What a trick raised."""
    before, after = worth(HONEST), worth(card_of(facts))
    return [key for key, value in after.items() if value > before.get(key, Fraction(0))]


def with_rows(facts: Facts, **rows: Iterable[Mapping[str, Any]]) -> Facts:
    """The facts with further rows; of runs and versions they need a project."""
    import pandas as pd

    tables = dict(facts.tables)
    for name, given in rows.items():
        tables[name] = pd.concat([tables[name], TABLES[name].frame(given)], ignore_index=True)
    return Facts(MappingProxyType(tables), facts.statements)


def share(facts: Facts, indicator: str) -> tuple[int | None, int | None]:
    finding = measure(MODEL, MODEL.indicators[indicator], facts, as_of=AS_OF, project=None)
    return finding.numerator, finding.denominator


def test_what_is_compared_tells_a_better_organisation_from_a_worse_one():
    """Guards the other tests: honest work of the same kind does raise leaves."""
    better = [{**GOOD, "day": -40 + day, "params": {"seed": day}} for day in range(20)]
    assert len(raised_by(facts_of(organisation(*better)))) > 5


# copies


def test_copied_runs_cannot_raise_anything():
    copies = [{**GOOD, "day": -46, "name": f"again {n}", "tags": {**GOOD["tags"], "dlemm.n": n}} for n in range(30)]
    copied = facts_of(organisation(*copies))
    assert share(copied, "EXP-02") == share(facts_of(organisation()), "EXP-02") == (6, 12)
    assert raised_by(copied) == []


def test_the_same_server_connected_twice_counts_once():
    one = facts_of(organisation())
    bare = {name: frame.drop(columns="project") if name in ("runs", "model_versions") else frame
            for name, frame in one.tables.items() if name != "projects"}  # fmt: skip
    for name, frame in bare.items():
        for column in TABLES[name].columns:
            if column.kind == "id" and len(frame):
                bare[name] = bare[name].assign(**{column.name: bare[name][column.name].str.removeprefix(f"{SOURCE}:")})
    parts = [Part(source, one.statements[SOURCE], bare) for source in ("a", "b")]
    twice = assemble(parts, one["projects"])
    assert share(twice, "EXP-02") == share(one, "EXP-02")


def test_an_evaluation_copied_for_a_second_version_serves_one_version_only():
    sliced = {f"eval/slice/{name}/acc": 1 for name in "abc"}
    evaluation = {"stage": "evaluate", "minutes": 5, "day": -9, "metrics": sliced}
    versions = [{"deployed": -5, "linked": [evaluation]}, {"deployed": -5, "linked": [evaluation]}]
    assert share(facts_of({"versions": versions}), "EVAL-02") == (1, 2)
    other = {**evaluation, "day": -8}
    assert share(facts_of({"versions": [versions[0], {"deployed": -5, "linked": [other]}]}), "EVAL-02") == (2, 2)


def test_copied_trials_do_not_make_a_search_larger():
    def search(*trials: Example) -> Fraction | None:
        facts = facts_of({"runs": [{"tags": {"dlemm.hpo.engine": "tpe"}, "children": list(trials)}]})
        return measure(MODEL, MODEL.indicators["OPT-04"], facts, as_of=AS_OF, project=None).value

    assert search({"times": 10}) == 1
    assert search({"times": 10, "minutes": 3}) == 0


def test_equal_parameters_alone_make_no_copy():
    """A run repeated on purpose, at another time, is a run."""
    again = facts_of(organisation({**GOOD, "day": -45.5}))
    assert share(again, "EXP-02") == (7, 13)


def test_running_runs_that_logged_nothing_yet_are_no_copies_of_each_other():
    facts = facts_of({"runs": [{"times": 3, "status": "RUNNING", "project": "p"}], "projects": [{"project": "p"}]})
    assert share(facts, "DEL-03") == (3, 3)


# a thousand runs that are none


def test_a_thousand_runs_that_did_nothing_cannot_raise_anything():
    tags = GOOD["tags"]
    trivial = [
        {**BAD, "day": -40 + n / 1000, "minutes": 0.01, "tags": tags, "params": {"seed": n}} for n in range(1000)
    ]
    assert raised_by(facts_of(organisation(*trivial))) == []


def test_a_thousand_equal_runs_of_a_day_count_as_one():
    equal = [{**GOOD, "day": -39.9 + n / 100_000} for n in range(1000)]
    facts = facts_of(organisation(*equal))
    assert share(facts, "EXP-02") == (7, 13)


def test_a_thousand_runs_without_evidence_cannot_hide_what_the_others_show():
    """They lower shares, never raise one; what failed over and over is not merged."""
    failed = [{"status": "FAILED", "project": "p", "day": -39.9 + n / 100_000} for n in range(100)]
    facts = facts_of(organisation(*failed))
    assert share(facts, "EXP-06") == (0, 100)
    assert raised_by(facts) == []


# one run for all


def test_one_heroic_run_carries_no_level():
    hero = {**GOOD, "project": "q"}
    alone = facts_of({**organisation(), "runs": [hero], "versions": []})
    card = card_of(alone)
    assert all(capability.level is None or capability.level.evidenced <= 1 for capability in card.capabilities)
    needed = {i.id: i.n_min for i in MODEL.indicators.values()}
    few = [f for f in findings_of(alone) if f.value is not None and 0 < f.n < needed.get(f.indicator, 0)]
    assert few
    judged = {(f.indicator, f.project) for f in few}
    leaves = [
        leaf
        for _, __, leaf in card.leaves()
        if leaf.finding and (leaf.finding.indicator, leaf.finding.project) in judged
    ]
    assert leaves
    assert all(leaf.rule.key == "too_few" and not leaf.values.evidenced for leaf in leaves)


def test_a_heroic_run_of_one_project_does_nothing_for_another():
    hero = [{**GOOD, "day": -20 + day, "params": {"seed": day}} for day in range(10)]
    raised = {key for key in raised_by(facts_of(organisation(*hero))) if len(key) == 4 and key[1] == "q"}
    assert raised == set()


# the word without the thing


def test_an_empty_repository_raises_nothing():
    facts = with_rows(
        facts_of(organisation()),
        repositories=[
            {"repository": "g:r", "name": "r", "head": "", "branch": "main", "read_at": AS_OF - DAY, "commits": 0}
        ],
    )
    assert raised_by(facts) == []


def test_a_tag_that_names_a_digest_is_no_dataset():
    tags = {
        "dlemm.dataset.digest": "d1",
        "dlemm.dataset.name": "a",
        "dlemm.dataset.source": "s3://x",
        "dlemm.digest": "d1",
    }
    runs = [{**BAD, "day": -40 + n, "tags": tags, "metrics": {"train/loss": n}} for n in range(20)]
    facts = facts_of(organisation(*runs))
    for key in ("DAT-01", "DAT-02", "DAT-03", "DAT-04", "DAT-05"):
        passing, n = share(facts, key)
        before, _ = share(facts_of(organisation()), key)
        assert (passing, n) == (before, n), key
    assert raised_by(facts) == []


def test_a_tag_that_says_passed_is_no_gate_and_one_that_names_an_incident_no_test():
    runs = [
        {**BAD, "day": -40 + n, "tags": {"dlemm.dq.status": "passed", "incident_id": "i"}, "metrics": {"train/loss": n}}
        for n in range(20)
    ]
    assert raised_by(facts_of(organisation(*runs))) == []


# clocks


@pytest.mark.parametrize(
    "when",
    [
        pytest.param({"minutes": -1}, id="ends-before-it-starts"),
        pytest.param({"day": 1}, id="starts-in-the-future"),
        pytest.param({"day": -181}, id="started-before-the-window"),
        pytest.param({"lifecycle": "deleted"}, id="deleted"),
    ],
)
def test_a_run_at_an_impossible_time_does_not_count(when):
    tricks = [{**GOOD, "day": -40 + n, "params": {"seed": n}, **when} for n in range(20)]
    facts = facts_of(organisation(*tricks))
    assert share(facts, "EXP-02") == (6, 12)
    assert raised_by(facts) == []


def test_a_release_dated_in_the_future_releases_nothing():
    later = [{"project": "p", "deployed": 3, "run": {**GOOD, "day": -9 - n, "params": {"seed": n}}} for n in range(5)]
    honest = organisation()
    facts = facts_of({**honest, "versions": [*honest["versions"], *later]})
    assert share(facts, "EVAL-01") == share(facts_of(honest), "EVAL-01")


# what shows how the product works


def test_runs_of_the_reference_pipeline_never_count():
    tags = {**GOOD["tags"], "dlemm.origin": "reference"}
    reference = [{**GOOD, "day": -40 + n, "id": f"ref{n}", "tags": tags} for n in range(20)]
    honest = facts_of(organisation())
    with_reference = facts_of(organisation(*reference))
    assert [replace(f, details={}) for f in findings_of(with_reference)] == [
        replace(f, details={}) for f in findings_of(honest)
    ]


# tags that came late


def changed(run: str, key: str, after: float, before: float) -> Mapping[str, Any]:
    at = {"after": AS_OF + round(after * DAY), "before": AS_OF + round(before * DAY)}
    return {"entity": "run", "id": f"{SOURCE}:{run}", "field": "tag", "key": key, "old": None, "new": "c1", **at}


def back_filled(*rows: Mapping[str, Any]) -> str | None:
    facts = with_rows(facts_of(organisation()), changes=rows)
    finding = measure(MODEL, MODEL.indicators["EXP-02"], facts, as_of=AS_OF, project=None)
    assert finding.value == Fraction(1, 2)
    return finding.details.get("back_filled")


def test_a_tag_added_after_the_work_is_counted_and_named():
    commit = "mlflow.source.git.commit"
    assert back_filled(changed("r1", commit, -10, -9), changed("r2", commit, -10, -9)) == "2"


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(changed("r1", "dlemm.other", -10, -9), id="a-tag-that-decides-nothing-here"),
        pytest.param(changed("r1", "mlflow.source.git.commit", -51, -9), id="it-may-have-come-while-the-run-went-on"),
        pytest.param(changed("r1", "mlflow.source.git.commit", -40, -31), id="long-ago"),
        pytest.param(changed("r6", "mlflow.source.git.commit", -10, -9), id="a-run-that-does-not-pass"),
    ],
)
def test_a_tag_is_not_called_late_when(row):
    assert back_filled(row) is None


# how good a model is


_QUALITY = re.compile(r"(acc|accuracy|f1|auc|rmse|train/loss(/.*)?|val/.*|eval/.*|live/.*)")
_LOWER_IS_BETTER = re.compile(r"rmse|train/loss(/.*)?|eval/generalisation_gap")
_COMPARES: Mapping[str, str] = {
    "ARC-02": "the release beats every baseline judged on the same data, which is what the practice asks to show",
    "CT-05": "what an update lost on the frozen reference set, against a limit",
    "EVAL-05": "how well offline and online quality agree in order, not how high they are",
    "EXP-04": "a repetition comes out as the original did, within the declared tolerance",
    "FLY-03": "retraining on feedback gained something: the lower end of the interval lies above 0",
    "PKG-02": "what compression cost in quality, against the limit the team declared",
}
"""The only indicators that read a quality number's size: each compares it, and this is what that is evidence of.

Precision of alerts, overlap with experts, fairness and label quality are not a model's quality and have their own.
"""


def _better(finding: Finding, than: Finding, kind: str) -> bool:
    if finding.value is None or than.value is None:
        return finding.value is not None
    return finding.value < than.value if kind == "bound_le" else finding.value > than.value


@pytest.mark.parametrize("key", sorted(MODEL.indicators))
def test_no_model_quality_number_ever_raises_maturity(key):
    """One number of one run, or of all runs, made better: no finding gets better for it but those that compare."""
    indicator = MODEL.indicators[key]
    raised = set()
    for example in indicator.examples:
        facts = facts_of(example)
        before = measure(MODEL, indicator, facts, as_of=AS_OF, project=example.get("project"))
        for better in _with_better_numbers(facts):
            after = measure(MODEL, indicator, better, as_of=AS_OF, project=example.get("project"))
            if _better(after, before, indicator.type):
                raised.add(key)
    assert raised == {key} & set(_COMPARES)


def _with_better_numbers(facts: Facts) -> Iterable[Facts]:
    frame = facts["run_metrics"]
    for name in sorted({key for key in frame["key"] if _QUALITY.fullmatch(key)}):
        mine = frame["key"] == name
        for rows in [mine, *((mine & (frame["run"] == run)) for run in sorted(set(frame.loc[mine, "run"])))]:
            for step in (0.01, 0.07, 0.3):
                by = -step if _LOWER_IS_BETTER.fullmatch(name) else step
                changed = frame.assign(value=frame["value"].where(~rows, frame["value"] + by))
                yield Facts(MappingProxyType({**facts.tables, "run_metrics": changed}), facts.statements)
