"""Books as fact tables, without a server: what a connector would read once they are published.

That both roads give the same is itself a test (``test_ladder``); this one takes a second instead of a minute, so that
every broken rung can be tried.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from integrations.connectors.git import GitConnector, parse
from integrations.connectors.http import Timing
from integrations.connectors.report_files import report_rows
from integrations.reference.ladder.book import Book, Ref, Run
from integrations.reference.ladder.calendar import Calendar
from integrations.reference.ladder.repository import sources
from integrations.reference.ladder.rungs import Rungs
from integrations.reference.ladder.walk import answers
from maturity import pack
from maturity.answers import Answers, parse_answers
from maturity.facts import TABLES, Part, Reading, Statement, StreamReading
from maturity.schema import load_model
from maturity.scorecard import Scorecard
from tests.integrations.connectors.recorder import Recorder

EPOCH_STREAMS = sorted({table.stream for table in TABLES.values()})


def tables_of(books: Mapping[str, Book], now: int) -> dict[str, list[dict[str, Any]]]:
    """Rows of every fact table. Ids of runs are their keys with the project before them."""
    rows: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    numbers = {
        (project, key): f"{book.model}/{number}"
        for project, book in books.items()
        for number, key in enumerate(book.versions, start=1)
    }

    def resolved(project: str, value: str | Ref) -> str:
        if isinstance(value, str):
            return value
        owner = value.project or project
        if value.kind == "model":
            return books[owner].model
        return numbers[owner, value.key] if value.kind == "version" else run_id(owner, value.key)

    for project, book in books.items():
        experiment = f"experiment-{project}"
        rows["experiments"].append(
            {"experiment": experiment, "name": f"reference/{project}", "lifecycle": "active", "created_at": now}
        )
        for run in book.runs.values():
            _run(rows, project, run, experiment, {key: resolved(project, value) for key, value in run.tags.items()})
        if book.versions:
            rows["registered_models"].append({"name": book.model, "created_at": now})
            owned = {"dlemm.origin": "reference", "dlemm.project": project}
            rows["registered_model_tags"] += [
                {"name": book.model, "key": key, "value": value} for key, value in owned.items()
            ]
        for version in book.versions.values():
            name = numbers[project, version.key]
            packaged = book.runs[version.run].package is not None
            rows["model_versions"].append(
                {
                    "version": name,
                    "name": book.model,
                    "number": name.rpartition("/")[2],
                    "run": run_id(project, version.run),
                    "logged_model": f"model-{run_id(project, version.run)}" if packaged else None,
                    "created_at": now,
                    "status": "READY",
                    "stage": "None",
                    "description": version.description,
                }
            )
            rows["version_tags"] += [
                {"version": name, "key": key, "value": resolved(project, value)} for key, value in version.tags.items()
            ]
            rows["aliases"] += [{"name": book.model, "alias": alias, "version": name} for alias in version.aliases]
            rows["alias_sightings"] += [
                {"name": book.model, "alias": alias, "version": name, "before": now} for alias in version.aliases
            ]
        for table, given in (
            ("incidents", book.incidents),
            ("comparisons", book.comparisons),
            ("ci_runs", book.ci_runs),
        ):
            rows[table] += [
                {key: resolved(project, value) if isinstance(value, Ref) else value for key, value in row.items()}
                for row in given
            ]
    return rows


def run_id(project: str, key: str) -> str:
    return f"{project}-{key}"


def _run(rows: Any, project: str, run: Run, experiment: str, tags: Mapping[str, str]) -> None:
    own = run_id(project, run.key)
    if run.parent:
        tags = {**tags, "mlflow.parentRunId": run_id(project, run.parent)}
    rows["runs"].append(
        {
            "run": own,
            "experiment": experiment,
            "name": run.name,
            "status": run.status,
            "lifecycle": "active",
            "start_at": run.start_at,
            "end_at": run.end_at,
            "user": tags.get("mlflow.user", ""),
        }
    )
    rows["run_tags"] += [{"run": own, "key": key, "value": value} for key, value in tags.items()]
    rows["run_params"] += [{"run": own, "key": key, "value": value} for key, value in run.params.items()]
    last = {}
    for point in run.points:
        if point.key not in last or (point.step, point.at) >= (last[point.key].step, last[point.key].at):
            last[point.key] = point
    rows["run_metrics"] += [
        {"run": own, "key": point.key, "value": point.value, "at": point.at, "step": point.step}
        for point in last.values()
    ]
    for use in run.inputs:
        rows["run_inputs"].append(
            {
                "run": own,
                "name": use.dataset.name,
                "digest": use.dataset.digest,
                "source_type": "code",
                "source": use.dataset.source,
                "has_schema": bool(use.dataset.schema),
                "context": use.context,
            }
        )
        rows["run_input_tags"] += [
            {"run": own, "digest": use.dataset.digest, "key": key, "value": value} for key, value in use.tags.items()
        ]
    rows["artifacts"] += [{"owner": own, "path": path} for path in run.artifacts]
    rows["artifact_listings"].append({"owner": own, "read": True})
    for path, content in run.artifacts.items():
        if path.startswith("reports/") and path.endswith((".json", ".csv")):
            parsed = report_rows(content, path, own)
            assert not parsed.fault, f"{path}: {parsed.fault}"
            rows["reports"] += parsed.reports
            rows["report_values"] += parsed.values
    if run.package is not None:
        model = f"model-{own}"
        package = run.package
        rows["logged_models"].append(
            {
                "model": model,
                "run": own,
                "name": "model",
                "status": "READY",
                "created_at": run.end_at,
                "flavors": ",".join(sorted(package.flavors)),
                "has_signature": package.has_signature,
                "has_example": package.has_example,
                "pinned": package.pinned,
            }
        )
        rows["artifacts"] += [{"owner": model, "path": path} for path in package.files]
        rows["artifact_listings"].append({"owner": model, "read": True})


def part_of(
    source: str, rows: Mapping[str, Iterable[Mapping[str, Any]]], now: int, without: Collection[str] = ()
) -> Part:
    """A part whose every stream was read but those that it does not have."""
    tables = {name: TABLES[name].frame(given) for name, given in rows.items()}
    streams = tuple(StreamReading(stream, Reading.READ, 1) for stream in EPOCH_STREAMS if stream not in without)
    return Part(source, Statement("mlflow", "http://reference", now, now, streams), tables)


def projects_of(books: Mapping[str, Book]) -> pd.DataFrame:
    return TABLES["projects"].frame(
        {
            "project": project,
            "name": project,
            "idea_at": book.record.get("idea_at"),
            "started_at": book.record.get("started_at"),
            "experiments": json.dumps([f"reference/{project}"]),
            "models": json.dumps([book.model]),
        }
        for project, book in books.items()
        if project
    )


def repository_parts(folder: Path, projects: Collection[str], now: int) -> tuple[Part, ...]:
    """What the git connector reads of the ladder's repository, by the settings of its sources."""
    timing = Timing(now=lambda: now / 1000)
    parts = []
    for name, settings in sources(folder, tuple(projects)).items():
        sink = Recorder()
        statement = GitConnector(parse(settings, folders=[str(folder)]), timing=timing).collect(sink)
        assert statement.complete, statement.streams
        parts.append(Part(name, statement, {table: sink.frame(table) for table, rows in sink.tables.items() if rows}))
    return tuple(parts)


def score(rungs: Rungs, books: Mapping[str, Book], calendar: Calendar, extra: Iterable[Part] = ()) -> Scorecard:
    """The scorecard of the books."""
    return pack.compute(inputs_of(rungs, books, calendar, extra))


def inputs_of(rungs: Rungs, books: Mapping[str, Book], calendar: Calendar, extra: Iterable[Part] = ()) -> pack.Inputs:
    """What the books come to as evidence. ``extra``: parts of other sources, such as the repository; the streams that
    they have are left to them."""
    others = tuple(extra)
    without = {stream.stream for part in others for stream in part.statement.streams}
    model = load_model()
    given = json.dumps(answers(rungs, books))
    said = parse_answers(given, "answers.json", model) if books else Answers()
    return pack.Inputs(
        model=model,
        parts=(part_of("mlflow", tables_of(books, calendar.now), calendar.now, without), *others),
        projects=projects_of(books),
        answers=said,
        parameters=pack.Parameters(as_of=calendar.now, include_reference=True),
    )


def today() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)
