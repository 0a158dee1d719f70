"""Climbing: the whole ladder to one step, from an empty folder to a tracking server that holds its traces.

The work of the projects is done by a crew of processes and kept in the folder, so that a ladder that was stopped goes
on where it was; every project is told from what is kept as soon as its work is done, then all is published, and
documents and records are written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integrations.reference.errors import AlreadyRunningError, PipelineError, explain
from integrations.reference.ladder import crew
from integrations.reference.ladder.book import Book
from integrations.reference.ladder.calendar import Calendar
from integrations.reference.ladder.rungs import Rungs
from integrations.reference.stories import KEYS

PACKAGE = Path(__file__).parents[1]
_A_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Climbed:
    """A ladder that is up: where its papers are, how many runs and versions, and how long each part took (s)."""

    folder: Path
    runs: int
    versions: int
    seconds: Mapping[str, float]


def climb(
    rungs: Rungs,
    *,
    tracking_uri: str,
    prefix: str,
    folder: Path,
    now: int,
    stories: Sequence[str] = KEYS,
    say: crew.Say = lambda step, text: None,
) -> Climbed:
    """Climb to the step of ``rungs``. ``folder`` keeps work and papers; ``now`` (ms) ends the calendar.

    Raises ``PipelineError`` with one sentence for what a person can mend. Whatever ends it, no process stays behind.
    """
    _made(folder)
    seconds: dict[str, float] = {}
    with _alone(folder):
        from integrations.reference.ladder.papers import write_json, write_papers
        from integrations.reference.ladder.publish import publish
        from integrations.reference.ladder.verify import MANIFEST, manifest
        from integrations.reference.tracking import client_of

        client = client_of(tracking_uri)
        calendar = Calendar(_kept_now(folder, rungs, now))
        with Telling(rungs, calendar, folder, lambda text: say("tell", text), stories) as telling:
            with _timed(seconds, "work"), contextlib.closing(crew.work(stories, rungs, calendar, folder, say)) as done:
                for key in done:
                    telling.project(key)
            with _timed(seconds, "tell"):
                books = telling.books()
        with _timed(seconds, "publish"):
            published = publish(books, client, prefix=prefix, say=lambda text: say("publish", text))
        with _timed(seconds, "papers"):
            papers = write_papers(folder, rungs, prefix, books, published.versions, telling.repository)
            write_json(papers / MANIFEST, manifest(books, published.runs, published.versions))
        _forget_now(folder)
    return Climbed(papers, len(published.runs), len(published.versions), seconds)


def _made(folder: Path) -> None:
    """Make the folder; raises ``PipelineError`` where it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lock").open("a").close()
    except OSError as error:
        if explain(error) is None:
            raise PipelineError(f"{folder} cannot be written to: {error.strerror}; give another --folder.") from error
        raise


class Telling:
    """The books of a ladder: first the repository is made, then each project is told, one after the other by a thread
    of their own, so that it can be done while work on others goes on; last the organisation, which looks at all."""

    def __init__(
        self,
        rungs: Rungs,
        calendar: Calendar,
        folder: Path,
        say: Callable[[str], None] = lambda text: None,
        stories: Sequence[str] = KEYS,
    ) -> None:
        self.rungs, self.calendar, self.say = rungs, calendar, say
        self.repository = folder / "repository"
        self._shops = {key: workshop(folder, key) for key in stories}
        self._scenes: dict[str, Future[Any]] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="telling")

    def __enter__(self) -> Telling:
        self._commit = self._pool.submit(self._build)
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)  # what it is at ends first: the folder is let go after this

    def _build(self) -> str:
        from integrations.reference.ladder.repository import build

        if self.repository.exists():
            shutil.rmtree(self.repository)
        return build(self.repository, self.rungs, self.calendar, projects=tuple(self._shops))

    def project(self, key: str) -> None:
        """Tell a project whose work is done."""
        self._scenes[key] = self._pool.submit(self._tell, key)

    def _tell(self, key: str) -> Any:
        from integrations.reference.ladder.tell import tell_project

        self.say(key)
        return tell_project(key, self.rungs, self.calendar, self._shops[key], commit=self._commit.result())

    def books(self) -> dict[str, Book]:
        """The books of all projects, that of the organisation as ''. Raises what telling raised."""
        from integrations.reference.ladder.tell import tell_organisation

        self._commit.result()
        scenes = {key: self._scenes[key].result() for key in self._shops}
        whole = tell_organisation(self.rungs, self.calendar, scenes, repository=self.repository)
        return {"": whole.book, **{key: scene.book for key, scene in scenes.items()}}


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
    from integrations.reference.stories import find_story, kept

    kept.folder = folder / "work" / "data"
    return Workshop(folder / "work", code_sha256() + find_story(key).fingerprint(), say)


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
