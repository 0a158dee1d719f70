import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from integrations.reference import counting, judging, studies  # noqa: E402 -- needs torch
from integrations.reference.engine import Recipe, logits  # noqa: E402
from integrations.reference.stories import find_story  # noqa: E402
from integrations.reference.stories.base import Data, Story  # noqa: E402
from integrations.reference.studies import Variant  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def story() -> Story:
    torch.set_num_threads(1)
    return find_story("digits")


@pytest.fixture(scope="module")
def rows(story: Story) -> Data:
    return story.training(-23.0).take(np.arange(64), "few")


@pytest.fixture(scope="module")
def short(story: Story) -> Variant:
    return Variant(replace(story.recipe, epochs=2, seed=1))


def test_parameters_and_operations_of_a_known_layer_are_exact() -> None:
    layer = torch.nn.Linear(8, 3)
    assert counting.parameters(layer) == 27
    assert counting.size_bytes(layer) == 27 * 4
    assert counting.flops(layer, (8,)) == 2 * 8 * 3
    assert counting.training_flops(layer, (8,), rows=10, epochs=2) == 3 * 48 * 20


def test_accumulating_gradients_takes_less_memory_than_the_whole_batch(story: Story) -> None:
    data = story.training(-11.0)
    x, y = data.x[:64], data.y[:64]
    assert counting.step_memory_mb(story.build(), x, y, micro_batches=8) < 0.8 * counting.step_memory_mb(
        story.build(), x, y
    )


def test_a_factor_is_changed_where_it_belongs(story: Story) -> None:
    base = Variant(story.recipe, "shift", {"width": 0.5})
    assert base.changed("label_smoothing", 0.1).recipe.label_smoothing == 0.1
    assert base.changed("augmentation", "none").augmentation == "none"
    assert base.changed("dropout", 0.2).factors == {"width": 0.5, "dropout": 0.2}
    assert base.changed("width", studies.DEFAULT).factors == {}
    assert base.value("dropout") == studies.DEFAULT


def test_an_arm_differs_from_the_control_in_its_factor_alone(story: Story) -> None:
    arms = studies.arms_of(story)
    control = Variant(story.recipe, story.augmentation)
    for factor, value in arms.items():
        one, other = control.params(arms), control.changed(factor, value).params(arms)
        assert {key for key in one if one[key] != other[key]} == {factor}
    assert len(arms) >= 2


def test_the_effect_of_equal_gains_has_no_width_and_that_of_two_follows_student() -> None:
    assert studies.effect([0.5, 0.6, 0.7], [0.6, 0.7, 0.8]) == pytest.approx((0.1, 0.1, 0.1))
    mean, low, high = studies.effect([0.0, 0.0], [0.0, 0.2])
    assert mean == pytest.approx(0.1)
    assert high - mean == pytest.approx(12.706 * math.sqrt(0.02) / math.sqrt(2), rel=1e-3)
    assert mean - low == pytest.approx(high - mean)


def test_an_effect_of_one_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="two pairs"):
        studies.effect([0.5], [0.6])


def test_a_variant_is_measured_alike_each_time_but_for_its_times(story: Story, rows: Data, short: Variant) -> None:
    first, second = (studies.measured(story, short, rows) for _ in range(2))
    timed = {"train/throughput_samples_per_s", "train/cpu_seconds"}
    assert {k: v for k, v in first.items() if k not in timed} == {k: v for k, v in second.items() if k not in timed}
    assert first["train/epochs"] == 2
    assert first["model/param_count"] == counting.parameters(story.build())


def test_every_technique_learns_the_same_in_the_first_epoch(story: Story, rows: Data, short: Variant) -> None:
    losses = {
        name: studies.measured(story, variant, rows)["train/loss_first_epoch"]
        for name, variant in studies.technique_variants(short).items()
    }
    assert len(losses) >= 3
    assert losses["grad_checkpoint"] == losses["none"]
    assert losses["grad_accum"] == pytest.approx(losses["none"], rel=1e-4)
    assert losses["amp"] == pytest.approx(losses["none"], rel=0.05)
    assert losses["amp"] != losses["none"]


def test_only_points_that_nothing_beats_are_on_the_front() -> None:
    assert studies.pareto([(1, 3), (2, 2), (3, 1), (3, 3), (2, 2)]) == [True, True, True, False, True]


def test_a_search_starts_from_the_design_and_marks_its_front(story: Story, rows: Data, short: Variant) -> None:
    space = {"learning_rate": [short.recipe.learning_rate, 0.01], "width": [0.5, 1.0]}
    found = studies.search(story, rows, short, space, trials=3, seed=0)
    assert found[0]["chosen"] == {"learning_rate": short.recipe.learning_rate, "width": 1.0}
    assert len(found) == 3
    assert any(row["front"] for row in found)
    cheapest = studies.cheapest_as_good(story, found, tolerance=1.0)
    assert cheapest["values"]["train/flops"] == min(row["values"]["train/flops"] for row in found)


def test_a_search_space_without_the_design_itself_is_refused(story: Story, rows: Data, short: Variant) -> None:
    with pytest.raises(ValueError, match="does not hold"):
        studies.search(story, rows, short, {"learning_rate": [9.0]}, trials=1)


def test_a_study_never_trains_on_more_rows_than_its_budget(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "EPOCH_FLOPS", 1.0)
    assert len(studies.study_rows(story, story.training(-11.0))) == studies.LEAST_ROWS


def test_log_loss_of_even_logits_is_that_of_guessing() -> None:
    y = np.array([0, 1, 2, 3])
    assert judging.log_loss(y, np.zeros((4, 4), np.float32)) == pytest.approx(math.log(4))


def test_the_interval_holds_the_metric_and_narrows_to_it_without_mistakes(story: Story) -> None:
    test = story.test()
    perfect = np.eye(10, dtype=np.float32)[test.y] * 5
    assert judging.interval(story, test.y, perfect) == (1.0, 1.0)
    wrong = perfect.copy()
    wrong[::4] = np.roll(wrong[::4], 1, axis=1)
    low, high = judging.interval(story, test.y, wrong)
    assert 0.68 < low < 0.75 < high < 0.82


def test_slices_and_groups_are_judged_apart_and_small_ones_left_out(story: Story) -> None:
    y = np.arange(40) % 10
    good = np.eye(10, dtype=np.float32)[y] * 5
    good[:20] = np.roll(good[:20], 1, axis=1)  # all of the first half wrong
    first = np.arange(40) < 20
    groups = {"first": first, "second": ~first, "tiny": np.arange(40) < 3}
    data = Data("d", np.zeros((40, 1, 8, 8), np.float32), y, slices={"first": first}, groups=groups)
    fairness = judging.by_group(story, data, good)
    assert fairness["fairness/first/accuracy"] == 0.0
    assert fairness["fairness/second/accuracy"] == 1.0
    assert not any("/tiny/" in key for key in fairness)
    assert judging.largest_gap(story, fairness) == 1.0
    assert judging.by_slice(story, data, good)["eval/slice/first/accuracy"] == 0.0


def test_a_gap_needs_two_groups(story: Story) -> None:
    with pytest.raises(ValueError, match="two groups"):
        judging.largest_gap(story, {"fairness/one/accuracy": 1.0, "fairness/one/log_loss": 0.1})


def test_every_stress_is_judged(story: Story) -> None:
    model = story.build()
    found = judging.under_stress(story, judging.predictor(model))
    assert set(found) == {f"eval/robust/{stress}" for stress in story.stresses}
    stress = story.stresses[0]
    data = story.stressed(stress)
    assert found[f"eval/robust/{stress}"] == story.score(data.y, logits(model, data.x))


def test_recipes_of_a_study_are_valid(story: Story) -> None:
    for variant in studies.technique_variants(Variant(story.recipe)).values():
        assert isinstance(variant.recipe, Recipe)
