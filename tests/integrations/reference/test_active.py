"""Labels by doubt against labels by chance."""

import numpy as np
import pytest

pytest.importorskip("torch")

from integrations.reference import active

pytestmark = pytest.mark.torch


def test_labels_needed_are_read_off_the_line_between_two_budgets():
    assert active.labels_needed((10, 20, 40), [0.5, 0.7, 0.9], 0.8) == pytest.approx(30)
    assert active.labels_needed((10, 20), [0.9, 0.95], 0.8) == 10
    assert active.labels_needed((10, 20), [0.5, 0.6], 0.8) == float("inf")


def test_doubt_is_greatest_where_two_classes_are_level():
    doubts = active.doubt(np.array([[5.0, 5.0, 0.0], [9.0, 0.0, 0.0], [1.0, 0.5, 0.0]], dtype=np.float32))
    assert doubts[0] == pytest.approx(1.0)
    assert doubts[1] < doubts[2] < doubts[0]


def learner(informative: np.ndarray):
    """A learner whose metric is the share of informative rows it has labels for, and who doubts exactly those."""

    def train(picked, seed):
        logits = np.zeros((len(informative), 2), dtype=np.float32)
        logits[~informative, 0] = 9.0
        return float(informative[picked].sum() / informative.sum()), logits

    return train


def test_doubt_that_points_at_what_matters_saves_labels():
    informative = np.arange(300) % 6 == 0
    found = active.compare(learner(informative), 300, (20, 60, 120, 200), seeds=(1, 2, 3))
    assert found.active < found.random
    assert found.saving == pytest.approx(1 - found.active / found.random)
    assert found.saving > 0.5
    assert found.active_curve[0] == found.random_curve[0]


def test_useless_doubt_is_not_called_a_saving():
    def train(picked, seed):
        return len(picked) / 300, np.zeros((300, 2), dtype=np.float32)

    assert active.compare(train, 300, (20, 60, 120), seeds=(1,)).saving == pytest.approx(0.0)


def test_both_ways_begin_with_the_rows_that_are_labelled_anyhow():
    seen = []

    def train(picked, seed):
        seen.append(picked.tolist())
        return len(picked) / 50, np.zeros((50, 2), dtype=np.float32)

    active.compare(train, 50, (5, 20), seeds=(1,), start=(7, 3))
    assert all(picked[:2] == [7, 3] and len(set(picked)) == len(picked) for picked in seen)
