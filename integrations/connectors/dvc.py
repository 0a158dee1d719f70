"""The DVC connector: which data a repository tracks, and whether the hash of each is recorded.

Takes the settings of one repository (those of the git connector); gives rows of ``tracked_data`` from ``dvc.yaml``,
``dvc.lock`` and ``*.dvc`` at its head. The ``dvc`` package is not used: it would run what a repository names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from integrations.connectors import git, repository_access
from integrations.connectors.base import Refused, Sink
from integrations.connectors.dvc_files import Tracked, Unreadable, data_of
from integrations.connectors.repository_copy import Copy, RepositoryConnector
from maturity.facts import Reading, Statement, StreamReading

COLLECTOR_VERSION = "1"
"""Changes when the same repository would give other rows."""

MOST_FILES = 20_000
MOST_ROWS = 200_000

parse = repository_access.parse
link = git.link


class DvcConnector(RepositoryConnector):
    """One repository whose data DVC tracks."""

    kind = "dvc"

    def collect(self, sink: Sink) -> Statement:
        """Copy the repository to a temporary folder and read DVC's files. Those that are no such files are counted."""
        started = self.now()
        counts: dict[str, int] = {}
        notes: set[str] = set()
        try:
            with self.fetched(sink) as copy:
                rows = self._rows(copy, counts, notes)
        except Refused as fault:
            stream = StreamReading("data_versions", Reading.COULD_NOT_LOOK, 0, str(fault))
        else:
            stream = _stream(git.write_pages(sink, "tracked_data", rows), counts)
        return self.statement(COLLECTOR_VERSION, started, (stream,), counts, notes)

    def _rows(self, copy: Copy, counts: dict[str, int], notes: set[str]) -> list[dict[str, Any]]:
        entries, cut = copy.entries()
        files = [entry for entry in entries if entry.kind == "file" and _is_dvc(entry.path)]
        if cut or len(files) > MOST_FILES:
            notes.add("files_cut")
        files = files[:MOST_FILES]
        contents = dict(copy.contents(entry.oid for entry in files))
        found: dict[str, Tracked] = {}
        counts |= {"files": len(files), "files_unreadable": 0}
        for entry in sorted(files, key=lambda entry: (entry.path.endswith("dvc.yaml"), entry.path)):  # locks first
            try:
                for tracked in data_of(entry.path, contents.get(entry.oid, b"")):
                    found.setdefault(tracked.path, tracked)
            except Unreadable:
                counts["files_unreadable"] += 1
        if counts["files_unreadable"]:
            notes.add(f"files_unreadable: {counts['files_unreadable']}")
        if len(found) > MOST_ROWS:
            notes.add("rows_cut")
        return [_row(self._config.key, found[path]) for path in sorted(found)[:MOST_ROWS]]


def _is_dvc(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name in ("dvc.yaml", "dvc.lock") or (name.endswith(".dvc") and name != ".dvc")


def _row(repository: str, tracked: Tracked) -> dict[str, Any]:
    return {
        "repository": repository,
        "path": tracked.path,
        "digest": tracked.digest,
        "size": tracked.size,
        "stage": tracked.stage,
        "frozen": tracked.digest is not None,
    }


def _stream(rows: int, counts: Mapping[str, int]) -> StreamReading:
    if not counts["files"]:
        return StreamReading("data_versions", Reading.NOT_SUPPORTED, 0, "the repository holds no files of DVC")
    return StreamReading("data_versions", Reading.READ, rows)


def connect(
    data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None, folders: Iterable[str] = ()
) -> DvcConnector:
    """The connector for settings as stored; ``folders`` of this machine that may be read.

    Raises ``ConfigError`` with every fault.
    """
    return DvcConnector(parse(data, allow_private=allow_private, folders=folders))
