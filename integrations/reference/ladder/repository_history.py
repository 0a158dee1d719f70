"""Writing a history of commits and merges into a git repository, the same history always with the same hashes.

Takes commits with their whole trees; ``git fast-import`` writes them in one go, then the files are checked out.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from integrations.reference.errors import PipelineError

Tree = dict[str, bytes]
"""Content of every file by path."""
Person = tuple[str, str]
"""Name and address."""
_AS_NOBODY = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit: message, author, time (ms), every file; ``parents`` are places in the list of commits.

    Without ``parents`` it follows the one before it, or begins the history.
    """

    message: str
    author: Person
    at: int
    tree: Tree
    parents: tuple[int, ...] = ()


def write(folder: Path, commits: Sequence[Commit]) -> list[str]:
    """Make the repository; gives the hash of every commit, in order. The last one is the head of ``main``.

    Raises ``FileExistsError`` where something is there already and ``PipelineError`` when git fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    git(folder, "init", "--quiet", "--initial-branch=main", ".")
    marks = folder / ".git" / "ladder-marks"
    stream = b"".join(_entry(number, commit) for number, commit in enumerate(commits))
    git(folder, "fast-import", "--quiet", "--force", f"--export-marks={marks}", data=stream)
    git(folder, "reset", "--quiet", "--hard", "main")
    known = dict(line.split() for line in marks.read_text(encoding="ascii").splitlines())
    marks.unlink()
    return [known[f":{number + 1}"] for number in range(len(commits))]


def git(folder: Path, *arguments: str, data: bytes = b"") -> bytes:
    """What a git command prints, without anybody's own settings. Raises ``PipelineError`` with git's own words."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), **_AS_NOBODY}
    try:
        done = subprocess.run(  # noqa: S603 - fixed program, arguments of this module
            ["git", *arguments],  # noqa: S607 - the system's git
            cwd=folder,
            input=data,
            capture_output=True,
            env=environment,
            check=False,
        )
    except FileNotFoundError as error:
        raise PipelineError("git is not installed; the ladder keeps its code in a git repository") from error
    if done.returncode:
        raise PipelineError(f"git {arguments[0]} failed: {done.stderr.decode('utf-8', 'replace').strip()}")
    return done.stdout


def _entry(number: int, commit: Commit) -> bytes:
    parents = commit.parents or ((number - 1,) if number else ())
    message, seconds = commit.message.encode(), commit.at // 1000
    who = f"{commit.author[0]} <{commit.author[1]}> {seconds} +0000"
    lines = [
        f"commit refs/heads/main\nmark :{number + 1}\nauthor {who}\ncommitter {who}\ndata {len(message)}\n".encode()
    ]
    lines.append(message + b"\n")
    lines += [f"{'from' if place == 0 else 'merge'} :{parent + 1}\n".encode() for place, parent in enumerate(parents)]
    return b"".join([*lines, b"deleteall\n", *_files(commit.tree)])


def _files(tree: Mapping[str, bytes]) -> list[bytes]:
    return [
        f"M 100644 inline {path}\ndata {len(content)}\n".encode() + content + b"\n"
        for path, content in sorted(tree.items())
    ]
