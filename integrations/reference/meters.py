"""Meters: what a training takes, read while it runs. Peak memory, use of the machine, the dearest operators.

Nothing here changes what is computed. On systems without ``/proc`` the values that need it are left out.
"""

from __future__ import annotations

import contextlib
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch

MB = 1e6
"""Bytes in a megabyte, as everywhere in the reports."""
PROFILED_STEPS = 20
"""Optimiser steps that a profile looks at; more would only cost memory."""


class PeakMemory:
    """The peak of memory between entering and leaving, by the best means the machine has; ``kind`` says which.

    On a GPU the bytes allocated by torch. On Linux the peak resident set of the process, whose mark the kernel
    resets on request; elsewhere the peak since the process started.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.kind = "process peak since start"
        self.peak_bytes = 0

    def __enter__(self) -> PeakMemory:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self.kind = "allocated on the GPU"
        elif _reset_resident_peak():
            self.kind = "resident set of the process"
        return self

    def __exit__(self, *_: object) -> None:
        self.peak_bytes = self.now()

    def now(self) -> int:
        """The peak so far, in bytes."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        if self.kind == "resident set of the process":
            return _of_process("VmHWM")
        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class SystemMetrics:
    """Use of the machine, sampled by a thread while the block runs, under the names that MLflow gives these values.

    ``samples`` holds one row a sample: seconds since the start, percent of all cores in use, memory in megabytes and
    percent, and for a GPU its utilisation in percent and memory. The last row is taken on leaving, so that even a
    short training has one.
    """

    def __init__(self, device: torch.device, *, every_s: float = 1.0) -> None:
        self.device, self.every_s = device, every_s
        self.samples: list[dict[str, float]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="system-metrics", daemon=True)

    def __enter__(self) -> SystemMetrics:
        self._begin, self._ticks = time.perf_counter(), _processor_ticks()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._sample()

    def _watch(self) -> None:
        while not self._done.wait(self.every_s):
            self._sample()

    def _sample(self) -> None:
        row = {"at_s": time.perf_counter() - self._begin}
        ticks = _processor_ticks()
        if ticks and self._ticks and ticks[1] > self._ticks[1]:
            busy, whole = (now - before for now, before in zip(ticks, self._ticks, strict=True))
            row["system/cpu_utilization_percentage"] = 100.0 * busy / whole
            self._ticks = ticks
        if memory := _machine_memory():
            total, available = memory
            row["system/system_memory_usage_megabytes"] = (total - available) / MB
            row["system/system_memory_usage_percentage"] = 100.0 * (total - available) / total
        self.samples.append(row | self._of_gpu())

    def _of_gpu(self) -> dict[str, float]:
        if self.device.type != "cuda":
            return {}
        number = self.device.index or 0
        free, total = torch.cuda.mem_get_info(self.device)
        row = {f"system/gpu_{number}_memory_usage_megabytes": (total - free) / MB}
        with contextlib.suppress(Exception):  # needs NVIDIA's management library, which may be missing
            row[f"system/gpu_{number}_utilization_percentage"] = float(torch.cuda.utilization(self.device))
        return row


class OperatorProfile:
    """The dearest operators of some optimiser steps, by their own CPU time. Call ``step`` after every step."""

    def __init__(self, *, steps: int = PROFILED_STEPS, top: int = 10) -> None:
        self.steps, self.top = steps, top
        self.rows: list[dict[str, Any]] = []
        self._seen = 0
        self._profiler: Any = None

    def begin(self) -> None:
        """Start looking, unless it has been done."""
        if not self.rows and self._profiler is None:
            activities = [torch.profiler.ProfilerActivity.CPU]
            if torch.cuda.is_available():
                activities.append(torch.profiler.ProfilerActivity.CUDA)
            self._profiler = torch.profiler.profile(activities=activities, acc_events=True)
            self._profiler.start()

    def step(self) -> None:
        """Count a step; the last one ends the profile."""
        self._seen += 1
        if self._profiler is not None and self._seen >= self.steps:
            self.end()

    def end(self) -> None:
        """Stop looking and keep the table: operator, own time on CPU and GPU in milliseconds, calls."""
        if self._profiler is None:
            return
        self._profiler.stop()
        events = sorted(self._profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
        self.rows = [
            {
                "operator": event.key,
                "self_cpu_ms": event.self_cpu_time_total / 1000,
                "self_gpu_ms": event.self_device_time_total / 1000,
                "calls": event.count,
            }
            for event in events[: self.top]
        ]
        self._profiler = None


def state_bytes(model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Bytes of weights and optimiser state that this process holds; of a sharded tensor only its own part."""
    tensors = [*model.parameters(), *model.buffers()]
    tensors += [value for state in optimiser.state.values() for value in state.values() if torch.is_tensor(value)]
    held = (tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors)
    return sum(tensor.numel() * tensor.element_size() for tensor in held)


def _reset_resident_peak() -> bool:
    """Ask the kernel to forget the peak of this process (proc(5), clear_refs, value 5); false where it cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return _of_process("VmHWM") > 0


def _of_process(name: str) -> int:
    """Bytes of a line of /proc/self/status; zero where there is none."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _processor_ticks() -> tuple[int, int] | None:
    """Ticks of all cores since start: in use, and altogether (proc(5), first line of stat); None without /proc."""
    try:
        fields = [int(part) for part in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except OSError:
        return None
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)


def _machine_memory() -> tuple[int, int] | None:
    """Bytes of memory of the machine: all of it, and what is available; None without /proc."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    known = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line}
    return known["MemTotal"], known["MemAvailable"]
