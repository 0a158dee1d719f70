"""The questions put to an MLflow server, page by page: which path, which order, and when a list has ended.

Takes the guarded client; gives decoded JSON pages. Runs are read in windows of their start time, in ascending order,
each page starting where the last one ended (keyset): paging by offset loses and repeats runs while a server is in use,
and a window spares the server a sort of its whole table. Every page must bring something new, or the answer is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

from integrations.connectors.base import Reason, Refused
from integrations.connectors.http import Client
from integrations.connectors.mlflow_models import LARGEST_FILE
from integrations.connectors.mlflow_rows import listing, run_starts

Json = dict[str, Any]
Page = list[Json]

API = "/api/2.0/mlflow"
_EXPERIMENTS_PER_QUESTION = 500
_SMALLEST_SLOW_PAGE = 50
_IDLE_PAGES = 3  # pages without news before a list counts as endless
_MOST_REGISTERED, _MOST_LOGGED = 1000, 50  # the largest pages the server promises to accept
_LOOKUP_TRIES = 2


class Api:
    """One MLflow server. Every method may raise ``Refused``."""

    def __init__(self, client: Client, page_size: int) -> None:
        self._client = client
        self._size = page_size

    def version(self) -> str:
        """The server's version, empty when it does not tell."""
        try:
            text = self._client.get_bytes("/version", cap=10_000).decode(errors="replace").strip()
        except Refused as fault:
            if fault.reason in (Reason.NOT_FOUND, Reason.LOGIN_PAGE):  # older and managed servers have no such page
                return ""
            raise
        return text if text[:1].isdigit() and len(text) <= 40 and text.isprintable() else ""

    def first_experiment(self) -> None:
        """Ask for one experiment: the cheapest proof that this is MLflow and that we may read it."""
        self._client.post_json(f"{API}/experiments/search", {"max_results": 1, "view_type": "ALL"})

    def experiments(self) -> Iterator[Page]:
        """Every experiment, deleted ones included, by id."""
        question = {"view_type": "ALL", "max_results": self._size, "order_by": ["experiment_id ASC"]}
        return self._posted("experiments/search", question, "experiments", lambda row: row.get("experiment_id"))

    def logged_models(self, experiments: Sequence[str]) -> Iterator[Page]:
        """Every logged model of experiments, newest first. ``Refused(not_found)`` before MLflow 3."""
        order = [{"field_name": "creation_timestamp", "ascending": False}]
        for ids in _chunks(experiments):
            question = {"experiment_ids": ids, "max_results": min(self._size, _MOST_LOGGED), "order_by": order}
            yield from self._posted("logged-models/search", question, "models", _logged_model_id)

    def registered_models(self) -> Iterator[Page]:
        """Every registered model, by name."""
        return self._got("registered-models/search", ["name ASC"], "registered_models", lambda row: row.get("name"))

    def versions(self) -> Iterator[Page]:
        """Every model version, by name and number."""
        order = ["name ASC", "version_number ASC"]
        return self._got(
            "model-versions/search", order, "model_versions", lambda row: (row.get("name"), row.get("version"))
        )

    def runs(self, experiments: Sequence[str]) -> Iterator[Page]:
        """Every run of experiments, deleted ones included, each once, oldest first."""
        for ids in _chunks(experiments):
            yield from _Walk(self._client, ids, self._size).pages()

    def run_files(self, run: str, folder: str = "") -> list[tuple[str, bool]]:
        """Paths under a folder of a run's artifacts, each with whether it is a folder."""
        query = {"run_id": run, **({"path": folder} if folder else {})}
        return self._listed(f"{API}/artifacts/list", query)

    def model_files(self, model: str, folder: str = "") -> list[tuple[str, bool]]:
        """Paths under a folder of a logged model's artifacts, each with whether it is a folder."""
        query = {"artifact_directory_path": folder} if folder else {}
        return self._listed(f"{API}/logged-models/{quote(model, safe='')}/artifacts/directories", query)

    def run_file(self, run: str, path: str) -> bytes:
        """A small text file of a run."""
        query = {"run_id": run, "path": path}
        return self._client.get_bytes("/get-artifact", query, cap=LARGEST_FILE, tries=_LOOKUP_TRIES)

    def model_file(self, model: str, path: str) -> bytes:
        """A small text file of a logged model; the server offers it only to its own pages, hence the other prefix."""
        where = f"/ajax-api/2.0/mlflow/logged-models/{quote(model, safe='')}/artifacts/files"
        return self._client.get_bytes(where, {"artifact_file_path": path}, cap=LARGEST_FILE, tries=_LOOKUP_TRIES)

    def _listed(self, path: str, query: dict[str, str]) -> list[tuple[str, bool]]:
        def ask(token: str) -> Json:
            further = {"page_token": token} if token else {}
            return self._client.get_json(path, {**query, **further}, tries=_LOOKUP_TRIES)

        pages = tokens(ask, "files", lambda row: row.get("path"))
        return [entry for page in pages for entry in listing({"files": page})]

    def _posted(self, path: str, question: Json, key: str, identity: Callable[[Json], Any]) -> Iterator[Page]:
        def ask(token: str) -> Json:
            return self._client.post_json(f"{API}/{path}", {**question, **({"page_token": token} if token else {})})

        return tokens(ask, key, identity)

    def _got(self, path: str, order: list[str], key: str, identity: Callable[[Json], Any]) -> Iterator[Page]:
        def ask(token: str) -> Json:
            query: dict[str, str | int | list[str]] = {"max_results": min(self._size, _MOST_REGISTERED)}
            return self._client.get_json(
                f"{API}/{path}", {**query, "order_by": order, **({"page_token": token} if token else {})}
            )

        return tokens(ask, key, identity)


def tokens(ask: Callable[[str], Json], key: str, identity: Callable[[Json], Any]) -> Iterator[Page]:
    """Pages of a list that the server hands out by token, each row once. ``ask("")`` gives the first page."""
    token, seen, idle = "", set[Any](), 0
    while True:
        answer = ask(token)
        fresh = []
        for row in rows_of(answer, key):
            if identity(row) not in seen:
                seen.add(identity(row))
                fresh.append(row)
        yield fresh
        token = answer.get("next_page_token") or ""
        idle = 0 if fresh else idle + 1
        if not token:
            return
        if not isinstance(token, str) or idle >= _IDLE_PAGES:
            raise Refused(Reason.GARBAGE, "the pages of a list do not advance")


def rows_of(answer: Json, key: str) -> Page:
    """The list of objects under a key; a missing one is empty, as the server leaves empty lists out."""
    rows = answer.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Refused(Reason.GARBAGE, f"{key} is not a list of objects")
    return rows


def _logged_model_id(row: Json) -> Any:
    info = row.get("info")
    return info.get("model_id") if isinstance(info, dict) else None


def _chunks(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _EXPERIMENTS_PER_QUESTION):
        yield list(ids[start : start + _EXPERIMENTS_PER_QUESTION])


class _Walk:
    """The walk over all runs of some experiments along their start times.

    ``low`` is the least start time still to be read, ``high`` the end of the window (both None: open). Runs at ``low``
    may have come already; ``edge`` knows them, so nothing needs to be remembered but the runs of one moment.
    """

    def __init__(self, client: Client, experiments: list[str], size: int) -> None:
        self._client = client
        self._question = {
            "experiment_ids": experiments,
            "run_view_type": "ALL",
            "order_by": ["attributes.start_time ASC"],
        }
        self._size = size
        self._low: int | None = None
        self._high: int | None = None
        self._width = 1
        self._edge: set[str] = set()

    def pages(self) -> Iterator[Page]:
        while True:
            page, full = self._ask_page()
            starts = run_starts(page)
            self._verify(starts)
            yield self._fresh(page, starts)
            if full:
                yield from self._after_full(starts)
            elif self._high is None:
                return
            else:
                self._next_window(len(page))

    def _ask_page(self) -> tuple[Page, bool]:
        """One page from ``low`` to ``high``. A server that cannot deliver a page is asked for half of it."""
        while True:
            try:
                answer = self._client.post_json(f"{API}/runs/search", self._asking(self._between()))
            except Refused as fault:
                smallest = {Reason.TOO_LARGE: 1, Reason.TOO_SLOW: _SMALLEST_SLOW_PAGE}.get(fault.reason, self._size)
                if self._size <= smallest:
                    raise
                self._size = max(smallest, self._size // 2)
                continue
            page = rows_of(answer, "runs")
            return page, len(page) >= self._size or bool(answer.get("next_page_token"))

    def _asking(self, condition: str) -> Json:
        return {**self._question, "max_results": self._size, "filter": condition}

    def _between(self) -> str:
        bounds = [] if self._low is None else [f"attributes.start_time >= {self._low}"]
        return " AND ".join(bounds + ([] if self._high is None else [f"attributes.start_time < {self._high}"]))

    def _verify(self, starts: list[tuple[str, int | None]]) -> None:
        """A page must hold what was asked for, in the order asked for, or keyset paging would skip runs."""
        times = [start for _, start in starts if start is not None]
        if len(times) < len(starts) and self._low is not None:
            raise Refused(Reason.GARBAGE, "a run without start time where times were asked for")
        if times != sorted(times):
            raise Refused(Reason.GARBAGE, "runs are not in the order asked for")
        too_low = times and self._low is not None and times[0] < self._low
        if too_low or (times and self._high is not None and times[-1] >= self._high):
            raise Refused(Reason.GARBAGE, "runs outside the window asked for")

    def _fresh(self, page: Page, starts: list[tuple[str, int | None]]) -> Page:
        """The runs not seen before; remembers those at the last moment of the page, which may come again."""
        fresh = [run for run, (key, _) in zip(page, starts, strict=True) if key not in self._edge]
        if starts:
            last = starts[-1][1]
            kept = self._edge if last == self._low else set()
            self._edge = kept | {key for key, start in starts if start == last}
        return fresh

    def _after_full(self, starts: list[tuple[str, int | None]]) -> Iterator[Page]:
        """Go on from the last moment of a full page; a moment that fills a page alone is read to its end by tokens."""
        if not starts or starts[0][1] is None or starts[-1][1] is None:
            raise Refused(Reason.GARBAGE, "the pages of runs do not advance")
        first, last = starts[0][1], starts[-1][1]
        if first == last:
            yield from self._ties(last)
            self._low, self._edge = last + 1, set()
        else:
            self._low, self._width = last, last - first
        if self._high is None or self._high <= self._low:
            self._high = self._low + self._width

    def _ties(self, moment: int) -> Iterator[Page]:
        def ask(token: str) -> Json:
            asking = self._asking(f"attributes.start_time = {moment}")
            return self._client.post_json(f"{API}/runs/search", {**asking, **({"page_token": token} if token else {})})

        for page in tokens(ask, "runs", lambda run: run_starts([run])[0][0]):
            yield self._fresh(page, run_starts(page))

    def _next_window(self, rows: int) -> None:
        """The next window, wide enough for four fifths of a page; after an empty one, everything that is left."""
        fitting = self._width * 4 * self._size // (5 * max(rows, 1))
        self._width = max(1, self._width // 4, min(fitting, self._width * 4))
        self._low = self._high
        if rows == 0 or self._low is None:
            self._high = None
        else:
            self._high = self._low + self._width
