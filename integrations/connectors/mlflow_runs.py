"""Which runs one collection reads: all of them, or after an earlier one those that may be new, and windows to verify.

Takes the sink's plan and the experiments of the server; hands pages of runs on and tells the sink which windows are
whole. A run carries no time of its last change: a later reading asks for runs that started, ended or still run, and for
new experiments; what only a tag or a deletion changed is found by the windows that the plan asks to verify.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Sequence

from integrations.connectors.base import Reason, Refused, Sink
from integrations.connectors.mlflow_api import Json, Page
from integrations.connectors.mlflow_rows import run_starts
from integrations.connectors.mlflow_windows import Ask, Walk, Window

OVERLAP = 3_600_000
"""A later reading goes back so far behind the last one (ms), besides what the clocks differ."""

LONGEST_RUN = 30 * 86_400_000
"""A run that began longer ago (ms) and never ended is taken for abandoned; only verifying finds that it went on."""

_MOST_FAILED = 3  # windows in a row: then the server is out of order, and asking on would only load it
_OF_THE_WINDOW = frozenset({Reason.SERVER_ERROR, Reason.TOO_SLOW, Reason.CUT_SHORT, Reason.GARBAGE, Reason.TOO_LARGE})


class Runs:
    """Reads runs page by page. ``take`` gets each page; ``counts`` what was done; ``ask`` is called from threads.

    ``skew``: by how much the clocks of the server and ours differ (ms).
    """

    def __init__(
        self,
        ask: Ask,
        sink: Sink,
        take: Callable[[Page], None],
        *,
        size: int,
        connections: int,
        skew: int,
        counts: Counter[str],
    ) -> None:
        self._ask = ask
        self._sink = sink
        self._take = take
        self._size = size
        self._connections = connections
        self._skew = skew
        self._counts = counts
        self._fault: Refused | None = None
        self._failed_in_row = 0
        self._written: set[str] | None = None  # ids that came in a later reading; a first one gives each run once

    def read(self, experiments: Sequence[str]) -> None:
        """Read what the plan asks for. Raises ``Refused`` at the end if a window could not be read."""
        self._counts.update(windows=0, windows_failed=0, runs_read=0)
        self._counts["connections"] = self._connections
        plan = self._sink.plan
        if plan.since is None:
            walk = self._walk(experiments, low=plan.resume_from, measured=True)
            self._go(walk, whole=self._sink.window)
        else:
            self._written = set()
            self._read_changed(experiments, plan.since)
            for low, high in plan.audit:
                if self._go(self._walk(experiments, low=low, high=high, measured=True), remember=False):
                    self._sink.window(low, high)
        if self._fault is not None:
            raise self._fault

    def _read_changed(self, experiments: Sequence[str], since: int) -> None:
        known = [key for key in experiments if key in self._sink.plan.experiments]
        new = [key for key in experiments if key not in self._sink.plan.experiments]
        edge = since - OVERLAP - self._skew
        self._go(self._walk(known, low=edge))
        self._go(self._walk(known, high=edge, also=f"attributes.end_time >= {edge}"))
        self._go(self._walk(known, low=since - LONGEST_RUN, high=edge, also="attributes.status = 'RUNNING'"))
        if new:
            self._go(self._walk(new, measured=True))

    def _walk(
        self,
        experiments: Sequence[str],
        *,
        low: int | None = None,
        high: int | None = None,
        also: str = "",
        measured: bool = False,
    ) -> Walk:
        return Walk(
            self._ask,
            experiments,
            self._size,
            self._connections,
            low=low,
            high=high,
            also=also,
            measured=measured,
        )

    def _go(
        self, walk: Walk, whole: Callable[[int | None, int | None], None] | None = None, *, remember: bool = True
    ) -> bool:
        """Read along a walk, telling ``whole`` of each window; whether every window could be read."""
        complete, began = True, self._counts["runs_read"]
        with contextlib.closing(walk.windows()) as windows:
            for window in windows:
                if window.fault is not None:
                    self._note_failure(window.fault)
                    complete = False
                    continue
                self._failed_in_row = 0
                self._pass_on(window, remember=remember)
                self._counts["windows"] += 1
                if whole is not None:
                    whole(window.low, window.high)
                done = self._counts["runs_read"] - began
                total = round(done / window.share) if window.share else None
                self._sink.progress(done, total, "runs")
        return complete

    def _note_failure(self, fault: Refused) -> None:
        """Remember the first failure. Raises it when the windows that are left will hardly fare better."""
        self._counts["windows_failed"] += 1
        self._fault = self._fault or fault
        self._failed_in_row += 1
        if fault.reason not in _OF_THE_WINDOW or self._failed_in_row >= _MOST_FAILED:
            raise fault

    def _pass_on(self, window: Window, *, remember: bool) -> None:
        runs = iter(window.runs)
        while page := list(itertools.islice(runs, self._size)):
            self._counts["runs_read"] += len(page)
            if fresh := self._fresh(page, remember=remember):
                self._take(fresh)

    def _fresh(self, page: Page, *, remember: bool) -> list[Json]:
        if self._written is None:
            return page
        keys = [key for key, _ in run_starts(page)]
        fresh = [run for key, run in zip(keys, page, strict=True) if key not in self._written]
        if remember:
            self._written.update(keys)
        return fresh
