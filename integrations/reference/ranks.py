"""Ranks: the processes of one training. Here the single process; ``groups`` has those of several.

The one training loop asks its rank for everything that differs between one process and many. Each kind keeps to one
rule: the global batch, and so the sum over its rows, is that of the single process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn


class Alone:
    """A single process: nothing is split."""

    kind = "none"
    rank, world = 0, 1
    scale = 1.0
    """Factor on the loss before the backward pass, so that what arrives is the gradient of the global batch."""

    def prepare(self, model: nn.Module) -> nn.Module:
        """The network as this rank computes with it."""
        return model

    def share(self, rows: Tensor) -> Tensor:
        """The rows (b, ...) of the global batch that this rank computes: every ``world``-th from ``rank`` on."""
        return rows

    def gathering(self, model: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Around a micro-batch: gradients travel only after the last one of a step."""
        return nullcontext()

    def total(self, value: Tensor) -> Tensor:
        """The sum of a value over the ranks that computed different rows."""
        return value

    def agreed(self, value: float) -> float:
        """The value of rank 0, so that all ranks take the same decision."""
        return value

    def from_first(self, make: Callable[[], Any]) -> Any:
        """What rank 0 makes, on every rank."""
        return make()

    def clip(self, model: nn.Module, bound: float) -> None:
        """Scale the gradient down to a norm of at most ``bound``."""
        nn.utils.clip_grad_norm_(model.parameters(), bound)

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """A copy of all weights and buffers, under the names of the network before ``prepare``."""
        return {name: value.detach().clone() for name, value in model.state_dict().items()}

    def set_weights(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """The other way round."""
        model.load_state_dict(dict(weights))

    def optimiser_state(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """The whole state of the optimiser."""
        return optimiser.state_dict()

    def set_optimiser_state(self, model: nn.Module, optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
        """The other way round."""
        optimiser.load_state_dict(dict(state))
