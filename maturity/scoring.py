"""Scores an assessment: findings and answers become one scorecard with the tree that explains every number.

``score`` takes the model, what was measured, what people said, the projects in scope and a date; it gives a
``Scorecard``. Pure and exact: the same inputs in any order give the same bytes, and nothing is rounded. The steps stand
in ``leaves`` (evidence), ``rating`` (practices) and ``levels`` (capabilities and up).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from fractions import Fraction
from itertools import pairwise
from math import isqrt

from maturity.answers import Answers, answer_faults
from maturity.leaves import ONE, ZERO
from maturity.levels import (
    coverage_over,
    index_over,
    is_provisional,
    lowest_capability,
    overall_blocks,
    rate_capability,
    rate_dimension,
    weighted_mean,
)
from maturity.rating import Inputs, Rater
from maturity.reader import ModelError
from maturity.schema import Model, Parameters
from maturity.scorecard import ClaimGap, DimensionLevel, Finding, PerView, PracticeResult, Scorecard, Weights

__all__ = ["Weights", "projects_in_scope", "sample_projects", "score"]

_SMALLEST_SAMPLE = 3


def score(
    model: Model,
    findings: Iterable[Finding],
    answers: Answers,
    *,
    projects: Collection[str],
    as_of: date,
    weights: Weights = Weights(),  # noqa: B008 - frozen and empty
) -> Scorecard:
    """Score an assessment of ``projects`` as of a day.

    ``findings`` holds one per indicator and project, and one with project None for the organisation; those of other
    projects are not looked at. Raises ``ModelError`` when an answer does not fit the model, and ``ValueError`` when a
    finding is given twice, or a weight is negative or names nothing in the model.
    """
    if faults := answer_faults(model, answers):
        raise ModelError(faults)
    used = _weights(model, weights)
    scope = sorted(set(projects))
    seen = _in_scope(findings, scope)
    rater = Rater(model, Inputs.of(seen, answers), as_of)
    results = {practice.id: rater.result(practice, scope) for practice in model.practices.values()}
    dimensions = tuple(
        rate_dimension(
            model, dimension, [rate_capability(model, c, results) for c in dimension.capabilities], used.capabilities
        )
        for dimension in model.dimensions
    )
    return _scorecard(model, as_of, tuple(scope), used, dimensions, tuple(seen))


def _scorecard(
    model: Model,
    as_of: date,
    projects: tuple[str, ...],
    weights: Weights,
    dimensions: tuple[DimensionLevel, ...],
    findings: tuple[Finding, ...],
) -> Scorecard:
    parameters = model.parameters
    capabilities = [capability for dimension in dimensions for capability in dimension.capabilities]
    results = [result for capability in capabilities for result in capability.practices]
    own_weight = {dimension.id: dimension.weight for dimension in model.dimensions}
    rated = [d for d in dimensions if d.level is not None]
    confidence = weighted_mean((own_weight[d.dimension], d.confidence) for d in rated) or ZERO
    coverage = coverage_over(model, results)
    na_share = _na_share(model, results)
    return Scorecard(
        model=model.key,
        version=model.version,
        digest=model.digest,
        as_of=as_of,
        projects=projects,
        level=_overall_level(dimensions),
        index=_overall_index(dimensions, weights.dimensions),
        confidence=confidence,
        coverage=coverage,
        provisional=is_provisional(confidence, coverage, parameters),
        restricted_scope=na_share > parameters.restricted_scope_if_na_weight_above,
        na_share=na_share,
        waivers=sum(map(_waived, results)),
        lowest=lowest_capability(capabilities),
        blocked_by=overall_blocks(model, dimensions),
        weights=weights,
        dimensions=dimensions,
        gaps=_claim_gaps(results),
        findings=findings,
    )


def _in_scope(findings: Iterable[Finding], scope: Collection[str]) -> list[Finding]:
    """The findings of the scope in one order, whatever order they came in."""
    places = {None, *scope}
    seen = sorted(
        (finding for finding in findings if finding.project in places),
        key=lambda finding: (finding.indicator, finding.project is not None, finding.project or ""),
    )
    for one, next_one in pairwise(seen):
        if (one.indicator, one.project) == (next_one.indicator, next_one.project):
            raise ValueError(f"finding {one.indicator} of {one.project or 'the organisation'} is given twice")
    return seen


def _weights(model: Model, weights: Weights) -> Weights:
    """The weight of every capability and dimension: the organisation's, else the model's."""
    dimensions = {dimension.id: dimension.weight for dimension in model.dimensions}
    capabilities = {capability.id: capability.weight for capability in model.capabilities.values()}
    return Weights(_merged(capabilities, weights.capabilities), _merged(dimensions, weights.dimensions))


def _merged(own: Mapping[str, Fraction], given: Mapping[str, Fraction]) -> dict[str, Fraction]:
    if unknown := sorted(set(given) - set(own)):
        raise ValueError(f"a weight is given for {unknown[0]!r}, which is not in the model")
    if negative := sorted(key for key, weight in given.items() if weight < 0):
        raise ValueError(f"the weight of {negative[0]} is negative")
    return {key: Fraction(given.get(key, weight)) for key, weight in sorted(own.items())}


def _overall_level(dimensions: Iterable[DimensionLevel]) -> PerView[int] | None:
    """The smallest dimension level in every view; None when a dimension is not rated."""
    levels = [dimension.level for dimension in dimensions]
    known = [level for level in levels if level is not None]
    if len(known) < len(levels):
        return None
    return PerView.of(lambda view: min(level[view] for level in known))


def _overall_index(dimensions: Iterable[DimensionLevel], weights: Mapping[str, Fraction]) -> PerView[Fraction] | None:
    """The weighted mean of the dimension indexes; None when a dimension has none."""
    dimensions = list(dimensions)
    known = [(weights[d.dimension], d.index) for d in dimensions if d.index is not None]
    return index_over(known) if len(known) == len(dimensions) else None


def _na_share(model: Model, results: Iterable[PracticeResult]) -> Fraction:
    """The share of all practice weight that does not apply, project by project."""
    pairs = ((model.practices[result.practice].weight, ONE - result.applicable_share) for result in results)
    return weighted_mean(pairs) or ZERO


def _waived(result: PracticeResult) -> int:
    practices = sum(rating.waiver is not None and rating.waiver.key == "waived" for rating in result.ratings)
    return practices + sum(leaf.kind == "waived" for rating in result.ratings for leaf in rating.leaves)


def _claim_gaps(results: Iterable[PracticeResult]) -> tuple[ClaimGap, ...]:
    """Practices claimed to be better than they are rated, the largest gap first."""
    gaps = [
        ClaimGap(result.practice, result.values.claimed, result.values.rated)
        for result in results
        if result.values is not None and result.values.claimed > result.values.rated
    ]
    return tuple(sorted(gaps, key=lambda gap: (-gap.gap, gap.practice)))


def sample_projects(assessment_id: str, projects: Collection[str]) -> tuple[str, ...]:
    """A sample of ``max(3, ceil(sqrt(N)))`` projects, by ascending SHA-256 of ``assessment_id + project key``."""
    keys = set(projects)
    if not keys:
        return ()
    size = max(_SMALLEST_SAMPLE, isqrt(len(keys) - 1) + 1)
    order = sorted(keys, key=lambda key: (hashlib.sha256((assessment_id + key).encode()).digest(), key))
    return tuple(order[:size])


def projects_in_scope(assessment_id: str, projects: Collection[str], parameters: Parameters) -> tuple[str, ...]:
    """All projects in order of their keys, or a sample when there are more than ``sample_projects_above``."""
    keys = tuple(sorted(set(projects)))
    return sample_projects(assessment_id, keys) if len(keys) > parameters.sample_projects_above else keys
