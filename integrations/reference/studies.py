"""Controlled studies of a design: one factor at a time with seeds, families at equal budget, techniques, searches.

Every variant is really trained and judged on validation rows; the test rows are kept for releases. Results are plain
numbers, so that they can be kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from integrations.reference import counting, judging
from integrations.reference.engine import Recipe, fit
from integrations.reference.stories.base import Data, Story

EPOCH_FLOPS = 2e8
"""Forward operations that an epoch of a study may take; decides on how many rows it trains."""
LEAST_ROWS = 150
DEFAULT = "default"
"""What a factor of the network is logged as that is not set."""
TECHNIQUES: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "grad_accum": {"grad_accum_steps": 4},
    "amp": {"amp": "bf16"},
    "grad_checkpoint": {"grad_checkpointing": True},
}
"""Techniques of training to what they change in the recipe."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One design: how it is trained, how its rows are augmented, and its factors of ``Story.build``."""

    recipe: Recipe
    augmentation: str = "none"
    factors: Mapping[str, Any] = field(default_factory=dict)

    def changed(self, factor: str, value: Any) -> Variant:
        """The same with one factor changed: a field of the recipe, the augmentation, or a factor of the network, which
        is left to the network's own default by ``default``."""
        if factor == "augmentation":
            return replace(self, augmentation=str(value))
        if factor in Recipe.__dataclass_fields__:
            return replace(self, recipe=replace(self.recipe, **{factor: value}))
        if value == DEFAULT:
            return replace(self, factors={key: own for key, own in self.factors.items() if key != factor})
        return replace(self, factors={**self.factors, factor: value})

    def value(self, factor: str) -> str:
        """What a factor is set to, as it is logged; a factor of the network that is not set is ``default``."""
        if factor == "augmentation":
            return self.augmentation
        if factor in Recipe.__dataclass_fields__:
            return str(getattr(self.recipe, factor))
        return str(self.factors.get(factor, DEFAULT))

    def params(self, factors: Iterable[str] = ()) -> dict[str, str]:
        """All parameters; ``factors`` are named even where they are not set, so that variants can be compared."""
        own = {factor: self.value(factor) for factor in [*self.factors, *factors]}
        accelerated = {"opt.amp": self.recipe.amp, "opt.grad_accum_steps": str(self.recipe.grad_accum_steps)}
        return {**self.recipe.params(), "augmentation": self.augmentation, **accelerated, **own}


def study_rows(story: Story, data: Data) -> Data:
    """The first rows of some data, as many as the budget of an epoch allows."""
    rows = max(LEAST_ROWS, int(EPOCH_FLOPS / max(counting.flops(story.build(), story.shape), 1)))
    return data if rows >= len(data) else data.take(np.arange(rows), f"{data.name}-study")


def measured(story: Story, variant: Variant, data: Data) -> dict[str, float]:
    """Train a variant once and measure it: quality on validation rows, gap, size, operations, cost, memory."""
    validation = story.validation()
    fitted = fit(
        variant.recipe,
        lambda: story.build(**variant.factors),
        data.x,
        data.y,
        validation.x,
        validation.y,
        augment=story.augment(variant.augmentation),
    )
    predict, epochs = judging.predictor(fitted.model), len(fitted.history)
    rows = slice(0, variant.recipe.batch_size)
    memory = counting.step_memory_mb(
        story.build(**variant.factors).to(next(fitted.model.parameters()).device),
        data.x[rows],
        data.y[rows],
        micro_batches=variant.recipe.grad_accum_steps,
        bf16=variant.recipe.amp == "bf16",
        recompute=variant.recipe.grad_checkpointing,
    )
    return {
        story.primary: story.score(validation.y, predict(validation.x)),
        "eval/generalisation_gap": judging.generalisation_gap(story, data, validation, predict),
        "eval/validation_loss": fitted.history[fitted.best_epoch - 1]["validation_loss"],
        "train/loss_first_epoch": fitted.history[0]["train_loss"],
        "train/epochs": float(epochs),
        "train/throughput_samples_per_s": fitted.cost["samples_per_s"],
        "train/peak_memory_mb": memory,
        "train/cpu_seconds": fitted.cost["cpu_s"],
        "train/flops": float(counting.training_flops(fitted.model, story.shape, len(data), epochs)),
        "model/param_count": float(counting.parameters(fitted.model)),
        "model/flops": float(counting.flops(fitted.model, story.shape)),
        "model/size_mb": counting.size_bytes(fitted.model) / counting.MB,
    }


def effect(control: Sequence[float], tested: Sequence[float]) -> tuple[float, float, float]:
    """Mean paired difference, tested less control, with its 95 % interval by Student's t (1908): mean, low, high.

    The pairs share their seed. Raises ``ValueError`` with fewer than two pairs, of which no interval is known.
    """
    from scipy.stats import t

    gains = np.asarray(tested, dtype=np.float64) - np.asarray(control, dtype=np.float64)
    if len(gains) < 2:
        raise ValueError("an interval needs two pairs at least")
    half = float(t.ppf(0.975, len(gains) - 1)) * float(gains.std(ddof=1)) / math.sqrt(len(gains))
    return float(gains.mean()), float(gains.mean()) - half, float(gains.mean()) + half


def arms_of(story: Story) -> dict[str, Any]:
    """The factors that are ablated, to the tested value: two of the story, and the augmentation or the width."""
    own = dict(list(story.ablations.items())[:2])
    return own | ({"augmentation": "none"} if story.augmentation != "none" else {"width": 0.5})


def technique_variants(base: Variant) -> dict[str, Variant]:
    """The base under each technique of training, by name."""
    return {name: replace(base, recipe=replace(base.recipe, **changes)) for name, changes in TECHNIQUES.items()}


def pareto(points: Sequence[Sequence[float]]) -> list[bool]:
    """Which points no other one beats; every objective is one of which less is better."""
    values = np.asarray(points, dtype=np.float64)
    no_worse = (values[None, :, :] <= values[:, None, :]).all(axis=2)
    better = (values[None, :, :] < values[:, None, :]).any(axis=2)
    return [bool(beaten) for beaten in ~(no_worse & better).any(axis=1)]


def search(
    story: Story, data: Data, base: Variant, space: Mapping[str, Sequence[Any]], *, trials: int, seed: int = 0
) -> list[dict[str, Any]]:
    """Search by optuna's NSGA-II over quality, size and training cost; the base is the first trial.

    ``space``: factor to its choices. Gives one row a trial: the choices, everything measured, and ``front`` when no
    other trial is better in all three. Needs optuna.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        directions=["maximize", "minimize", "minimize"],
        sampler=optuna.samplers.NSGAIISampler(population_size=max(4, trials // 3), seed=seed),
    )
    study.enqueue_trial({factor: _choice(base.value(factor), choices) for factor, choices in space.items()})
    rows: list[dict[str, Any]] = []
    for _ in range(trials):
        trial = study.ask()
        chosen = {factor: trial.suggest_categorical(factor, list(choices)) for factor, choices in space.items()}
        variant = base
        for factor, value in chosen.items():
            variant = variant.changed(factor, value)
        values = measured(story, variant, data)
        study.tell(trial, [values[story.primary], values["model/param_count"], values["train/flops"]])
        rows.append({"chosen": chosen, "values": values})
    points = [objectives(story, row["values"]) for row in rows]
    return [{**row, "front": front} for row, front in zip(rows, pareto(points), strict=True)]


def objectives(story: Story, values: Mapping[str, float]) -> tuple[float, float, float]:
    """Quality (negated, so that less is better), parameters and training operations of a trial."""
    return -values[story.primary], values["model/param_count"], values["train/flops"]


def _choice(value: str, choices: Sequence[Any]) -> Any:
    """The choice that a logged value stands for; raises ``ValueError`` when the space does not hold it."""
    for choice in choices:
        if str(choice) == value or (value == DEFAULT and choice == 1.0):
            return choice
    raise ValueError(f"the search space {list(choices)} does not hold the design's own value {value}")


def cheapest_as_good(story: Story, rows: Sequence[Mapping[str, Any]], tolerance: float) -> Mapping[str, Any]:
    """The trial of the least training cost whose quality is that of the first trial, less ``tolerance`` at most."""
    least = rows[0]["values"][story.primary] - tolerance
    good = [row for row in rows if row["values"][story.primary] >= least]
    return min(good, key=lambda row: row["values"]["train/flops"])
