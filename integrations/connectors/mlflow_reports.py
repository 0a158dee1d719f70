"""Reports among the artifacts of runs: files ``reports/*.json`` and ``*.csv`` in the published format.

Takes the paths of one run at a time; writes rows of ``reports`` and ``report_values``. How many files are read is
limited, for one run and in all. A file that cannot be read, or that is no report, is counted and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from integrations.connectors.base import Reason, Refused
from integrations.connectors.mlflow_rows import Row
from integrations.connectors.report_files import SUFFIXES, TOO_LARGE, report_rows

FOLDER = "reports/"
LARGEST_REPORT = 4 * 1024 * 1024
_MOST_REPORTS = 20  # of one run
_SERVER_GONE = frozenset({Reason.UNREACHABLE, Reason.ADDRESS_REFUSED, Reason.TLS, Reason.BAD_HOST})


class RunReports:
    """Reads at most ``limit`` reports in all."""

    def __init__(self, write: Callable[[str, list[Row]], None], limit: int) -> None:
        self._write = write
        self._left = limit
        self._seen: set[str] = set()
        self.unread = 0  # could not be read, or were not asked for
        self.others = 0  # files in the folder that are no reports
        self.cut = 0  # values left out

    def read(self, run: str, paths: Iterable[str], content: Callable[[str, int], bytes]) -> None:
        """Read the reports of a run; ``content(path, most bytes)`` fetches one. ``Refused`` if the server is gone."""
        found = sorted(path for path in paths if path.startswith(FOLDER) and path.lower().endswith(SUFFIXES))
        asked = found[: min(_MOST_REPORTS, self._left)]
        self.unread += len(found) - len(asked)
        for path in asked:
            self._left -= 1
            try:
                self._keep(content(path, LARGEST_REPORT), path, run)
            except Refused as fault:
                if fault.reason in _SERVER_GONE:
                    raise
                self.unread += 1

    def _keep(self, content: bytes, path: str, run: str) -> None:
        parsed = report_rows(content, path, run)
        if parsed.fault:
            self.unread += parsed.fault == TOO_LARGE
            self.others += parsed.fault != TOO_LARGE
            return
        key = parsed.reports[0]["report"]
        if key in self._seen:  # the same bytes in a second run belong to the first that was asked
            return
        self._seen.add(key)
        self.cut += parsed.cut
        self._write("reports", list(parsed.reports))
        self._write("report_values", list(parsed.values))
