"""Named conditions on studies: a parent run whose children vary one thing and keep the rest equal.

Each takes the ``World`` and the id of the parent run; gives True or False. Children are the runs whose tag
``mlflow.parentRunId`` is the parent. The parameter ``seed`` is never a difference, because repeats must differ in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction

from maturity.keyed import number_of
from maturity.lineage import evaluation_digests, training_digests
from maturity.world import World

_LEAST_ARMS = 3
_WITHIN = Fraction(11, 10)
_COMMITS = ("mlflow.source.git.commit", "dlemm.git.commit")


def params_of(world: World, run: str) -> dict[str, str]:
    """All parameters of a run except the seed, each once, whatever it is called."""
    params = world.facts.names.one_name(world.params_of_run.get(run, {}))
    return {key: value for key, value in params.items() if key != "seed"}


def factor_of(world: World, run: str) -> str | None:
    """The parameter an ablation run varies: tag ``dlemm.ablation.factor`` of the run or of its parent."""
    tags = world.run_tags.of("dlemm.ablation.factor")
    found = tags.get(run, tags.get(world.parents.get(run, "")))
    return world.facts.names.our_param(found.strip()) if found else None


def one_factor_children(world: World, parent: str) -> bool:
    """At least three children; each differs from the control in exactly the factor it names; controls are alike."""
    children = world.children.get(parent, ())
    if len(children) < _LEAST_ARMS:
        return False
    roles = world.run_tags.of("dlemm.role")
    params = {run: params_of(world, run) for run in children}
    controls = [run for run in children if roles.get(run) == "control"]
    if not controls or any(params[run] != params[controls[0]] for run in controls):
        return False
    control = params[controls[0]]
    arms = [run for run in children if run not in controls]
    return bool(arms) and all(_different(params[run], control) == {factor_of(world, run)} for run in arms)


def _different(one: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


def same_evaluation_data(world: World, parent: str) -> bool:
    """All children, at least two, were evaluated on the same digests."""
    digests = {evaluation_digests(world, run) for run in world.children.get(parent, ())}
    return len(world.children.get(parent, ())) > 1 and len(digests) == 1 and digests != {frozenset()}


def equal_budget_children(world: World, parent: str) -> bool:
    """The budgets of all children (metric ``cost/gpu_hours``, else param ``budget``) are within 10 % of the least."""
    hours, declared = world.run_metrics.of("cost/gpu_hours"), world.run_params.of("budget")
    children = world.children.get(parent, ())
    for budgets in (
        [Fraction(repr(float(hours[run]))) if run in hours else None for run in children],
        [number_of(declared.get(run)) for run in children],
    ):
        known = [budget for budget in budgets if budget is not None]
        if len(known) == len(children) > 1:
            return min(known) > 0 and max(known) <= _WITHIN * min(known)
    return False


def data_only_children(world: World, parent: str) -> bool:
    """Children with the same parameters and the same commit, trained on different data."""
    children = world.children.get(parent, ())
    commits = {_commit(world, run) for run in children}
    params = {tuple(sorted(params_of(world, run).items())) for run in children}
    digests = [training_digests(world, run) for run in children]
    alike = len(commits) == len(params) == 1 and commits != {None}
    return alike and all(digests) and len(set(digests)) > 1


def _commit(world: World, run: str) -> str | None:
    return next((found[run] for key in _COMMITS if run in (found := world.run_tags.of(key))), None)


HOLDS: Mapping[str, Callable[[World, str], bool | None]] = {
    "one_factor_children": one_factor_children,
    "same_evaluation_data": same_evaluation_data,
    "equal_budget_children": equal_budget_children,
    "data_only_children": data_only_children,
}

CANDIDATES: Mapping[str, Callable[[World], Iterable[str]]] = dict.fromkeys(HOLDS, lambda world: world.children)
"""A run without children is no study."""
