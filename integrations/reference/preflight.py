"""Preflight: what would spoil a training is said before it starts, in one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from integrations.reference.errors import EmptyClassError, RecipeError, TrainingDataError
from integrations.reference.ranks import Alone
from integrations.reference.recipe import Recipe

Rows = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""Rows (n, ...) and their classes (n,)."""


def check_arrays(training: Rows, validation: Rows) -> None:
    """Raise ``TrainingDataError`` when there are no rows, or when rows and classes do not fit each other."""
    for name, (x, y) in (("training", training), ("validation", validation)):
        if len(x) == 0:
            raise TrainingDataError(f"The {name} data has no rows.")
        if y.shape != (len(x),):
            raise TrainingDataError(f"The {name} data has {len(x)} rows but classes of shape {y.shape}.")
    rows, held_out = training[0].shape[1:], validation[0].shape[1:]
    if rows != held_out:
        raise TrainingDataError(f"Training rows have the shape {rows}, validation rows {held_out}.")


def check_network(model: nn.Module, training: Rows, validation: Rows, *, missing_allowed: bool = False) -> None:
    """Hold network and data against each other, with one row and without a trace on weights or random numbers.

    Raises ``TrainingDataError`` when the network does not take the rows or knows too few classes, and
    ``EmptyClassError`` when one of its classes has no training row, unless that is allowed.
    """
    x, y = training
    device = next(model.parameters()).device
    mode = model.training
    try:
        with torch.random.fork_rng(), torch.no_grad():
            output: Tensor = model.eval()(torch.from_numpy(np.ascontiguousarray(x[:1])).to(device))
    except (RuntimeError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingDataError(f"The network does not take rows of shape {x.shape[1:]}: {reason}") from error
    finally:
        model.train(mode)
    if output.ndim != 2:
        raise TrainingDataError(f"The network gives {tuple(output.shape)} for one row; (1, classes) is needed.")
    classes = output.shape[1]
    for name, part in (("training", y), ("validation", validation[1])):
        if part.min() < 0 or part.max() >= classes:
            low, high = part.min(), part.max()
            raise TrainingDataError(
                f"The {name} classes run from {low} to {high}; the network knows 0 to {classes - 1}."
            )
    absent = np.flatnonzero(np.bincount(y, minlength=classes) == 0).tolist()
    if absent and not missing_allowed:
        named = ", ".join(str(number) for number in absent)
        raise EmptyClassError(f"There is no training row of class {named}; nothing can be learnt about it.")


def check_precision(recipe: Recipe, device: torch.device, rank: Alone) -> None:
    """Raise ``RecipeError`` where float16 cannot be trained with: off the GPU, and where gradients are cut."""
    if recipe.amp != "fp16":
        return
    if device.type != "cuda":
        raise RecipeError("Training with fp16 needs a GPU; on a CPU use bf16.")
    if rank.kind in ("fsdp2", "tp"):
        raise RecipeError(f"Training with fp16 cannot be split by {rank.kind}; use bf16.")
