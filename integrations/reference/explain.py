"""Explanations: where a network looks, and whether that is where experts look.

Grad-CAM (Selvaraju and others 2017) for networks with convolutions in two or three dimensions; integrated gradients
(Sundararajan and others 2017) for every network that can be differentiated, tables included. Agreement with marked
regions is the hit rate of the pointing game and the intersection over union of as many points as the region has. Both
are given next to two controls, a random map and the map of an untrained network: an explanation that does no better
explains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

Maps = npt.NDArray[np.float32]  # (n, *spatial), or (n, features) for tables
Regions = npt.NDArray[np.bool_]  # (n, *spatial)

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_ACTIVATIONS = (nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.LeakyReLU, nn.ELU)
_BETWEEN = (nn.Identity, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.Dropout)
_BATCH = 128  # rows at a time, which bounds the memory


@dataclass(frozen=True, slots=True)
class Overlap:
    """Agreement of maps with regions. One value a case; ``hit`` is whether the strongest point lies inside."""

    hit: npt.NDArray[np.bool_]
    iou: npt.NDArray[np.float64]

    @property
    def hit_rate(self) -> float:
        return float(self.hit.mean())

    @property
    def mean_iou(self) -> float:
        return float(self.iou.mean())


def last_activation(model: nn.Module) -> nn.Module:
    """The layer that Grad-CAM looks at by default: the activation after the last convolution, or that convolution.

    Raises ``ValueError`` for a network without convolutions.
    """
    layers = [layer for layer in model.modules() if not list(layer.children())]
    places = [place for place, layer in enumerate(layers) if isinstance(layer, _CONVOLUTIONS)]
    if not places:
        raise ValueError("Grad-CAM needs a network with a convolution; integrated gradients work without one")
    for layer in layers[places[-1] + 1 :]:
        if isinstance(layer, _ACTIVATIONS):
            return layer
        if not isinstance(layer, _BETWEEN):
            break
    return layers[places[-1]]


def grad_cam(
    model: nn.Module, x: Maps, target: int, *, layer: nn.Module | None = None, pointwise: bool = False
) -> Maps:
    """Grad-CAM of rows (n, channels, *spatial) for the class ``target``: maps (n, *spatial) from 0 to 1.

    ``pointwise`` weighs every point by its own gradient instead of the mean over its channel (HiResCAM, Draelos and
    Carin 2020): right for networks that end in a maximum over space, where the mean says nothing about places.
    """
    model.eval()
    kept: list[Tensor] = []
    handle = (layer or last_activation(model)).register_forward_hook(lambda module, given, result: kept.append(result))
    try:
        parts = [_cam(model, part, target, kept, pointwise) for part in _batches(model, x)]
    finally:
        handle.remove()
    return _scaled(torch.cat(parts).numpy())


def _cam(model: nn.Module, x: Tensor, target: int, kept: list[Tensor], pointwise: bool) -> Tensor:
    kept.clear()
    with torch.enable_grad():
        score = _margin(model(x), target).sum()
        activation = kept[-1]
        (gradient,) = torch.autograd.grad(score, activation)
    space = tuple(range(2, activation.dim()))
    weight = gradient if pointwise else gradient.mean(dim=space, keepdim=True)
    cam = (weight * activation.detach()).sum(dim=1, keepdim=True).relu()
    mode = {3: "linear", 4: "bilinear", 5: "trilinear"}[cam.dim()]
    return functional.interpolate(cam, x.shape[2:], mode=mode, align_corners=False)[:, 0].cpu()


def integrated_gradients(model: nn.Module, x: Maps, target: int, *, start: float | Maps = 0.0, steps: int = 24) -> Maps:
    """Attributions of rows (n, ...) to the margin of the class ``target``, in the shape of the rows and with sign.

    The path goes straight from ``start`` (a number or one row) to each row, by the midpoint rule. Over a row they add
    up to the margin less that of ``start``, as far as the number of steps allows.
    """
    model.eval()
    parts = []
    for part in _batches(model, x):
        begin = torch.as_tensor(start, dtype=part.dtype, device=part.device).expand_as(part)
        total = torch.zeros_like(part)
        for step in range(steps):
            at = (begin + (part - begin) * ((step + 0.5) / steps)).requires_grad_(True)
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(_margin(model(at), target).sum(), at)
            total += gradient
        parts.append(((part - begin) * total / steps).cpu())
    return torch.cat(parts).numpy()


def spatial(attributions: Maps, *, smooth: bool = True) -> Maps:
    """Maps (n, *spatial) from 0 to 1 of attributions (n, channels, *spatial): what speaks for the class.

    Channels are added. ``smooth`` averages each point with its neighbours, since single points of a gradient are noisy.
    """
    positive = torch.from_numpy(attributions).sum(dim=1, keepdim=True).clamp_min(0)
    if smooth:
        pool = functional.avg_pool3d if positive.dim() == 5 else functional.avg_pool2d
        positive = pool(positive, 3, stride=1, padding=1)
    return _scaled(positive[:, 0].numpy())


def random_maps(shape: tuple[int, ...], *, seed: int = 0) -> Maps:
    """The control that knows nothing: every point is drawn on its own."""
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def overlap(maps: Maps, regions: Regions) -> Overlap:
    """Agreement of maps with regions of the same shape (n, *spatial).

    A map that is the same everywhere points nowhere: no hit, no overlap. Raises ``ValueError`` for differing shapes and
    for a case without a region.
    """
    if maps.shape != regions.shape:
        raise ValueError(f"maps {maps.shape} and regions {regions.shape} differ in shape")
    flat, inside = maps.reshape(len(maps), -1), regions.reshape(len(regions), -1)
    if not inside.any(axis=1).all():
        raise ValueError("a case has no marked region")
    says = flat.max(axis=1) > flat.min(axis=1)
    hit = inside[np.arange(len(flat)), flat.argmax(axis=1)] & says
    order = np.argsort(-flat, axis=1, kind="stable")
    iou = np.zeros(len(flat))
    for case in np.flatnonzero(says):
        size = int(inside[case].sum())
        shared = int(inside[case, order[case, :size]].sum())
        iou[case] = shared / (2 * size - shared)
    return Overlap(hit, iou)


def agreement(
    model: nn.Module, untrained: nn.Module, x: Maps, regions: Regions, target: int = 1, *, steps: int = 8
) -> dict[str, float]:
    """Explanations of rows (n, channels, *spatial) against marked regions, as metrics ``explain/*``, with controls.

    ``explain/expert_overlap`` is the hit rate of the pointing game by integrated gradients from an empty picture;
    Grad-CAM stands beside it. ``untrained`` has the design of the network with fresh weights: what it reaches is what
    bright regions give away by themselves, and ``explain/above_untrained`` is the gain over it.
    """

    def by_gradients(network: nn.Module) -> Overlap:
        return overlap(spatial(integrated_gradients(network, x, target, steps=steps)), regions)

    found, fresh = by_gradients(model), by_gradients(untrained)
    cam, fresh_cam = (overlap(grad_cam(network, x, target), regions) for network in (model, untrained))
    chance = overlap(random_maps(regions.shape), regions)
    return {
        "explain/cases": float(len(regions)),
        "explain/expert_overlap": found.hit_rate,
        "explain/expert_iou": found.mean_iou,
        "explain/above_untrained": found.hit_rate - fresh.hit_rate,
        "explain/control_untrained": fresh.hit_rate,
        "explain/control_untrained_iou": fresh.mean_iou,
        "explain/control_random": chance.hit_rate,
        "explain/control_random_iou": chance.mean_iou,
        "explain/grad_cam_overlap": cam.hit_rate,
        "explain/grad_cam_iou": cam.mean_iou,
        "explain/control_untrained_grad_cam": fresh_cam.hit_rate,
    }


def _margin(logits: Tensor, target: int) -> Tensor:
    """The logit of a class less the mean of the others (n,): what softmax makes of logits depends on nothing else."""
    others = [column for column in range(logits.shape[1]) if column != target]
    return logits[:, target] - logits[:, others].mean(dim=1)


def _batches(model: nn.Module, x: Any) -> list[Tensor]:
    device = next(model.parameters()).device
    return [part.to(device) for part in torch.split(torch.from_numpy(np.ascontiguousarray(x)), _BATCH)]


def _scaled(maps: Maps) -> Maps:
    """Each map to 0..1 by its greatest value; an empty one stays empty."""
    greatest = maps.reshape(len(maps), -1).max(axis=1).reshape(-1, *[1] * (maps.ndim - 1))
    return np.divide(maps, greatest, out=np.zeros_like(maps), where=greatest > 0)
