"""How fast a model answers on named hardware: percentiles of single requests and throughput of batches.

Takes something that answers rows; gives milliseconds and rows per second, measured after a warm-up.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from integrations.reference.export import Predict, Rows

BATCH = 64
_WARM = 5


@dataclass(frozen=True, slots=True)
class Speed:
    """Latency of requests of one row (milliseconds) and rows a second in batches of ``BATCH``."""

    latency_p50_ms: float
    latency_p95_ms: float
    throughput_rps: float
    requests: int

    def metrics(self) -> dict[str, float]:
        """The measurement under its MLflow names."""
        return {
            "perf/latency_p50_ms": self.latency_p50_ms,
            "perf/latency_p95_ms": self.latency_p95_ms,
            "perf/throughput_rps": self.throughput_rps,
            "perf/requests": self.requests,
        }


def measure(predict: Predict, rows: Rows, *, requests: int = 200, seconds: float = 0.2) -> Speed:
    """Ask for so many single rows, then for batches during so many seconds. Raises ``ValueError`` without rows."""
    if not len(rows):
        raise ValueError("there are no rows to ask for")
    for number in range(_WARM):
        predict(rows[number % len(rows)][None])
    taken = []
    for number in range(requests):
        taken.append(once(predict, rows[number % len(rows)][None]))
    batch = rows[np.arange(BATCH) % len(rows)]
    predict(batch)
    begin, answered = time.perf_counter(), 0
    while (spent := time.perf_counter() - begin) < seconds or not answered:
        predict(batch)
        answered += len(batch)
    p50, p95 = (float(value) for value in np.quantile(taken, [0.5, 0.95]))
    return Speed(p50, p95, answered / max(spent, 1e-9), requests)


def once(predict: Predict, rows: Rows) -> float:
    """Milliseconds that one call takes."""
    begin = time.perf_counter()
    predict(rows)
    return (time.perf_counter() - begin) * 1000


def hardware(threads: int = 1) -> str:
    """The processor and how many of its threads are used: a declared target, the value of ``dlemm.perf.hardware``."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} CPUs, {threads} thread{'s' if threads > 1 else ''}"
