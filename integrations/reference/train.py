"""The one training loop: seeded, deterministic, with early stopping, accumulation, bf16 autocast, CPU or GPU.

Takes a ``Fit`` and two splits, gives the trained network with its loss curve and what the training cost, all
measured while it ran.
"""

from __future__ import annotations

import copy
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from integrations.reference.case import Amp, Augmentation, Fit
from integrations.reference.data import Split
from integrations.reference.models import build, forward_flops, parameter_count, weights_sha256


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the training split. Losses are mean cross-entropies in nats."""

    number: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What the training took. Throughput leaves validation out."""

    duration_s: float
    cpu_s: float
    samples_per_s: float
    input_stall_share: float  # share of the step time spent on drawing and augmenting the batch
    peak_memory_mb: float  # 10^6 bytes
    memory_kind: str  # how the peak was measured


@dataclass(frozen=True, slots=True)
class Trained:
    """The network of the best epoch, in evaluation mode, and the record of how it came to be."""

    fit: Fit
    model: nn.Module
    history: tuple[Epoch, ...]
    best_epoch: int
    cost: Cost
    device: str
    parameters: int
    flops: int
    weights_sha256: str


def pick_device() -> torch.device:
    """The GPU when there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """``cpu``, or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def train(fit: Fit, training: Split, validation: Split, *, device: torch.device | None = None) -> Trained:
    """Train one network. The same fit, data, device and thread count give the same weights, bit by bit."""
    device = device or pick_device()
    with _deterministic(fit.seed), _PeakMemory(device) as memory:
        wall, cpu = time.perf_counter(), time.process_time()
        model = build(fit.family).to(device)
        loop = Loop(fit, model, training, validation, device)
        history, best_epoch, best_weights = _run_epochs(fit, loop)
        duration, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    model.load_state_dict(best_weights)
    model.eval()
    seen = len(training) * len(history)
    cost = Cost(duration, cpu_s, seen / loop.step_s, loop.input_s / loop.step_s, memory.peak_bytes() / 1e6, memory.kind)
    return Trained(
        fit,
        model,
        tuple(history),
        best_epoch,
        cost,
        device_name(device),
        parameter_count(model),
        forward_flops(model),
        weights_sha256(model),
    )


def _run_epochs(fit: Fit, loop: Loop) -> tuple[list[Epoch], int, dict[str, Tensor]]:
    """Epochs until the bound or until the validation loss has not fallen for ``patience`` of them."""
    history: list[Epoch] = []
    best_epoch, best_loss = 0, float("inf")
    best_weights: dict[str, Tensor] = {}
    for number in range(1, fit.epochs + 1):
        epoch = loop.epoch(number)
        history.append(epoch)
        if epoch.validation_loss < best_loss:
            best_epoch, best_loss = number, epoch.validation_loss
            best_weights = copy.deepcopy(loop.model.state_dict())
        if number - best_epoch >= fit.patience:
            break
    return history, best_epoch, best_weights


class Loop:
    """The moving parts of one training: data on the device, optimiser, clocks."""

    def __init__(self, fit: Fit, model: nn.Module, training: Split, validation: Split, device: torch.device) -> None:
        self.fit, self.model, self.device = fit, model, device
        self.images = torch.from_numpy(training.images).to(device)  # (n, 1, 8, 8) float32
        self.labels = torch.from_numpy(training.labels).to(device)  # (n,) int64
        self.validation_images = torch.from_numpy(validation.images).to(device)  # (m, 1, 8, 8)
        self.validation_labels = torch.from_numpy(validation.labels).to(device)  # (m,)
        self.optimiser = torch.optim.AdamW(model.parameters(), lr=fit.learning_rate, weight_decay=fit.weight_decay)
        # A generator of its own, so that the order of the samples does not depend on who else draws numbers.
        self.generator = torch.Generator().manual_seed(fit.seed)
        self.step_s = 0.0  # seconds in optimiser steps, input included
        self.input_s = 0.0  # seconds of these spent on drawing and augmenting

    def epoch(self, number: int) -> Epoch:
        """One pass over the training split in a fresh order, then the validation split."""
        self.model.train()
        order = torch.randperm(len(self.labels), generator=self.generator)  # (n,)
        begin = time.perf_counter()
        total = torch.zeros((), device=self.device)
        for rows in torch.split(order, self.fit.batch_size):  # (b,)
            total += self.step(rows) * len(rows)
        train_loss = float(total) / len(order)  # reading the value waits for the device
        self.step_s += time.perf_counter() - begin
        return Epoch(number, train_loss, *self.validate())

    def step(self, rows: Tensor) -> Tensor:
        """One optimiser step over one batch, in as many micro-batches as asked; returns the mean loss ()."""
        self.optimiser.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for part in rows.chunk(self.fit.grad_accum_steps):  # (b / steps,)
            begin = time.perf_counter()
            images, labels = self.draw(part)
            self.input_s += time.perf_counter() - begin
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.fit.amp is Amp.BF16):
                logits = self.model(images)  # (b / steps, 10)
            # Divided by the whole batch, so the accumulated gradient is that of the big batch, last batch included.
            loss = functional.cross_entropy(logits.float(), labels, reduction="sum") / len(rows)
            torch.autograd.backward(loss)
            total += loss.detach()
        self.optimiser.step()
        return total

    def draw(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Images (b, 1, 8, 8) and labels (b,) of the rows, augmented when the fit says so."""
        rows = rows.to(self.device)
        images, labels = self.images[rows], self.labels[rows]
        if self.fit.augmentation is Augmentation.SHIFT:
            images = shift_randomly(images, self.generator)
        return images, labels

    def validate(self) -> tuple[float, float]:
        """Mean loss and accuracy on the validation split, in full precision."""
        self.model.eval()
        with torch.no_grad():
            logits = self.model(self.validation_images)  # (m, 10)
            loss = functional.cross_entropy(logits, self.validation_labels)
            hits = (logits.argmax(1) == self.validation_labels).float().mean()
        return float(loss), float(hits)


def shift_randomly(images: Tensor, generator: torch.Generator) -> Tensor:
    """Move each image by -1, 0 or +1 pixel in both directions, each of the nine moves equally likely."""
    count, _, rows, columns = images.shape
    padded = functional.pad(images, (1, 1, 1, 1))  # (b, 1, 10, 10)
    windows = padded.unfold(2, rows, 1).unfold(3, columns, 1)  # (b, 1, 3, 3, 8, 8)
    moves = torch.randint(0, 3, (2, count), generator=generator).to(images.device)
    return windows[torch.arange(count, device=images.device), :, moves[0], moves[1]]  # (b, 1, 8, 8)


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """Seed torch and insist on deterministic kernels; the state of the process is put back afterwards."""
    before = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


class _PeakMemory:
    """The peak of memory between entering and leaving, by the best means the machine has.

    On a GPU the bytes allocated by torch. On Linux the peak resident set of the process, whose mark the kernel
    resets on request; elsewhere the peak since the process started, which is why the kind is logged beside it.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.kind = "process peak since start"
        self._peak = 0

    def __enter__(self) -> _PeakMemory:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self.kind = "allocated on the GPU"
        elif _reset_resident_peak():
            self.kind = "resident set of the process"
        return self

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            self._peak = torch.cuda.max_memory_allocated(self.device)
        elif self.kind == "resident set of the process":
            self._peak = _resident_peak()
        else:
            unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
            self._peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def peak_bytes(self) -> int:
        return self._peak


def _reset_resident_peak() -> bool:
    """Ask the kernel to forget the peak of this process (proc(5), clear_refs, value 5); false where it cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return _resident_peak() > 0


def _resident_peak() -> int:
    """Bytes of VmHWM in /proc/self/status; zero where there is none."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
