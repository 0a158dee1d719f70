"""``python -m benchmarks``: every figure of the manual, measured here, with the machine named.

Each benchmark is a module with ``main()`` that prints its own figures; this runs them one after the other.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys

NAMES = ("scoring", "measuring", "many_runs", "pages", "collecting", "first_levels", "direct_sql", "demo")
NAMES += ("ladder", "serving", "fraud", "compression")


def machine() -> str:
    """Processor, cores and Python, in one line."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass  # not Linux: the platform's own name stays
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main() -> None:
    """Run the named benchmarks, or all."""
    print(f"machine: {machine()}")
    for name in sys.argv[1:] or NAMES:
        print(f"\n== {name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
