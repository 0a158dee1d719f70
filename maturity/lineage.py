"""Named conditions on where things come from: splits, evaluations, approvals, reproductions, baselines.

Each takes the ``World`` and an id; gives True, False, or None when the facts do not tell. Where the facts are silent
the strict reading holds: what cannot be shown is not so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction

from maturity.keyed import number_of, present
from maturity.world import STAGE, World, names_in, source_of

TRAINING = frozenset({"training", "train"})
EVALUATION = frozenset({"test", "eval", "evaluation"})
_VALIDATION = frozenset({"validation", "val"})
_HELD_BACK = EVALUATION | _VALIDATION
_ONE_PERCENT, _TEN_PERCENT = Fraction(1, 100), Fraction(1, 10)
_SEPARATORS = re.compile(r"[,;/|&+\n]|\band\b|、|，|；")
_GREATER = ("dlemm.primary_metric.greater_is_better", "mlflow.experiment.primaryMetric.greaterIsBetter")


def contexts(world: World, run: str) -> list[tuple[str, str]]:
    """Context (lower case, may be empty) and digest (may be empty) of each dataset input of a run."""
    rows = (world.input_rows[key] for key in world.run_inputs.get(run, ()))
    return [((row["context"] or "").strip().lower(), (row["digest"] or "").strip()) for row in rows]


def evaluation_digests(world: World, run: str) -> frozenset[str]:
    """Digests a run used for evaluation and for nothing else."""
    pairs = contexts(world, run)
    other = {digest for context, digest in pairs if context not in EVALUATION}
    return frozenset(digest for context, digest in pairs if context in EVALUATION and digest) - other


def training_digests(world: World, run: str) -> frozenset[str]:
    """Digests a run trained on: context training, or none given."""
    return frozenset(d for context, d in contexts(world, run) if d and (context in TRAINING or not context))


def separate_splits(world: World, run: str) -> bool:
    """A training input and a held-back one, every input with a digest, and no digest under two contexts.

    ``train`` is ``training``, because MLflow's autologging writes it so. An input without a context may have been
    trained on, so its digest must not be held back elsewhere; it does not stand for a declared training input.
    """
    pairs = contexts(world, run)
    by_digest: dict[str, set[str]] = {}
    for context, digest in pairs:
        by_digest.setdefault(digest, set()).add(_kind(context))
    found = {context for context, _ in pairs}
    clean = all(digest for _, digest in pairs) and all(len(names) == 1 for names in by_digest.values())
    return clean and not found.isdisjoint(TRAINING) and not found.isdisjoint(_HELD_BACK)


def _kind(context: str) -> str:
    """One name for the spellings of a context; none given means training."""
    if not context or context in TRAINING:
        return "training"
    return "eval" if context in EVALUATION - {"test"} else "validation" if context in _VALIDATION else context


def held_out_evaluation(world: World, version: str) -> bool:
    """The source run, or a linked EVALUATE run, logs the primary metric on data none of which was trained on.

    A source run that names no training data, or an input of it without a digest, cannot show that the evaluation was
    held out; nor can an evaluation of which one input has no digest or is not held back.
    """
    source = world.source_run(version)
    trained = _trained_on(world, source) if source else frozenset()
    if not trained or "" in trained:
        return False
    return any(
        _shows_held_out(world, run, source, trained)
        for run in world.evidence_runs.get(version, ())
        if run == source or (world.run_tags.of(STAGE).get(run) == "evaluate" and world.in_window(_start(world, run)))
    )


def _shows_held_out(world: World, run: str, source: str | None, trained: frozenset[str]) -> bool:
    metric = world.primary_metric(run, source)
    digests = {digest for context, digest in contexts(world, run) if context in EVALUATION}
    clean = bool(digests) and "" not in digests and digests.isdisjoint(trained | _trained_on(world, run))
    return clean and digests == evaluation_digests(world, run) and run in world.run_metrics.of(metric or "")


def _trained_on(world: World, run: str) -> frozenset[str]:
    """Digests of every input of a run that is not held back; an input without a digest gives an empty one."""
    return frozenset(digest for context, digest in contexts(world, run) if context not in _HELD_BACK)


def _start(world: World, run: str) -> int | None:
    start: int | None = world.run_fields["start_at"].get(run)
    return start


def second_person(world: World, version: str) -> bool | None:
    """The approver is neither who registered the version nor who started its source run; None when both are unknown.

    Names are compared without regard to case: the same person in another spelling is not a second person, and a list
    of approvers that holds a maker is not one either.
    """
    approver = world.version_tags.of("dlemm.approved_by").get(version)
    if approver is None:
        return False
    run = world.source_run(version)
    makers = [world.version_fields["user"].get(version), world.run_tags.of("mlflow.user").get(run or "")]
    known = {str(maker).strip().casefold() for maker in makers if present(maker)}
    named = {name.strip().casefold() for text in (approver, *names_in(approver)) for name in _SEPARATORS.split(text)}
    return known.isdisjoint({approver.casefold()} | named) if known else None


def reproduced(world: World, run: str) -> bool:
    """The primary metric differs from the original's by at most the relative tolerance (1 % unless declared).

    More than 10 % is no tolerance: almost anything would be reproduced.
    """
    tags = world.run_tags
    original = f"{source_of(run)}:{tags.of('dlemm.reproduces').get(run, '').strip()}"
    metric = world.primary_metric(run, original if original in world.runs else None)
    if original not in world.runs or original == run or not metric:
        return False
    values = world.run_metrics.of(metric)
    declared = tags.of("dlemm.repro.tolerance").get(run)
    tolerance = number_of(declared) if declared else _ONE_PERCENT
    if run not in values or original not in values or tolerance is None or tolerance > _TEN_PERCENT:
        return False
    before, after = (Fraction(repr(float(values[key]))) for key in (original, run))
    return abs(after - before) <= tolerance * abs(before)


def gate_before_training(world: World, run: str) -> bool:
    """``dq/expectations_failed`` was logged no later than the last value of any metric under ``train/``.

    A source tells the time of a metric's last value only, so this is the earliest moment that can be compared. A run
    without such a metric cannot show it.
    """
    gate = world.metric_times.of("dq/expectations_failed").get(run)
    if run not in world.run_metrics.of("dq/expectations_failed") or gate is None:
        return False
    found = (world.metric_times.of(key).get(run) for key in world.metric_times.keys_like("train/**"))
    times = [time for time in found if time is not None]
    return bool(times) and gate <= min(times)


def better_than_baseline(world: World, version: str) -> bool | None:
    """The primary metric beats every baseline run of the experiment that was evaluated on the same data.

    None when nothing says whether greater is better (tag ``dlemm.primary_metric.greater_is_better`` of the run, or of
    its experiment, or MLflow's own experiment tag).
    """
    source = world.source_run(version)
    metric = world.primary_metric(source) if source else None
    if source is None or metric is None:
        return False
    values = world.run_metrics.of(metric)
    own = next((run for run in world.evidence_runs[version] if run in values and evaluation_digests(world, run)), None)
    if own is None:
        return False
    baselines = [run for run in _baselines(world, source) if run in values and run != own and _same(world, own, run)]
    greater = _greater_is_better(world, source)
    if not baselines or greater is None:
        return None if baselines else False
    sign = 1 if greater else -1
    return all(sign * values[own] > sign * values[run] for run in baselines)


def _baselines(world: World, source: str) -> list[str]:
    experiment = world.run_fields["experiment"].get(source)
    roles = world.run_tags.of("dlemm.role")
    return [run for run in world.experiment_runs.get(str(experiment), ()) if roles.get(run) == "baseline"]


def _same(world: World, one: str, other: str) -> bool:
    return not evaluation_digests(world, one).isdisjoint(evaluation_digests(world, other))


def _greater_is_better(world: World, run: str) -> bool | None:
    experiment = str(world.run_fields["experiment"].get(run))
    texts = [
        world.run_tags.of(_GREATER[0]).get(run),
        *(world.experiment_tags.of(key).get(experiment) for key in _GREATER),
    ]
    said = next((text.strip().lower() for text in texts if text), "")
    return {"true": True, "false": False}.get(said)


def same_format(world: World, version: str) -> bool:
    """The version declares that it is served in the format it was trained in (compared without regard to case)."""
    tags = (world.version_tags.of(f"dlemm.{name}_format").get(version) for name in ("serving", "training"))
    serving, training = (tag.casefold() if tag else None for tag in tags)
    return serving is not None and serving == training


HOLDS: Mapping[str, Callable[[World, str], bool | None]] = {
    "separate_splits": separate_splits,
    "same_format": same_format,
    "held_out_evaluation": held_out_evaluation,
    "second_person": second_person,
    "reproduced": reproduced,
    "gate_before_training": gate_before_training,
    "better_than_baseline": better_than_baseline,
}

CANDIDATES: Mapping[str, Callable[[World], Iterable[str]]] = {
    "separate_splits": lambda world: world.run_inputs.owning(2),
    "reproduced": lambda world: world.run_tags.of("dlemm.reproduces"),
    "gate_before_training": lambda world: world.run_metrics.of("dq/expectations_failed"),
}
"""Of the conditions on runs those that can hold at all: the rest need not be asked one by one."""
