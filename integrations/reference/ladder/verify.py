"""Verifying: whether what a ladder put on a server is still there, unchanged, and whether its champions still answer.

Takes the papers of a ladder and a client; gives every fault in words. The champion of each project is fetched from the
registry by its alias, loaded and asked again: its metric on the test rows must be the one that was recorded.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from integrations.reference.errors import PipelineError, explain
from integrations.reference.ladder.book import Book

MANIFEST = "manifest.json"
_SAME = 1e-6  # difference of a metric that is none


class NoLadderError(PipelineError):
    """The folder holds no papers of a ladder."""


def manifest(
    books: Mapping[str, Book], runs: Mapping[tuple[str, str], str], versions: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    """What was published: of each run its id, status and the SHA-256 of its artifacts; and the champions."""
    return {
        "runs": [
            {
                "id": runs[project, key],
                "name": f"{project or 'organisation'}/{key}",
                "status": run.status,
                "artifacts": {path: _sha256(content) for path, content in sorted(run.artifacts.items())},
            }
            for project, book in books.items()
            for key, run in book.runs.items()
        ],
        "champions": [
            {"project": project, "version": versions[project, key], "primary": _primary(book, version.run)}
            for project, book in books.items()
            for key, version in book.versions.items()
            if "champion" in version.aliases
        ],
    }


def _primary(book: Book, key: str) -> float | None:
    """The primary metric that the source run of a version recorded; None when it recorded none."""
    run = book.runs[key]
    name = str(run.tags.get("dlemm.primary_metric", ""))
    values = [point.value for point in run.points if point.key == name]
    return values[-1] if values else None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def faults(papers: Path, client: MlflowClient) -> Iterator[str]:
    """Every fault, in words. Raises ``NoLadderError`` when there are no papers."""
    file = papers / MANIFEST
    if not file.exists():
        raise NoLadderError(f"{papers} holds no papers of a ladder; climb one first, or give its --folder.")
    told = json.loads(file.read_text("utf-8"))
    for row in told["runs"]:
        yield from _faults_of_run(client, row)
    for row in told["champions"]:
        yield from _faults_of_champion(client, row)


def _faults_of_run(client: MlflowClient, row: Mapping[str, Any]) -> Iterator[str]:
    try:
        run = client.get_run(row["id"])
    except MlflowException as error:
        _expect_answer(error)
        yield f"{row['name']}: the run {row['id']} is not there"
        return
    if run.info.lifecycle_stage != "active":
        yield f"{row['name']}: the run {row['id']} is deleted"
    elif run.info.status != row["status"]:
        yield f"{row['name']}: it is {run.info.status}, not {row['status']}"
    elif row["artifacts"]:
        yield from _faults_of_artifacts(client, row)


def _faults_of_artifacts(client: MlflowClient, row: Mapping[str, Any]) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="dlemm-verify-") as folder:
        for path, wanted in row["artifacts"].items():
            try:
                found = Path(client.download_artifacts(row["id"], path, folder))
            except (MlflowException, OSError) as error:
                _expect_answer(error)
                yield f"{row['name']}: {path} is not there"
                continue
            if _sha256(found.read_bytes()) != wanted:
                yield f"{row['name']}: {path} was changed"


def _faults_of_champion(client: MlflowClient, row: Mapping[str, Any]) -> Iterator[str]:
    name = row["version"].rpartition("/")[0]
    try:
        version = client.get_model_version_by_alias(name, "champion")
    except MlflowException as error:
        _expect_answer(error)
        yield f"{row['project']}: no version carries the alias champion"
        return
    if f"{name}/{version.version}" != row["version"]:
        yield f"{row['project']}: the champion is {name}/{version.version}, not {row['version']}"
    elif row["primary"] is not None:
        value = _asked_again(client, row["project"], client.get_model_version_download_uri(name, version.version))
        if abs(value - row["primary"]) > _SAME:
            yield f"{row['project']}: the champion scores {value:.6f}, recorded was {row['primary']:.6f}"


def _expect_answer(error: Exception) -> None:
    """Raise the error when the server could not be asked: that is no answer to whether a thing is there."""
    if explain(error) is not None:
        raise error


def _asked_again(client: MlflowClient, project: str, package: str) -> float:
    """The primary metric of a version on the test rows of its story, computed now from its own file; ``package`` is
    the address of its files."""
    import mlflow
    import torch

    from integrations.reference.stories import find_story

    story = find_story(project)
    test = story.test()
    with tempfile.TemporaryDirectory(prefix="dlemm-verify-") as folder:
        mlflow.artifacts.download_artifacts(package, dst_path=folder, tracking_uri=client.tracking_uri)
        (program,) = Path(folder).rglob("*.pt2")
        module = torch.export.load(program).module()
        with torch.no_grad():
            logits = module(torch.from_numpy(test.x)).float().numpy()
    return story.score(test.y, logits)
