"""The papers of a ladder: documents, records, answers, pictures and the description of its organisation, as files."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from integrations.reference.ladder.book import Book, Ref, Run
from integrations.reference.ladder.calendar import iso
from integrations.reference.ladder.repository import sources
from integrations.reference.ladder.rungs import Rungs
from integrations.reference.ladder.walk import answers, text_of
from integrations.reference.stories import find_story

_SECTIONS = ("incidents", "comparisons", "ci_runs")
_MOMENTS = frozenset({"opened_at", "restored_at", "closed_at", "at"})


def write_papers(
    folder: Path,
    rungs: Rungs,
    prefix: str,
    books: Mapping[str, Book],
    versions: Mapping[tuple[str, str], str],
    repository: Path,
) -> Path:
    """Write documents, records, answers and the organisation's description; returns the folder ``papers``."""
    papers = folder / "papers"
    if papers.exists():
        shutil.rmtree(papers)
    for project, book in books.items():
        for practice, document in book.documents.items():
            file = papers / "documents" / (project or "organisation") / f"{practice}.md"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text_of(document, project), encoding="utf-8")
        for run in book.runs.values():
            _write_figures(papers / "figures" / (project or "organisation"), run)
    write_json(papers / "answers.yaml", answers(rungs, books))
    for section in _SECTIONS:
        rows = [
            {key: _named(versions, project, value) if isinstance(value, Ref) else value for key, value in row.items()}
            for project, book in books.items()
            for row in getattr(book, section)
        ]
        if rows:
            _write_csv(papers / "records" / f"{section}.csv", rows)
    write_json(papers / "organisation.json", _organisation(rungs, prefix, books, repository))
    return papers


def _write_figures(folder: Path, run: Run) -> None:
    """The pictures among a run's artifacts, below its key."""
    for path, content in run.artifacts.items():
        if path.endswith(".png"):
            file = folder / f"{run.key}-{Path(path).name}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def _named(versions: Mapping[tuple[str, str], str], project: str, ref: Ref) -> str:
    """``name/number`` of a version that a record names."""
    return versions[ref.project or project, ref.key]


def _organisation(rungs: Rungs, prefix: str, books: Mapping[str, Book], repository: Path) -> dict[str, Any]:
    return {
        "step": rungs.step,
        "without": sorted(rungs.without),
        "repositories": sources(repository, [project for project in books if project]),
        "projects": [
            {
                "key": project,
                "name": find_story(project).title,
                "experiments": [f"{prefix}/{project}"],
                "models": [f"{prefix}-{project}".replace("/", "-")],
                "idea_at": iso(book.record["idea_at"]) if "idea_at" in book.record else None,
                "started_at": iso(book.record["started_at"]) if "started_at" in book.record else None,
            }
            for project, book in books.items()
            if project
        ],
    }


def write_json(file: Path, content: Any) -> None:
    """JSON, which is YAML as well."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_csv(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table; moments are written as ISO 8601."""
    file.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(key for row in rows for key in row))
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, names)
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {key: iso(value) if key in _MOMENTS and value is not None else value for key, value in row.items()}
            )
