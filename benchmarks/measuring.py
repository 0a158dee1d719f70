"""How long measuring takes: all indicators over many runs, and the same answers found the plain pandas way.

    python -m benchmarks.measuring [runs] [rounds]

Makes facts from a fixed seed (10 params, 10 metrics and 10 tags per run, one version per 20 runs, four projects) and
prints the median seconds of measuring every indicator of the bundled model, for the organisation and for each project.
The peer answers fourteen of the indicators for the same five scopes by filtering the long tables afresh each time, as
one would in a notebook; both sides must give the same shares. Nothing is written, nothing is read from a network.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pandas as pd

from maturity.assembly import assemble
from maturity.facts import TABLES, Facts, Part, Reading, Statement, StreamReading
from maturity.indicators import measure_all
from maturity.keyed import DAY
from maturity.schema import Model, load_model
from maturity.scorecard import Finding

AS_OF = 1_767_225_600_000
_PROJECTS = ("churn", "fraud", "imaging", "search")
_STAGES = ("train",) * 6 + ("retrain", "evaluate", "monitor", "")
_METRICS = (
    "model/param_count",
    "model/flops",
    "train/throughput_samples_per_s",
    "train/peak_memory_mb",
    "dq/train_eval_overlap",
    "dq/subgroup_min_share",
    "cost/gpu_hours",
    "eval/acc",
    "eval/f1",
    "system/gpu_0_utilization_percentage",
)


def facts(runs: int, seed: int = 7) -> Facts:
    """Facts of one source with so many runs, the same for the same seed."""
    luck = random.Random(seed)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for number in range(runs):
        _run(rows, f"r{number:07}", luck)
    for number in range(runs // 20):
        _version(rows, f"r{luck.randrange(runs):07}", f"m{number % 25}", str(number // 25 + 1), luck)
    streams = {table.stream for table in TABLES.values()} - {"projects"}
    readings = tuple(StreamReading(stream, Reading.READ) for stream in sorted(streams))
    statement = Statement("mlflow", "http://example.test", AS_OF, AS_OF, readings)
    tables = {name: TABLES[name].frame(found) for name, found in rows.items()}
    projects = [{"project": key, "name": key, "idea_at": AS_OF - 300 * DAY} for key in _PROJECTS]
    return assemble([Part("s", statement, tables)], TABLES["projects"].frame(projects))


def _run(rows: dict[str, list[dict[str, Any]]], run: str, luck: random.Random) -> None:
    start = AS_OF - luck.randrange(200 * DAY)
    status = luck.choice(("FINISHED",) * 9 + ("FAILED",))
    row = {
        "run": run,
        "experiment": f"e{luck.randrange(40)}",
        "name": run,
        "status": status,
        "lifecycle": "active",
        "start_at": start,
    }
    rows["runs"].append({**row, "end_at": start + 3_600_000})
    tags = {
        "dlemm.stage": luck.choice(_STAGES),
        "dlemm.project": luck.choice((*_PROJECTS, "")),
        "mlflow.source.git.commit": luck.choice(("abc", "")),
        "mlflow.source.type": luck.choice(("JOB", "LOCAL")),
        "dlemm.trigger": luck.choice(("schedule", "manual")),
        "dlemm.failure_reason": luck.choice(("memory", "")),
        "mlflow.user": luck.choice(("ann", "bob")),
        **{f"note.{n}": "x" for n in range(3)},
    }
    rows["run_tags"] += [{"run": run, "key": key, "value": value} for key, value in tags.items()]
    params = {"seed": "1", "device": "cpu", **{f"p{n}": str(luck.random()) for n in range(8)}}
    rows["run_params"] += [{"run": run, "key": key, "value": value} for key, value in params.items()]
    values = {key: luck.choice((0.0, luck.random(), float("nan"))) for key in _METRICS}
    rows["run_metrics"] += [{"run": run, "key": k, "value": v, "at": start, "step": 1} for k, v in values.items()]
    if luck.random() < 0.6:
        rows["run_inputs"].append({"run": run, "name": "d", "digest": "d1", "source": "s3://x", "context": "training"})
    rows["artifact_listings"].append({"owner": run, "read": True})
    rows["artifacts"].append({"owner": run, "path": luck.choice(("requirements.txt", "model_card.md", "log.txt"))})


def _version(rows: dict[str, list[dict[str, Any]]], run: str, name: str, number: str, luck: random.Random) -> None:
    version = f"{name}/{number}"
    row = {"version": version, "name": name, "number": number, "run": run, "user": "ann", "status": "READY"}
    rows["model_versions"].append({**row, "created_at": AS_OF - luck.randrange(100, 190) * DAY})
    tags = {
        "dlemm.approved_by": luck.choice(("bob", "ann")),
        "dlemm.deployed_at": str(AS_OF - luck.randrange(90) * DAY),
    }
    rows["version_tags"] += [{"version": version, "key": key, "value": value} for key, value in tags.items()]


class Naive:
    """The same questions asked of the long tables one by one, each filter run anew."""

    def __init__(self, data: Facts, window_days: int, project: str | None) -> None:
        self.data, self.since, self.project = data, AS_OF - window_days * DAY, project

    def everything(self) -> pd.DataFrame:
        runs = self.data["runs"]
        runs = runs if self.project is None else runs[runs["project"] == self.project]
        return runs[(runs["lifecycle"] == "active") & (runs["start_at"] >= self.since) & (runs["start_at"] <= AS_OF)]

    def train(self) -> pd.DataFrame:
        runs = self.everything()
        finished = runs[runs["status"] == "FINISHED"]
        return finished[finished["run"].isin(self.tag("dlemm.stage", "train") | self.tag("dlemm.stage", "retrain"))]

    def tag(self, key: str, *values: str) -> set[str]:
        tags = self.data["run_tags"]
        rows = tags[(tags["key"] == key) & (tags["value"].str.strip() != "")]
        return set(rows["run"] if not values else rows.loc[rows["value"].isin(values), "run"])

    def param(self, key: str) -> set[str]:
        params = self.data["run_params"]
        return set(params.loc[(params["key"] == key) & (params["value"].str.strip() != ""), "run"])

    def metric(self, key: str, least: float = -1e300, most: float = 1e300) -> set[str]:
        metrics = self.data["run_metrics"]
        return set(metrics.loc[(metrics["key"] == key) & metrics["value"].between(least, most), "run"])

    def share(self, population: pd.DataFrame, passing: set[str]) -> Fraction:
        return Fraction(int(population["run"].isin(passing).sum()), len(population))

    def answers(self) -> Iterator[tuple[str, Fraction]]:
        """Indicator and share."""
        retrain = self.train()
        retrain = retrain[retrain["run"].isin(self.tag("dlemm.stage", "retrain"))]
        failed = self.everything()
        failed = failed[failed["status"].isin(["FAILED", "KILLED"])]
        inputs, gpu = set(self.data["run_inputs"]["run"]), self.metric("system/gpu_0_utilization_percentage")
        throughput, memory = self.metric("train/throughput_samples_per_s"), self.metric("train/peak_memory_mb")
        yield "ARC-01", self.share(self.train(), self.metric("model/param_count") & self.metric("model/flops"))
        yield "CT-01", self.share(self.train(), self.tag("mlflow.source.type", "JOB", "PROJECT"))
        yield "CT-02", self.share(retrain, self.tag("dlemm.trigger", "schedule", "data", "drift", "ci"))
        yield "DAT-01", self.share(self.train(), inputs)
        yield "DAT-02", self.share(self.train(), inputs)
        yield "DAT-08", self.share(self.train(), self.metric("dq/train_eval_overlap", 0, 0))
        yield "DAT-09", self.share(self.train(), self.metric("dq/subgroup_min_share"))
        yield "DEL-03", self.share(self.everything(), self.tag("dlemm.project", *_PROJECTS))
        yield "EXP-02", self.share(self.train(), self.tag("mlflow.source.git.commit"))
        yield "EXP-05", self.share(self.everything(), self.tag("dlemm.project") & self.tag("dlemm.stage"))
        yield "EXP-06", self.share(failed, self.tag("dlemm.failure_reason"))
        yield "OPT-01", self.share(self.train(), throughput & memory)
        yield "OPT-05", self.share(self.train(), self.metric("cost/gpu_hours"))
        yield "OPT-07", self.share(self.train(), self.param("device") | gpu)


def _only(model: Model, keys: set[str]) -> Model:
    chosen = {key: indicator for key, indicator in model.indicators.items() if key in keys}
    return Model(**{name: getattr(model, name) for name in Model.__dataclass_fields__} | {"indicators": chosen})


def _findings(model: Model, data: Facts) -> Iterator[Finding]:
    """Those of indicators alone: after them come the checks, which the peer does not answer."""
    found = measure_all(model, data, as_of=AS_OF, projects=_PROJECTS)
    return (finding for finding in found if finding.indicator in model.indicators)


def _median_seconds(rounds: int, work: Callable[[], object]) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main(runs: int = 10_000, rounds: int = 5) -> None:
    """Print the medians, the ratio, and how many answers agree. Raises ``AssertionError`` when an answer differs."""
    model, data = load_model(), facts(runs)
    expected = dict(_naive(model, data))
    few = _only(model, {key for key, _ in expected})
    found = {(f.indicator, f.project): f.value for f in _findings(few, data)}
    if found != expected:
        raise AssertionError(f"the two sides differ: {found} and {expected}")
    measured = sum(indicator.measure is not None for indicator in model.indicators.values())
    one = _median_seconds(rounds, lambda: measure_all(model, data, as_of=AS_OF, projects=()))
    every = _median_seconds(rounds, lambda: measure_all(model, data, as_of=AS_OF, projects=_PROJECTS))
    ours = _median_seconds(rounds, lambda: measure_all(few, data, as_of=AS_OF, projects=_PROJECTS))
    theirs = _median_seconds(rounds, lambda: dict(_naive(model, data)))
    print(f"{runs} runs, median of {rounds} rounds, the answers of both sides are equal")
    print(f"{measured} indicators, organisation                 {one:7.3f} s")
    print(f"{measured} indicators, organisation and 4 projects  {every:7.3f} s")
    print(f"{len(few.indicators)} indicators, organisation and 4 projects  {ours:7.3f} s")
    print(
        f"{len(few.indicators)} indicators, the same with plain pandas   {theirs:7.3f} s, "
        f"{theirs / ours:.1f} times as long"
    )


def _naive(model: Model, data: Facts) -> Iterator[tuple[tuple[str, str | None], Fraction]]:
    for project in (None, *_PROJECTS):
        for key, value in Naive(data, model.parameters.window_days, project).answers():
            yield (key, project), value


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
