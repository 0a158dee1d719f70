"""Jobs of continuous integration on the files of a change, really run: each in a child process, on a clean checkout.

Takes the files of a change; gives what the job said, kept by content, so that equal files are not checked twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from integrations.reference.ladder.repository_history import Tree

COMMANDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "tests": (
        ("coverage", "run", "-m", "pytest", "-q", "--junitxml=results/junit.xml", "tests"),
        ("coverage", "xml", "-q", "-o", "results/coverage.xml"),
    ),
    "smoke_training": (("components.smoke",),),
    "secrets_scan": (("components.secret_scan", "."),),
    "reproduction": (("library.reproduce",),),
    "usage": (("components.usage", "."),),
}
"""Modules that a job runs, each by ``python -m``."""
_DEPENDS = (".py", ".toml", ".json")
_NOT_RUN = "integrations/reference/ladder/"
"""Told by the projects, run by none of them."""
_SECONDS = 600
_PASSING = re.compile(r"^(\d+) passed", re.MULTILINE)
_MACHINE = re.compile(r' (?:timestamp|hostname|time)="[^"]*"|<source>[^<]*</source>')
"""What differs from run to run and from machine to machine in the files of a test run."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job that ran: its name, place of its commit in the history, time (ms), duration (s) and what came of it."""

    name: str
    place: int
    at: int
    seconds: float
    passed: bool
    said: str
    coverage: float | None = None
    commit: str = ""
    files: dict[str, str] = field(default_factory=dict)

    @property
    def tests(self) -> int:
        """How many tests passed."""
        found = _PASSING.search(self.said)
        return int(found[1]) if found else 0

    @property
    def run(self) -> str:
        """The id of the run."""
        return f"{self.commit[:12]}-{self.name}"


def kept_folder(repository: Path) -> Path:
    """Where the jobs of a repository are kept."""
    return repository.with_name(f"{repository.name}-checks")


class Checks:
    """The jobs of one repository; results of equal files are taken from ``kept``."""

    def __init__(self, kept: Path, repository: Path) -> None:
        self._kept = kept
        self._list = kept_folder(repository) / "jobs.json"
        self._done: list[Job] = []

    def run(self, name: str, tree: Tree, *, place: int, at: int) -> Job:
        """Run a job on the files of a commit, or take what it gave before. A job without its program has failed."""
        own = {path: content for path, content in tree.items() if path.endswith(_DEPENDS) and not _told(path)}
        said = hashlib.sha256(repr((name, sys.version, COMMANDS[name])).encode())
        for path, content in sorted(own.items()):
            said.update(f"{path}\0{len(content)}\0".encode() + content)
        file = self._kept / f"{name}-{said.hexdigest()[:20]}.json"
        if file.is_file():
            result = json.loads(file.read_text(encoding="utf-8"))
        else:
            result = _ran(COMMANDS[name], tree)
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(f".{os.getpid()}.part")
            part.write_text(json.dumps(result), encoding="utf-8")
            part.replace(file)
        job = Job(name, place, at, **result)
        self._done.append(job)
        return job

    def keep(self, hashes: Sequence[str]) -> None:
        """Write down what was run for which commit."""
        rows = [asdict(job) | {"commit": hashes[min(job.place, len(hashes) - 1)]} for job in self._done]
        rows.sort(key=lambda row: (row["place"], row["at"], row["name"]))
        self._list.parent.mkdir(parents=True, exist_ok=True)
        self._list.write_text(json.dumps(rows), encoding="utf-8")

    def jobs(self) -> list[Job]:
        """What was written down; nothing when no job was run."""
        if not self._list.is_file():
            return []
        return [Job(**row) for row in json.loads(self._list.read_text(encoding="utf-8"))]


def _told(path: str) -> bool:
    return path.startswith(_NOT_RUN)


def _ran(commands: tuple[tuple[str, ...], ...], tree: Tree) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="dlemm-checks-") as name:
        folder = Path(name)
        for path, content in tree.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        (folder / "results").mkdir(exist_ok=True)
        begin, said, passed = time.perf_counter(), "", True
        for command in commands:
            done = subprocess.run(  # noqa: S603 - our own programs, in a folder of their own
                [sys.executable, "-m", *command],
                cwd=folder,
                env=_environment(folder),
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
            said += done.stdout + done.stderr
            passed = passed and done.returncode == 0
        seconds = time.perf_counter() - begin
        results = {
            f"results/{file.name}": _MACHINE.sub("", file.read_text(encoding="utf-8"))
            for file in sorted((folder / "results").glob("*.xml"))
        }
    return {
        "seconds": seconds,
        "passed": passed,
        "said": said[-8000:],
        "coverage": _line_rate(results),
        "files": results,
    }


def _environment(folder: Path) -> dict[str, str]:
    """Nothing of the caller's but where programs are; no plug-ins, no byte code left behind."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }


def _line_rate(results: dict[str, str]) -> float | None:
    found = re.search(r'<coverage[^>]* line-rate="([0-9.]+)"', results.get("results/coverage.xml", ""))
    return float(found[1]) if found else None
