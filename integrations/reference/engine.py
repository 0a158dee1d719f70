"""The one training loop: seeded, deterministic, resumable; CPU or GPU, one process or one of several.

Takes a recipe, a network and two sets of rows; gives the network of the best epoch with its loss curve and what the
training cost, all measured while it ran.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from integrations.reference.checkpoints import Checkpoints
from integrations.reference.loop import EVALUATED, Augment, Loop, Measure
from integrations.reference.meters import MB, OperatorProfile, PeakMemory, SystemMetrics, state_bytes
from integrations.reference.preflight import check_arrays, check_network, check_precision
from integrations.reference.ranks import Alone
from integrations.reference.recipe import Recipe
from integrations.reference.recompute import activations_recomputed

__all__ = ["Augment", "Fitted", "Measure", "Recipe", "deterministic", "fit", "logits", "pick_device"]


@dataclass
class Fitted:
    """What a training gave.

    ``history`` holds one row an epoch: epoch, train_loss, validation_loss, validation_accuracy, learning_rate, step_s,
    and what was measured besides. ``extra``: memory_kind, state_mb (weights and optimiser state, MB), system (samples
    of the machine), profile (dearest operators, when asked for), resumed_from (epoch, 0 for none).
    """

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


def pick_device() -> torch.device:
    """The GPU when there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(
    recipe: Recipe,
    build: Callable[[], nn.Module],
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.int64],
    validation_x: npt.NDArray[np.float32],
    validation_y: npt.NDArray[np.int64],
    *,
    augment: Augment | None = None,
    checkpoints: Path | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    measure: Measure | None = None,
    profile: bool = False,
    missing_classes_allowed: bool = False,
    device: torch.device | None = None,
    rank: Alone | None = None,
) -> Fitted:
    """Train one network: rows ``x`` (n, ...), classes ``y`` (n,); ``build`` makes it once the seed is set.

    The same recipe, data, device and thread count give the same weights, bit by bit; so does a training that was
    stopped and goes on, by itself, from the folder ``checkpoints``. ``on_epoch`` gets every row of the history once it
    is kept; ``rank`` is this process among several. Raises ``PipelineError`` that says what to do.
    """
    device, rank = device or pick_device(), rank or Alone()
    rows = (x, y), (validation_x, validation_y)
    check_arrays(*rows)
    check_precision(recipe, device, rank)
    with ExitStack() as stack:
        stack.enter_context(deterministic(recipe.seed, device))
        memory, system = stack.enter_context(PeakMemory(device)), stack.enter_context(SystemMetrics(device))
        model = build().to(device)
        check_network(model, *rows, missing_allowed=missing_classes_allowed)
        stack.enter_context(activations_recomputed(model, active=recipe.grad_checkpointing))
        loop = Loop(recipe, model, *rows, augment=augment, measure=measure, device=device, rank=rank)
        loop.memory, loop.profile = memory, OperatorProfile() if profile else None
        if checkpoints is not None:
            loop.resume(_opened(checkpoints, stack, rank, _identity(recipe, model, *rows, augment)))
        loop.run(on_epoch or (lambda row: None))
    return _fitted(loop, model if rank.kind == "none" else build().to(device), system.samples)


def _opened(folder: Path, stack: ExitStack, rank: Alone, identity: dict[str, str]) -> Checkpoints:
    """The checkpoints of a training, held by the first process alone."""
    kept = Checkpoints(folder, identity)
    if rank.rank == 0:
        stack.enter_context(kept)
    return kept


def _fitted(loop: Loop, model: nn.Module, samples: list[dict[str, float]]) -> Fitted:
    """The network of the best epoch, with all that was measured."""
    model.load_state_dict(loop.best)
    model.eval()
    extra = {"memory_kind": loop.memory.kind, "system": samples, "resumed_from": loop.resumed_from}
    extra["state_mb"] = state_bytes(loop.model, loop.optimiser) / MB
    extra["profile"] = loop.profile.rows if loop.profile else []
    return Fitted(model, loop.history, loop.best_epoch, loop.cost(), str(loop.device), extra)


def logits(model: nn.Module, x: npt.NDArray[np.float32], *, batch: int = EVALUATED) -> npt.NDArray[np.float32]:
    """Logits (n, classes) of rows (n, ...), without gradients."""
    device = next(model.parameters()).device
    model.eval()
    with torch.no_grad():
        parts = [model(part.to(device)).float().cpu() for part in torch.split(torch.from_numpy(x), batch)]
    return torch.cat(parts).numpy()


@contextmanager
def deterministic(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch and insist on deterministic kernels; the state of the process is put back afterwards.

    On a GPU a kernel that has no deterministic form warns instead of failing.
    """
    gpu = device is not None and device.type == "cuda"
    if gpu:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first matrix is multiplied
    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng(devices=[device] if gpu else []):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=gpu)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=warned)


def _identity(
    recipe: Recipe, model: nn.Module, training: tuple[Any, Any], validation: tuple[Any, Any], augment: Augment | None
) -> dict[str, str]:
    """Everything that the weights depend on, as short texts: what a checkpoint must agree in to be gone on from."""
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    named = {option.name: repr(getattr(recipe, option.name)) for option in fields(recipe)}
    return {
        **named,
        "network": hashlib.sha256(f"{model}{shapes}".encode()).hexdigest(),
        "training data": _digest(*training),
        "validation data": _digest(*validation),
        "augmentation": getattr(augment, "__qualname__", type(augment).__name__),
    }


def _digest(*arrays: npt.NDArray[Any]) -> str:
    content = hashlib.sha256()
    for array in arrays:
        content.update(f"{array.dtype}{array.shape}".encode())
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()
