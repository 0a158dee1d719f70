"""Pictures: each is a PNG on white, depends on its values alone, and survives awkward ones."""

import io
import sys
from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.image import imread

from integrations.reference import pictures

WEEKS = [-4, -3, -2, -1]


def volumes(scale: float) -> bytes:
    rng = np.random.default_rng(0)
    x = rng.random((3, 6, 8, 8)).astype(np.float32)
    regions = np.zeros(x.shape, bool)
    regions[:, 2, 2:5, 2:5] = True
    return pictures.map_overlays(x, x * np.float32(scale), ["a", "b", "c"], regions=regions)


DRAWN: dict[str, Callable[[float], bytes]] = {
    "augmentation_table": lambda v: pictures.augmentation_table(
        [
            {"method": "shift", "gain": 0.03 * v, "gain_error": 0.01, "time_change": 0.1},
            {"method": "noise", "gain": -0.01, "gain_error": 0.0, "time_change": -0.02},
        ],
        chosen="shift",
    ),
    "optimisation_matrix": lambda v: pictures.optimisation_matrix(
        [
            {"technique": "none", "size": 9000, "memory_mb": 400.0, "generalisation_gap": 0.0},
            {"technique": "bf16", "size": 9000, "memory_mb": 300.0 * v, "generalisation_gap": 0.01},
        ]
    ),
    "map_overlays": volumes,
    "drift_chart": lambda v: pictures.drift_chart(
        WEEKS, {"ink": [0.01, 2.0 * v, 0.02, 0.0], "place": [0, 0, 0, 0]}, threshold=0.25, declared=[-3]
    ),
    "pareto_front": lambda v: pictures.pareto_front(
        [{"name": name, "size": size, "auc": 0.9 + 0.01 * size * v} for name, size in (("a", 1), ("b", 2), ("c", 3))],
        cost="size",
        quality="auc",
        chosen="b",
    ),
    "canary_decision": lambda v: pictures.canary_decision(
        [0, 100, 200], [1.0, 0.0, 150.0 * v], bound=100, harmless=[1.0, 2.0, 0.1], decision="rolled back"
    ),
    "learning_curve": lambda v: pictures.learning_curve(
        [{"train_loss": 2.0 * v, "validation_loss": 2.1}, {"train_loss": 1.0, "validation_loss": 1.3}], best_epoch=2
    ),
    "update_comparison": lambda v: pictures.update_comparison(
        WEEKS, {"static": [0.9 * v] * 4, "full": [0.91, 0.92, 0.93, 0.95]}, metric="accuracy", disturbed=[-3]
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_a_legible_png_on_white(name: str) -> None:
    image = imread(io.BytesIO(DRAWN[name](1.0)))
    height, width = image.shape[:2]
    assert 300 <= height <= 2000
    assert 600 <= width <= 2000
    for corner in (image[0, 0], image[0, -1], image[-1, 0], image[-1, -1]):
        assert corner.tolist() == [1, 1, 1, 1]
    assert image[..., :3].std() > 0.02


@pytest.mark.parametrize("name", DRAWN)
def test_equal_values_give_equal_bytes_and_others_do_not(name: str) -> None:
    assert DRAWN[name](1.0) == DRAWN[name](1.0) != DRAWN[name](0.5)


def test_one_of_everything_is_enough() -> None:
    row = {"method": "shift", "gain": 0.0, "gain_error": 0.0, "time_change": 0.0}
    pictures.augmentation_table([row])
    pictures.optimisation_matrix([{"technique": "none", "size": 0.0}])
    pictures.drift_chart([-1], {"ink": [0.0]}, threshold=0.25)
    pictures.pareto_front([{"name": "a", "size": 1, "auc": 1.0}], cost="size", quality="auc")
    pictures.update_comparison([-1], {"static": [0.9]}, metric="accuracy")
    one = np.zeros((1, 8, 8), np.float32)
    pictures.map_overlays(one, one, ["a"])


def test_pictures_leave_no_open_figure_and_no_window() -> None:
    DRAWN["learning_curve"](1.0)
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
