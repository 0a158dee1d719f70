import numpy as np
import pytest

torch = pytest.importorskip("torch")

from integrations.reference.case import Family  # noqa: E402 -- needs torch
from integrations.reference.data import Split  # noqa: E402
from integrations.reference.evaluate import bootstrap, duel, evaluate, slice_metrics  # noqa: E402
from integrations.reference.models import build  # noqa: E402

pytestmark = pytest.mark.torch


def _pointing(digit: int) -> torch.nn.Module:
    """A network that answers with one digit whatever it sees."""
    model = build(Family.LINEAR)
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.zero_()
        model[1].bias[digit] = 5.0
    return model


def _split(labels: list[int]) -> Split:
    images = np.random.default_rng(0).random((len(labels), 1, 8, 8), dtype=np.float32)
    return Split("made", images, np.array(labels, dtype=np.int64))


def test_the_interval_is_that_of_a_binomial_share() -> None:
    found = bootstrap([1] * 90 + [0] * 10)
    assert found.mean == 0.9
    assert found.low == pytest.approx(0.9 - 1.96 * 0.03, abs=0.02)
    assert found.high == pytest.approx(0.9 + 1.96 * 0.03, abs=0.02)
    assert bootstrap([1] * 20) == type(found)(1.0, 1.0, 1.0)


def test_slices_hold_recall_and_precision_of_each_class() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 1, 1, 1, 0])
    metrics = slice_metrics(predicted, labels)
    assert metrics["eval/slice/digit_0/recall"] == pytest.approx(2 / 3)
    assert metrics["eval/slice/digit_0/precision"] == pytest.approx(2 / 3)
    assert metrics["eval/slice/digit_1/recall"] == 1.0
    assert metrics["eval/slice/digit_2/recall"] == metrics["eval/worst_slice_recall"] == 0.0
    assert "eval/slice/digit_2/precision" not in metrics  # never called, so there is nothing to divide by
    assert "eval/slice/digit_3/recall" not in metrics


def test_an_evaluation_holds_the_primary_metric_its_interval_and_three_robustness_tests() -> None:
    metrics = evaluate(_pointing(4), _split([4, 4, 4, 1]))
    assert metrics["eval/accuracy"] == 0.75
    assert metrics["eval/primary_ci_low"] < 0.75 < metrics["eval/primary_ci_high"]
    assert metrics["eval/samples"] == 4
    robust = {name for name in metrics if name.startswith("eval/robust/")}
    assert len(robust) == 3
    assert all(metrics[name] == 0.75 for name in robust)  # the constant answer cannot be disturbed


def test_a_duel_is_paired_and_signed_new_minus_old() -> None:
    current, frozen = _split([4] * 30 + [1] * 10), _split([1, 1, 4, 0])
    met = duel(_pointing(4), _pointing(1), current=current, frozen=frozen)
    assert met.current.mean == pytest.approx(30 / 40 - 10 / 40)
    assert 0 < met.current.low < met.current.mean < met.current.high
    assert met.backward_transfer == pytest.approx(1 / 4 - 2 / 4)
    same = duel(_pointing(4), _pointing(4), current=current, frozen=frozen)
    assert (same.current.low, same.current.high, same.backward_transfer) == (0.0, 0.0, 0.0)
