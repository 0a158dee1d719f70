"""A bare copy of a repository and what is read from it: head, files, contents, commits.

Takes settings; gives values, never a working tree, so nothing of the repository can run. The copy reaches two years
back, leaves large files out, lies in a temporary folder and is removed in every case.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from integrations.connectors.base import Check, Reason, Refused, Sink
from integrations.connectors.guard import Resolve, resolve
from integrations.connectors.http import Timing
from integrations.connectors.repository_access import BLOB_LIMIT, Git, RepositoryConfig
from integrations.connectors.sign_in import open_notes
from maturity.facts import Statement, StreamReading

HISTORY_DAYS = 731
MOST_ENTRIES = 1_000_000
MOST_COMMITS = 200_000
_COMMIT_BYTES = 256 * 1024
_LATEST_S = 253_370_764_800  # year 9999: later times are nonsense
_PERSON = re.compile(rb"(.*?) ?<([^<>]*)>(?: (-?\d{1,15}))?")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file at the head: its path (printable), object, size (None when it was too large to fetch) and kind."""

    path: str
    oid: str
    size: int | None
    kind: str
    """``file``, ``link`` or ``submodule``."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit: hash, parents, author's name and address, commit time (ms, None when it is nonsense), message."""

    oid: str
    parents: tuple[str, ...]
    author: tuple[str, str]
    at: int | None
    message: str


@dataclass(frozen=True, slots=True)
class Copy:
    """A repository that was fetched. ``head`` is empty for a repository without commits."""

    git: Git
    head: str
    branch: str

    def entries(self) -> tuple[list[Entry], bool]:
        """Every file at the head, sorted by path, and whether the list was cut. Raises ``Refused``."""
        if not self.head:
            return [], False
        found = []
        with self.git.running(*self._at(), "ls-tree", "-r", "-l", "-z", "--full-tree", self.head) as (process, out):
            for record in _records(out.read1, self.git.beat):
                found.append(_entry(record))
                if len(found) >= MOST_ENTRIES:
                    break
            else:
                if process.wait():
                    raise self.git.fault()
        return sorted(found, key=lambda entry: (entry.path, entry.oid)), len(found) >= MOST_ENTRIES

    def contents(self, wanted: Iterable[str], cap: int = BLOB_LIMIT) -> Iterator[tuple[str, bytes]]:
        """Object and content, in the order asked; those missing or over ``cap`` bytes are skipped."""
        oids = list(dict.fromkeys(wanted))
        if not oids:
            return
        with self.git.running(*self._at(), "cat-file", "--batch", "--buffer", lines=oids) as (_, out):
            while header := out.readline(4096):
                self.git.beat()
                parts = header.split()
                if len(parts) != 3:
                    continue
                size = int(parts[2])
                if size <= cap:
                    yield parts[0].decode("ascii"), _exactly(out.read, size)
                else:
                    _skip(out.read, size)
                _exactly(out.read, 1)

    def commits(self, since_ms: int) -> tuple[list[Commit], int]:
        """Commits since a time, newest first, and how many the whole history is known to have. Raises ``Refused``."""
        if not self.head:
            return [], 0
        listed = self.git.run(*self._at(), "rev-list", f"--max-count={MOST_COMMITS}", self.head).decode("ascii").split()
        seen, commits = set(listed), []
        beyond: set[str] = set()
        for oid, content in self.contents(listed, _COMMIT_BYTES):
            commit = _commit(oid, content)
            beyond.update(parent for parent in commit.parents if parent not in seen)
            if commit.at is None or commit.at >= since_ms:
                commits.append(commit)
        commits.sort(key=lambda commit: (-(commit.at or 0), commit.oid))
        return commits, len(seen) + len(beyond)

    def _at(self) -> tuple[str, ...]:
        return (f"--git-dir={self.git.copy}",)


@contextlib.contextmanager
def fetched(
    config: RepositoryConfig,
    *,
    timing: Timing,
    resolver: Resolve = resolve,
    beat: Callable[[], None] = lambda: None,
) -> Iterator[Copy]:
    """A copy of the repository, removed when the block ends. Raises ``Refused``."""
    with _folder() as folder:
        git = Git(config, folder, resolver, timing.monotonic() + config.timeout, beat)
        git.prepare()
        _fetch(git, timing.now())
        yield _opened(git)


def answers(config: RepositoryConfig, *, timing: Timing, resolver: Resolve = resolve, seconds: float = 15) -> str:
    """Asks the server for its head, nothing else; gives git's version. Raises ``Refused``."""
    with _folder() as folder:
        git = Git(config, folder, resolver, timing.monotonic() + min(seconds, config.timeout))
        git.prepare()
        wanted = f"refs/heads/{config.branch}" if config.branch else "HEAD"
        found = git.run("ls-remote", "--", git.remote(), wanted, cap=65536)
        if config.branch and not found.strip():
            raise Refused(Reason.NOT_FOUND, "the branch")
        return git.run("version", check=False).decode("ascii", "replace").removeprefix("git version ").strip()


class RepositoryConnector:
    """What connectors that read one repository have in common. ``timing`` and ``resolver`` are replaced in tests."""

    kind: str

    def __init__(self, config: RepositoryConfig, *, timing: Timing | None = None, resolver: Resolve = resolve) -> None:
        self._config = config
        self._timing = timing or Timing()
        self._resolver = resolver

    def check(self) -> Check:
        """Ask for the head of the branch."""
        try:
            return Check(True, "", answers(self._config, timing=self._timing, resolver=self._resolver))
        except Refused as fault:
            return Check(False, str(fault))

    def now(self) -> int:
        """The present time (ms)."""
        return int(self._timing.now() * 1000)

    def fetched(self, sink: Sink) -> contextlib.AbstractContextManager[Copy]:
        """A copy of the repository; the sink is told that the reading goes on. Raises ``Refused``."""
        steps = itertools.count(1)

        def beat() -> None:
            sink.progress(next(steps), None, "repository")

        return fetched(self._config, timing=self._timing, resolver=self._resolver, beat=beat)

    def statement(
        self,
        version: str,
        started: int,
        streams: tuple[StreamReading, ...],
        counts: Mapping[str, int],
        notes: Iterable[str],
    ) -> Statement:
        """The completeness statement of a reading that ends now."""
        config = self._config
        return Statement(
            kind=self.kind,
            base_url=config.base_url,
            started_at=started,
            finished_at=self.now(),
            streams=streams,
            collector_version=f"{self.kind}/{version}",
            counts=counts,
            notes=(*sorted(notes), *open_notes(config.base_url, config.token or config.password)),
        )


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="dlemm-git-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fetch(git: Git, now: float) -> None:
    """Two years of history; the last two commits when those years hold none or the server cannot count years."""
    since = datetime.fromtimestamp(now - HISTORY_DAYS * 86400, UTC).strftime("%Y-%m-%dT00:00:00Z")
    try:
        _clone(git, f"--shallow-since={since}")
    except Refused as fault:
        if not re.search(r"shallow|no commits selected", git.said(), re.IGNORECASE):
            raise
        if fault.reason in (Reason.TOO_SLOW, Reason.TOO_LARGE):
            raise
        shutil.rmtree(git.copy, ignore_errors=True)
        _clone(git, "--depth=2")


def _clone(git: Git, depth: str) -> None:
    branch = (f"--branch={git.config.branch}",) if git.config.branch else ()
    limits = (f"--filter=blob:limit={BLOB_LIMIT}", depth, "--single-branch", "--no-tags")
    git.run("clone", "--bare", "--quiet", "--template=", *limits, *branch, "--", git.remote(), str(git.copy))


def _opened(git: Git) -> Copy:
    """The copy cut off from its origin, so that no later command asks the network."""
    settings = f"--file={git.copy}/config"
    git.run("config", settings, "--remove-section", "remote.origin", check=False)
    git.run("config", settings, "--unset", "extensions.partialClone", check=False)
    at = f"--git-dir={git.copy}"
    head = git.run(at, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", check=False).decode("ascii").strip()
    branch = git.run(at, "symbolic-ref", "--short", "--quiet", "HEAD", check=False).decode("utf-8", "replace").strip()
    return Copy(git, head, printable(git.config.branch or branch))


def printable(text: str) -> str:
    """The text with every character that cannot be shown replaced."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _records(read: Callable[[int], bytes], beat: Callable[[], None]) -> Iterator[bytes]:
    rest = b""
    while piece := read(1 << 16):
        beat()
        *whole, rest = (rest + piece).split(b"\0")
        yield from whole


_KINDS: Mapping[bytes, str] = {b"120000": "link", b"160000": "submodule"}


def _entry(record: bytes) -> Entry:
    about, _, path = record.partition(b"\t")
    mode, _, oid, size = about.split()
    return Entry(
        printable(path.decode("utf-8", "replace")),
        oid.decode("ascii"),
        int(size) if size.isdigit() else None,
        _KINDS.get(mode, "file"),
    )


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    content = read(size)
    if len(content) != size:
        raise Refused(Reason.CUT_SHORT, "a file of the repository")
    return content


def _skip(read: Callable[[int], bytes], size: int) -> None:
    while size > 0:
        size -= len(_exactly(read, min(size, 1 << 20)))


def _commit(oid: str, content: bytes) -> Commit:
    """A commit read from its stored form, which holds the true parents even where the copy ends."""
    head, _, message = content.partition(b"\n\n")
    parents, author, at = [], ("", ""), None
    for line in head.split(b"\n"):
        key, _, value = line.partition(b" ")
        if key == b"parent":
            parents.append(value.decode("ascii", "replace"))
        elif key == b"author" and (found := _PERSON.match(value)):
            author = (found[1].decode("utf-8", "replace"), found[2].decode("utf-8", "replace"))
        elif key == b"committer" and (found := _PERSON.match(value)) and found[3]:
            at = int(found[3])
    known = at if at is not None and 0 < at < _LATEST_S else None
    return Commit(
        oid, tuple(parents), author, None if known is None else known * 1000, message.decode("utf-8", "replace")
    )
