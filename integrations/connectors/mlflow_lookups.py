"""Looks into the artifacts of chosen runs and logged models: lists of paths, and what a model's text files say.

Takes ids, newest or most important first; gives rows of ``artifacts``, ``artifact_listings`` and ``cards``, and the
columns of a logged model that only its files tell. The number of owners asked is limited: each costs the server a few
requests.
"""

from __future__ import annotations

from collections.abc import Callable

from integrations.connectors.base import Reason, Refused
from integrations.connectors.mlflow_api import Api
from integrations.connectors.mlflow_cards import is_card, outline
from integrations.connectors.mlflow_models import (
    conda_pinned,
    python_env_pinned,
    read_model_file,
    requirements_pinned,
)
from integrations.connectors.mlflow_reports import RunReports
from integrations.connectors.mlflow_rows import Row

FOLDERS = ("explain", "export", "model", "reports", "technical_file")
"""Folders that are opened first, and kept however many files they hold.

Of a folder that is not opened only the name is kept, with a slash at its end: what lies in it is unknown."""
_MOST_FOLDERS = 8  # opened for one owner
_MOST_FILES = 200  # in any other folder: more are outputs such as checkpoints or images, not worth their rows

_MOST_CARDS = 8  # documents read of one owner
MOST_UNREADABLE = 0.1
"""The share of lists asked for that may stay unread; with more, too little is known to say what is not there."""
_MOST_FAILURES = 10  # in a row: then the artifact store is out of order, and asking on would only load it
_ROWS_PER_WRITE = 1000
_SERVER_GONE = frozenset({Reason.UNREACHABLE, Reason.ADDRESS_REFUSED, Reason.TLS, Reason.BAD_HOST})


class Lookups:
    """At most ``limit`` owners are asked; logged models that were never registered get half of that at most.

    ``reserved`` lookups are kept for what stands behind registered versions.
    """

    def __init__(self, api: Api, write: Callable[[str, list[Row]], None], limit: int) -> None:
        self._api = api
        self._write = write
        self._limit = limit
        self._paths: list[Row] = []
        self._listings: list[Row] = []
        self._cards: list[Row] = []
        self._cards_left = limit
        self._failures: list[Refused] = []  # in a row
        self._last_failure: Refused | None = None
        self._given_up: Refused | None = None
        self.reports = RunReports(write, limit)
        self.reserved = 0
        self.asked = 0
        self.unreadable = 0
        self.cards_unread = 0

    def model(self, row: Row, folder: str | None, *, wanted: bool) -> Row:
        """What a logged model's files tell: flavors, has_signature, has_example, pinned; empty if not asked or unread.

        ``folder`` is the model's folder in its run's artifacts (MLflow 2), None for a model with artifacts of its own.
        """
        if self.asked >= (self._limit if wanted else min(self._limit // 2, self._limit - self.reserved)):
            return {}
        run, model = row["run"], row["model"]
        inside = f"{folder}/" if folder is not None else ""

        def files(path: str) -> list[tuple[str, bool]]:
            if folder is None:
                return self._api.model_files(model, path)
            found = self._api.run_files(run, (inside + path).rstrip("/"))
            return [(name.removeprefix(inside), is_folder) for name, is_folder in found]

        def content(path: str) -> bytes:
            return self._api.model_file(model, path) if folder is None else self._api.run_file(run, inside + path)

        names = self._look(model, files)
        if names is None:
            return {}
        self._outline(model, names, content)
        return self._described(names, content)

    def run(self, run: str) -> None:
        """List a run's artifacts."""
        if self.asked < self._limit:
            names = self._look(run, lambda folder: self._api.run_files(run, folder))
            self._outline(run, names or set(), lambda path: self._api.run_file(run, path))
            self.reports.read(run, names or set(), lambda path, cap: self._api.run_file(run, path, cap=cap))

    def flush(self) -> None:
        """Write the rows gathered so far."""
        self._write("artifacts", self._paths)
        self._write("artifact_listings", self._listings)
        self._write("cards", self._cards)
        self._paths, self._listings, self._cards = [], [], []

    def finish(self) -> None:
        """Write what is left. Raises ``Refused`` if more lists than ``MOST_UNREADABLE`` could not be read."""
        self.flush()
        if self._given_up is not None or self.unreadable > MOST_UNREADABLE * self.asked:
            raise self._given_up or self._last_failure or Refused(Reason.SERVER_ERROR)

    def _look(self, owner: str, files: Callable[[str], list[tuple[str, bool]]]) -> set[str] | None:
        """List an owner's files, those in folders included; None when that failed."""
        if self._given_up is not None:
            return None
        self.asked += 1
        try:
            paths = self._paths_below(files)
        except Refused as fault:
            self._failed(owner, fault)
            return None
        self._failures.clear()
        self._paths += [{"owner": owner, "path": path} for path in paths]
        self._listings.append({"owner": owner, "read": True})
        if len(self._paths) >= _ROWS_PER_WRITE:
            self.flush()
        return set(paths)

    def _paths_below(self, files: Callable[[str], list[tuple[str, bool]]]) -> list[str]:
        found = files("")
        paths = {path for path, is_folder in found if not is_folder}
        waiting = {path for path, is_folder in found if is_folder}
        for _ in range(_MOST_FOLDERS):
            if not waiting:
                break
            folder = min(waiting, key=_urgency)
            waiting.remove(folder)
            inside = files(folder)
            if folder not in FOLDERS and len(inside) > _MOST_FILES:
                paths.add(f"{folder}/")
                continue
            paths.update(path for path, is_folder in inside if not is_folder)
            waiting.update(path for path, is_folder in inside if is_folder)
        return sorted(paths | {f"{folder}/" for folder in waiting})

    def _failed(self, owner: str, fault: Refused) -> None:
        if fault.reason in _SERVER_GONE:
            raise fault
        self._listings.append({"owner": owner, "read": False})
        self.unreadable += 1
        self._failures.append(fault)
        self._last_failure = fault
        if len(self._failures) >= _MOST_FAILURES:
            self._given_up = fault

    def _described(self, names: set[str], content: Callable[[str], bytes]) -> Row:
        """The columns of a logged model that its files tell; a file that cannot be read leaves its columns missing."""
        described: Row = {}
        try:
            described["pinned"] = self._pinned(names, content)
            found = read_model_file(content("MLmodel")) if "MLmodel" in names else None
        except Refused as fault:
            if fault.reason in _SERVER_GONE:
                raise
            return described
        if found is not None:
            described["flavors"] = ",".join(found.flavors)
            described["has_signature"] = found.has_signature
            described["has_example"] = found.has_example
        return described

    def _outline(self, owner: str, names: set[str], content: Callable[[str], bytes]) -> None:
        """Keep the outlines of an owner's text documents, as far as their limits go."""
        for path in sorted(filter(is_card, names))[: min(_MOST_CARDS, self._cards_left)]:
            self._cards_left -= 1
            try:
                card = outline(owner, path, content(path))
            except Refused as fault:
                if fault.reason in _SERVER_GONE:
                    raise
                card = None
            if card is None:
                self.cards_unread += 1
            else:
                self._cards.append(card)

    def _pinned(self, names: set[str], content: Callable[[str], bytes]) -> bool:
        if "requirements.txt" in names:
            return requirements_pinned(content("requirements.txt"))
        if "conda.yaml" in names:
            return conda_pinned(content("conda.yaml"))
        return "python_env.yaml" in names and python_env_pinned(content("python_env.yaml"))


def _urgency(folder: str) -> tuple[bool, int, str]:
    """Known folders are opened first, then the others from the top down."""
    return folder not in FOLDERS, folder.count("/"), folder
