"""Compression: fewer channels and int8 weights, judged by size and by quality, overall and on every slice.

Takes a network, rows to calibrate on and rows to judge on; gives a smaller network, an int8 ONNX file and what both
cost in quality. Channels are removed whole (structured pruning by L1 norm, Li et al. 2017), so the network is smaller
and faster everywhere; weights and activations become int8 by static quantisation (QDQ form, one scale a channel).
"""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from integrations.reference.export import INPUT, Predict, Rows, stripped

Score = Callable[[npt.NDArray[np.int64], Rows], float]
"""Classes (n,) and logits (n, classes) to a metric; greater is better."""
Flags = npt.NDArray[np.bool_]

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CALIBRATION_ROWS = 256


def pruned(model: nn.Module, share: float) -> nn.Module | None:
    """A copy with the weakest ``share`` of the outputs of every hidden layer removed.

    The smallest L1 norms go first and at least one output a layer stays. None where the layers do not follow one
    another in an ``nn.Sequential``: there nobody can tell which inputs belong to which outputs. Raises ``ValueError``
    for a share outside 0 to 1.
    """
    if not 0 <= share < 1:
        raise ValueError(f"a share of {share} cannot be removed")
    layers = _in_line(model)
    if layers is None:
        return None
    layers = [copy.deepcopy(layer).cpu() for layer in layers]
    weighted = [place for place, layer in enumerate(layers) if isinstance(layer, _WEIGHTED)]
    for place, following in pairwise(weighted):
        kept = _strongest(layers[place].weight, share)
        had = len(layers[place].weight)
        layers[place] = _with_outputs(layers[place], kept)
        for between in range(place + 1, following):
            if isinstance(layers[between], _NORMS):
                layers[between] = _norm(layers[between], kept)
        layers[following] = _with_inputs(layers[following], kept, had)
    return nn.Sequential(*layers).eval()


def _in_line(model: nn.Module) -> list[nn.Module] | None:
    """The layers one after the other; None when something branches or is grouped."""
    if not isinstance(model, nn.Sequential):
        return None
    found: list[nn.Module] = []
    for layer in model:
        inner = _in_line(layer) if isinstance(layer, nn.Sequential) else [layer]
        if inner is None or (not isinstance(layer, nn.Sequential) and any(True for _ in layer.children())):
            return None
        found += inner
    grouped = any(getattr(layer, "groups", 1) != 1 or isinstance(layer, nn.GroupNorm) for layer in found)
    return None if grouped or not any(isinstance(layer, _WEIGHTED) for layer in found) else found


def _strongest(weight: Tensor, share: float) -> Tensor:
    """Numbers of the outputs that stay, in order."""
    strength = weight.detach().abs().flatten(1).sum(1)
    stay = max(1, math.ceil(len(strength) * (1 - share)))
    return strength.topk(stay).indices.sort().values


def _with_outputs(layer: nn.Module, kept: Tensor) -> nn.Module:
    layer.weight = nn.Parameter(layer.weight.detach()[kept].clone())
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[kept].clone())
    setattr(layer, "out_features" if isinstance(layer, nn.Linear) else "out_channels", len(kept))
    return layer


def _with_inputs(layer: nn.Module, kept: Tensor, had: int) -> nn.Module:
    """Drop the inputs that come from removed outputs; a flattened channel brings several inputs."""
    each = layer.weight.shape[1] // had
    inputs = (kept[:, None] * each + torch.arange(each)).flatten()
    layer.weight = nn.Parameter(layer.weight.detach()[:, inputs].clone())
    setattr(layer, "in_features" if isinstance(layer, nn.Linear) else "in_channels", len(inputs))
    return layer


def _norm(layer: nn.Module, kept: Tensor) -> nn.Module:
    for name in ("weight", "bias"):
        value = getattr(layer, name)
        setattr(layer, name, None if value is None else nn.Parameter(value.detach()[kept].clone()))
    for name in ("running_mean", "running_var"):
        setattr(layer, name, getattr(layer, name)[kept].clone())
    layer.num_features = len(kept)
    return layer


def quantised(onnx_file: bytes, rows: Rows) -> bytes:
    """The int8 form of an ONNX file: weights and activations, ranges taken from ``rows`` (n, ...).

    Raises ``ValueError`` without rows to calibrate on.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    if not len(rows):
        raise ValueError("static quantisation needs rows to take the ranges from")
    with tempfile.TemporaryDirectory() as folder:
        whole, ready, small = (Path(folder) / f"{name}.onnx" for name in ("whole", "ready", "small"))
        whole.write_bytes(onnx_file)
        quant_pre_process(str(whole), str(ready), skip_symbolic_shape=True)
        quantize_static(
            str(ready),
            str(small),
            _Reader(rows[:CALIBRATION_ROWS]),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
            extra_options={"QuantizeBias": False},  # a bias in int32 with scale and zero point takes thrice its bytes
        )
        return stripped(small.read_bytes())


class _Reader:
    """Rows for the calibration, 32 at a time, as onnxruntime asks for them."""

    def __init__(self, rows: Rows) -> None:
        self.batches: Iterator[Rows] = iter([rows[begin : begin + 32] for begin in range(0, len(rows), 32)])

    def get_next(self) -> dict[str, Rows] | None:
        batch = next(self.batches, None)
        return None if batch is None else {INPUT: batch}

    def __iter__(self) -> Iterator[dict[str, Rows]]:
        return ({INPUT: batch} for batch in self.batches)


@dataclass(frozen=True, slots=True)
class Judgement:
    """Size and quality before and after. A slice whose score cannot be told (one class only) is left out."""

    size_before: int  # bytes
    size_after: int
    score_before: float
    score_after: float
    slices: Mapping[str, float]  # name to the change of the score
    rows: Mapping[str, int]  # name to its number of rows

    @property
    def ratio(self) -> float:
        """How many times smaller."""
        return self.size_before / self.size_after

    @property
    def change(self) -> float:
        """Change of the score; negative is a loss."""
        return self.score_after - self.score_before

    @property
    def relative_change(self) -> float:
        """The change as a share of the score before."""
        return self.change / self.score_before if self.score_before else 0.0


def judge(
    before: tuple[bytes, Predict],
    after: tuple[bytes, Predict],
    x: Rows,
    y: npt.NDArray[np.int64],
    slices: Mapping[str, Flags],
    score: Score,
) -> Judgement:
    """Ask both forms (file, answer) the same rows and compare them, overall and slice by slice."""
    old, new = before[1](x), after[1](x)
    changes = {}
    for name, marks in slices.items():
        if marks.any():
            change = score(y[marks], new[marks]) - score(y[marks], old[marks])
            if math.isfinite(change):
                changes[name] = change
    counted = {name: int(slices[name].sum()) for name in changes}
    return Judgement(len(before[0]), len(after[0]), score(y, old), score(y, new), changes, counted)
