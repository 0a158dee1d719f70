import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402 -- needs torch

from integrations.reference import loop  # noqa: E402
from integrations.reference.engine import Fitted, Recipe, fit, pick_device  # noqa: E402
from integrations.reference.errors import (  # noqa: E402
    CheckpointError,
    DivergedError,
    EmptyClassError,
    PipelineError,
    RecipeError,
    TrainingDataError,
)
from integrations.reference.loop import Loop  # noqa: E402
from integrations.reference.ranks import Alone  # noqa: E402
from integrations.reference.recompute import activations_recomputed  # noqa: E402
from integrations.reference.stories import find_story  # noqa: E402

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
LINEAR = Recipe(epochs=6, patience=6, learning_rate=1e-2)
EVERYTHING = Recipe(
    seed=3, epochs=5, patience=5, batch_size=16, grad_accum_steps=2, clip_norm=0.5, schedule="cosine", warmup_steps=4
)
"""State in all places: a schedule, a generator that augments, dropout and batch statistics (see ``awkward``)."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread_and_one_batch_at_once():
    before, together = torch.get_num_threads(), loop.BLOCK_BYTES
    torch.set_num_threads(1)
    loop.BLOCK_BYTES = 1
    yield
    torch.set_num_threads(before)
    loop.BLOCK_BYTES = together


def rows(count: int = 120, *, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, 6) around one point a class."""
    draw = np.random.default_rng(seed)
    y = np.arange(count) % classes
    x = draw.normal(size=(count, 6)) + 1.5 * np.eye(6)[y]
    return x.astype(np.float32), y.astype(np.int64)


def awkward() -> nn.Module:
    """A network with dropout and batch statistics."""
    return nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)
    )


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))


def one_step(moving: Loop, count: int) -> None:
    """A step over the first rows."""
    moving.step(torch.arange(count), moving.feed([torch.arange(count)]))


class Jitter:
    """An augmentation that draws random numbers, and at one call does something worse."""

    def __init__(self, at_call: int = 0, fault: Callable[[], object] = lambda: None) -> None:
        self.calls, self.at_call, self.fault = 0, at_call, fault

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        self.calls += 1
        if self.calls == self.at_call:
            self.fault()
        return x + 0.1 * torch.randn(x.shape, generator=generator)


IN_EPOCH_3 = 2 * 8 + 5
"""A call in the middle of epoch 3, where batches are drawn one at a time: 120 rows are 8 batches."""


def trained(recipe: Recipe, network: Callable[[], nn.Module] = plain, **options: object) -> Fitted:
    return fit(recipe, network, *rows(), *rows(60, seed=1), device=CPU, **options)  # type: ignore[arg-type]


def same(one: Fitted, other: Fitted) -> bool:
    """Whether two trainings gave the same weights and losses, bit by bit."""
    losses = [[(row["train_loss"], row["validation_loss"]) for row in fitted.history] for fitted in (one, other)]
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    return losses[0] == losses[1] and all(torch.equal(left, right) for left, right in pairs)


@pytest.mark.parametrize(
    ("family", "seed", "loss"),
    [("linear", 0, 1.12725), ("linear", 1, 1.15837), ("cnn", 0, 0.05335), ("cnn", 1, 0.06378), ("cnn", 2, 0.05788)],
)
def test_the_loss_under_a_fixed_seed_is_what_it_always_was(family: str, seed: int, loss: float) -> None:
    """With other vector instructions the sums differ by about 1e-7; other seeds lie thousands of times further away."""
    story = find_story("digits")
    training, validation = story.training(-12.0), story.validation()
    recipe = replace(story.recipe, seed=seed, epochs=6, patience=6)
    fitted = fit(recipe, lambda: story.build(family), training.x, training.y, validation.x, validation.y, device=CPU)
    assert fitted.history[-1]["train_loss"] == pytest.approx(loss, abs=1e-3)


@pytest.mark.parametrize("change", [{}, {"amp": "bf16"}, {"grad_checkpointing": True}])
def test_the_same_recipe_gives_the_same_weights_whatever_the_process_drew_before(change: dict) -> None:
    recipe = replace(EVERYTHING, epochs=2, **change)
    first = trained(recipe, awkward, augment=Jitter())
    torch.rand(7)
    assert same(first, trained(recipe, awkward, augment=Jitter()))


def test_batches_that_are_drawn_together_are_those_that_are_drawn_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = trained(EVERYTHING, awkward)
    monkeypatch.setattr(loop, "BLOCK_BYTES", 2**20)
    calls = Jitter()
    assert same(alone, trained(EVERYTHING, awkward))
    trained(EVERYTHING, awkward, augment=calls)
    assert calls.calls == EVERYTHING.epochs  # eight batches at once are augmented by one call


def test_another_seed_gives_other_weights() -> None:
    assert not same(trained(replace(LINEAR, epochs=1)), trained(replace(LINEAR, epochs=1, seed=1)))


@pytest.mark.parametrize("count", [32, 30])  # 30 rows do not divide evenly by four
def test_accumulated_gradients_equal_those_of_the_big_batch(count: int) -> None:
    gradients = []
    for steps in (1, 4):
        torch.manual_seed(7)
        recipe = replace(LINEAR, grad_accum_steps=steps, label_smoothing=0.1, class_weights=(1.0, 2.0, 3.0))
        moving = Loop(recipe, plain(), rows(), rows(), device=CPU, rank=Alone())
        one_step(moving, count)
        gradients.append(torch.cat([weights.grad.flatten() for weights in moving.model.parameters()]))
    assert float((gradients[0] - gradients[1]).abs().max()) <= 1e-6
    assert float(gradients[0].abs().max()) > 1e-3  # there was something to compare


@pytest.mark.parametrize("network", [awkward, lambda: nn.Sequential(awkward(), nn.Identity())])
def test_recomputing_activations_changes_no_bit(network: Callable[[], nn.Module]) -> None:
    recipe = replace(EVERYTHING, epochs=2)
    fitted = trained(replace(recipe, grad_checkpointing=True), network)
    assert same(trained(recipe, network), fitted)
    assert "forward" not in vars(fitted.model)


def test_recomputing_activations_keeps_fewer_of_them() -> None:
    kept = []
    for active in (False, True):
        saved: list[int] = []
        deep = nn.Sequential(*[layer for _ in range(8) for layer in (nn.Linear(6, 6), nn.Tanh())], nn.Linear(6, 3))
        story = Loop(replace(LINEAR, grad_checkpointing=active), deep, rows(), rows(), device=CPU, rank=Alone())
        with (
            activations_recomputed(deep, active=active),
            torch.autograd.graph.saved_tensors_hooks(
                lambda value, seen=saved: (seen.append(value.numel()), value)[1], lambda value: value
            ),
        ):
            story.forward(story.x)
        kept.append(sum(saved))
    assert kept[1] < kept[0] / 2


def test_clipping_bounds_the_gradient() -> None:
    norms = []
    for bound in (0.0, 0.01):
        torch.manual_seed(7)
        moving = Loop(replace(LINEAR, clip_norm=bound), plain(), rows(), rows(), device=CPU, rank=Alone())
        one_step(moving, 32)
        norms.append(float(torch.cat([weights.grad.flatten() for weights in moving.model.parameters()]).norm()))
    assert norms[0] > 0.1
    assert norms[1] == pytest.approx(0.01, rel=1e-3)


def test_the_learning_rate_rises_and_falls_as_the_schedule_says() -> None:
    recipe = Recipe(learning_rate=1.0, schedule="cosine", warmup_steps=2)
    assert [recipe.rate(step, 6) for step in range(6)] == pytest.approx(
        [0.5, 1.0, 1.0, 0.853553, 0.5, 0.146447], rel=1e-5
    )
    assert [replace(recipe, schedule="linear").rate(step, 6) for step in (2, 4)] == pytest.approx([1.0, 0.5])
    fitted = trained(replace(LINEAR, epochs=2, schedule="linear"))
    assert fitted.history[1]["learning_rate"] == pytest.approx(1e-2 / 8)  # the last of 8 steps


def test_training_stops_when_the_validation_loss_no_longer_falls_and_keeps_the_best() -> None:
    fitted = trained(replace(LINEAR, epochs=200, patience=2, learning_rate=0.1))
    losses = [row["validation_loss"] for row in fitted.history]
    assert len(losses) < 200
    assert fitted.best_epoch == 1 + losses.index(min(losses)) == len(losses) - 2
    again = Loop(LINEAR, fitted.model, rows(), rows(60, seed=1), device=CPU, rank=Alone()).validate()
    assert again["validation_loss"] == pytest.approx(min(losses), rel=1e-6)


def _train_and_be_killed(folder: Path) -> None:
    """In a child process: killed without notice in the middle of epoch 3."""
    torch.set_num_threads(1)
    loop.BLOCK_BYTES = 1  # in this process too
    trained(EVERYTHING, awkward, augment=Jitter(IN_EPOCH_3, lambda: os.kill(os.getpid(), signal.SIGKILL)),
            checkpoints=folder)  # fmt: skip


def test_a_training_that_was_killed_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=_train_and_be_killed, args=(tmp_path,))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    whole = trained(EVERYTHING, awkward, augment=Jitter())
    resumed = trained(EVERYTHING, awkward, augment=Jitter(), checkpoints=tmp_path)
    assert resumed.extra["resumed_from"] == 2
    assert same(resumed, whole)
    assert len(resumed.history) == 5


def _server_gone() -> None:
    raise ConnectionError("the tracking server is gone")


@pytest.mark.parametrize(
    ("fault", "error"),
    [(lambda: signal.raise_signal(signal.SIGINT), KeyboardInterrupt), (_server_gone, ConnectionError)],
)
def test_an_interrupted_training_goes_on_to_the_same_weights(
    tmp_path: Path, fault: Callable[[], None], error: type[BaseException]
) -> None:
    with pytest.raises(error):
        trained(EVERYTHING, awkward, augment=Jitter(IN_EPOCH_3, fault), checkpoints=tmp_path)
    resumed = trained(EVERYTHING, awkward, augment=Jitter(), checkpoints=tmp_path)
    assert resumed.extra["resumed_from"] == 2
    assert same(resumed, trained(EVERYTHING, awkward, augment=Jitter()))


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    first = trained(LINEAR, checkpoints=tmp_path)
    told: list[dict[str, float]] = []
    again = trained(LINEAR, checkpoints=tmp_path, on_epoch=told.append)
    assert same(first, again)
    assert told == []
    assert again.cost == first.cost


def test_a_checkpoint_of_another_training_is_refused_by_what_differs(tmp_path: Path) -> None:
    trained(LINEAR, checkpoints=tmp_path)
    with pytest.raises(CheckpointError, match="differs in learning_rate, network"):
        trained(replace(LINEAR, learning_rate=1.0), awkward, checkpoints=tmp_path)


def test_every_epoch_is_told_with_its_metrics() -> None:
    told: list[dict[str, float]] = []
    fitted = trained(LINEAR, on_epoch=told.append, measure=lambda y, logits: {"rows": len(y), "width": logits.shape[1]})
    assert told == fitted.history
    assert [row["epoch"] for row in told] == [1, 2, 3, 4, 5, 6]
    assert {"train_loss", "validation_loss", "validation_accuracy", "learning_rate", "step_s"} <= told[0].keys()
    assert (told[0]["rows"], told[0]["width"]) == (60, 3)
    assert told[-1]["validation_accuracy"] > told[0]["validation_accuracy"]


def test_a_training_says_what_it_cost() -> None:
    fitted = trained(LINEAR, profile=True)
    assert fitted.cost["duration_s"] > 0
    assert fitted.cost["samples_per_s"] > 0
    assert 0 < fitted.cost["input_stall_share"] < 1
    assert fitted.cost["peak_memory_mb"] > 50
    parameters = 6 * 16 + 16 + 16 * 3 + 3
    assert fitted.extra["state_mb"] * 1e6 == pytest.approx(3 * 4 * parameters, abs=64)  # weights and two moments
    assert fitted.extra["system"][-1]["system/system_memory_usage_megabytes"] > 50
    spent = [row["self_cpu_ms"] for row in fitted.extra["profile"]]
    assert spent == sorted(spent, reverse=True)
    assert any(row["operator"] == "aten::addmm" for row in fitted.extra["profile"])


def test_training_leaves_the_settings_of_the_process_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    trained(replace(LINEAR, epochs=1))
    assert torch.equal(torch.rand(1), expected)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_loss_that_is_no_number_is_told_with_its_place() -> None:
    with pytest.raises(DivergedError, match=r"loss is (nan|inf) at epoch 1, step \d of 8, learning rate 1e\+30"):
        trained(replace(LINEAR, batch_size=16, learning_rate=1e30))


def test_rows_that_are_no_numbers_are_named_as_the_cause() -> None:
    x, y = rows()
    x[3, 2] = np.nan
    with pytest.raises(DivergedError, match=r"epoch 1, .* 1 training rows hold values that are not finite"):
        fit(LINEAR, plain, x, y, *rows(60), device=CPU)


X, Y = rows()


@pytest.mark.parametrize(
    ("data", "error", "told"),
    [
        ((X[Y > 0], Y[Y > 0], X, Y), EmptyClassError, "no training row of class 0;"),
        ((X[:0], Y[:0], X, Y), TrainingDataError, "training data has no rows"),
        ((X, Y, X[:0], Y[:0]), TrainingDataError, "validation data has no rows"),
        ((X, Y[:-1], X, Y), TrainingDataError, r"120 rows but classes of shape \(119,\)"),
        ((X[:, :5], Y, X[:, :5], Y), TrainingDataError, r"does not take rows of shape \(5,\)"),
        ((X, Y, X[:, :5], Y), TrainingDataError, r"shape \(6,\), validation rows \(5,\)"),
        ((X, Y + 1, X, Y), TrainingDataError, "run from 1 to 3; the network knows 0 to 2"),
    ],
)
def test_data_that_cannot_be_learnt_from_is_refused_in_one_sentence(
    data: tuple[np.ndarray, ...], error: type[PipelineError], told: str
) -> None:
    with pytest.raises(error, match=told):
        fit(LINEAR, plain, *data, device=CPU)


def test_a_class_may_be_missing_where_that_is_meant() -> None:
    fitted = fit(LINEAR, plain, X[Y > 0], Y[Y > 0], X, Y, device=CPU, missing_classes_allowed=True)
    assert len(fitted.history) == 6


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"batch_size": 0}, {"amp": "fp8"}, {"schedule": "sometimes"}, {"amp": "fp16"}]
)
def test_a_recipe_that_makes_no_training_is_refused(change: dict) -> None:
    with pytest.raises(RecipeError):
        trained(replace(LINEAR, **change))


def test_a_single_layer_has_no_activations_to_recompute() -> None:
    with pytest.raises(RecipeError, match="sequence of layers"):
        trained(replace(LINEAR, grad_checkpointing=True), lambda: nn.Linear(6, 3))


def test_the_logged_parameters_tell_any_two_recipes_apart() -> None:
    other = {"schedule": "cosine", "class_weights": (1.0, 2.0), "amp": "bf16", "grad_checkpointing": True}
    for option in fields(Recipe):
        value = other[option.name] if option.name in other else getattr(LINEAR, option.name) + 1
        changed = replace(LINEAR, **{option.name: value})
        told_apart = changed.params() != LINEAR.params()
        assert told_apart == (option.name not in ("amp", "grad_accum_steps")), option.name


def test_a_kept_training_comes_back_whole() -> None:
    fitted = trained(LINEAR)
    again = Fitted.from_plain(fitted.plain(), plain())
    assert same(fitted, again)
    assert (again.best_epoch, again.cost, again.extra) == (fitted.best_epoch, fitted.cost, fitted.extra)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("amp", ["off", "bf16", "fp16"])
def test_the_loop_learns_on_a_gpu(amp: str) -> None:
    fitted = fit(replace(LINEAR, amp=amp), plain, *rows(), *rows(60, seed=1), device=pick_device())
    assert fitted.history[-1]["validation_loss"] < fitted.history[0]["validation_loss"]
    assert fitted.extra["memory_kind"] == "allocated on the GPU"
