"""Augmentations of images and volumes, in torch alone: each changes a batch (b, channels, ...) of training rows.

Randomness comes from the generator that is given, one draw a row, so that equal seeds give equal batches. Every
function keeps shape, type and device; classes stay what they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from integrations.reference.engine import Augment


def _uniform(count: int, low: float, high: float, generator: torch.Generator, x: Tensor) -> Tensor:
    """One number a row, on the device of ``x``."""
    return (torch.rand(count, generator=generator) * (high - low) + low).to(x.device)


def _per_row(values: Tensor, x: Tensor) -> Tensor:
    return values.view(-1, *[1] * (x.dim() - 1))


def shift(most: int) -> Augment:
    """Move by up to ``most`` whole pixels in every direction; what enters is 0."""

    def change(x: Tensor, generator: torch.Generator) -> Tensor:
        sizes = x.shape[2:]
        windows = functional.pad(x, [most, most] * len(sizes))
        for place, size in enumerate(sizes, start=2):
            windows = windows.unfold(place, size, 1)  # every place a row can move to; a view, nothing is copied
        moves = [torch.randint(0, 2 * most + 1, (len(x),), generator=generator).to(x.device) for _ in sizes]
        moved: Tensor = windows[(torch.arange(len(x), device=x.device), slice(None), *moves)]
        return moved

    return change


def _affine(matrix: Callable[[Tensor, torch.Generator], Tensor]) -> Augment:
    """Resample images (b, c, h, w) by one 2 x 2 matrix a row."""

    def change(x: Tensor, generator: torch.Generator) -> Tensor:
        theta = functional.pad(matrix(x, generator), (0, 1))
        grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
        return functional.grid_sample(x, grid, align_corners=False)

    return change


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return torch.stack((torch.stack((a, b), 1), torch.stack((c, d), 1)), 1)


def rotate(degrees: float) -> Augment:
    """Turn by up to so many degrees either way."""

    def matrix(x: Tensor, generator: torch.Generator) -> Tensor:
        angle = _uniform(len(x), -degrees, degrees, generator, x) * (math.pi / 180)
        return _matrix(angle.cos(), -angle.sin(), angle.sin(), angle.cos())

    return _affine(matrix)


def scale(least: float, most: float) -> Augment:
    """Resize by a factor, about the middle."""

    def matrix(x: Tensor, generator: torch.Generator) -> Tensor:
        factor = 1 / _uniform(len(x), least, most, generator, x)
        return _matrix(factor, torch.zeros_like(factor), torch.zeros_like(factor), factor)

    return _affine(matrix)


def shear(most: float) -> Augment:
    """Slant sideways by up to ``most`` (tangent of the angle)."""

    def matrix(x: Tensor, generator: torch.Generator) -> Tensor:
        slant = _uniform(len(x), -most, most, generator, x)
        return _matrix(torch.ones_like(slant), slant, torch.zeros_like(slant), torch.ones_like(slant))

    return _affine(matrix)


def elastic(strength: float) -> Augment:
    """Bend images by a smooth random field (3 x 3 control points) of up to ``strength`` of half the width."""

    def change(x: Tensor, generator: torch.Generator) -> Tensor:
        field = (torch.rand(len(x), 2, 3, 3, generator=generator) * 2 - 1).to(x.device) * strength
        bend = functional.interpolate(field, x.shape[2:], mode="bilinear", align_corners=True)
        same = torch.eye(2, 3, device=x.device).expand(len(x), 2, 3)
        grid = functional.affine_grid(same, list(x.shape), align_corners=False)
        return functional.grid_sample(x, grid + bend.permute(0, 2, 3, 1), align_corners=False)

    return change


def noise(deviation: float) -> Augment:
    """Add Gaussian noise, clipped to 0..1."""

    def change(x: Tensor, generator: torch.Generator) -> Tensor:
        return (x + deviation * torch.randn(x.shape, generator=generator).to(x)).clamp(0, 1)

    return change


def cutout(side: int, fill: float = 0.0) -> Augment:
    """Cover one square or cube of that side, somewhere."""

    def change(x: Tensor, generator: torch.Generator) -> Tensor:
        covered = torch.ones(len(x), *[1] * (x.dim() - 1), dtype=torch.bool, device=x.device)
        for place, size in enumerate(x.shape[2:], start=2):
            begin = torch.randint(0, size - side + 1, (len(x),), generator=generator).to(x.device)
            steps = torch.arange(size, device=x.device)
            inside = (steps >= begin[:, None]) & (steps < begin[:, None] + side)
            covered = covered & inside.view(len(x), *[size if axis == place else 1 for axis in range(1, x.dim())])
        return torch.where(covered, torch.full_like(x, fill), x)

    return change


def contrast(most: float) -> Augment:
    """Multiply brightness by 1 - most to 1 + most, clipped to 0..1."""

    def change(x: Tensor, generator: torch.Generator) -> Tensor:
        return (x * _per_row(_uniform(len(x), 1 - most, 1 + most, generator, x), x)).clamp(0, 1)

    return change


def brightness(most: float) -> Augment:
    """Add up to ``most`` to, or take it from, every value, clipped to 0..1."""

    def change(x: Tensor, generator: torch.Generator) -> Tensor:
        return (x + _per_row(_uniform(len(x), -most, most, generator, x), x)).clamp(0, 1)

    return change


def blend(most: float) -> Augment:
    """Blend each row with a share of up to ``most`` of another one; below a half the class stays that of the first."""

    def change(x: Tensor, generator: torch.Generator) -> Tensor:
        other = torch.randperm(len(x), generator=generator).to(x.device)
        share = _per_row(_uniform(len(x), 0, most, generator, x), x)
        return (1 - share) * x + share * x[other]

    return change


def flip(*axes: int) -> Augment:
    """Mirror along each of the axes (counted after the channels, from 0) in every second row."""

    def change(x: Tensor, generator: torch.Generator) -> Tensor:
        for axis in axes:
            here = _per_row(torch.rand(len(x), generator=generator).to(x.device) < 0.5, x)
            x = torch.where(here, x.flip(axis + 2), x)
        return x

    return change


def quarter_turns(first: int, second: int) -> Augment:
    """Turn by 0, 90, 180 or 270 degrees in the plane of two axes of equal length."""

    def change(x: Tensor, generator: torch.Generator) -> Tensor:
        turns = torch.randint(0, 4, (len(x),), generator=generator).to(x.device)
        for turn in (1, 2, 3):
            x = torch.where(_per_row(turns == turn, x), torch.rot90(x, turn, (first + 2, second + 2)), x)
        return x

    return change


def cube_symmetries() -> Augment:
    """Mirror cubes (b, 1, s, s, s) along each axis or not and turn them by quarters about the first axis: one of the
    32 ways for each row, by one look-up in a table of where every voxel comes from."""
    tables: dict[tuple[int, torch.device], Tensor] = {}

    def change(x: Tensor, generator: torch.Generator) -> Tensor:
        side = x.shape[-1]
        if (side, x.device) not in tables:
            tables[side, x.device] = _symmetries(side).to(x.device)
        table = tables[side, x.device]  # (32, s * s * s)
        ways = torch.randint(0, len(table), (len(x),), generator=generator).to(x.device)
        return x.flatten(1).gather(1, table.index_select(0, ways)).view(x.shape)

    return change


def _symmetries(side: int) -> Tensor:
    places = torch.arange(side**3).view(side, side, side)
    mirrored = [places.flip([axis for axis in range(3) if way >> axis & 1]) for way in range(8)]
    return torch.stack([torch.rot90(one, turn, (1, 2)).flatten() for one in mirrored for turn in range(4)])


def both(*parts: Augment) -> Augment:
    """One after the other."""

    def change(x: Tensor, generator: torch.Generator) -> Tensor:
        for part in parts:
            x = part(x, generator)
        return x

    return change
