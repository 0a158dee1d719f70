"""Small models, findings and answers for the tests of scoring: each is built in a line or two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from types import MappingProxyType

from maturity.answers import Answers, Claim, Verdict, VerdictKind, Waiver
from maturity.schema import (
    Capability,
    Check,
    Dimension,
    EvidenceKind,
    Indicator,
    Level,
    Model,
    Parameters,
    Practice,
    RatingCode,
    Text,
)
from maturity.scorecard import Finding, Outcome, Scorecard
from maturity.scoring import Weights, score

AS_OF = date(2025, 6, 30)
ANY = Text("text", "文字")
ONE = Fraction(1)

PARAMETERS = Parameters(
    claim_only_cap=Fraction("0.33"),
    below_target_factor=Fraction("0.85"),
    veto_at_or_below=Fraction("0.15"),
    level_gate=Fraction("0.5"),
    base_gate=Fraction("0.85"),
    dimension_share=Fraction(2, 3),
    dimension_slack=1,
    organisation_cap_if_any_project_N=Fraction("0.85"),
    min_applicable_weight_share=Fraction("0.5"),
    provisional_if_confidence_below=Fraction("0.5"),
    provisional_if_answer_coverage_below=Fraction("0.8"),
    restricted_scope_if_na_weight_above=Fraction("0.2"),
    confidence_high=Fraction("0.75"),
    confidence_medium=Fraction("0.5"),
    sample_projects_above=10,
    window_days=180,
    decimals=4,
)
_SCALE = (("N", "0", "0.15", "0"), ("P", "0.15", "0.5", "0.33"), ("L", "0.5", "0.85", "0.67"), ("F", "0.85", "1", "1"))
_KINDS = (
    EvidenceKind("mlflow", "machine", ONE, 90, ONE),
    EvidenceKind("pipeline", "machine", ONE, 90, ONE),
    EvidenceKind("repo", "machine", ONE, 90, ONE),
    EvidenceKind("export", "machine", ONE, 60, Fraction("0.9")),
    EvidenceKind("document", "human", Fraction("0.85"), 365, Fraction("0.6")),
    EvidenceKind("interview", "human", Fraction("0.67"), 180, Fraction("0.4")),
    EvidenceKind("document+interview", "human", ONE, None, Fraction("0.8")),
    EvidenceKind("substitute_document", "human", Fraction("0.85"), 180, Fraction("0.5")),
)

HUMAN = ("document",)
MACHINE = ("SHARE >= 1",)
INDICATORS = {
    # name: type, absence, n_min
    "SHARE": ("share", "neutral", 0),
    "NEEDED": ("share", "negative", 5),
    "NEUTRAL": ("share", "neutral", 5),
    "OTHER": ("share", "neutral", 5),
    "COUNT": ("count", "neutral", 0),
    "COUNTED": ("count", "negative", 0),
    "ATLEAST": ("bound_ge", "neutral", 5),
    "ATMOST": ("bound_le", "neutral", 5),
}


def practice(
    key: str,
    checks: Iterable[str] = MACHINE,
    *,
    combine: str = "all",
    scope: str = "organisation",
    weight: Fraction = ONE,
    waivable: bool = False,
) -> Practice:
    """A practice such as ``C1.2.1``; a check is ``document``, ``repo`` … or ``INDICATOR >= target``."""
    capability, level, _ = key.split(".")
    return Practice(
        id=key,
        capability=capability,
        level=int(level),
        name=ANY,
        criterion=ANY,
        scope=scope,  # type: ignore[arg-type]  # a Literal of the model
        weight=weight,
        combine=combine,  # type: ignore[arg-type]  # a Literal of the model
        checks=tuple(_check(f"{key}/{number}", check) for number, check in enumerate(checks, 1)),
        seeds=(),
        maps={},
        na_reason=ANY if waivable else None,
    )


def _check(key: str, check: str) -> Check:
    if " " not in check:
        return Check(key, check, text=ANY)
    indicator, op, target = check.split()
    return Check(key, "mlflow", indicator, op, Fraction(target))  # type: ignore[arg-type]  # a Literal of the model


def model_of(*practices: Practice, dimensions: dict[str, str] | None = None) -> Model:
    """A model of these practices; ``dimensions`` gives the dimension of capabilities that are not of ``D``."""
    by_capability: dict[str, list[Practice]] = defaultdict(list)
    for item in practices:
        by_capability[item.capability].append(item)
    by_dimension: dict[str, list[Capability]] = defaultdict(list)
    for key, items in sorted(by_capability.items()):
        dimension = (dimensions or {}).get(key, "D")
        by_dimension[dimension].append(Capability(key, dimension, ANY, ANY, ONE, tuple(items)))
    indicators = {
        key: Indicator(key, kind, absence, n_min, ANY, ANY, None, ANY, ())  # type: ignore[arg-type]  # Literals
        for key, (kind, absence, n_min) in INDICATORS.items()
    }
    return Model(
        key="small",
        version="1",
        name=ANY,
        status=ANY,
        levels=tuple(Level(number, ANY, ANY) for number in range(6)),
        rating_scale=tuple(RatingCode(code, ANY, *map(Fraction, numbers)) for code, *numbers in _SCALE),
        kinds=MappingProxyType({kind.kind: kind for kind in _KINDS}),
        parameters=PARAMETERS,
        production_aliases=("champion",),
        populations={},
        seeds={},
        external_models={},
        indicators=indicators,
        dimensions=tuple(Dimension(key, ANY, ONE, tuple(items)) for key, items in sorted(by_dimension.items())),
        digest="0" * 64,
        files={},
    )


def ago(days: int) -> date:
    return AS_OF - timedelta(days=days)


def at_noon(day: date) -> int:
    """Milliseconds of the middle of a day, UTC."""
    return int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp() * 1000)


def measured(
    indicator: str, value: str | Fraction, n: int = 50, *, age: int = 10, project: str | None = None
) -> Finding:
    return Finding(indicator, project, None, Fraction(value), n, read_at=at_noon(ago(age)))


def unmeasured(indicator: str, outcome: Outcome, n: int = 0, *, age: int = 10, project: str | None = None) -> Finding:
    return Finding(indicator, project, outcome, None, n, reason="why", read_at=at_noon(ago(age)))


def judged(
    kind: VerdictKind, on: str, code: str, *, age: int = 10, project: str | None = None, key: str = ""
) -> Verdict:
    """A verdict on a document or an interview."""
    return Verdict(key or f"{kind}-{on}-{project}", on, project, kind, ago(age), "assessor", "seen", code)


def stated(
    kind: VerdictKind,
    on: str,
    value: str,
    n: int | None = 50,
    *,
    age: int = 10,
    project: str | None = None,
    key: str = "",
) -> Verdict:
    """A verdict on an export or a substitute document."""
    name = key or f"{kind}-{on}-{project}"
    return Verdict(name, on, project, kind, ago(age), "assessor", "seen", value=Fraction(value), n=n)


def worth(key: str, value: str, *, project: str | None = None) -> Verdict:
    """An export that makes the only machine check of a practice worth ``value`` (a multiple of 1/60, above 0)."""
    age = 120 - 60 * Fraction(value)
    if age.denominator != 1:
        raise ValueError(f"{value} is no multiple of 1/60")
    return stated("export", f"{key}/1", "1", age=int(age), project=project)


def waived(on: str, project: str | None = None, until: date | None = None) -> Waiver:
    return Waiver(on, project, "no such thing", "there is none in this organisation", "assessor", until)


def answers(*items: Claim | Verdict | Waiver) -> Answers:
    return Answers(
        tuple(item for item in items if isinstance(item, Claim)),
        tuple(item for item in items if isinstance(item, Verdict)),
        tuple(item for item in items if isinstance(item, Waiver)),
    )


def claimed(key: str, code: str, project: str | None = None) -> Claim:
    return Claim(key, project, code)


def scored(
    model: Model,
    *items: Finding | Claim | Verdict | Waiver,
    projects: tuple[str, ...] = (),
    as_of: date = AS_OF,
    weights: Weights | None = None,
) -> Scorecard:
    """The scorecard of a model from findings and answers in any order."""
    findings = [item for item in items if isinstance(item, Finding)]
    rest = [item for item in items if not isinstance(item, Finding)]
    return score(model, findings, answers(*rest), projects=projects, as_of=as_of, weights=weights or Weights())


def ladder(capability: str, values: Iterable[Iterable[str | None]]) -> tuple[list[Practice], list[Verdict | Waiver]]:
    """A capability whose practices, level by level, are worth these values; None is a practice that is waived."""
    practices: list[Practice] = []
    evidence: list[Verdict | Waiver] = []
    for level, row in enumerate(values, 1):
        for number, value in enumerate(row, 1):
            key = f"{capability}.{level}.{number}"
            practices.append(practice(key, waivable=True))
            if value is None:
                evidence.append(waived(key))
            elif Fraction(value) > 0:
                evidence.append(worth(key, value))
    return practices, evidence


def at_level(capability: str, level: int) -> tuple[list[Practice], list[Verdict | Waiver]]:
    """A capability of five levels with one practice each that stands at ``level``."""
    return ladder(capability, [["1"] if number <= level else ["0"] for number in range(1, 6)])


def with_weight(model: Model, key: str, weight: Fraction) -> Model:
    """The model with another weight of one dimension."""
    changed = [replace(d, weight=weight) if d.id == key else d for d in model.dimensions]
    return replace(model, dimensions=tuple(changed))
