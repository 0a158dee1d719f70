"""The repository as the project's own tests see it: its root, its Python modules, its texts.

Takes nothing; gives paths below the root, without environments, data, caches and what others wrote (vendored files).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("maturity", "integrations", "assessments")
_SKIPPED = {".venv", ".git", "var", "vendor", "fonts", "__pycache__", "locale", "shared"}
_OWN_DOTS = {".ci", ".importlinter", ".gitignore", ".dockerignore"}
_TEXTS = {".py", ".md", ".yaml", ".yml", ".toml", ".txt", ".html", ".css", ".js", ".svg", ".typ", ".cfg", ".ini", ""}


def files() -> Iterator[Path]:
    """Every file of the project."""
    folders = [ROOT]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            if path.name in _SKIPPED or (path.name.startswith(".") and path.name not in _OWN_DOTS):
                continue
            if path.is_dir():
                folders.append(path)
            else:
                yield path


def texts() -> Iterator[Path]:
    """Every text that somebody of the project wrote."""
    return (path for path in files() if path.suffix in _TEXTS)


def modules(*folders: str) -> Iterator[Path]:
    """Python modules below top-level folders that hold something; migrations, which are generated, left out."""
    for folder in folders or PRODUCT:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "migrations" not in path.parts and path.read_text(encoding="utf-8").strip():
                yield path


def shown(path: Path) -> str:
    """A path as a message names it."""
    return path.relative_to(ROOT).as_posix()
