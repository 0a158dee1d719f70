"""Documents read and walked through: what an assessor would do with them, as far as a program can.

Takes books; gives the texts of their documents and the answers file of the ladder. A document earns its verdict when it
says all it should; the walk-through, which stands where an interview would, when every trace that it names is there.
No person gives these verdicts, and each says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any

from integrations.reference.ladder.asked import load_model
from integrations.reference.ladder.book import Book, Document
from integrations.reference.ladder.calendar import iso
from integrations.reference.ladder.rungs import Rungs

FOLDER = Path(__file__).parent / "documents"
BY = "reference walk-through (a program)"
_LEAST = 400  # characters of a document that says something
_HEADING = re.compile(r"^#{1,3} \S", re.MULTILINE)


def text_of(document: Document, project: str) -> str:
    """The document as a person reads it. Raises ``KeyError`` when its template asks for a fact that was not given."""
    template = Template((FOLDER / f"{document.practice}.md").read_text(encoding="utf-8"))
    facts = {**{key: _shown(value) for key, value in document.facts.items()}}
    return template.substitute({"project": project or "organisation", "date": iso(document.dated)[:10], **facts})


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_shown(one) for one in value)
    return str(value)


def faults_of(text: str) -> list[str]:
    """What is missing from the text of a document, in words."""
    faults = []
    if len(text) < _LEAST:
        faults.append(f"it is shorter than {_LEAST} characters")
    if len(_HEADING.findall(text)) < 3:
        faults.append("it has fewer than three headings")
    if re.search(r"\b(?:todo|tbd|lorem)\b", text, re.IGNORECASE):
        faults.append("it is unfinished")
    return faults


def found(book: Book, where: str) -> bool:
    """Whether a trace is there: ``run``, ``run#name`` (metric, parameter, tag or artifact), ``version:key#tag``,
    ``incident:id``, ``ci:id`` or ``record#name``."""
    place, _, name = where.partition("#")
    if place == "record":
        return book.record.get(name) is not None
    kind, _, key = place.partition(":")
    if kind == "incident":
        return any(row["incident"] == key for row in book.incidents)
    if kind == "ci":
        return any(row["ci_run"] == key for row in book.ci_runs)
    if kind == "version":
        version = book.versions.get(key)
        return version is not None and (not name or name in version.tags)
    run = book.runs.get(place)
    if run is None or not name:
        return run is not None
    return name in run.params or name in run.tags or name in run.artifacts or any(p.key == name for p in run.points)


def verdicts(books: Mapping[str, Book]) -> Iterator[dict[str, Any]]:
    """The verdicts on all documents, as entries of an answers file. ``books`` by project, the organisation's as ''."""
    for project, book in sorted(books.items()):
        for practice, document in sorted(book.documents.items()):
            yield from _verdicts_on(books, project, practice, document)


def _verdicts_on(
    books: Mapping[str, Book], project: str, practice: str, document: Document
) -> Iterator[dict[str, Any]]:
    text = text_of(document, project)
    faults = faults_of(text)
    place = {"project": project} if project else {}
    common = {"practice": practice, **place, "dated": iso(document.dated)[:10], "by": BY}
    name = f"{project or 'organisation'}-{practice}"
    if not faults:
        reason = f"{len(text)} characters, every section filled; read by a program, not by a person"
        yield {"id": f"{name}-document", **common, "kind": "document", "code": "F", "reason": reason}
    missing = [where for where in document.evidence if not _found_in(books, project, where)]
    if document.evidence and not missing and not faults:
        reason = f"all {len(document.evidence)} traces it names are there; asked by a program, not by a person"
        yield {"id": f"{name}-walk", **common, "kind": "interview", "code": "F", "reason": reason}


def _found_in(books: Mapping[str, Book], project: str, where: str) -> bool:
    """``project/where`` looks in another book."""
    owner, slash, rest = where.partition("/")
    if slash and owner in books and not found(books[project], where):
        return found(books[owner], rest)
    return found(books[project], where)


def answers(rungs: Rungs, books: Mapping[str, Book]) -> dict[str, Any]:
    """The whole answers file: a claim for every practice that is done, the verdicts, and the waivers with reasons."""
    return {
        "claims": {practice: "F" for practice in load_model().practices if practice in rungs},
        "verdicts": list(verdicts(books)),
        "waivers": list(_waivers(books.values())),
    }


def _waivers(books: Iterable[Book]) -> Iterator[dict[str, Any]]:
    for book in books:
        for waiver in book.waivers:
            place = {"project": book.project} if book.project else {}
            yield {
                "check" if "/" in waiver.on else "practice": waiver.on,
                **place,
                "reason": "does not apply",
                "justification": waiver.justification,
                "confirmed_by": BY,
            }
