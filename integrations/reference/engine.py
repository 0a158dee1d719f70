"""The one training loop: seeded, deterministic, with early stopping, accumulation and bf16 autocast, CPU or GPU.

Takes a recipe, a network and two sets of rows; gives the network of the best epoch with its loss curve and what the
training cost, all measured while it ran.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""Changes a batch (b, ...) of training rows; the generator is the loop's own."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training: everything that the loop reads besides data and network. Equal recipes give equal weights."""

    seed: int = 0
    epochs: int = 14  # upper bound; early stopping may end before
    patience: int = 4  # epochs without a lower validation loss before the loop stops
    batch_size: int = 32  # rows per optimiser step
    grad_accum_steps: int = 1  # micro-batches per optimiser step
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    amp: str = "off"  # off or bf16
    class_weights: tuple[float, ...] = ()  # of the loss; empty for equal ones
    label_smoothing: float = 0.0

    def params(self) -> dict[str, str]:
        """The recipe under its MLflow parameter names."""
        return {
            "seed": str(self.seed),
            "epochs": str(self.epochs),
            "patience": str(self.patience),
            "batch_size": str(self.batch_size),
            "learning_rate": str(self.learning_rate),
            "weight_decay": str(self.weight_decay),
            "label_smoothing": str(self.label_smoothing),
            "optimiser": "AdamW",
        }


@dataclass
class Fitted:
    """What a training gave. ``history`` holds one row an epoch: train_loss, validation_loss, step_s."""

    model: nn.Module
    history: list[dict[str, float]]
    best_epoch: int
    cost: dict[str, float]  # duration_s, cpu_s, samples_per_s, input_stall_share, peak_memory_mb
    device: str = "cpu"
    extra: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """The same as plain values and tensors, for keeping."""
        weights = {name: value.cpu() for name, value in self.model.state_dict().items()}
        return {
            "weights": weights,
            "history": self.history,
            "best_epoch": self.best_epoch,
            "cost": self.cost,
            "device": self.device,
            "extra": self.extra,
        }

    @classmethod
    def from_plain(cls, kept: Mapping[str, Any], model: nn.Module) -> Fitted:
        """Put kept weights into a network of the same shape."""
        model.load_state_dict(kept["weights"])
        model.eval()
        return cls(model, kept["history"], kept["best_epoch"], kept["cost"], kept["device"], kept["extra"])


def fit(
    recipe: Recipe,
    build: Callable[[], nn.Module],
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.int64],
    validation_x: npt.NDArray[np.float32],
    validation_y: npt.NDArray[np.int64],
    *,
    augment: Augment | None = None,
) -> Fitted:
    """Train one network: rows ``x`` (n, ...), classes ``y`` (n,); ``build`` makes it once the seed is set.

    The same recipe, data, device and thread count give the same weights, bit by bit.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with deterministic(recipe.seed):
        wall, cpu = time.perf_counter(), time.process_time()
        model = build().to(device)
        loop = _Loop(recipe, model, (x, y), (validation_x, validation_y), augment, device)
        best_epoch, weights = loop.run()
        duration, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    model.load_state_dict(weights)
    model.eval()
    cost = {
        "duration_s": duration,
        "cpu_s": cpu_s,
        "samples_per_s": len(y) * len(loop.history) / max(loop.step_s, 1e-9),
        "input_stall_share": loop.input_s / max(loop.step_s, 1e-9),
        "peak_memory_mb": _peak_mb(device),
    }
    return Fitted(model, loop.history, best_epoch, cost, str(device))


class _Loop:
    """The moving parts of one training."""

    def __init__(self, recipe: Recipe, model: nn.Module, training: Any, validation: Any, augment: Any, device: Any):
        self.recipe, self.model, self.augment, self.device = recipe, model, augment, device
        self.x, self.y = (torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in training)
        self.vx, self.vy = (torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in validation)
        self.weights = torch.tensor(recipe.class_weights, device=device) if recipe.class_weights else None
        self.optimiser = torch.optim.AdamW(
            model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.history: list[dict[str, float]] = []
        self.step_s = self.input_s = 0.0

    def run(self) -> tuple[int, dict[str, Tensor]]:
        best_epoch, best_loss, best = 0, float("inf"), copy.deepcopy(self.model.state_dict())
        for number in range(1, self.recipe.epochs + 1):
            row = self.epoch()
            self.history.append(row)
            if row["validation_loss"] < best_loss:
                best_epoch, best_loss = number, row["validation_loss"]
                best = copy.deepcopy(self.model.state_dict())
            if number - best_epoch >= self.recipe.patience:
                break
        return best_epoch, best

    def epoch(self) -> dict[str, float]:
        self.model.train()
        order = torch.randperm(len(self.y), generator=self.generator)
        begin, total = time.perf_counter(), torch.zeros((), device=self.device)
        for rows in torch.split(order, self.recipe.batch_size):
            total += self.step(rows) * len(rows)
        train_loss, spent = float(total) / len(order), time.perf_counter() - begin
        self.step_s += spent
        self.model.eval()
        with torch.no_grad():
            loss = self.loss(self.model(self.vx).float(), self.vy) / len(self.vy)
        return {"train_loss": train_loss, "validation_loss": float(loss), "step_s": spent}

    def step(self, rows: Tensor) -> Tensor:
        self.optimiser.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for part in rows.chunk(self.recipe.grad_accum_steps):
            begin = time.perf_counter()
            part = part.to(self.device)
            x, y = self.x[part], self.y[part]
            if self.augment is not None:
                x = self.augment(x, self.generator)
            self.input_s += time.perf_counter() - begin
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.recipe.amp == "bf16"):
                logits = self.model(x)
            loss = self.loss(logits.float(), y) / len(rows)
            torch.autograd.backward(loss)
            total += loss.detach()
        self.optimiser.step()
        return total

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(
            logits, y, weight=self.weights, reduction="sum", label_smoothing=self.recipe.label_smoothing
        )


def logits(model: nn.Module, x: npt.NDArray[np.float32], *, batch: int = 4096) -> npt.NDArray[np.float32]:
    """Logits (n, classes) of rows (n, ...), without gradients."""
    device = next(model.parameters()).device
    model.eval()
    with torch.no_grad():
        parts = [model(part.to(device)).float().cpu() for part in torch.split(torch.from_numpy(x), batch)]
    return torch.cat(parts).numpy()


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seed torch and insist on deterministic kernels; the state of the process is put back afterwards."""
    before = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


def _peak_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
