"""The networks and what can be counted on them without training: parameters, operations, a digest of the weights.

Every network takes images (b, 1, 8, 8), float32 in [0, 1], and gives logits (b, 10). None has batch statistics, so
that gradient accumulation gives the same step as the big batch.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from integrations.reference.case import Family

IMAGE_SHAPE = (1, 8, 8)  # channels, rows, columns
CLASSES = 10


def build(family: Family) -> nn.Module:
    """A freshly initialised network; the caller seeds the generator of torch before."""
    if family is Family.LINEAR:
        # (b, 1, 8, 8) -> (b, 64) -> (b, 10): multinomial logistic regression
        return nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, padding=1),  # (b, 16, 8, 8)
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),  # (b, 32, 8, 8)
        nn.ReLU(),
        nn.MaxPool2d(2),  # (b, 32, 4, 4)
        nn.Flatten(),  # (b, 512)
        nn.Linear(512, 48),  # (b, 48)
        nn.ReLU(),
        nn.Linear(48, CLASSES),  # (b, 10)
    )


def parameter_count(model: nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(weights.numel() for weights in model.parameters() if weights.requires_grad)


def forward_flops(model: nn.Module) -> int:
    """Floating-point operations of one forward pass of one image; a multiply-add counts as two."""
    device = next(model.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *IMAGE_SHAPE, device=device))
    return int(counter.get_total_flops())


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of all weights: equal exactly when the networks are equal."""
    digest = hashlib.sha256()
    for name, weights in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(weights.shape)}".encode())
        digest.update(weights.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def probabilities(model: nn.Module, images: Tensor) -> Tensor:
    """Class probabilities (n, 10) in float32 of images (n, 1, 8, 8), without gradients, on the CPU."""
    device = next(model.parameters()).device
    model.eval()
    with torch.no_grad():
        return torch.softmax(model(images.to(device)).float(), dim=1).cpu()
