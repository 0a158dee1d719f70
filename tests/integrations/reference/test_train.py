from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from integrations.reference.case import Amp, Augmentation, Family, Fit, find_case  # noqa: E402 -- needs torch
from integrations.reference.data import Splits, load_splits  # noqa: E402
from integrations.reference.models import build, forward_flops, parameter_count, weights_sha256  # noqa: E402
from integrations.reference.train import train  # noqa: E402

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
def test_the_same_fit_gives_the_same_losses_and_the_same_weights(splits: Splits, fit: Fit) -> None:
    first = train(fit, splits.train, splits.validation, device=CPU)
    torch.manual_seed(456)  # whatever the process drew before
    second = train(fit, splits.train, splits.validation, device=CPU)
    assert first.history == second.history
    assert first.weights_sha256 == second.weights_sha256


def test_every_choice_of_a_fit_reaches_the_loop(splits: Splits) -> None:
    changes = [
        {},
        {"seed": 1},
        {"batch_size": 48},
        {"grad_accum_steps": 3},
        {"learning_rate": 1e-3},
        {"weight_decay": 0.1},
        {"amp": Amp.BF16},
        {"augmentation": Augmentation.SHIFT},
        {"family": Family.LINEAR},
    ]
    hashes = {
        train(replace(SHORT, epochs=1, **change), splits.train, splits.validation, device=CPU).weights_sha256
        for change in changes
    }
    assert len(hashes) == len(changes)


def test_training_learns_and_says_what_it_cost(splits: Splits) -> None:
    trained = train(SHORT, splits.train, splits.validation, device=CPU)
    assert trained.history[-1].train_loss < trained.history[0].train_loss / 3
    assert trained.history[-1].validation_accuracy > 0.8
    assert [epoch.number for epoch in trained.history] == [1, 2, 3]
    assert trained.cost.samples_per_s > 0
    assert 0 < trained.cost.input_stall_share < 1
    assert trained.cost.peak_memory_mb > 50
    assert trained.device == "cpu"
    assert trained.parameters == parameter_count(trained.model)


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
