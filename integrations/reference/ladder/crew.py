"""The crew: processes that do the work of the projects, two at a time, and what they tell while at it."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from integrations.reference.errors import PipelineError
from integrations.reference.ladder.calendar import Calendar
from integrations.reference.ladder.rungs import Rungs

TOGETHER = 2
"""Processes that work at once; each uses one thread."""
SLOWEST_FIRST = ("digits", "nodules", "fraud")
ROOT = Path(__file__).parents[3]
_STOP_SECONDS = 5.0

Say = Callable[[str, str], None]
"""Takes a step and a text, such as ``digits`` and ``train/baseline``."""


class WorkFailedError(PipelineError):
    """A process that did the work of a project ended with an error, which is told."""


def work(stories: Sequence[str], rungs: Rungs, calendar: Calendar, folder: Path, say: Say) -> Iterator[str]:
    """Let processes do the work of all projects, the slowest first; gives every project once its work is done.

    Raises ``WorkFailedError`` when one fails. Whatever ends it, no process stays behind.
    """
    lines: queue.Queue[tuple[str, str]] = queue.Queue()
    waiting, running = sorted(stories, key=SLOWEST_FIRST.index), {}
    try:
        while waiting or running:
            while waiting and len(running) < TOGETHER:
                key = waiting.pop(0)
                running[key] = _start(key, rungs, calendar, folder, lines)
            with contextlib.suppress(queue.Empty):
                say(*lines.get(timeout=0.2))
            for key, process in list(running.items()):
                if process.poll() is not None:
                    del running[key]
                    _drain(lines, say)
                    if process.returncode:
                        raise WorkFailedError(_last_words(folder, key, process.returncode))
                    yield key
    finally:
        for process in running.values():
            _end(process)


def _start(
    key: str, rungs: Rungs, calendar: Calendar, folder: Path, lines: queue.Queue[tuple[str, str]]
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "integrations.reference", "work", key, str(rungs.step)]
    command += ["--folder", str(folder), "--now", str(calendar.now), "--without", *sorted(rungs.without)]
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    (folder / f"{key}.log").unlink(missing_ok=True)  # a worker that outlived a killed ladder may still write to it
    with (folder / f"{key}.log").open("w") as log:
        process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, cwd=ROOT, start_new_session=True
        )

    def read() -> None:
        if process.stdout:
            for line in process.stdout:
                lines.put((key, line.rstrip("\n")))

    threading.Thread(target=read, daemon=True).start()
    return process


def _drain(lines: queue.Queue[tuple[str, str]], say: Say) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            say(*lines.get_nowait())


def _last_words(folder: Path, key: str, status: int) -> str:
    """What a process that failed said last: its sentence where it had one."""
    if status < 0:
        return f"The process working on {key} was ended by signal {-status}; what it had done is kept, so run again."
    words = (folder / f"{key}.log").read_text(errors="replace").strip().splitlines()
    return f"The work on {key} failed: {words[-1] if words else 'no message'} (all of it: {folder / f'{key}.log'})"


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and all it started: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
            return
