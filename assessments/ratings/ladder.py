"""ladder: the reference pipeline climbed to a level, then collected and assessed like anything else.

Takes an organisation marked as a demonstration and a step; starts the pipeline in a process of its own, because torch
has no place here, and makes its papers the organisation's projects, sources and answers. Nothing is assumed about the
outcome: the ordinary collection and the ordinary assessment say which level it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext

from assessments.evidence import adding
from assessments.evidence.models import Source
from assessments.jobs.models import Job
from assessments.jobs.work import JobFailed, Report, note
from assessments.organisations.models import Organisation, Project
from assessments.ratings.models import AnswerSet
from maturity.answers import parse_answers
from maturity.schema import load_model

STEPS = (1, 2, 3, 4, 5)
SERVER = "mlflow"
RECORDS = {
    "incidents": ("incident", "project", "kind", "severity", "version", "opened_at", "restored_at", "closed_at"),
    "comparisons": (
        "comparison",
        "project",
        "metric",
        "closed_at",
        "n_before",
        "n_after",
        "ratio",
        "ratio_low",
        "ratio_high",
        "fail_before",
        "fail_after",
    ),
    "ci_runs": ("ci_run", "repository", "project", "job", "commit", "status", "at", "seconds", "coverage"),
}
"""Tables that the papers may hold, and their columns."""
_STOP_SECONDS = 15


def folder_of(organisation: Organisation) -> Path:
    """Where the ladder of an organisation keeps its work, its papers and its repository."""
    return Path(settings.LADDERS) / organisation.key


def climb(job: Job, report: Report) -> None:
    """The work of the job ``ladder``; its option ``step`` is the level. Stopping it leaves nothing running."""
    organisation, step = job.organisation, job.options.get("step")
    if not organisation.demo:
        raise JobFailed(gettext("Only a demonstration may run the reference pipeline: its runs never count elsewhere."))
    server = organisation.sources.filter(key=SERVER, kind="mlflow").first()
    if server is None or step not in STEPS:
        raise JobFailed(gettext("The reference pipeline needs a source “mlflow” to write to, and a step from 1 to 5."))
    with Log(job) as log:
        for line in climbing(step, server.config["base_url"], folder_of(organisation)):
            if line.get("event") == "end":
                log.add(str(line["message"]))
            else:
                log.add(f"{line['step']}: {line['doing']}")
                report(0, None, f"{line['step']}: {line['doing']}")
    take(organisation, folder_of(organisation), server.config["base_url"])
    from assessments.ratings.refresh import refresh  # pandas, which the page that shows the ladder does without

    refresh(job, report)


class Log:
    """Lines for the log of a job, written together every few seconds, since there are hundreds of them."""

    EVERY_S = 3.0

    def __init__(self, job: Job) -> None:
        self.job, self.lines, self.written = job, list[str](), time.monotonic()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *error: object) -> None:
        self._write()

    def add(self, line: str) -> None:
        self.lines.append(line)
        if time.monotonic() - self.written >= self.EVERY_S:
            self._write()

    def _write(self) -> None:
        if self.lines:
            note(self.job, "\n".join(self.lines))
        self.lines, self.written = [], time.monotonic()


def climbed(organisation: Organisation) -> int | None:
    """The step climbed last; None when there is none, or its papers are just being written."""
    try:
        told = json.loads((folder_of(organisation) / "papers" / "organisation.json").read_text("utf-8"))
        return int(told["step"])
    except (OSError, ValueError, KeyError):
        return None


def climbing(step: int, address: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Run the pipeline; gives its news, one by one. Raises ``JobFailed`` with its last sentence when it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    errors = folder / "errors.txt"
    with errors.open("w") as stderr:
        process = _start(step, address, folder, "--json", stdout=subprocess.PIPE, stderr=stderr, text=True)
    last = ""
    try:
        for line in process.stdout or ():
            with contextlib.suppress(ValueError):
                news = json.loads(line)
                last = str(news.get("message", last))
                yield news
        if process.wait():
            raise JobFailed(last or _last_words(errors))
    finally:
        _end(process)


def climb_aloud(step: int, address: str, folder: Path) -> None:
    """Run the pipeline, which tells the terminal itself how far it is. Raises ``JobFailed`` when it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    process = _start(step, address, folder)
    try:
        status = process.wait()
    finally:
        _end(process)
    if status:
        raise JobFailed(f"the reference pipeline ended with status {status}; see its message above")


def _start(step: int, address: str, folder: Path, *more: str, **streams: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "integrations.reference", "ladder", str(step), *more]
    command += ["--tracking-uri", address, "--folder", str(folder)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(  # noqa: S603 - our own command line
        command, cwd=settings.BASE_DIR, env=environment, start_new_session=True, **streams
    )


def _last_words(errors: Path) -> str:
    words = errors.read_text(errors="replace").strip().splitlines()
    if not words:
        return gettext("The reference pipeline ended without a word.")
    return gettext("The reference pipeline broke off: %(words)s (all of it: %(file)s)") % {
        "words": words[-1],
        "file": errors,
    }


def _end(process: subprocess.Popen[str]) -> None:
    """End the pipeline and all it started: politely, so that it closes its runs, then not."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
    if process.stdout:
        process.stdout.close()


@transaction.atomic
def take(organisation: Organisation, folder: Path, address: str) -> None:
    """Make the papers of a ladder the organisation's own: projects, sources, records, answers."""
    papers = folder / "papers"
    told = json.loads((papers / "organisation.json").read_text("utf-8"))
    for row in told["projects"]:
        _project(organisation, row)
    organisation.projects.exclude(key__in=[row["key"] for row in told["projects"]]).delete()
    _source(organisation, SERVER, "mlflow", {"base_url": address})
    for key, config in told["repositories"].items():
        _source(organisation, key, "git", config)
    for table in RECORDS:
        _records(organisation, table, papers / "records" / f"{table}.csv")
    text = (papers / "answers.yaml").read_text("utf-8")
    answers = parse_answers(text, "answers.yaml", load_model(), projects=[row["key"] for row in told["projects"]])
    before, content = organisation.answer_sets.first(), answers.to_json()
    if before is None or before.content != content:
        AnswerSet.objects.create(organisation=organisation, content=content, origin=f"ladder {told['step']}")


def _project(organisation: Organisation, row: dict[str, Any]) -> None:
    moments = {name: parse_datetime(row[name]) if row[name] else None for name in ("idea_at", "started_at")}
    Project.objects.update_or_create(
        organisation=organisation,
        key=row["key"],
        defaults={
            "name": row["name"],
            "experiments": row["experiments"],
            "registered_models": row["models"],
            **moments,
        },
    )


def _source(organisation: Organisation, key: str, kind: str, config: dict[str, Any]) -> Source:
    source = organisation.sources.filter(key=key).first() or Source(organisation=organisation, key=key)
    source.kind = kind
    adding.prepare(source, config, {})
    source.save()
    return source


def _records(organisation: Organisation, table: str, file: Path) -> None:
    """A source for a table that the papers hold; none for one that they do not."""
    key = table.replace("_", "-")
    if not file.exists():
        organisation.sources.filter(key=key).delete()
        return
    content = file.read_bytes()
    there = content.splitlines()[0].decode().split(",")
    columns = {name: name for name in RECORDS[table] if name in there}
    source = _source(organisation, key, "tables", {"table": table, "columns": columns})
    adding.upload(source, content)
