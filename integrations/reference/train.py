"""Training for the cases: one fit of a case through the training loop, with what its run puts on record.

Takes a ``Fit`` and two splits, gives the trained network with its loss curve, its cost and a digest of its weights.
The loop itself is ``engine``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from integrations.reference import engine
from integrations.reference.case import Augmentation, Fit
from integrations.reference.data import Split
from integrations.reference.models import build, forward_flops, parameter_count, weights_sha256
from integrations.reference.recipe import Recipe
from integrations.reference.stories import find_story


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


def recipe_of(fit: Fit) -> Recipe:
    """What the loop reads of a fit."""
    return Recipe(
        seed=fit.seed,
        epochs=fit.epochs,
        patience=fit.patience,
        batch_size=fit.batch_size,
        grad_accum_steps=fit.grad_accum_steps,
        learning_rate=fit.learning_rate,
        weight_decay=fit.weight_decay,
        amp=fit.amp.value,
    )


def train(fit: Fit, training: Split, validation: Split, *, device: torch.device | None = None) -> Trained:
    """Train one network. The same fit, data, device and thread count give the same weights, bit by bit."""
    device = device or engine.pick_device()
    augment = find_story("digits").augment("shift" if fit.augmentation is Augmentation.SHIFT else "none")
    fitted = engine.fit(
        recipe_of(fit),
        lambda: build(fit.family),
        training.images,
        training.labels,
        validation.images,
        validation.labels,
        augment=augment,
        device=device,
    )
    history = tuple(
        Epoch(number, row["train_loss"], row["validation_loss"], row["validation_accuracy"])
        for number, row in enumerate(fitted.history, start=1)
    )
    return Trained(
        fit=fit,
        model=fitted.model,
        history=history,
        best_epoch=fitted.best_epoch,
        cost=Cost(**fitted.cost, memory_kind=fitted.extra["memory_kind"]),
        device=device_name(device),
        parameters=parameter_count(fitted.model),
        flops=forward_flops(fitted.model),
        weights_sha256=weights_sha256(fitted.model),
    )


def device_name(device: torch.device) -> str:
    """``cpu``, or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
