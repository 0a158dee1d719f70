"""Measures that need code of their own, named by ``function`` in an indicator's YAML.

Each takes the ``Populations`` and a project (None: the whole organisation) and gives a ``Tally``. All arithmetic is
exact.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from maturity.keyed import DAY, present, time_of
from maturity.populations import RETIRED, Populations
from maturity.rolls import union
from maturity.studies import factor_of
from maturity.world import STAGE, columns_of, source_of

_REPEATS = 3
_FIRST_DAYS = 30


@dataclass(frozen=True, slots=True)
class Tally:
    """What measuring gave: a value (None when nothing was observed), what it rests on, and what was left out."""

    value: Fraction | None
    n: int
    unit: str
    passing: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()
    numerator: int | None = None
    denominator: int | None = None
    details: Mapping[str, str] = field(default_factory=dict)


def share(unit: str, passing: Iterable[str], failing: Iterable[str], **details: str) -> Tally:
    """A share as a tally; its value is None when there is nothing to share."""
    good, bad = tuple(sorted(passing)), tuple(sorted(failing))
    n = len(good) + len(bad)
    return Tally(Fraction(len(good), n) if n else None, n, unit, good, bad, len(good), n, details)


def median(values: Sequence[Fraction]) -> Fraction:
    """The middle value, or the mean of the two middle ones."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _projects(world: Populations, project: str | None) -> dict[str, tuple[int | None, int | None]]:
    """Project to when its idea was accepted and when work started."""
    columns = columns_of(world.facts["projects"], "project")
    return {
        key: (columns["idea_at"][key], columns["started_at"][key])
        for key in sorted(columns["project"])
        if project in (None, key)
    }


def lead_time_known(world: Populations, project: str | None) -> Tally:
    """Of the first versions that projects released, those whose idea and production time are known, in this order.

    A project's first version is the one that went live earliest (ties: lowest id); it counts when that was in the
    window.
    """
    passing: list[str] = []
    failing: list[str] = []
    for key, (idea, _) in _projects(world, project).items():
        live = [(world.go_live[v].at, v) for v in world.go_live if world.version_fields["project"].get(v) == key]
        if live and world.in_window(min(live)[0]):
            at, version = min(live)
            (passing if idea is not None and idea <= at else failing).append(version)
    return share("version", passing, failing)


def days_to_first_baseline(world: Populations, project: str | None) -> Tally:
    """Median days from a project's start to its first baseline run, over projects whose first one lies in the window.

    A baseline before the start is no observation: one of the two dates is wrong.
    """
    roles, start = world.run_tags.texts_of("dlemm.role"), world.run_fields["start_at"]
    firsts: dict[str, int] = {}
    for run in roles.where(lambda role: role == "baseline"):
        if present(of := world.run_fields["project"].get(run)):
            firsts[of] = min(firsts.get(of, start[run]), start[run])
    days, left_out = {}, []
    for key, (_, started) in _projects(world, project).items():
        first = firsts.get(key)
        if started is not None and first is not None and first >= started and world.in_window(first):
            days[key] = Fraction(first - started, DAY)
        else:
            left_out.append(key)
    value = median(list(days.values())) if days else None
    return Tally(value, len(days), "project", tuple(sorted(days)), tuple(sorted(left_out)))


def lifecycle_decisions(world: Populations, project: str | None) -> Tally:
    """Promotions, rollbacks and retirements in the window; passing are those that name a rule and an existing run."""
    decided = [(version, "promotion") for version in world.members("RELEASED", project)]
    for tag, name in (("dlemm.rolled_back_at", "rollback"), (RETIRED, "retirement")):
        texts = world.version_tags.of(tag)
        versions = [version for version in world.members("REGISTERED", project) if version in texts]
        decided += [(version, name) for version in versions if world.in_window(time_of(texts[version]))]
    rules = world.version_tags.of("dlemm.decision.policy")
    evidence = world.version_tags.of("dlemm.decision.evidence")
    good = {
        version
        for version, _ in decided
        if version in rules and f"{source_of(version)}:{evidence.get(version, '').strip()}" in world.runs
    }
    return share(
        "decision",
        (f"{version} {name}" for version, name in decided if version in good),
        (f"{version} {name}" for version, name in decided if version not in good),
    )


def rank_correlation(world: Populations, project: str | None) -> Tally:
    """Spearman's rank correlation, over releases, of offline primary metric and ``live/primary`` of the first 30 days.

    Offline is the newest run of the version, MONITOR runs left out, that logs the primary metric; online the mean over
    MONITOR runs started within 30 days of going live. Ties get mean ranks (C. Spearman, Am. J. Psychol. 15, 1904).
    """
    pairs = {}
    for version in world.members("RELEASED", project):
        offline, online = _offline(world, version), _online(world, version)
        if offline is not None and online is not None:
            pairs[version] = (offline, online)
    left_out = tuple(version for version in world.members("RELEASED", project) if version not in pairs)
    value = spearman([a for a, _ in pairs.values()], [b for _, b in pairs.values()])
    return Tally(value, len(pairs) if value is not None else 0, "version", tuple(sorted(pairs)), left_out)


def _offline(world: Populations, version: str) -> Fraction | None:
    source, stages = world.source_run(version), world.run_tags.of(STAGE)
    for run in world.evidence_runs.get(version, ()):
        metric = world.primary_metric(run, source)
        if metric and stages.get(run) != "monitor" and run in world.run_metrics.of(metric):
            return Fraction(repr(float(world.run_metrics.of(metric)[run])))
    return None


def _online(world: Populations, version: str) -> Fraction | None:
    live, stages = world.go_live[version].at, world.run_tags.of(STAGE)
    values, start = world.run_metrics.of("live/primary"), world.run_fields["start_at"]
    found = [
        Fraction(repr(float(values[run])))
        for run in world.evidence_runs.get(version, ())
        if run in values and stages.get(run) == "monitor" and live <= start[run] <= live + _FIRST_DAYS * DAY
    ]
    return sum(found, Fraction(0)) / len(found) if found else None


def spearman(xs: Sequence[Fraction], ys: Sequence[Fraction]) -> Fraction | None:
    """Rank correlation; None with fewer than two pairs or when one side is constant. With ties rounded to 12 digits."""
    a, b = _ranks(xs), _ranks(ys)
    n = len(a)
    if n < 2:
        return None
    middle = Fraction(n + 1, 2)
    both = sum((x - middle) * (y - middle) for x, y in zip(a, b, strict=True))
    spread_a, spread_b = (sum((x - middle) ** 2 for x in side) for side in (a, b))
    if not spread_a or not spread_b:
        return None
    if spread_a == spread_b:
        return Fraction(both / spread_a)
    return Fraction(repr(round(float(both) / math.sqrt(float(spread_a * spread_b)), 12)))


def _ranks(values: Sequence[Fraction]) -> list[Fraction]:
    ordered = sorted(values)
    first = {value: ordered.index(value) + 1 for value in set(values)}
    return [Fraction(2 * first[value] + ordered.count(value) - 1, 2) for value in values]


def alert_rules(world: Populations, project: str | None) -> Tally:
    """Alert rules (params ``alert.<name>.threshold`` of MONITOR runs) whose newest record names an owner as well.

    A rule is one name in one experiment.
    """
    thresholds = world.run_params.keys_like("alert.<name>.threshold")
    having_any = union(world.run_params.of(key).ids for key in thresholds)
    runs = world.newest_first(having_any & world.ids_of("MONITOR", project))
    owned: dict[str, bool] = {}
    for key, name in sorted(thresholds.items()):
        having, owners = world.run_params.of(key), world.run_params.of(f"alert.{name}.owner")
        for run in runs:
            if run in having:
                owned.setdefault(f"{world.run_fields['experiment'].get(run)} {name}", run in owners)
    return share("alert rule", (r for r, good in owned.items() if good), (r for r, good in owned.items() if not good))


def ablation_arms(world: Populations, project: str | None) -> Tally:
    """Arms of ablations (parent × value of the factor) run with at least three different seeds."""
    seeds = world.run_params.of("seed")
    arms: dict[str, set[str]] = defaultdict(set)
    for parent in world.ids_of("ALL", project) & world.of_stage("ablation"):
        for run in world.children.get(parent, ()):
            factor = factor_of(world, run)
            value = world.run_params.of(factor).get(run) if factor else None
            if value is not None:
                arms[f"{parent} {factor}={value}"] |= {seeds[run]} if run in seeds else set()
    good = {arm for arm, found in arms.items() if len(found) >= _REPEATS}
    return share("arm", good, arms.keys() - good)


def augmentation_methods(world: Populations, project: str | None) -> Tally:
    """The most augmentation methods that one study compares, each (but ``none``) with at least three seeds."""
    seeds = world.run_params.of("seed")
    methods = world.run_params.of("augmentation")
    compared = {}
    for parent in world.ids_of("ALL", project) & world.of_stage("augmentation"):
        found: dict[str, set[str]] = defaultdict(set)
        for run in world.children.get(parent, ()):
            if run in seeds and methods.get(run, "none") != "none":
                found[methods[run]].add(seeds[run])
        compared[parent] = sum(len(distinct) >= _REPEATS for distinct in found.values())
    most = max(compared.values(), default=0)
    best = tuple(sorted(run for run, count in compared.items() if count == most > 0))
    rest = tuple(sorted(compared.keys() - set(best)))
    return Tally(Fraction(most) if compared else None, len(compared), "run", best, rest)


def augmentations_measured(world: Populations, project: str | None) -> Tally:
    """Augmentations in use by TRAIN (but ``none``) whose effect on accuracy and time a study measured."""
    methods, stages = world.run_params.of("augmentation"), world.run_tags.of(STAGE)
    used = {methods[run] for run in world.ids_of("TRAIN", project) & methods.ids} - {"none"}
    gains, times = (world.run_metrics.of(f"aug/{name}_delta_pct") for name in ("accuracy", "train_time"))
    measured = {
        method
        for run in methods.ids & gains.ids & times.ids
        if (method := methods[run]) and "augmentation" in (stages.get(run), stages.get(world.parents.get(run, "")))
    }
    return share("augmentation", used & measured, used - measured)


FUNCTIONS: Mapping[str, Callable[[Populations, str | None], Tally]] = {
    "lead_time_known": lead_time_known,
    "days_to_first_baseline": days_to_first_baseline,
    "lifecycle_decisions": lifecycle_decisions,
    "rank_correlation": rank_correlation,
    "alert_rules": alert_rules,
    "ablation_arms": ablation_arms,
    "augmentation_methods": augmentation_methods,
    "augmentations_measured": augmentations_measured,
}
