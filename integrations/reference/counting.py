"""What can be counted on a network without a clock: parameters, bytes, operations, and the memory of a training step.

Counts do not depend on how busy the machine is, so two techniques can be compared by them anywhere.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from integrations.reference.recompute import activations_recomputed

MB = 1e6
"""Bytes in a megabyte, as everywhere in the reports."""


def parameters(model: nn.Module) -> int:
    """Number of weights that are trained."""
    return sum(weights.numel() for weights in model.parameters() if weights.requires_grad)


def size_bytes(model: nn.Module) -> int:
    """Bytes of all weights and buffers as they are held."""
    return sum(tensor.numel() * tensor.element_size() for tensor in [*model.parameters(), *model.buffers()])


def flops(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Floating-point operations of the forward pass of one row of ``shape``, multiplication and addition apart.

    Counted by torch over matrix products and convolutions; what is done element by element is left out.
    """
    device = next(model.parameters()).device
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros((1, *shape), device=device))
    return int(counter.get_total_flops())


def training_flops(model: nn.Module, shape: tuple[int, ...], rows: int, epochs: int) -> int:
    """Operations of a training: forward once and backward twice as dear, over so many rows and epochs."""
    return 3 * flops(model, shape) * rows * epochs


def step_memory_mb(
    model: nn.Module,
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.int64],
    *,
    micro_batches: int = 1,
    bf16: bool = False,
    recompute: bool = False,
) -> float:
    """Peak megabytes of tensors in the second optimiser step on rows ``x`` (b, ...), from torch's allocation records.

    Weights and the state of the optimiser, which stand through the step, are added to what the step allocates.
    """
    device = next(model.parameters()).device
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    rows, classes = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        for part, wanted in zip(rows.chunk(micro_batches), classes.chunk(micro_batches), strict=True):
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                logits = model(part)
            loss = functional.cross_entropy(logits.float(), wanted, reduction="sum") / len(classes)
            torch.autograd.backward(loss)
        optimiser.step()

    model.train()
    with activations_recomputed(model, active=recompute):
        step()  # the optimiser makes its state in the first one
        optimiser.zero_grad(set_to_none=True)
        os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # else torch's profiler writes of itself to standard error
        with torch.profiler.profile(profile_memory=True, acc_events=True) as profiler:
            step()
    standing = size_bytes(model) + sum(
        value.numel() * value.element_size()
        for state in optimiser.state.values()
        for value in state.values()
        if torch.is_tensor(value)
    )
    return (standing + _peak(profiler)) / MB


def _peak(profiler: Any) -> int:
    """The highest sum of allocations and releases, in bytes."""
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak
