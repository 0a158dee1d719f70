"""The git connector: what a repository holds, who changed it, how changes were merged, and where secrets seem to lie.

Takes the settings of one repository; gives rows of ``repositories``, ``commits``, ``repository_files``,
``secret_sightings`` (stream ``repository``) and ``change_requests`` (stream ``reviews``). Roles of files are the closed
list ``repository_roles.Role``, marks those of ``repository_marks`` and ``repository_imports``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from integrations.connectors import repository_access
from integrations.connectors.base import Reason, Refused, Sink
from integrations.connectors.repository_access import RepositoryConfig
from integrations.connectors.repository_copy import HISTORY_DAYS, Copy, RepositoryConnector
from integrations.connectors.repository_files import survey
from integrations.connectors.repository_history import change_rows, commit_rows
from maturity.facts import Reading, Statement, StreamReading

COLLECTOR_VERSION = "1"
"""Changes when the same repository would give other rows."""

PAGE = 5000
_DAY_MS = 86_400_000

parse = repository_access.parse


class GitConnector(RepositoryConnector):
    """One repository."""

    kind = "git"

    def collect(self, sink: Sink) -> Statement:
        """Copy the repository to a temporary folder and read it. Rows are written once all of them are known."""
        started = self.now()
        counts: dict[str, int] = {}
        notes: set[str] = set()
        try:
            with self.fetched(sink) as copy:
                rows = self._read(copy, started, counts, notes)
        except Refused as fault:
            streams = (
                StreamReading("repository", Reading.COULD_NOT_LOOK, 0, str(fault)),
                StreamReading("reviews", Reading.COULD_NOT_LOOK, 0, str(Refused(Reason.DEPENDS, "repository"))),
            )
        else:
            written = {table: write_pages(sink, table, found) for table, found in rows.items()}
            counts |= written
            streams = (_repository_stream(written), _reviews_stream(written["change_requests"]))
        return self.statement(COLLECTOR_VERSION, started, streams, counts, notes)

    def _read(
        self, copy: Copy, started: int, counts: dict[str, int], notes: set[str]
    ) -> dict[str, Sequence[Mapping[str, Any]]]:
        key = self._config.key
        since = (started // _DAY_MS - HISTORY_DAYS) * _DAY_MS
        commits, known = copy.commits(since)
        found = survey(copy, self._config)
        notes |= found.notes
        counts["files_looked_into"] = found.looked_into
        return {
            "repositories": [repository_row(self._config, copy, started, known)],
            "commits": commit_rows(key, commits),
            "repository_files": found.files,
            "secret_sightings": found.secrets,
            "change_requests": change_rows(key, commits),
        }


def repository_row(config: RepositoryConfig, copy: Copy, read_at: int, commits: int) -> dict[str, Any]:
    """The row of ``repositories``."""
    return {
        "repository": config.key,
        "name": config.title,
        "project": config.project or None,
        "head": copy.head or None,
        "branch": copy.branch or None,
        "read_at": read_at,
        "commits": commits,
    }


def write_pages(sink: Sink, table: str, rows: Sequence[Mapping[str, Any]]) -> int:
    """Write rows in pages; how many there were."""
    for at in range(0, len(rows), PAGE):
        sink.write(table, rows[at : at + PAGE])
    return len(rows)


def _repository_stream(written: Mapping[str, int]) -> StreamReading:
    return StreamReading(
        "repository", Reading.READ, sum(n for table, n in written.items() if table != "change_requests")
    )


def _reviews_stream(rows: int) -> StreamReading:
    if rows:
        return StreamReading("reviews", Reading.READ, rows)
    return StreamReading("reviews", Reading.NOT_SUPPORTED, 0, "the history names no change requests")


def connect(
    data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None, folders: Iterable[str] = ()
) -> GitConnector:
    """The connector for settings as stored; ``folders`` of this machine that may be read.

    Raises ``ConfigError`` with every fault.
    """
    return GitConnector(parse(data, allow_private=allow_private, folders=folders))


def link(config: Mapping[str, Any] | RepositoryConfig, table: str, row_id: str, *, experiment: str = "") -> str | None:
    """The web page of a repository, commit (``repository/commit``) or file (``repository/path``), or None.

    See ``base.link``. Built from ``web_url``, else from ``base_url`` without ``.git``; nothing read gets in unquoted.
    """
    values = (
        config
        if isinstance(config, Mapping)
        else {"web_url": config.web_url, "base_url": config.base_url, "branch": config.branch}
    )
    base = str(values.get("web_url") or values.get("base_url") or "").rstrip("/").removesuffix(".git")
    if urlsplit(base).scheme not in ("http", "https"):
        return None
    if table in ("repositories", "repository"):
        return base
    _, _, rest = row_id.partition("/")
    if (
        table not in ("commits", "repository_files", "secret_sightings", "change_requests")
        or not rest
        or ".." in rest.split("/")
    ):
        return None
    between = "/-" if "gitlab" in (urlsplit(base).hostname or "") else ""
    if table == "commits":
        return f"{base}{between}/commit/{quote(rest, safe='')}"
    if table == "change_requests":
        return f"{base}/-/merge_requests/{quote(rest, safe='')}" if between else f"{base}/pull/{quote(rest, safe='')}"
    return f"{base}{between}/blob/{quote(str(values.get('branch') or 'HEAD'), safe='/')}/{quote(rest, safe='/')}"
