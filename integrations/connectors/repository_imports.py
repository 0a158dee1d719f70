"""Which transform modules a program reaches through its imports.

Takes the Python files of a repository by path; gives for each program file the transform files it reaches, in any
number of steps. This is how "training and serving share one transform" shows without running anything. Imports are
found by patterns: Python's own parser can be crashed by a hostile text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from integrations.connectors.repository_roles import Role

_IMPORT = re.compile(r"^[ \t]*import[ \t]+([\w., \t]{1,500})", re.MULTILINE)
_FROM = re.compile(
    r"^[ \t]{0,99}from[ \t]{1,9}(\.{0,10}[\w.]{0,300})[ \t]{1,9}import[ \t]{0,9}"
    r"(?:\(([^)]{0,4000})\)|([^\n#(]{1,1000}))",
    re.MULTILINE,
)
_MOST_IMPORTS = 500
_ROOTS = ("", "src/", "lib/", "python/")
_SAFE = re.compile(r"[A-Za-z0-9_./-]{1,300}")
_SAYS_TRANSFORM = re.compile(r"transform|preprocess|augment")


def imports(text: str) -> list[str]:
    """Dotted names a text imports, longest first for ``from a import b`` (``a.b``, then ``a``); relative with dots."""
    names: list[str] = []
    for found in _IMPORT.finditer(text):
        names += [part.split()[0] for part in found[1].split(",") if part.split()]
    for found in _FROM.finditer(text):
        base = found[1]
        joint = "" if base.endswith(".") else "."
        inner = re.sub(r"#[^\n]*", "", found[2] or found[3] or "")
        names += [f"{base}{joint}{part.split()[0]}" for part in inner.split(",") if part.split()]
        names.append(base)
    return [name for name in names[:_MOST_IMPORTS] if name.strip(".")]


def transform_marks(files: Mapping[str, tuple[Role, list[str]]], shared: tuple[str, ...] = ()) -> dict[str, set[str]]:
    """Path → ``transform:`` marks. ``files``: path → role and imports of every Python file read."""
    edges = {path: sorted(_reached(path, names, files)) for path, (_, names) in files.items()}
    starts = (Role.PREPROCESS, Role.TRAIN, Role.SERVE, Role.LOADER, Role.EVALUATE)
    marks = {}
    for path, (role, _) in files.items():
        if role in starts:
            marks[path] = set(_walk(path, edges, files, shared))
    return marks


def _walk(
    start: str, edges: Mapping[str, list[str]], files: Mapping[str, tuple[Role, list[str]]], shared: tuple[str, ...]
) -> Iterator[str]:
    seen, waiting = {start}, [start]
    while waiting:
        path = waiting.pop()
        role, names = files[path]
        if role is Role.TRANSFORM and path != start and _SAFE.fullmatch(path):
            yield f"transform:{path}"
        for name in names:
            own = any(name.startswith(f"{package.replace('-', '_')}.") for package in shared)
            if own and _SAYS_TRANSFORM.search(name) and _SAFE.fullmatch(name):
                yield f"transform:{_module(name)}"
        fresh = [other for other in edges[path] if other not in seen]
        seen.update(fresh)
        waiting += fresh


def _module(name: str) -> str:
    """The dotted name up to the part that says transform, so that two names out of one module are one."""
    parts = name.split(".")
    last = next(i for i, part in enumerate(parts) if _SAYS_TRANSFORM.search(part))
    return ".".join(parts[: last + 1])


def _reached(path: str, names: list[str], files: Mapping[str, tuple[Role, list[str]]]) -> set[str]:
    return {found for name in names for found in _files_of(path, name, files)}


def _files_of(path: str, name: str, files: Mapping[str, tuple[Role, list[str]]]) -> list[str]:
    folder = path.rpartition("/")[0]
    bare = name.lstrip(".")
    up = len(name) - len(bare)
    if up:
        for _ in range(up - 1):
            folder = folder.rpartition("/")[0]
        places: tuple[str, ...] = (f"{folder}/" if folder else "",)
    else:
        places = (f"{folder}/" if folder else "", *_ROOTS)
    stem = bare.replace(".", "/")
    for place in places:
        for candidate in (f"{place}{stem}.py", f"{place}{stem}/__init__.py"):
            if candidate in files and candidate != path:
                return [candidate]
    return []
