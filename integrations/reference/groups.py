"""Groups: a rank of a training that several processes do together, started by ``torchrun``.

``DataParallel`` copies the network and averages gradients, ``FullyShard`` cuts weights, gradients and optimiser state
(FSDP2), ``TensorParallel`` cuts the matrices of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from integrations.reference.errors import RecipeError
from integrations.reference.ranks import Alone

WHOLE = StateDictOptions(full_state_dict=True)
"""State as a single process would hold it, whatever the split."""


class _Group(Alone):
    """What all ranks of a process group share. ``compress`` sends gradients as bfloat16, which halves the bytes."""

    def __init__(self, device: torch.device, *, compress: bool = False) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.device, self.compress = device, compress
        self.scale = float(self.world)  # the group averages gradients, the loop wants their sum
        self.mesh = init_device_mesh(device.type, (self.world,))

    def share(self, rows: Tensor) -> Tensor:
        return rows[self.rank :: self.world]

    def total(self, value: Tensor) -> Tensor:
        total = value.detach().clone()
        dist.all_reduce(total)
        return total

    def agreed(self, value: float) -> float:
        agreed = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.broadcast(agreed, src=0)
        return float(agreed)

    def from_first(self, make: Callable[[], Any]) -> Any:
        carried = [make() if self.rank == 0 else None]
        dist.broadcast_object_list(carried, src=0)
        return carried[0]

    def clip(self, model: nn.Module, bound: float) -> None:
        gradients = [weights.grad for weights in model.parameters() if weights.grad is not None]
        squares = [whole(gradient.detach().float().square().sum()) for gradient in gradients]
        norm = torch.stack(squares).sum().sqrt()
        factor = (bound / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor.item())

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        return {name: whole(value.detach()).clone() for name, value in model.state_dict().items()}

    def set_weights(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        set_model_state_dict(model, dict(weights), options=WHOLE)

    def optimiser_state(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        return get_optimizer_state_dict(model, optimiser, options=WHOLE)

    def set_optimiser_state(self, model: nn.Module, optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
        set_optimizer_state_dict(model, optimiser, dict(state), options=WHOLE)


class DataParallel(_Group):
    """DDP: a copy of the network on every rank, gradients averaged."""

    kind = "ddp"

    def prepare(self, model: nn.Module) -> nn.Module:
        wrapped = DistributedDataParallel(model)
        if self.compress:
            # Wrapped, because the name alone is refused without NCCL, although gloo sums bfloat16 as well.
            wrapped.register_comm_hook(None, lambda state, bucket: bf16_compress_hook(state, bucket))
        return wrapped

    def gathering(self, model: nn.Module, last: bool) -> AbstractContextManager[Any]:
        assert isinstance(model, DistributedDataParallel)  # noqa: S101 -- made by prepare
        return nullcontext() if last else model.no_sync()

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        return super().weights(model.module)  # type: ignore[arg-type]

    def set_weights(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        model.module.load_state_dict(dict(weights))  # type: ignore[union-attr]


class FullyShard(_Group):
    """FSDP2: a rank keeps its part of weights, gradients and optimiser state; a block is whole while it computes."""

    kind = "fsdp2"

    def prepare(self, model: nn.Module) -> nn.Module:
        policy = MixedPrecisionPolicy(reduce_dtype=torch.bfloat16) if self.compress else MixedPrecisionPolicy()
        for block in _blocks(model):
            fully_shard(block, mesh=self.mesh, mp_policy=policy)
        fully_shard(model, mesh=self.mesh, mp_policy=policy)  # in place
        return model

    def gathering(self, model: nn.Module, last: bool) -> AbstractContextManager[Any]:
        model.set_requires_gradient_sync(last)  # type: ignore[operator]
        return nullcontext()


class TensorParallel(_Group):
    """Tensor parallel: every rank computes all rows with its part of the matrices.

    The network says how it is cut: ``tensor_parallel`` maps the names of its linear layers to ``column`` or ``row``.
    """

    kind = "tp"

    def __init__(self, device: torch.device, *, compress: bool = False) -> None:
        if compress:
            raise RecipeError("Tensor parallel sends activations and no gradients; there is nothing to compress.")
        super().__init__(device)
        self.scale = 1.0  # all ranks compute the same rows

    def prepare(self, model: nn.Module) -> nn.Module:
        styles = {"column": ColwiseParallel, "row": RowwiseParallel}
        cuts: Mapping[str, str] = model.tensor_parallel  # type: ignore[assignment]
        return parallelize_module(model, self.mesh, {name: styles[cut]() for name, cut in cuts.items()})

    def share(self, rows: Tensor) -> Tensor:
        return rows

    def total(self, value: Tensor) -> Tensor:
        return value


KINDS: dict[str, type[_Group]] = {kind.kind: kind for kind in (DataParallel, FullyShard, TensorParallel)}
"""The ways to split a training, by name."""


def _blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks that are gathered one after the other: those of every list, or the layers of a sequence."""
    if isinstance(model, (nn.Sequential, nn.ModuleList)):
        return [block for block in model if any(True for _ in block.parameters())]
    return [block for child in model.children() for block in _blocks(child)]


def whole(value: Tensor) -> Tensor:
    """A tensor that is cut over the ranks, put together."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value
