"""What a maturity model consists of, as frozen values.

Read from YAML by ``schema``; read by everything that measures, scores and reports. All numbers that are compared
are exact fractions; every sentence stands in English and Chinese side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

from maturity.check_measures import CheckMeasure
from maturity.vocabulary import Measure

Klass = Literal["machine", "human"]


@dataclass(frozen=True, slots=True)
class Text:
    """The same sentence in English and Chinese."""

    en: str
    zh: str

    def in_(self, language: str) -> str:
        """The text for a language code such as ``en``, ``zh`` or ``zh-hans``."""
        return self.zh if language.startswith("zh") else self.en


@dataclass(frozen=True, slots=True)
class Level:
    """A maturity level, counted from 0, and what reaching it means."""

    number: int
    name: Text
    meaning: Text


@dataclass(frozen=True, slots=True)
class RatingCode:
    """N, P, L or F: a value v has the first code with v <= high. ``claim_value`` is what claiming it means."""

    code: str
    name: Text
    low: Fraction
    high: Fraction
    claim_value: Fraction


@dataclass(frozen=True, slots=True)
class EvidenceKind:
    """A kind of evidence: its class, the most it can give, how many days it stays fresh, and its confidence."""

    kind: str
    klass: Klass
    cap: Fraction
    validity_days: int | None
    confidence: Fraction


@dataclass(frozen=True, slots=True)
class Parameters:
    """The numbers of the scoring method, all exact. Each is named as in ``model.yaml``."""

    claim_only_cap: Fraction
    below_target_factor: Fraction
    veto_at_or_below: Fraction
    level_gate: Fraction
    base_gate: Fraction
    dimension_share: Fraction
    dimension_slack: int
    organisation_cap_if_any_project_N: Fraction  # noqa: N815 - named as in the model
    min_applicable_weight_share: Fraction
    provisional_if_confidence_below: Fraction
    provisional_if_answer_coverage_below: Fraction
    restricted_scope_if_na_weight_above: Fraction
    confidence_high: Fraction
    confidence_medium: Fraction
    sample_projects_above: int
    window_days: int
    decimals: int


@dataclass(frozen=True, slots=True)
class Check:
    """One thing a practice asks for. ``key`` is ``<practice>/<n>``, n counting from 1 in file order.

    An ``mlflow`` check compares an indicator with a target; the others say in words what must be seen, and a
    ``pipeline`` or ``repo`` check may have a ``measure`` that computes it, with examples that prove it.
    """

    key: str
    kind: str
    indicator: str | None = None
    op: Literal[">=", "<="] | None = None
    target: Fraction | None = None
    artifact: str | None = None
    text: Text | None = None
    measure: CheckMeasure | None = None
    examples: tuple[Any, ...] = ()

    @property
    def machine(self) -> bool:
        return self.kind in ("mlflow", "pipeline", "repo")


@dataclass(frozen=True, slots=True)
class Practice:
    """What is rated: a criterion at one level of one capability, and the checks that prove it.

    ``maps`` gives, for each external model, its items that ask for something alike; ``na_reason`` is the only
    reason for which the practice may be left out, None when there is none.
    """

    id: str
    capability: str
    level: int
    name: Text
    criterion: Text
    scope: Literal["project", "organisation"]
    weight: Fraction
    combine: Literal["any", "all"]
    checks: tuple[Check, ...]
    seeds: tuple[str, ...]
    maps: Mapping[str, tuple[str, ...]]
    na_reason: Text | None


@dataclass(frozen=True, slots=True)
class Capability:
    """A group of practices over all levels; it is what gets a level."""

    id: str
    dimension: str
    name: Text
    purpose: Text
    weight: Fraction
    practices: tuple[Practice, ...]

    def at_level(self, level: int) -> tuple[Practice, ...]:
        return tuple(practice for practice in self.practices if practice.level == level)


@dataclass(frozen=True, slots=True)
class Dimension:
    """One of the fields that the model divides the work into, with its capabilities in order of id."""

    id: str
    name: Text
    weight: Fraction
    capabilities: tuple[Capability, ...]


@dataclass(frozen=True, slots=True)
class Indicator:
    """What is measured. ``measure`` is None when no source can tell yet; ``reason`` then says why."""

    id: str
    type: Literal["share", "count", "bound_ge", "bound_le"]
    absence: Literal["negative", "neutral"]
    n_min: int
    name: Text
    definition: Text
    measure: Measure | None
    reason: Text | None
    examples: tuple[Any, ...]


@dataclass(frozen=True)
class Model:
    """A whole model. ``digest`` is the SHA-256 over its files and so names its exact content."""

    key: str
    version: str
    name: Text
    status: Text
    levels: tuple[Level, ...]
    rating_scale: tuple[RatingCode, ...]
    kinds: Mapping[str, EvidenceKind]
    parameters: Parameters
    production_aliases: tuple[str, ...]
    populations: Mapping[str, Text]
    seeds: Mapping[str, Text]
    external_models: Mapping[str, Text]
    indicators: Mapping[str, Indicator]
    dimensions: tuple[Dimension, ...]
    digest: str
    files: Mapping[str, bytes]

    @cached_property
    def capabilities(self) -> Mapping[str, Capability]:
        return MappingProxyType({c.id: c for dimension in self.dimensions for c in dimension.capabilities})

    @cached_property
    def practices(self) -> Mapping[str, Practice]:
        return MappingProxyType({p.id: p for c in self.capabilities.values() for p in c.practices})

    @cached_property
    def checks(self) -> Mapping[str, Check]:
        return MappingProxyType({check.key: check for p in self.practices.values() for check in p.checks})

    def code(self, value: Fraction) -> str:
        """N, P, L or F; a boundary value belongs to the lower code."""
        return next(rating.code for rating in self.rating_scale if value <= rating.high)

    def claim_value(self, code: str) -> Fraction:
        return next(rating.claim_value for rating in self.rating_scale if rating.code == code)
