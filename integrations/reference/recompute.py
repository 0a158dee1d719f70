"""Activation checkpointing: keep the inputs of a few segments instead of every activation, and compute them again.

Costs about one more forward pass, saves most of the activation memory, and changes no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import ceil, sqrt

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from integrations.reference.errors import RecipeError


@contextmanager
def activations_recomputed(model: nn.Module, *, active: bool = True) -> Iterator[None]:
    """Within the block the network recomputes its activations in the backward pass; afterwards it is as before.

    A sequence of layers is cut into about as many segments as each has layers; the blocks of a list are a segment
    each. Raises ``RecipeError`` for a network that has neither.
    """
    changed = _segmented(model) if active else []
    if active and not changed:
        raise RecipeError("Gradient checkpointing needs a network with a sequence of layers or blocks; it has none.")
    try:
        for module, forward in changed:
            module.forward = forward
        yield
    finally:
        for module, _ in changed:
            del module.forward  # the method of the class is found again


def _segmented(module: nn.Module) -> list[tuple[nn.Module, Callable[[Tensor], Tensor]]]:
    """The modules whose forward pass is replaced, each with the new one; only the outermost ones."""
    if isinstance(module, nn.Sequential) and len(module) > 1:
        return [(module, _sequence(list(module)))]
    if isinstance(module, nn.ModuleList):
        return [(block, _segment(block.forward, [block])) for block in module]
    return [found for child in module.children() for found in _segmented(child)]


def _sequence(layers: Sequence[nn.Module]) -> Callable[[Tensor], Tensor]:
    size = ceil(sqrt(len(layers)))
    parts = [layers[begin : begin + size] for begin in range(0, len(layers), size)]
    segments = [_segment(nn.Sequential(*part), part) for part in parts]

    def forward(x: Tensor) -> Tensor:
        for segment in segments:
            x = segment(x)
        return x

    return forward


def _segment(run: Callable[[Tensor], Tensor], modules: Sequence[nn.Module]) -> Callable[[Tensor], Tensor]:
    """The function with its activations thrown away and computed again when the gradients are."""

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_untouched(modules)

    def forward(x: Tensor) -> Tensor:
        result: Tensor = checkpoint(run, x, use_reentrant=False, context_fn=contexts)
        return result

    return forward


@contextmanager
def _statistics_untouched(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Batch statistics must move once a step, not once more when the activations are computed again."""
    norms = [
        part for module in modules for part in module.modules() if isinstance(part, nn.modules.batchnorm._NormBase)
    ]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0  # the running values stay as they are, and so do the tensors that are kept
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked = norm.num_batches_tracked.clone()
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
