"""Turns the compact examples beside an indicator into facts, so that each definition carries its own proof.

An example says what is there and what must come out of it; everything it leaves out has an ordinary default::

    - case: met                       # met, not_met, no_evidence, near_miss (looks like the other, is not), or more
      why: …                          # needed for a near miss: why it does not count, or does
      runs:                           # in experiment e1, started 10 days before AS_OF, an hour long, FINISHED
      - {times: 9, stage: train, tags: {…}, params: {…}, metrics: {…}, inputs: ['training:d1', 'test:d2']}
      versions:                       # of model m, created 20 days before; numbered 1, 2, …
      - {deployed: -5, tags: {…}, run: {…}, linked: [{stage: evaluate, …}]}
      projects: [{project: p, idea: -90, started: -80}]
      experiments: {e1: {primary_metric: acc}}       # tags of experiments, ``dlemm.`` added
      streams: {artifacts: could_not_look}
      target: '0.9'                   # default: the target of the first practice that uses the indicator
      expect: met 9/10

A run also takes ``name``, ``day`` (start, relative to AS_OF), ``minutes``, ``status``, ``lifecycle``, ``user``,
``experiment``, ``project``, ``id``, ``parent``, ``children``, ``models`` (logged models: a list of {flavors, signature,
example, pinned}), ``artifacts`` (paths) and ``listed: false`` (its artifact list was not read). An input is
``context:digest`` or {name, digest, source, source_type, schema, context, tags}. A version also takes ``name``,
``created``, ``alias``, ``seen`` ([after, before] in days: when the alias was first sighted), ``user``, ``description``,
``stage``, ``model`` (its own logged model), ``model_tags`` (of the registered model), ``project``, ``artifacts``. In
``tags`` a name without a dot gets ``dlemm.`` in front, and a value {day: -5} is a time. ``times`` repeats a run or a
version. ``means`` are means of metrics over a run's history. ``facts`` holds rows of further tables by table, times in
days relative to AS_OF. Of a repeated run each ends a little later, so that they are not copies of each other; a run
with ``minutes`` ends exactly then. ``expect`` is an outcome, followed by the value when there is one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from maturity.assembly import assemble
from maturity.check_examples import KEYS as CHECK_KEYS
from maturity.check_examples import add_check_facts
from maturity.facts import PROJECT_TAG, TABLES, Facts, Part, Reading, Statement, StreamReading
from maturity.keyed import DAY

AS_OF = 1_767_225_600_000
"""2026-01-01 00:00 UTC, a Thursday: the time at which every example is measured."""
SOURCE = "s"
KEYS: tuple[str, ...] = (
    "case",
    "why",
    "runs",
    "versions",
    "projects",
    "experiments",
    "facts",
    "streams",
    "project",
    "target",
    "op",
    "expect",
    *CHECK_KEYS,
)
CASES = ("met", "not_met", "no_evidence", "near_miss")
_RUN = [
    "times",
    "id",
    "name",
    "day",
    "minutes",
    "status",
    "lifecycle",
    "user",
    "experiment",
    "project",
    "stage",
    "parent",
    "children",
    "tags",
    "params",
    "metrics",
    "metric_days",
    "means",
    "inputs",
    "models",
    "artifacts",
    "listed",
]
_VERSION = [
    "times",
    "name",
    "number",
    "created",
    "deployed",
    "alias",
    "seen",
    "user",
    "description",
    "stage",
    "tags",
    "model",
    "model_tags",
    "project",
    "run",
    "linked",
]
_INPUT = ("name", "digest", "source", "source_type", "schema", "context", "tags")


@dataclass(slots=True)
class _Rows:
    """Rows by table while an example is read, and the numbers given to things without a name."""

    tables: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, table: str, **row: Any) -> None:
        self.tables[table].append(row)

    def next(self, prefix: str) -> str:
        self.numbers[prefix] += 1
        return f"{prefix}{self.numbers[prefix]}"


def facts_of(example: Mapping[str, Any]) -> Facts:
    """The facts of one example. Raises ``ValueError`` naming an unknown key."""
    _only(example, KEYS, "example")
    rows = _Rows()
    for key, tags in example.get("experiments", {}).items():
        for name, value in tags.items():
            rows.add("experiment_tags", experiment=str(key), key=_tag(name), value=str(value))
    for run in example.get("runs", ()):
        _times(run, lambda given: _run(rows, given))
    for version in example.get("versions", ()):
        _times(version, lambda given: _version(rows, given))
    add_check_facts(rows.add, example, AS_OF)
    for table, given in example.get("facts", {}).items():
        _only({table: given}, TABLES, "facts")
        for row in given:
            _times(row, lambda one, table=table: rows.add(table, **_row(rows, table, one)))
    for experiment in sorted({row["experiment"] for row in rows.tables["runs"]}):
        rows.add("experiments", experiment=experiment, name=experiment, lifecycle="active", created_at=0)
    tables = {name: TABLES[name].frame(found) for name, found in rows.tables.items() if name != "projects"}
    projects = TABLES["projects"].frame([_project(given) for given in example.get("projects", ())])
    return assemble([Part(SOURCE, _statement(example.get("streams", {})), tables)], projects)


def _times(given: Mapping[str, Any], make: Any) -> None:
    for _ in range(given.get("times", 1)):
        make({key: value for key, value in given.items() if key != "times"})


def _row(rows: _Rows, table: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A row of any table: times are days, and an id that is not given is a number."""
    columns = TABLES[table].columns
    key = columns[0]
    _only(given, TABLES[table].names, table)
    times = {c.name for c in columns if c.kind == "ms"}
    row = {name: AS_OF + round(value * DAY) if name in times else value for name, value in given.items()}
    return ({key.name: rows.next(key.name)} if key.kind == "id" else {}) | row


def _statement(states: Mapping[str, str]) -> Statement:
    names = sorted({table.stream for table in TABLES.values()} - {"projects"})
    _only(states, names, "streams")
    readings = tuple(StreamReading(name, Reading(states.get(name, "read")), 0, f"{name} said so") for name in names)
    return Statement("mlflow", "http://example.test", AS_OF - DAY, AS_OF - DAY, readings)


def _project(given: Mapping[str, Any]) -> dict[str, Any]:
    _only(given, ("project", "idea", "started"), "project")
    at = {f"{key}_at": AS_OF + round(given[key] * DAY) for key in ("idea", "started") if key in given}
    return {"project": given["project"], "name": given["project"], "experiments": "[]", "models": "[]", **at}


def _run(rows: _Rows, given: Mapping[str, Any], **more: str) -> str:
    _only(given, _RUN, "run")
    run = str(given.get("id") or rows.next("r"))
    start = AS_OF + round(given.get("day", -10) * DAY)
    status = given.get("status", "FINISHED")
    rows.add(
        "runs",
        run=run,
        experiment=str(given.get("experiment", "e1")),
        name=given.get("name", run),
        status=status,
        lifecycle=given.get("lifecycle", "active"),
        start_at=start,
        end_at=None if status in ("RUNNING", "SCHEDULED") else start + _length(rows, given),
        user=given.get("user", ""),
    )
    own = {
        "dlemm.stage": given.get("stage"),
        PROJECT_TAG: given.get("project"),
        "mlflow.parentRunId": given.get("parent"),
    }
    _tags(rows, "run_tags", "run", run, {k: v for k, v in {**own, **more}.items() if v} | given.get("tags", {}))
    for key, value in given.get("params", {}).items():
        rows.add("run_params", run=run, key=key, value=str(value))
    for key, value in given.get("metrics", {}).items():
        at = AS_OF + round(given.get("metric_days", {}).get(key, given.get("day", -10)) * DAY)
        rows.add("run_metrics", run=run, key=key, value=float(value), at=at, step=1)
    for key, value in given.get("means", {}).items():
        rows.add("run_metric_means", run=run, key=key, mean=float(value), points=10)
    _belongings(rows, run, given)
    for child in given.get("children", ()):
        _times(child, lambda one: _run(rows, one, **{"mlflow.parentRunId": run}))
    return run


def _length(rows: _Rows, given: Mapping[str, Any]) -> int:
    """How long a run takes, in ms: as long as it says, else an hour and a little more each time."""
    if "minutes" in given:
        return round(float(given["minutes"]) * 60_000)
    return 3_600_000 + int(rows.next(""))


def _belongings(rows: _Rows, run: str, given: Mapping[str, Any]) -> None:
    for one in given.get("inputs", ()):
        _input(rows, run, one)
    for one in given.get("models", ()):
        _logged(rows, run, one)
    rows.add("artifact_listings", owner=run, read=given.get("listed", True))
    for path in given.get("artifacts", ()):
        rows.add("artifacts", owner=run, path=path)


def _input(rows: _Rows, run: str, given: Mapping[str, Any] | str) -> None:
    if isinstance(given, str):
        context, _, digest = given.partition(":")
        given = {"context": context, "digest": digest}
    _only(given, _INPUT, "input")
    digest = given.get("digest", "d1")
    rows.add(
        "run_inputs",
        run=run,
        name=given.get("name", "a"),
        digest=digest,
        source_type=given.get("source_type", "s3"),
        source=given.get("source", "s3://x"),
        has_schema=given.get("schema", True),
        context=given.get("context", "training"),
    )
    for key, value in given.get("tags", {}).items():
        rows.add("run_input_tags", run=run, digest=digest, key=_tag(key), value=_text(value))


def _logged(rows: _Rows, run: str | None, given: Mapping[str, Any]) -> str:
    _only(given, ("flavors", "signature", "example", "pinned", "artifacts", "listed"), "model")
    model = rows.next("lm")
    rows.add(
        "logged_models",
        model=model,
        run=run,
        name="model",
        status="READY",
        created_at=AS_OF - 10 * DAY,
        flavors=given.get("flavors"),
        has_signature=given.get("signature"),
        has_example=given.get("example"),
        pinned=given.get("pinned"),
    )
    rows.add("artifact_listings", owner=model, read=given.get("listed", True))
    for path in given.get("artifacts", ()):
        rows.add("artifacts", owner=model, path=path)
    return model


def _version(rows: _Rows, given: Mapping[str, Any]) -> None:
    _only(given, _VERSION, "version")
    name = str(given.get("name", "m"))
    number = str(given.get("number") or rows.next(f"{name}/").partition("/")[2])
    version = f"{name}/{number}"
    run = _run(rows, given["run"]) if isinstance(given.get("run"), Mapping) else given.get("run")
    rows.add(
        "model_versions",
        version=version,
        name=name,
        number=number,
        run=run,
        logged_model=_logged(rows, run, given["model"]) if "model" in given else None,
        created_at=AS_OF + round(given.get("created", -20) * DAY),
        user=given.get("user", ""),
        status="READY",
        stage=given.get("stage", "None"),
        description=given.get("description", ""),
    )
    if all(row["name"] != name for row in rows.tables["registered_models"]):
        rows.add("registered_models", name=name, description="", created_at=0)
        _tags(rows, "registered_model_tags", "name", name, given.get("model_tags", {}))
    own = {PROJECT_TAG: given["project"]} if "project" in given else {}
    deployed = {"dlemm.deployed_at": {"day": given["deployed"]}} if "deployed" in given else {}
    _tags(rows, "version_tags", "version", version, {**own, **deployed, **given.get("tags", {})})
    _alias(rows, name, version, given)
    for linked in given.get("linked", ()):
        _times(linked, lambda one: _run(rows, one, **{"dlemm.model_version": version}))


def _alias(rows: _Rows, name: str, version: str, given: Mapping[str, Any]) -> None:
    if "alias" in given:
        rows.add("aliases", name=name, alias=given["alias"], version=version)
    if "seen" in given:
        after, before = (None if day is None else AS_OF + round(day * DAY) for day in given["seen"])
        alias = given.get("alias", "champion")
        rows.add("alias_sightings", name=name, alias=alias, version=version, after=after, before=before)


def _tags(rows: _Rows, table: str, owner: str, key: str, tags: Mapping[str, Any]) -> None:
    for name, value in tags.items():
        rows.add(table, **{owner: key}, key=_tag(name), value=_text(value))


def _tag(name: str) -> str:
    return name if "." in name else f"dlemm.{name}"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return datetime.fromtimestamp((AS_OF + value["day"] * DAY) / 1000, UTC).isoformat()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _only(given: Mapping[str, Any], allowed: Iterable[str], what: str) -> None:
    if unknown := sorted(set(given) - set(allowed)):
        raise ValueError(f"{what} has no key {', '.join(map(str, unknown))}")


__all__ = ["AS_OF", "CASES", "KEYS", "SOURCE", "facts_of"]
