"""The files of a repository as rows: what each is, what is written inside, and where secrets seem to lie.

Takes a fetched copy; gives rows of ``repository_files`` and ``secret_sightings``. Only small text files are looked
into, the telling ones first, up to a limit that the notes admit.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from integrations.connectors.repository_access import RepositoryConfig
from integrations.connectors.repository_copy import Copy, Entry
from integrations.connectors.repository_imports import imports, transform_marks
from integrations.connectors.repository_marks import READ_ROLES, marks_of
from integrations.connectors.repository_roles import Role, role_of
from integrations.connectors.repository_secrets import sightings

MOST_FILES = 50_000
MOST_READ = 20_000
MOST_READ_BYTES = 256 * 1024 * 1024
MOST_SIGHTINGS = 10_000
TEXT_BYTES = 256 * 1024
"""Files above are not looked into."""

_LFS = b"version https://git-lfs.github.com/spec/"
_COARSE = frozenset({Role.OTHER, Role.CODE})
_UNREAD_ENDINGS = (
    ".png",
    ".jpg",
    ".jpeg",
    ".gif",
    ".pdf",
    ".zip",
    ".gz",
    ".npy",
    ".npz",
    ".pt",
    ".onnx",
    ".parquet",
    ".dcm",
)


@dataclass(slots=True)
class Survey:
    """Rows found so far, and what had to be left out."""

    files: list[dict[str, Any]] = field(default_factory=list)
    secrets: list[dict[str, Any]] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)
    looked_into: int = 0


def survey(copy: Copy, config: RepositoryConfig) -> Survey:
    """Every file at the head. Raises ``Refused``."""
    entries, cut = copy.entries()
    found = Survey()
    kept = [(entry, role_of(entry.path, entry.kind, config.template_marker)) for entry in entries]
    if cut or len(kept) > MOST_FILES:
        found.notes.add("files_cut")
        kept = sorted(kept, key=lambda pair: pair[1] in _COARSE)[:MOST_FILES]
        kept.sort(key=lambda pair: pair[0].path)
    marks = _look(copy, config, kept, found)
    found.files = [
        {
            "repository": config.key,
            "path": entry.path,
            "role": role.value,
            "size": entry.size,
            "marks": ",".join(sorted(marks.get(entry.path, ()))),
        }
        for entry, role in kept
    ]
    found.secrets.sort(key=lambda row: (row["path"], row["line"], row["rule"]))
    return found


def _look(copy: Copy, config: RepositoryConfig, kept: list[tuple[Entry, Role]], found: Survey) -> dict[str, set[str]]:
    """Marks by path; secrets go to ``found``."""
    by_oid: dict[str, list[tuple[str, Role]]] = defaultdict(list)
    for entry, role in _worth(kept, found):
        by_oid[entry.oid].append((entry.path, role))
    marks: dict[str, set[str]] = {}
    programs: dict[str, tuple[Role, list[str]]] = {}
    for oid, content in copy.contents(by_oid, TEXT_BYTES):
        text = _text(content)
        if text is None:
            continue
        found.looked_into += 1
        seen = list(sightings(text))
        for path, role in by_oid[oid]:
            if role in READ_ROLES:
                named = f"{path}\n{text}" if role is Role.TEST else text  # a test's name says what it tests
                marks[path] = marks_of(role, named, config.shared_packages)
            if path.endswith(".py"):
                programs[path] = (role, imports(text))
            _note_secrets(config.key, path, seen, found)
    for path, extra in transform_marks(programs, config.shared_packages).items():
        marks.setdefault(path, set()).update(extra)
    return marks


def _note_secrets(repository: str, path: str, seen: list[tuple[int, str]], found: Survey) -> None:
    room = MOST_SIGHTINGS - len(found.secrets)
    if len(seen) > room:
        found.notes.add("sightings_cut")
    found.secrets += [{"repository": repository, "path": path, "line": n, "rule": rule} for n, rule in seen[:room]]


def _worth(kept: list[tuple[Entry, Role]], found: Survey) -> list[tuple[Entry, Role]]:
    """Small files that may be text, telling roles first, within the limits."""
    small = [
        (entry, role)
        for entry, role in kept
        if entry.kind == "file"
        and entry.size
        and entry.size <= TEXT_BYTES
        and not entry.path.lower().endswith(_UNREAD_ENDINGS)
    ]
    small.sort(key=lambda pair: pair[1] in _COARSE)
    size, chosen = 0, []
    for pair in small[:MOST_READ]:
        size += pair[0].size or 0
        if size > MOST_READ_BYTES:
            break
        chosen.append(pair)
    if len(chosen) < len(small):
        found.notes.add("files_not_looked_into")
    return chosen


def _text(content: bytes) -> str | None:
    if b"\0" in content[:8192] or content.startswith(_LFS):
        return None
    return content.decode("utf-8-sig", "replace").replace("\r\n", "\n")
