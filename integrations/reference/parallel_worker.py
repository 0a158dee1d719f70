"""One of the processes that ``parallel.parity`` starts: trains alone and together, and writes the rows.

``torchrun -m integrations.reference.parallel_worker FOLDER``: reads ``task.json`` there, rank 0 writes ``rows.json``.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from integrations.reference.engine import Fitted, Recipe, deterministic, fit, logits
from integrations.reference.groups import KINDS, whole
from integrations.reference.loop import Loop
from integrations.reference.meters import MB
from integrations.reference.orphans import end_with_parent
from integrations.reference.ranks import Alone

RECIPE = Recipe(seed=5, epochs=2, patience=2, batch_size=64, grad_accum_steps=2, learning_rate=2e-3, clip_norm=1.0)
"""Accumulation and clipping are in it because both have to agree across processes too."""
TOLERANCE, TOLERANCE_COMPRESSED = 1e-3, 2e-2
"""Bounds of the loss difference. Sums in another order differ by about 1e-6; compressed gradients by far more."""
WIDTH, HEADS, LAYERS = 64, 4, 2


class Block(nn.Module):
    """A pre-norm transformer block on (b, tokens, width). The number of heads follows from the width it holds."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.head = width // heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm_1(x)
        # (b, tokens, width of this rank) -> (b, heads of this rank, tokens, head)
        query, key, value = (
            layer(normed).unflatten(-1, (-1, self.head)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        attended = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        result: Tensor = x + self.down(functional.gelu(self.up(self.norm_2(x))))
        return result


class Transformer(nn.Module):
    """Reads an image (b, 1, 8, 8) as eight tokens, its rows, and gives logits (b, classes)."""

    def __init__(self, classes: int = 10, *, width: int = WIDTH, heads: int = HEADS, layers: int = LAYERS) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.place = nn.Parameter(0.02 * torch.randn(8, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.head = nn.Linear(width, classes)

    @property
    def tensor_parallel(self) -> Mapping[str, str]:
        """How tensor parallel cuts it: heads and inner width over the ranks, the rest on each."""
        cuts = {"query": "column", "key": "column", "value": "column", "out": "row", "up": "column", "down": "row"}
        return {f"blocks.{number}.{name}": cut for number in range(len(self.blocks)) for name, cut in cuts.items()}

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x[:, 0]) + self.place
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(x.mean(1))
        return logits


def main(folder: Path) -> None:
    """Do the task of the folder."""
    task = json.loads((folder / "task.json").read_text())
    _end_in_time(task["limit_s"])
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    local, world = int(os.environ["LOCAL_RANK"]), int(os.environ["WORLD_SIZE"])
    gpu = torch.cuda.is_available() and torch.cuda.device_count() >= world
    device = torch.device("cuda", local) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if gpu else "gloo", timeout=timedelta(seconds=task["limit_s"]))
    try:
        with np.load(folder / "data.npz") as data:
            rows = _rows(task, dict(data), device)
        if dist.get_rank() == 0:
            (folder / "rows.json").write_text(json.dumps(rows))
    finally:
        dist.destroy_process_group()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one training gave: the whole of it, and the gradient of its first step as one vector."""

    fitted: Fitted
    gradient: Tensor


def _rows(task: Mapping[str, Any], data: Mapping[str, Any], device: torch.device) -> list[dict[str, Any]]:
    """First alone on rank 0 while the others wait, then every kind together."""
    single = _train(data, device, Alone()) if dist.get_rank() == 0 else None
    dist.barrier()
    rows = []
    for kind in task["kinds"]:
        compress = task["compress"] and kind != "tp"
        outcome = _train(data, device, KINDS[kind](device, compress=compress))
        memory = torch.tensor(outcome.fitted.cost["peak_memory_mb"], device=device)
        dist.all_reduce(memory, dist.ReduceOp.MAX)
        if single is not None:
            rows.append(_row(kind, single, outcome, float(memory), data, compress))
    return rows


def _train(data: Mapping[str, Any], device: torch.device, rank: Alone) -> Outcome:
    training, validation = (data["x"], data["y"]), (data["validation_x"], data["validation_y"])
    unclipped = replace(RECIPE, clip_norm=0.0)
    with deterministic(RECIPE.seed, device):
        loop = Loop(unclipped, Transformer().to(device), training, validation, device=device, rank=rank)
        rows = torch.arange(RECIPE.batch_size)
        loop.step(rows, loop.feed([rows]))
    gradients = [weights.grad for weights in loop.model.parameters() if weights.grad is not None]
    gradient = torch.cat([whole(part).flatten().cpu() for part in gradients])
    return Outcome(fit(RECIPE, Transformer, *training, *validation, device=device, rank=rank), gradient)


def _row(
    kind: str, single: Outcome, outcome: Outcome, memory: float, data: Mapping[str, Any], compress: bool
) -> dict[str, Any]:
    """One row of the report, as ``parallel.parity`` describes it."""
    fitted, reference = outcome.fitted, single.fitted
    alone, together = (part.history[-1]["validation_loss"] for part in (reference, fitted))
    on_training = _accuracy(fitted, data["x"], data["y"])
    return {
        "technique": kind,
        "loss_single": alone,
        "loss_parallel": together,
        "loss_diff": abs(together - alone),
        "loss_tolerance": TOLERANCE_COMPRESSED if compress else TOLERANCE,
        "gradient_diff": float((outcome.gradient - single.gradient).norm() / single.gradient.norm()),
        "throughput": fitted.cost["samples_per_s"],
        "memory": memory,
        "size": sum(weights.numel() * weights.element_size() for weights in fitted.model.parameters()) / MB,
        "state_mb": fitted.extra["state_mb"],
        "generalisation_gap": on_training - _accuracy(fitted, data["validation_x"], data["validation_y"]),
        "throughput_single": reference.cost["samples_per_s"],
        "memory_single": reference.cost["peak_memory_mb"],
        "state_mb_single": reference.extra["state_mb"],
        "world": dist.get_world_size(),
        "backend": dist.get_backend(),
    }


def _accuracy(fitted: Fitted, x: Any, y: Any) -> float:
    return float((logits(fitted.model, x).argmax(1) == y).mean())


def _end_in_time(limit_s: float) -> None:
    """End this process when its time is up or its parent is gone, so that nothing is ever left running."""
    signal.alarm(math.ceil(limit_s))
    end_with_parent()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    # All is written and the group is gone. A thread that FSDP2 leaves behind may abort the interpreter's own ending.
    sys.stdout.flush()
    os._exit(0)
