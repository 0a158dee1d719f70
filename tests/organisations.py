"""Organisations of any size and maturity, made from a seed, for tests and benchmarks.

Takes the number of projects and runs, and a maturity from 0 to 1: the chance with which each practice was followed.
Gives fact rows by table, as a tracking server would tell them, or the facts of it. The same seed gives the same rows,
and a run that follows a practice at some maturity follows it at every higher one.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from maturity.assembly import assemble
from maturity.facts import TABLES, Facts, Part, Reading, Statement, StreamReading

DAY = 86_400_000
AS_OF = 1_767_225_600_000  # 2026-01-01
STREAMS = ("experiments", "runs", "logged_models", "artifacts", "registry")
Rows = Mapping[str, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Made:
    """What to make."""

    projects: int = 2
    runs: int = 100
    versions: int = 4
    maturity: float = 0.5
    seed: int = 7

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"project-{number}" for number in range(self.projects))


def rows(made: Made) -> Rows:
    """The fact rows of one tracking server."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for place, project in enumerate(made.names):
        found["experiments"].append(
            {"experiment": str(place), "name": project, "lifecycle": "active", "created_at": AS_OF - 200 * DAY}
        )
        found["registered_models"].append({"name": project, "description": "", "created_at": AS_OF - 190 * DAY})
    for number in range(made.runs):
        _run(found, made, number)
    for number in range(made.versions * made.projects):
        _version(found, made, number)
    return found


def facts(made: Made) -> Facts:
    """The same as facts of one source, with its projects."""
    given = rows(made)
    statement = Statement("mlflow", "", AS_OF, AS_OF, tuple(StreamReading(one, Reading.READ) for one in STREAMS))
    tables = {name: TABLES[name].frame(given.get(name, [])) for name in TABLES if TABLES[name].stream in STREAMS}
    projects = TABLES["projects"].frame(
        {"project": name, "name": name, "experiments": json.dumps([name]), "models": json.dumps([name])}
        for name in made.names
    )
    return assemble([Part("made", statement, tables)], projects)


def _chance(made: Made, *names: object) -> float:
    """A number in [0, 1) that depends on the seed and the names alone."""
    text = "/".join(map(str, (made.seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def _follows(made: Made, practice: str, thing: object) -> bool:
    return _chance(made, practice, thing) < made.maturity


def _run(found: dict[str, list[dict[str, Any]]], made: Made, number: int) -> None:
    run, place = f"{number:032x}", number % made.projects
    start = AS_OF - 170 * DAY + int(160 * DAY * _chance(made, "start", number))
    found["runs"].append(
        {
            "run": run,
            "experiment": str(place),
            "name": f"run {number}",
            "status": "FINISHED",
            "lifecycle": "active",
            "start_at": start,
            "end_at": start + 3_600_000 + number,
            "user": f"user-{number % 3}",
        }
    )
    found["run_tags"] += [{"run": run, "key": key, "value": value} for key, value in _run_tags(made, number)]
    found["run_params"] += [{"run": run, "key": key, "value": value} for key, value in _run_params(made, number)]
    found["run_metrics"] += [
        {"run": run, "key": key, "value": value, "at": start, "step": 1} for key, value in _run_metrics(made, number)
    ]
    if _follows(made, "dataset", number):
        contexts = ("training", "test") if _follows(made, "splits", number) else ("training",)
        found["run_inputs"] += [
            {"run": run, "name": f"data-{context}", "digest": f"{place}-{context}", "source_type": "s3"}
            | {"source": f"s3://data/{place}", "has_schema": True, "context": context}
            for context in contexts
        ]


def _run_tags(made: Made, number: int) -> Iterator[tuple[str, str]]:
    yield "dlemm.stage", "evaluate" if number % 10 == 9 else "train"
    for practice, key, value in (
        ("commit", "mlflow.source.git.commit", f"{number % 50:040x}"),
        ("project", "dlemm.project", made.names[number % made.projects]),
        ("gate", "dlemm.dq.status", "passed"),
        ("trigger", "dlemm.trigger", "schedule"),
        ("origin", "mlflow.source.type", "JOB"),
    ):
        if _follows(made, practice, number):
            yield key, value


def _run_params(made: Made, number: int) -> Iterator[tuple[str, str]]:
    yield "learning_rate", f"{_chance(made, 'rate', number):.6f}"
    for practice, key in (("seed", "seed"), ("acceleration", "opt.amp"), ("acceleration", "opt.grad_accum_steps")):
        if _follows(made, practice, number):
            yield key, str(number % 7)


def _run_metrics(made: Made, number: int) -> Iterator[tuple[str, float]]:
    yield "loss", _chance(made, "loss", number)
    for practice, key in (
        ("cost", "cost/gpu_hours"),
        ("overlap", "dq/train_eval_overlap"),
        ("slices", "eval/slice/a/f1"),
    ):
        if _follows(made, practice, number):
            yield key, 0.0 if key.startswith("dq/") else _chance(made, key, number)


def _version(found: dict[str, list[dict[str, Any]]], made: Made, number: int) -> None:
    place, count = number % made.projects, number // made.projects + 1
    name, created = made.names[place], AS_OF - 150 * DAY + number * DAY
    version = f"{name}/{count}"
    found["model_versions"].append(
        {"version": version, "name": name, "number": str(count), "created_at": created, "user": "user-0"}
        | {"run": f"{number % max(1, made.runs):032x}", "status": "READY", "stage": "None", "description": ""}
    )
    for practice, key, value in (
        ("deployed", "dlemm.deployed_at", str(created + DAY)),
        ("approved", "dlemm.approved_by", "user-2"),
        ("gated", "dlemm.gate.status", "passed"),
        ("rollout", "dlemm.rollout", "canary"),
    ):
        if _follows(made, practice, number):
            found["version_tags"].append({"version": version, "key": key, "value": value})
