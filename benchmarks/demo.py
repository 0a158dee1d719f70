"""Times the demonstration from an installed environment to printed levels, twice: in an empty data folder, and again.

The second run reuses what the first one left, so the two are each other's peer.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time


def main() -> None:
    """Print the seconds of both runs, and of each step."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = (_run(folder, which) for which in ("first", "second"))
    print(f"first / second: {first / second:.1f}")


def _run(folder: str, which: str) -> float:
    started = time.perf_counter()
    output = subprocess.run(
        [sys.executable, "manage.py", "demo", "--no-serve"],
        env={**os.environ, "DLEMM_DATA": folder},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    took = time.perf_counter() - started
    steps = re.findall(r"^   ([a-zA-Z ]+): ([0-9.]+) s$", output, re.MULTILINE)
    told = ", ".join(f"{name} {seconds} s" for name, seconds in steps)
    print(f"demo, {which} run to printed levels: {took:.1f} s ({told})")
    return took


if __name__ == "__main__":
    main()
