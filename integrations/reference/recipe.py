"""The recipe: everything that the training loop reads besides data and network, as a plain value."""

from __future__ import annotations

import math
from dataclasses import dataclass

from integrations.reference.errors import RecipeError

AMPS = ("off", "bf16", "fp16")
SCHEDULES = ("constant", "linear", "cosine")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training. Equal recipes give equal weights. Raises ``RecipeError`` for values that make no training."""

    seed: int = 0
    epochs: int = 14  # upper bound; early stopping may end before
    patience: int = 4  # epochs without a lower validation loss before the loop stops
    batch_size: int = 32  # rows per optimiser step
    grad_accum_steps: int = 1  # micro-batches per optimiser step
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    amp: str = "off"  # autocast: off, bf16, or fp16 with scaled gradients (GPU only)
    class_weights: tuple[float, ...] = ()  # of the loss; empty for equal ones
    label_smoothing: float = 0.0
    grad_checkpointing: bool = False  # compute activations again instead of keeping them
    clip_norm: float = 0.0  # upper bound of the gradient's norm; 0 for none
    schedule: str = "constant"  # of the learning rate after the warm-up: constant, or to zero linearly or by a cosine
    warmup_steps: int = 0  # optimiser steps in which the learning rate rises linearly from zero

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "batch_size", "grad_accum_steps"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.amp not in AMPS:
            raise RecipeError(f"There is no mixed precision {self.amp!r}; there are {', '.join(AMPS)}.")
        if self.schedule not in SCHEDULES:
            raise RecipeError(f"There is no schedule {self.schedule!r}; there are {', '.join(SCHEDULES)}.")

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step, counted from 0, of so many: a function of the recipe alone, so nothing to keep."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.learning_rate
        done = (step - self.warmup_steps) / max(steps - self.warmup_steps, 1)
        left = 1 - done if self.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
        return self.learning_rate * left

    def params(self) -> dict[str, str]:
        """The recipe under its MLflow parameter names; the two of ``opt.`` are logged by who decides on them."""
        return {
            "seed": str(self.seed),
            "epochs": str(self.epochs),
            "patience": str(self.patience),
            "batch_size": str(self.batch_size),
            "learning_rate": str(self.learning_rate),
            "weight_decay": str(self.weight_decay),
            "class_weights": ",".join(f"{weight:g}" for weight in self.class_weights) or "equal",
            "label_smoothing": str(self.label_smoothing),
            "grad_checkpointing": str(self.grad_checkpointing),
            "clip_norm": str(self.clip_norm),
            "schedule": self.schedule,
            "warmup_steps": str(self.warmup_steps),
            "optimiser": "AdamW",
        }
