"""Explaining a practice: what it asks, the code of the ladder that does it, the trace that proves it, its document.

Nothing here is written by hand: the practice comes from the model, the code from this package's own source, where every
act names the practice it does.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from integrations.reference.errors import PipelineError
from integrations.reference.ladder.asked import Check, Model, Practice, load_model
from integrations.reference.ladder.repository import DONE_BY
from integrations.reference.ladder.walk import FOLDER

PACKAGE = Path(__file__).parents[1]
_LONGEST = 60  # lines of one function that are shown


class UnknownPracticeError(PipelineError):
    """No practice of the model has that id."""


@dataclass(frozen=True, slots=True)
class Place:
    """A function that does, or helps to do, a practice: file below the package, first line, name and source."""

    file: str
    line: int
    name: str
    source: str


def practice_of(model: Model, key: str) -> Practice:
    """The practice of that id; raises ``UnknownPracticeError`` with some that there are."""
    if key not in model.practices:
        near = [known for known in model.practices if known[:3] == key[:3]] or list(model.practices)
        raise UnknownPracticeError(f"There is no practice {key!r}; there are {', '.join(near[:12])} and others.")
    return model.practices[key]


def places(practice: str) -> Iterator[Place]:
    """Every function of the package that names the practice, innermost ones, in order of file and line."""
    for file in sorted(PACKAGE.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if f'"{practice}"' not in text:
            continue
        lines = text.splitlines()
        for function in _innermost(ast.parse(text), practice):
            body = lines[function.lineno - 1 : function.end_lineno]
            source = textwrap.dedent("\n".join(body[:_LONGEST]))
            yield Place(file.relative_to(PACKAGE).as_posix(), function.lineno, function.name, source)


def files(practice: str) -> list[str]:
    """Names of the files, patterns among them, that are in the ladder's repository because of the practice."""
    return sorted(name for name, asked in DONE_BY.items() if asked == practice)


def _innermost(tree: ast.AST, practice: str) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and _names(node, practice):
            inner = (child for child in ast.walk(node) if child is not node and isinstance(child, ast.FunctionDef))
            if not any(_names(child, practice) for child in inner):
                yield node


def _names(node: ast.AST, practice: str) -> bool:
    return any(isinstance(child, ast.Constant) and child.value == practice for child in ast.walk(node))


def explained(key: str) -> str:
    """The whole explanation as text. Raises ``UnknownPracticeError``."""
    model = load_model()
    practice = practice_of(model, key)
    parts = [f"{practice.id} {practice.name.en} (level {practice.level})", f"  {practice.criterion.en}.", ""]
    parts += ["What proves it:", *(f"  - {_proof(model, check)}" for check in practice.checks), ""]
    found, written = list(places(practice.id)), files(practice.id)
    parts.append("What the ladder does:" if found or written else "The ladder does nothing for it.")
    parts += [f"  It puts {name} into the repository of the projects." for name in written]
    for place in found:
        parts += ["", f"--- {place.file}:{place.line} {place.name}", place.source]
    document = FOLDER / f"{practice.id}.md"
    if document.exists():
        parts += ["", f"--- the document, {document.relative_to(PACKAGE).as_posix()}", document.read_text("utf-8")]
    return "\n".join(parts).rstrip() + "\n"


def _proof(model: Model, check: Check) -> str:
    if check.indicator is None:
        where = f" in {check.artifact}" if check.artifact else ""
        return f"{check.kind}{where}: {check.text.en if check.text else ''}"
    indicator = model.indicators[check.indicator]
    target = float(check.target) if check.target is not None else 0.0
    return f"{indicator.id} {check.op} {target:g}: {indicator.definition.en}"
