"""The walk over runs along their start times: window after window, several asked for ahead, given in order.

Takes a way to ask a run search and experiment ids; gives windows of start time without gap or overlap, each with all
its runs. A window is about one page wide: paging by offset loses and repeats runs while a server is in use, and a
window spares the server a sort of its whole table. A page that is full cuts its window at its last moment (which is
read again with the next), so nothing is remembered from one window to the next. Every page is checked against the
question.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from integrations.connectors.base import Reason, Refused
from integrations.connectors.mlflow_api import Json, Page, rows_of, tokens
from integrations.connectors.mlflow_rows import run_starts

Ask = Callable[[Mapping[str, Any]], Json]
"""Puts a run search and gives the decoded answer; may raise ``Refused``; called from several threads."""

EXPERIMENTS_PER_QUESTION = 2_000
LEAST = -(2**63)  # the earliest moment a server can store
_SMALLEST_SLOW_PAGE = 50


@dataclass(frozen=True, slots=True)
class Window:
    """Runs that started from ``low`` up to, not including, ``high`` (ms; None: open), in order of start and id.

    ``fault``: the window could not be read. ``runs`` can be gone through once, and may raise ``Refused``.
    ``share``: the part of the walk that is done with this window, from 0 to 1; None where that cannot be told.
    """

    low: int | None
    high: int | None
    runs: Iterable[Json] = ()
    fault: Refused | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found from the start of a window to its ``cut``; ``tied``: a moment with more runs than a page holds."""

    cut: int | None
    runs: list[tuple[int, str, Json]]
    tied: int | None


Task = tuple[int | None, int | None, Future[_Found]]


class Walk:
    """Walks over the runs of ``experiments`` that started from ``low`` up to ``high`` and meet ``also``, a condition.

    At most ``connections`` questions are under way at once. ``measured``: first ask for the latest start, so that
    windows can tell their share of the walk.
    """

    def __init__(
        self,
        ask: Ask,
        experiments: Sequence[str],
        size: int,
        connections: int,
        *,
        low: int | None = None,
        high: int | None = None,
        also: str = "",
        measured: bool = False,
    ) -> None:
        self._ask = ask
        starts = range(0, len(experiments), EXPERIMENTS_PER_QUESTION)
        self._chunks = [list(experiments[start : start + EXPERIMENTS_PER_QUESTION]) for start in starts]
        self._size = size
        self._connections = connections
        self._low, self._end = low, high
        self._also = also
        self._measured = measured
        self._width: int | None = None  # of the next window; None: not known, ask for all that is left
        self._latest: int | None = None
        self._earliest: int | None = None
        self._waiting: deque[Task] = deque()
        self._frontier, self._planned = low, False

    def windows(self) -> Generator[Window, None, None]:
        """All windows in ascending order, the first from ``low``, the last to ``high``. Close the iterator.

        Windows that are read ahead follow from those given before, so the same runs give the same windows.
        """
        if self._measured:
            self._latest = self._last_start()
        pool = ThreadPoolExecutor(self._connections, "mlflow-runs")
        try:
            self._plan(pool)
            while self._waiting:
                yield self._next(pool)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _next(self, pool: ThreadPoolExecutor) -> Window:
        low, high, future = self._waiting.popleft()
        try:
            found = future.result()
        except Refused as fault:
            self._plan(pool)
            return Window(low, high, fault=fault)
        self._adapt(low, found)
        if found.cut != high and high == self._end:  # nothing is planned behind it
            self._frontier, self._planned = found.cut, False
        elif found.cut != high:
            self._waiting.appendleft(self._submit(pool, found.cut, high))
        self._plan(pool)  # before the window is worked on, so that the server is busy meanwhile
        return Window(low, found.cut, self._runs(found), share=self._share(found.cut))

    def _plan(self, pool: ThreadPoolExecutor) -> None:
        while not self._planned and len(self._waiting) < self._connections:
            low, high = self._frontier, self._next_high(self._frontier)
            self._waiting.append(self._submit(pool, low, high))
            self._frontier, self._planned = high, high == self._end

    def _submit(self, pool: ThreadPoolExecutor, low: int | None, high: int | None) -> Task:
        """Ask for a window. The first question of a long walk is a small one, as it has to be waited for alone."""
        portion = 4 if self._latest is not None and self._earliest is None else 1
        return low, high, pool.submit(self._read, low, high, portion)

    def _next_high(self, low: int | None) -> int | None:
        """Where the next window ends; the end of the walk when the width is unknown or nothing is left to come."""
        if self._width is None or low is None or (self._latest is not None and low > self._latest):
            return self._end
        high = low + self._width
        return high if self._end is None or high < self._end else self._end

    def _adapt(self, low: int | None, found: _Found) -> None:
        """The next window shall hold four fifths of a page; after an empty one, all that is left is asked for."""
        if not found.runs and found.tied is None:
            self._width = None
            return
        first = found.runs[0][0] if found.runs else found.tied
        if self._earliest is None:
            self._earliest = first
        low = first if low is None else low
        if found.cut is None or low is None:
            return
        span = max(1, found.cut - low)
        fitting = span * 4 * self._size // (5 * max(1, len(found.runs)))
        old = self._width
        self._width = max(1, fitting if old is None else max(old // 4, min(fitting, old * 4)))

    def _share(self, cut: int | None) -> float | None:
        if cut is None or (self._end is not None and cut >= self._end):
            return 1.0
        begin = self._earliest if self._low is None else self._low
        last = self._latest if self._end is None else self._end
        if begin is None or last is None or last <= begin:
            return None
        return min(1.0, max(0.0, (cut - begin) / (last + 1 - begin)))

    # what runs in the threads

    def _read(self, low: int | None, high: int | None, portion: int) -> _Found:
        """The runs of a window, or of its first part if they are more than a page."""
        cut, tied = high, None
        rows: list[tuple[int, str, Json]] = []
        for ids in self._chunks:
            page, full = self._page(ids, low, cut, portion)
            starts = _checked(page, low, cut)
            rows += [(start, key, run) for (start, key), run in zip(starts, page, strict=True)]
            if full and not starts:
                raise Refused(Reason.GARBAGE, "the pages of runs do not advance")
            if full:
                first, last = starts[0][0], starts[-1][0]
                cut, tied = (last + 1, last) if first == last else (last, None)
        end = cut if tied is None else tied
        kept = {key: (start, key, run) for start, key, run in rows if end is None or start < end}
        return _Found(cut, sorted(kept.values(), key=lambda row: row[:2]), tied)

    def _page(self, ids: list[str], low: int | None, high: int | None, portion: int) -> tuple[Page, bool]:
        """One page from ``low``, and whether there is more. A server that cannot deliver it is asked for half of it."""
        while True:
            size = max(1, self._size // portion)
            try:
                answer = self._ask(self._question(ids, size, low, high))
            except Refused as fault:
                smallest = {Reason.TOO_LARGE: 1, Reason.TOO_SLOW: _SMALLEST_SLOW_PAGE}.get(fault.reason, size)
                if size <= smallest:
                    raise
                self._size = min(self._size, max(smallest, size // 2))
                continue
            page = rows_of(answer, "runs")
            return page, len(page) >= size or bool(answer.get("next_page_token"))

    def _question(self, ids: list[str], size: int, low: int | None, high: int | None, order: str = "ASC") -> Json:
        """A run search. It always bounds the start: a run without one breaks the whole answer of the server."""
        conditions = [f"attributes.start_time >= {LEAST if low is None else low}"]
        conditions += [] if high is None else [f"attributes.start_time < {high}"]
        return {
            "experiment_ids": ids,
            "run_view_type": "ALL",
            "order_by": [f"attributes.start_time {order}"],
            "max_results": size,
            "filter": " AND ".join(conditions + ([self._also] if self._also else [])),
        }

    def _last_start(self) -> int | None:
        """The latest start of all; None when there is no run."""
        latest = []
        for ids in self._chunks:
            page = rows_of(self._ask(self._question(ids, 1, self._low, self._end, "DESC")), "runs")
            latest += [start for _, start in run_starts(page[:1]) if start is not None]
        return max(latest, default=None)

    # what runs where the windows are taken

    def _runs(self, found: _Found) -> Iterator[Json]:
        """The runs found, then those of a moment that fills pages, read by tokens as they are asked for."""
        for _, _, run in found.runs:
            yield run
        if found.tied is not None:
            parts = [self._ties(ids, found.tied) for ids in self._chunks]
            yield from heapq.merge(*parts, key=_key)

    def _ties(self, ids: list[str], moment: int) -> Iterator[Json]:
        def ask(token: str) -> Json:
            question = self._question(ids, self._size, moment, moment + 1)
            return self._ask({**question, **({"page_token": token} if token else {})})

        for page in tokens(ask, "runs", _key):
            _checked(page, moment, moment + 1)
            yield from page


def _key(run: Json) -> str:
    return run_starts([run])[0][0]


def _checked(page: Page, low: int | None, high: int | None) -> list[tuple[int, str]]:
    """Start and id of each run. A page must hold what was asked for, in the order asked for, or runs would be lost."""
    starts: list[tuple[int, str]] = []
    for key, start in run_starts(page):
        if start is None:
            raise Refused(Reason.GARBAGE, "a run without start time where times were asked for")
        if starts and start < starts[-1][0]:
            raise Refused(Reason.GARBAGE, "runs are not in the order asked for")
        starts.append((start, key))
    if starts and low is not None and starts[0][0] < low:
        raise Refused(Reason.GARBAGE, "runs outside the window asked for")
    if starts and high is not None and starts[-1][0] >= high:
        raise Refused(Reason.GARBAGE, "runs outside the window asked for")
    return starts
