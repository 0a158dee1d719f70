"""The questions put to an MLflow server, page by page: which path, which order, and when a list has ended.

Takes the guarded client; gives decoded JSON pages, or single answers to run searches, which walk over start times (see
``mlflow_windows``). Every page of a list must bring something new, or the answer is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from integrations.connectors.base import Reason, Refused
from integrations.connectors.http import Client, Query
from integrations.connectors.mlflow_models import LARGEST_FILE
from integrations.connectors.mlflow_rows import listing

Json = dict[str, Any]
Page = list[Json]

API = "/api/2.0/mlflow"
_EXPERIMENTS_PER_QUESTION = 500
_IDLE_PAGES = 3  # pages without news before a list counts as endless
_MOST_REGISTERED, _MOST_LOGGED = 1000, 50  # the largest pages the server promises to accept
_LOOKUP_TRIES = 2


class Api:
    """One MLflow server. Every method may raise ``Refused``."""

    def __init__(self, client: Client, page_size: int) -> None:
        self._client = client
        self._size = self.page_size = page_size

    def post(self, path: str, question: Json, *, tries: int | None = None) -> Json:
        """The answer to a question at a path below the base address; ``tries`` as for the client."""
        return self._client.post_json(path, question, tries=tries)

    def get(self, path: str, query: Query) -> Json:
        """The answer at a path below the base address."""
        return self._client.get_json(path, query)

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

    def logged_models(self, experiments: Sequence[str], since: int | None = None) -> Iterator[Page]:
        """Every logged model of experiments, or those changed ``since`` then (ms), newest first.

        ``Refused(not_found)`` before MLflow 3.
        """
        order = [{"field_name": "creation_timestamp", "ascending": False}]
        changed = {} if since is None else {"filter": f"last_updated_timestamp >= {since}"}
        for ids in _chunks(experiments):
            question = {"experiment_ids": ids, "max_results": min(self._size, _MOST_LOGGED), "order_by": order}
            yield from self._posted("logged-models/search", {**question, **changed}, "models", _logged_model_id)

    def registered_models(self) -> Iterator[Page]:
        """Every registered model, by name."""
        return self._got("registered-models/search", ["name ASC"], "registered_models", lambda row: row.get("name"))

    def versions(self) -> Iterator[Page]:
        """Every model version, by name and number."""
        order = ["name ASC", "version_number ASC"]
        return self._got(
            "model-versions/search", order, "model_versions", lambda row: (row.get("name"), row.get("version"))
        )

    def search_runs(self, question: Mapping[str, Any]) -> Json:
        """The answer to one run search, over a connection of its own. Threads may call it."""
        return self._client.post_json(f"{API}/runs/search", question, alone=True)

    def run_files(self, run: str, folder: str = "") -> list[tuple[str, bool]]:
        """Paths under a folder of a run's artifacts, each with whether it is a folder."""
        query = {"run_id": run, **({"path": folder} if folder else {})}
        return self._listed(f"{API}/artifacts/list", query)

    def model_files(self, model: str, folder: str = "") -> list[tuple[str, bool]]:
        """Paths under a folder of a logged model's artifacts, each with whether it is a folder."""
        query = {"artifact_directory_path": folder} if folder else {}
        return self._listed(f"{API}/logged-models/{quote(model, safe='')}/artifacts/directories", query)

    def run_file(self, run: str, path: str, *, cap: int = LARGEST_FILE) -> bytes:
        """A small text file of a run."""
        query = {"run_id": run, "path": path}
        return self._client.get_bytes("/get-artifact", query, cap=cap, tries=_LOOKUP_TRIES)

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
