"""Phantoms: small synthetic blocks of lung in Hounsfield units (HU), half with a nodule, with the mask of the nodule.

No patient is behind any of them. A block is 16 x 16 x 16 voxels of 1.5 mm around a candidate: aerated lung, two or
three vessels of which one forks, sometimes the chest wall, and in half of them one nodule of 4 to 10 mm with spicules,
up to 6 mm off the middle in each direction. Four nodules of ten are sub-solid (ground glass). The scanner blurs all of
it and adds correlated noise. The same seed, count and scanner give the same blocks; ``VERSION`` changes when that stops
being true.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from integrations.reference.stories import kept

VERSION = "1"
SIDE, SPACING_MM = 16, 1.5
VESSEL_HU, WALL_HU, SOLID_HU = 45.0, 40.0, 30.0

Volumes = npt.NDArray[np.float32]  # (n, 16, 16, 16), HU, whole numbers; axes z, y, x
Masks = npt.NDArray[np.bool_]  # (n, 16, 16, 16)
Column = npt.NDArray[np.float32]  # (n,)

_CHUNK = 256  # blocks drawn at a time, which bounds the memory


@dataclass(frozen=True, slots=True)
class Scanner:
    """What a scanner does to a block. ``kernel`` is the blur in voxels, noise a standard deviation."""

    noise_hu: float = 40.0
    kernel: float = 0.55
    offset_hu: float = 0.0


@dataclass(frozen=True)
class Phantoms:
    """Blocks with all that is known of them. ``nodule`` marks voxels that a nodule fills by half or more."""

    hu: Volumes
    y: npt.NDArray[np.int64]  # 1: there is a nodule
    nodule: Masks
    diameter_mm: Column  # 0 without a nodule
    subsolid: npt.NDArray[np.bool_]
    near_vessel: npt.NDArray[np.bool_]  # the nodule touches a vessel
    age: Column  # of the made-up patient, years
    female: npt.NDArray[np.bool_]


def draw(count: int, seed: int, scanner: Scanner | None = None) -> Phantoms:
    """Draw ``count`` blocks, half of them with a nodule."""
    scanner = scanner or Scanner()
    settings = "-".join(f"{value:g}" for value in astuple(scanner))
    return Phantoms(**kept.once(f"phantoms-{VERSION}-{count}-{seed}-{settings}", lambda: _drawn(count, seed, scanner)))


def _drawn(count: int, seed: int, scanner: Scanner) -> kept.Arrays:
    sizes = [min(_CHUNK, count - begin) for begin in range(0, count, _CHUNK)]
    parts = [_draw(size, np.random.default_rng([seed, number]), scanner) for number, size in enumerate(sizes)]
    return {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Phantoms)}


def marked_by_reader(nodule: Masks) -> Masks:
    """The nodule as the phantom's marking reader outlines it: the outline runs through the first voxels outside, as is
    the custom of lung readers, so the marked region is the nodule and one voxel around it (six neighbours)."""
    neighbours = ndimage.generate_binary_structure(3, 1)[None]
    return np.asarray(ndimage.binary_dilation(nodule, neighbours))


def _draw(count: int, rng: np.random.Generator, scanner: Scanner) -> Phantoms:
    age = rng.uniform(40, 85, count).astype(np.float32)
    female = rng.random(count) < 0.5
    y = (rng.random(count) < 0.5).astype(np.int64)
    lung = (-835 - 0.8 * (age - 60) + rng.normal(0, 15, count)).astype(np.float32)  # older lungs hold more air
    tissue = np.broadcast_to(lung[:, None, None, None], (count, SIDE, SIDE, SIDE)).copy()
    tissue += 25 * _texture(rng, count, 1.5)
    vessels = _vessels(rng, count)
    tissue += vessels * (VESSEL_HU - tissue)
    wall = _wall(rng, count)
    tissue += wall * (WALL_HU - tissue)
    filled, diameter = np.zeros_like(tissue), np.zeros(count, np.float32)
    filled[y == 1], diameter[y == 1] = _nodules(rng, int(y.sum()))
    subsolid = (rng.random(count) < 0.4) & (y == 1)
    density = np.where(subsolid, rng.uniform(-620, -380, count), rng.normal(SOLID_HU - 60, 50, count))
    inside = density.astype(np.float32)[:, None, None, None]
    tissue += filled * np.maximum(inside - tissue, 0)  # a vessel inside ground glass stays visible
    nodule = filled >= 0.5
    blurred = ndimage.gaussian_filter(tissue, (0, *[scanner.kernel] * 3), mode="nearest")
    hu = blurred + scanner.noise_hu * _texture(rng, count, scanner.kernel) + scanner.offset_hu
    near = (marked_by_reader(nodule) & ((vessels > 0.5) | (wall > 0.5))).any(axis=(1, 2, 3))
    return Phantoms(np.round(hu).astype(np.float32), y, nodule, diameter, subsolid, near, age, female)


def _grid() -> npt.NDArray[np.float32]:
    """Voxel centres, (4096, 3), in voxels from the centre of the block."""
    axis = np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


def _texture(rng: np.random.Generator, count: int, correlation: float) -> Volumes:
    """Smooth noise with standard deviation 1; ``correlation`` in voxels."""
    noise = rng.standard_normal((count, SIDE, SIDE, SIDE), dtype=np.float32)
    smooth = ndimage.gaussian_filter(noise, (0, *[correlation] * 3), mode="wrap")
    return np.asarray(smooth / smooth.std(), dtype=np.float32)


def _directions(rng: np.random.Generator, *shape: int) -> npt.NDArray[np.float32]:
    vectors = rng.standard_normal((*shape, 3), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _tube(
    start: npt.NDArray[np.float32], along: npt.NDArray[np.float32], length: Column, radius: Column
) -> npt.NDArray[np.float32]:
    """Share of each voxel that lies in a round tube, (n, 4096). ``start`` and ``along`` (n, 3); voxels throughout."""
    grid = _grid()
    offset = grid @ along.T - np.einsum("nd,nd->n", start, along)  # (4096, n): place along the tube
    place = np.clip(offset, 0, length)
    from_start = (grid**2).sum(1)[:, None] - 2 * (grid @ start.T) + (start**2).sum(1)
    squared = from_start - 2 * place * offset + place**2
    distance = np.sqrt(np.maximum(squared, 0))
    return np.clip(radius - distance + 0.5, 0, 1).T


def _vessels(rng: np.random.Generator, count: int) -> Volumes:
    """One vessel that crosses the block, one that forks in it, and in every second block one that ends."""
    share = np.zeros((count, SIDE**3), np.float32)
    for number in range(3):
        here = np.ones(count, bool) if number < 2 else rng.random(count) < 0.5
        start = rng.uniform(-7, 7, (count, 3)).astype(np.float32)
        along = _directions(rng, count)
        radius = np.where(here, rng.uniform(0.45, 0.9, count), -1).astype(np.float32)
        length = np.full(count, 40.0, np.float32) if number < 2 else rng.uniform(3, 14, count).astype(np.float32)
        if number == 0:
            start = start - 20 * along
        np.maximum(share, _tube(start, along, length, radius), out=share)
        if number == 1:
            for _ in range(2):
                branch = along * 0.6 + 0.8 * _directions(rng, count)
                branch /= np.linalg.norm(branch, axis=-1, keepdims=True)
                np.maximum(share, _tube(start, -branch, length, radius * np.float32(0.8)), out=share)
    return share.reshape(count, SIDE, SIDE, SIDE)


def _wall(rng: np.random.Generator, count: int) -> Volumes:
    """Chest wall across a corner of every fourth block."""
    depth = np.where(rng.random(count) < 0.25, rng.uniform(6.0, 9.0, count), 99).astype(np.float32)
    across = _grid() @ _directions(rng, count).T
    return np.clip(across - depth + 0.5, 0, 1).T.reshape(count, SIDE, SIDE, SIDE)


def _nodules(rng: np.random.Generator, count: int) -> tuple[Volumes, Column]:
    """Share of each voxel that a nodule fills, and its diameter in mm. Spicules are narrow bulges of its radius."""
    diameter = rng.uniform(4.0, 10.0, count).astype(np.float32)
    radius = diameter / 2 / SPACING_MM
    centre = rng.uniform(-4, 4, (count, 3)).astype(np.float32)
    grid, bulge = _grid(), np.zeros((count, SIDE**3), np.float32)
    squared = (grid**2).sum(1) - 2 * (centre @ grid.T) + (centre**2).sum(1)[:, None]  # (n, 4096)
    distance = np.sqrt(np.maximum(squared, 1e-6))
    for _ in range(6):
        spicule = _directions(rng, count)
        along = spicule @ grid.T - np.einsum("nd,nd->n", spicule, centre)[:, None]
        np.maximum(bulge, np.exp(14 * (along / distance - 1)), out=bulge)
    edge = radius[:, None] * (1 + 0.45 * bulge)
    return np.clip(edge - distance + 0.5, 0, 1).reshape(count, SIDE, SIDE, SIDE), diameter
