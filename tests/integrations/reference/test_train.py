from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from integrations.reference.case import Amp, Augmentation, Family, Fit, find_case  # noqa: E402 -- needs torch
from integrations.reference.data import Splits, load_splits  # noqa: E402
from integrations.reference.models import build, forward_flops, parameter_count, weights_sha256  # noqa: E402
from integrations.reference.train import Loop, shift_randomly, train  # noqa: E402

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
SHORT = Fit(name="short", epochs=3)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return load_splits(find_case("digits"))


@pytest.mark.parametrize("fit", [SHORT, replace(SHORT, amp=Amp.BF16), replace(SHORT, augmentation=Augmentation.SHIFT)])
def test_the_same_seed_gives_the_same_losses_and_the_same_weights(splits: Splits, fit: Fit) -> None:
    torch.manual_seed(123)
    first = train(fit, splits.train, splits.validation, device=CPU)
    torch.manual_seed(456)  # whatever the process drew before
    second = train(fit, splits.train, splits.validation, device=CPU)
    assert first.history == second.history
    assert first.weights_sha256 == second.weights_sha256


def test_another_seed_gives_other_weights(splits: Splits) -> None:
    hashes = {
        train(replace(SHORT, epochs=1, seed=seed), splits.train, splits.validation, device=CPU).weights_sha256
        for seed in (0, 1)
    }
    assert len(hashes) == 2


@pytest.mark.parametrize("rows", [32, 30])  # 30 rows do not divide evenly by four
def test_accumulated_gradients_equal_those_of_the_big_batch(splits: Splits, rows: int) -> None:
    gradients = []
    for steps in (1, 4):
        torch.manual_seed(7)
        loop = Loop(replace(SHORT, grad_accum_steps=steps), build(Family.CNN), splits.train, splits.validation, CPU)
        loop.step(torch.arange(rows))
        gradients.append([weights.grad.clone() for weights in loop.model.parameters()])
    differences = [float((one - many).abs().max()) for one, many in zip(*gradients, strict=True)]
    assert max(differences) <= 1e-6
    assert min(float(gradient.abs().max()) for gradient in gradients[0]) > 1e-4  # there was something to compare


def test_training_stops_when_the_validation_loss_no_longer_falls_and_keeps_the_best(splits: Splits) -> None:
    fit = Fit(name="wild", epochs=40, patience=2, learning_rate=3e-2)
    trained = train(fit, splits.train, splits.validation, device=CPU)
    losses = [epoch.validation_loss for epoch in trained.history]
    assert len(losses) < 40
    assert trained.best_epoch == 1 + losses.index(min(losses)) == len(losses) - 2
    again = Loop(fit, trained.model, splits.train, splits.validation, CPU).validate()
    assert again[0] == pytest.approx(min(losses), rel=1e-6)


def test_training_learns_and_measures_what_it_cost(splits: Splits) -> None:
    trained = train(SHORT, splits.train, splits.validation, device=CPU)
    assert trained.history[-1].train_loss < trained.history[0].train_loss / 3
    assert trained.history[-1].validation_accuracy > 0.8
    assert trained.cost.samples_per_s > 0
    assert 0 < trained.cost.input_stall_share < 1
    assert trained.cost.peak_memory_mb > 50
    assert trained.device == "cpu"


def test_training_leaves_the_settings_of_the_process_alone(splits: Splits) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train(replace(SHORT, epochs=1), splits.train, splits.validation, device=CPU)
    assert torch.equal(torch.rand(1), expected)
    assert not torch.are_deterministic_algorithms_enabled()


def test_parameters_and_operations_are_counted_exactly() -> None:
    linear, cnn = build(Family.LINEAR), build(Family.CNN)
    assert parameter_count(linear) == 64 * 10 + 10
    assert forward_flops(linear) == 2 * 64 * 10
    convolutions = 64 * 9 * 16 + 64 * 9 * 16 * 32  # positions x kernel x channels in x channels out
    assert forward_flops(cnn) == 2 * (convolutions + 512 * 48 + 48 * 10)


def test_the_weights_hash_sees_a_single_changed_weight() -> None:
    model = build(Family.LINEAR)
    before = weights_sha256(model)
    with torch.no_grad():
        model[1].bias[3] += 1e-3
    assert weights_sha256(model) != before


def test_random_shifts_move_by_at_most_one_pixel_and_use_all_nine_moves() -> None:
    images = torch.zeros(400, 1, 8, 8)
    images[:, 0, 4, 4] = 1.0
    moved = shift_randomly(images, torch.Generator().manual_seed(0))
    places = {(int(row), int(column)) for _, _, row, column in moved.nonzero()}
    assert places == {(row, column) for row in (3, 4, 5) for column in (3, 4, 5)}
    assert np.allclose(moved.sum(dim=(1, 2, 3)).numpy(), 1.0)
