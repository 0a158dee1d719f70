"""Seconds and peak memory of the reference ladder at every step, each from an empty folder: ``python -m
benchmarks.ladder [STEP ...]``.

Each step is climbed by the command that a user types, with a tracking server of its own, then collected and assessed.
Peak memory is the sum over all processes of a ladder but the tracking server, of their proportional share (PSS), so
that a library that several have loaded counts once; read from the system five times a second.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

ALLOWED_S = {1: 30.0, 3: 240.0, 5: 900.0}
ALLOWED_GB = 4.0


def main(steps: tuple[int, ...] = (1, 2, 3, 4, 5)) -> None:
    """Print a line for every step, with what it was assessed as."""
    for step in steps:
        with tempfile.TemporaryDirectory() as folder:
            printed, peak = _climbed(step, folder)
        seconds = float(_found(r"^reference pipeline: ([0-9.]+) s", printed))
        level = _found(r"^(Level .*?\))", printed)
        allowed = f", allowed {ALLOWED_S[step]:.0f} s" if step in ALLOWED_S else ""
        parts = _found(r"\((work .*?)\)\.", printed)
        print(f"step {step}: {seconds:.0f} s{allowed} ({parts}), peak {peak / 1e9:.1f} GB of {ALLOWED_GB:.0f}: {level}")


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else "?"


def _climbed(step: int, folder: str) -> tuple[str, float]:
    """What the command printed, and the most memory that its processes held together (bytes)."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "ladder", str(step)],
        env={**os.environ, "DLEMM_DATA": folder},
        stdout=subprocess.PIPE,
        text=True,
    )
    peak, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            peak[0] = max(peak[0], sum(_resident(each) for each in _family(process.pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    printed, _ = process.communicate()
    over.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"step {step} ended with status {process.returncode}")
    return printed, peak[0]


def _family(root: int) -> Iterator[int]:
    """A process and all that descend from it, without tracking servers."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    waiting = [root]
    while waiting:
        each = waiting.pop()
        if b"mlflow" in _command(each):
            continue
        yield each
        waiting += children.get(each, [])


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().split(b"--tracking-uri")[0]
    except OSError:
        return b""


def _resident(process: int) -> int:
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":
    started = time.perf_counter()
    main(*([tuple(int(step) for step in sys.argv[1:])] if sys.argv[1:] else []))
    print(f"{time.perf_counter() - started:.0f} s")
