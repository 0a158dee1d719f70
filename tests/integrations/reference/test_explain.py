"""Explanations on networks whose reasons are known, and their agreement with marked regions."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from integrations.reference.explain import (
    agreement,
    grad_cam,
    integrated_gradients,
    last_activation,
    overlap,
    random_maps,
    spatial,
)

pytestmark = pytest.mark.torch


def spot_finder(dimensions: int) -> nn.Module:
    """A network whose second logit is the greatest mean brightness of a 3-wide window: it can only look at the spot."""
    convolution = (nn.Conv2d if dimensions == 2 else nn.Conv3d)(1, 1, 3, padding=1)
    nn.init.constant_(convolution.weight, 1 / 3**dimensions)
    nn.init.zeros_(convolution.bias)
    pool = nn.AdaptiveMaxPool2d(1) if dimensions == 2 else nn.AdaptiveMaxPool3d(1)
    last = nn.Linear(1, 2)
    last.weight = nn.Parameter(torch.tensor([[0.0], [1.0]]))
    nn.init.zeros_(last.bias)
    return nn.Sequential(convolution, nn.ReLU(), pool, nn.Flatten(), last)


def spots(dimensions: int, count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Dim pictures with one bright spot each, and the spots."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 0.1, (count, 1, *[12] * dimensions)).astype(np.float32)
    regions = np.zeros((count, *[12] * dimensions), bool)
    for case, place in enumerate(rng.integers(2, 10, (count, dimensions))):
        regions[(case, *(slice(one - 1, one + 2) for one in place))] = True
    x[:, 0][regions] += 0.8
    return x, regions


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("pointwise", [False, True])
def test_grad_cam_points_at_the_spot_in_two_and_three_dimensions(dimensions: int, pointwise: bool) -> None:
    x, regions = spots(dimensions)
    found = overlap(grad_cam(spot_finder(dimensions), x, 1, pointwise=pointwise), regions)
    assert found.hit_rate == 1


@pytest.mark.parametrize("dimensions", [2, 3])
def test_integrated_gradients_cover_the_spot(dimensions: int) -> None:
    x, regions = spots(dimensions)
    found = overlap(spatial(integrated_gradients(spot_finder(dimensions), x, 1), smooth=False), regions)
    assert found.hit_rate == 1
    assert found.mean_iou > 0.95


def test_integrated_gradients_add_up_to_the_change_of_the_margin() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))
    x = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    with torch.no_grad():
        logits, start = model(torch.from_numpy(x)).numpy(), model(torch.zeros(1, 6)).numpy()
    margin = logits[:, 1] - logits[:, [0, 2]].mean(1) - (start[:, 1] - start[:, [0, 2]].mean(1))
    assert np.allclose(integrated_gradients(model, x, 1, steps=200).sum(1), margin, atol=1e-4)


def test_a_table_gets_its_features_ranked() -> None:
    model = nn.Linear(3, 2)
    model.weight = nn.Parameter(torch.tensor([[0.0, 0.0, 0.0], [3.0, -1.0, 0.0]]))
    size = np.abs(integrated_gradients(model, np.ones((4, 3), np.float32), 1)).sum(axis=0)
    assert size / size.sum() == pytest.approx([0.75, 0.25, 0.0])


def test_an_explanation_changes_nothing_in_the_network() -> None:
    model, (x, _) = spot_finder(2), spots(2)
    before = [value.clone() for value in model.state_dict().values()]
    grad_cam(model, x, 1)
    integrated_gradients(model, x, 1)
    assert all(torch.equal(one, other) for one, other in zip(before, model.state_dict().values(), strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(layer._forward_hooks for layer in model.modules())


def test_agreement_stands_beside_its_controls() -> None:
    x, regions = spots(3)
    torch.manual_seed(0)
    flat = spot_finder(3)
    nn.init.zeros_(flat[4].weight)  # says the same of everything
    found = agreement(spot_finder(3), flat, x, regions)
    assert found["explain/cases"] == 20
    assert found["explain/expert_overlap"] == 1
    assert found["explain/control_untrained"] == 0
    assert found["explain/control_random"] < 0.2
    assert found["explain/above_untrained"] == 1


def test_overlap_is_counted_by_hand() -> None:
    regions = np.array([[[True, True, False]], [[False, False, True]]])
    maps = np.array([[[0.9, 0.1, 0.5]], [[0.9, 0.5, 0.1]]], np.float32)
    found = overlap(maps, regions)
    assert found.hit.tolist() == [True, False]
    assert found.iou.tolist() == [pytest.approx(1 / 3), 0.0]


def test_a_map_that_says_nothing_hits_nothing() -> None:
    found = overlap(np.zeros((1, 2, 2), np.float32), np.ones((1, 2, 2), bool))
    assert (found.hit_rate, found.mean_iou) == (0.0, 0.0)


def test_a_case_without_a_region_and_differing_shapes_are_errors() -> None:
    with pytest.raises(ValueError, match="no marked region"):
        overlap(random_maps((1, 2, 2)), np.zeros((1, 2, 2), bool))
    with pytest.raises(ValueError, match="differ in shape"):
        overlap(random_maps((1, 2, 2)), np.zeros((1, 3, 2), bool))


def test_grad_cam_needs_a_convolution_and_looks_behind_its_activation() -> None:
    with pytest.raises(ValueError, match="convolution"):
        last_activation(nn.Linear(2, 2))
    model = spot_finder(2)
    assert last_activation(model) is model[1]
    assert last_activation(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten())).__class__ is nn.Conv2d
