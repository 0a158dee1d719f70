"""Climbing: the whole ladder to one step, from an empty folder to a tracking server that holds its traces.

The work of the projects is done by two processes at a time and kept in the folder, so that a ladder that was stopped
goes on where it was; then every project is told from what is kept, published, and its documents and records written.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integrations.reference.errors import AlreadyRunningError, PipelineError
from integrations.reference.ladder.book import Book, Ref, Run
from integrations.reference.ladder.calendar import Calendar, iso
from integrations.reference.ladder.rungs import Rungs
from integrations.reference.stories import KEYS

TOGETHER = 2
"""Processes that work at once; each uses one thread."""
PACKAGE = Path(__file__).parents[1]
ROOT = PACKAGE.parents[1]
SLOWEST_FIRST = ("digits", "nodules", "fraud")
_STOP_SECONDS = 5.0
_SECTIONS = ("incidents", "comparisons", "ci_runs")
_MOMENTS = frozenset({"opened_at", "restored_at", "closed_at", "at"})
_A_DAY = 86_400_000

Say = Callable[[str, str], None]
"""Takes a step and a text, such as ``digits`` and ``train/baseline``."""


@dataclass(frozen=True, slots=True)
class Climbed:
    """A ladder that is up: where its papers are, how many runs and versions, and how long each part took (s)."""

    folder: Path
    runs: int
    versions: int
    seconds: Mapping[str, float]


class WorkFailedError(PipelineError):
    """A process that did the work of a project ended with an error, which is told."""


def climb(
    rungs: Rungs,
    *,
    tracking_uri: str,
    prefix: str,
    folder: Path,
    now: int,
    stories: Sequence[str] = KEYS,
    say: Say = lambda step, text: None,
) -> Climbed:
    """Climb to the step of ``rungs``. ``folder`` keeps work and papers; ``now`` (ms) ends the calendar.

    Raises ``PipelineError`` with one sentence for what a person can mend. Whatever ends it, no process stays behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    with _alone(folder):
        from integrations.reference.tracking import client_of

        client = client_of(tracking_uri)
        calendar = Calendar(_kept_now(folder, rungs, now))
        with _timed(seconds, "work"):
            _work(stories, rungs, calendar, folder, say)
        with _timed(seconds, "tell"):
            books, repository = told(rungs, calendar, folder, lambda text: say("tell", text), stories)
        with _timed(seconds, "publish"):
            from integrations.reference.ladder.publish import publish
            from integrations.reference.ladder.verify import MANIFEST, manifest

            published = publish(books, client, prefix=prefix, say=lambda text: say("publish", text))
        with _timed(seconds, "papers"):
            papers = write_papers(folder, rungs, prefix, books, published.versions, repository)
            _write(papers / MANIFEST, manifest(books, published.runs, published.versions))
        _forget_now(folder)
    return Climbed(papers, len(published.runs), len(published.versions), seconds)


def told(
    rungs: Rungs,
    calendar: Calendar,
    folder: Path,
    say: Callable[[str], None] = lambda text: None,
    stories: Sequence[str] = KEYS,
) -> tuple[dict[str, Book], Path]:
    """The books of all projects (the organisation's as '') and the folder of the repository."""
    from integrations.reference.ladder.repository import build
    from integrations.reference.ladder.tell import tell_organisation, tell_project

    repository = folder / "repository"
    if repository.exists():
        shutil.rmtree(repository)
    commit = build(repository, rungs, calendar)
    scenes = {}
    for key in stories:
        say(key)
        scenes[key] = tell_project(key, rungs, calendar, workshop(folder, key), commit=commit)
    whole = tell_organisation(rungs, calendar, scenes, repository=repository)
    return {"": whole.book, **{key: scene.book for key, scene in scenes.items()}}, repository


def code_sha256() -> str:
    """SHA-256 over the pipeline's own source and policies, names included."""
    digest = hashlib.sha256()
    for file in sorted(path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".yaml"}):
        digest.update(file.relative_to(PACKAGE).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def workshop(folder: Path, key: str, say: Callable[[str], None] = lambda text: None) -> Any:
    """The workshop of a story below the folder of a ladder: everything but the name of a piece of work is in it."""
    from integrations.reference.ladder.workshop import Workshop
    from integrations.reference.stories import find_story

    return Workshop(folder / "work", code_sha256() + find_story(key).fingerprint(), say)


# The work.


def _work(stories: Sequence[str], rungs: Rungs, calendar: Calendar, folder: Path, say: Say) -> None:
    """Let processes do the work of all projects, two at a time; the slowest story first."""
    lines: queue.Queue[tuple[str, str]] = queue.Queue()
    waiting, running = sorted(stories, key=SLOWEST_FIRST.index), {}
    try:
        while waiting or running:
            while waiting and len(running) < TOGETHER:
                key = waiting.pop(0)
                running[key] = _start(key, rungs, calendar, folder, lines)
            with contextlib.suppress(queue.Empty):
                say(*lines.get(timeout=0.2))
            for key, process in list(running.items()):
                if process.poll() is not None:
                    del running[key]
                    _drain(lines, say)
                    if process.returncode:
                        raise WorkFailedError(_last_words(folder, key, process.returncode))
    finally:
        for process in running.values():
            _end(process)


def _start(
    key: str, rungs: Rungs, calendar: Calendar, folder: Path, lines: queue.Queue[tuple[str, str]]
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "integrations.reference", "work", key, str(rungs.step)]
    command += ["--folder", str(folder), "--now", str(calendar.now), "--without", *sorted(rungs.without)]
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    with (folder / f"{key}.log").open("w") as log:
        process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, cwd=ROOT, start_new_session=True
        )

    def read() -> None:
        if process.stdout:
            for line in process.stdout:
                lines.put((key, line.rstrip("\n")))

    threading.Thread(target=read, daemon=True).start()
    return process


def _drain(lines: queue.Queue[tuple[str, str]], say: Say) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            say(*lines.get_nowait())


def _last_words(folder: Path, key: str, status: int) -> str:
    """What a process that failed said last: its sentence where it had one."""
    if status < 0:
        return f"The process working on {key} was ended by signal {-status}; what it had done is kept, so run again."
    words = (folder / f"{key}.log").read_text(errors="replace").strip().splitlines()
    return f"The work on {key} failed: {words[-1] if words else 'no message'} (all of it: {folder / f'{key}.log'})"


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and all it started: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
            return


# The papers.


def write_papers(
    folder: Path,
    rungs: Rungs,
    prefix: str,
    books: Mapping[str, Book],
    versions: Mapping[tuple[str, str], str],
    repository: Path,
) -> Path:
    """Write documents, records, answers and the organisation's description; returns the folder ``papers``."""
    from integrations.reference.ladder.walk import answers, text_of

    papers = folder / "papers"
    if papers.exists():
        shutil.rmtree(papers)
    for project, book in books.items():
        for practice, document in book.documents.items():
            file = papers / "documents" / (project or "organisation") / f"{practice}.md"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text_of(document, project), encoding="utf-8")
        for run in book.runs.values():
            _write_figures(papers / "figures" / (project or "organisation"), run)
    _write(papers / "answers.yaml", answers(rungs, books))
    for section in _SECTIONS:
        rows = [
            {key: _named(versions, project, value) if isinstance(value, Ref) else value for key, value in row.items()}
            for project, book in books.items()
            for row in getattr(book, section)
        ]
        if rows:
            _write_csv(papers / "records" / f"{section}.csv", rows)
    _write(papers / "organisation.json", _organisation(rungs, prefix, books, repository))
    return papers


def _write_figures(folder: Path, run: Run) -> None:
    """The pictures among a run's artifacts, below its key."""
    for path, content in run.artifacts.items():
        if path.startswith("figures/") and path.endswith(".png"):
            file = folder / f"{run.key}-{Path(path).name}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def _named(versions: Mapping[tuple[str, str], str], project: str, ref: Ref) -> str:
    """``name/number`` of a version that a record names."""
    return versions[ref.project or project, ref.key]


def _organisation(rungs: Rungs, prefix: str, books: Mapping[str, Book], repository: Path) -> dict[str, Any]:
    from integrations.reference.ladder.repository import sources
    from integrations.reference.stories import find_story

    return {
        "step": rungs.step,
        "without": sorted(rungs.without),
        "repositories": sources(repository, [project for project in books if project]),
        "projects": [
            {
                "key": project,
                "name": find_story(project).title,
                "experiments": [f"{prefix}/{project}"],
                "models": [f"{prefix}-{project}".replace("/", "-")],
                "idea_at": iso(book.record["idea_at"]) if "idea_at" in book.record else None,
                "started_at": iso(book.record["started_at"]) if "started_at" in book.record else None,
            }
            for project, book in books.items()
            if project
        ],
    }


def _write(file: Path, content: Any) -> None:
    """JSON, which is YAML as well."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_csv(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table; moments are written as ISO 8601."""
    file.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(key for row in rows for key in row))
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, names)
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {key: iso(value) if key in _MOMENTS and value is not None else value for key, value in row.items()}
            )


# Alone, and in time.


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system lets go of it however this process ends."""
    if sys.platform == "win32":  # no such locks there: two ladders at once are the user's to avoid
        yield
        return
    import fcntl

    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunningError(
                f"Another ladder is being climbed in {folder}; wait for it, or give another --folder."
            ) from error
        yield


def _kept_now(folder: Path, rungs: Rungs, now: int) -> int:
    """The end of the calendar: that of an attempt at the same step that broke off today, else now.

    The same days give the same runs, so what was published already is recognised.
    """
    kept = folder / "calendar.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        before = json.loads(kept.read_text())
        alike = before["step"] == rungs.step and before["without"] == sorted(rungs.without)
        if alike and 0 <= now - int(before["now"]) < _A_DAY:
            return int(before["now"])
    kept.write_text(json.dumps({"step": rungs.step, "without": sorted(rungs.without), "now": now}))
    return now


def _forget_now(folder: Path) -> None:
    (folder / "calendar.json").unlink(missing_ok=True)


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - begin
