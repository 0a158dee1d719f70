"""A project skeleton that starts a team at level 3: ``python -m integrations.reference new PROJECT``.

Takes a name and a folder; writes a small project whose tests pass and whose pipeline runs. What it holds lies as plain
files in the folder ``skeleton`` beside this module, each with the ending ``.tmpl``.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from string import Template
from typing import Any

from integrations.reference.errors import PipelineError

TEMPLATES = Path(__file__).parent / "skeleton"
TRACES = Path(__file__).parents[1] / "traces.py"
_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_LONGEST = 60
_NEEDED = ("coverage", "mlflow", "numpy", "pytest", "pyyaml", "scikit-learn", "torch")
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][\w.-]*)")


class RefusedProjectError(PipelineError):
    """The name or the folder cannot be used; nothing was written."""


def add_to(commands: Any) -> None:
    """Add ``new`` to a parser's sub-commands."""
    new = commands.add_parser("new", help="write a small working project that starts a team at level 3")
    new.add_argument("project", help="its name: small letters, digits and single dashes")
    new.add_argument("--folder", type=Path, help="where, new or empty (default: the name, here)")


def run(options: argparse.Namespace) -> int:
    """Write the skeleton that was asked for; 0, or the exit code of the refusal, which is told."""
    folder = options.folder or Path(options.project)
    try:
        files = write(options.project, folder)
    except RefusedProjectError as refused:
        sys.stderr.write(f"{refused}\n")
        return refused.exit_code
    except OSError as error:
        sys.stderr.write(f"{folder} cannot be written: {error.strerror}\n")
        return RefusedProjectError.exit_code
    sys.stdout.write(f"{len(files)} files are in {folder}; README.md says how to go on\n")
    return 0


def write(project: str, folder: Path) -> list[Path]:
    """Write the skeleton; gives the files, relative to the folder, sorted.

    ``project``: small letters, digits and single dashes, beginning with a letter. ``folder`` must be new or empty.
    Raises ``RefusedProjectError`` before anything is written.
    """
    if not _NAME.fullmatch(project) or len(project) > _LONGEST:
        raise RefusedProjectError(
            f"{project!r} is no name of a project: small letters, digits and single dashes, beginning with a letter, "
            f"at most {_LONGEST} characters"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedProjectError(f"{folder} is there already and not an empty folder; choose another place")
    values = {"project": project, "lock": "\n".join(locked())}
    for path, text in sorted(templates()):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(Template(text).safe_substitute(values), encoding="utf-8")
    shutil.copyfile(TRACES, folder / "traces.py")
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def templates() -> Iterator[tuple[str, str]]:
    """Path and text of every template."""
    for file in TEMPLATES.rglob("*.tmpl"):
        yield file.relative_to(TEMPLATES).as_posix().removesuffix(".tmpl"), file.read_text(encoding="utf-8")


def locked() -> list[str]:
    """What the project needs and all that this needs in turn, each with the version that is installed here."""
    waiting, found = list(_NEEDED), {}
    while waiting:
        name = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            installed = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # needed on another system only
        found[key] = f"{key}=={installed.version.partition('+')[0]}"
        for line in installed.requires or ():
            if "extra ==" not in line and (named := _REQUIREMENT.match(line)):
                waiting.append(named[1])
    return [found[key] for key in sorted(found)]
