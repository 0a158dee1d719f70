"""The model as data: YAML files read into frozen values, every fault reported at once with file and key.

``load_model()`` gives the bundled model; ``load_model(folder)`` any other one of the same layout:
``model.yaml``, ``indicators/*.yaml`` and one file per capability.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from maturity.reader import Fault, ModelError, Node, read_yaml
from maturity.vocabulary import Measure, parse_measure

BUNDLED = Path(__file__).parent / "model"
LANGUAGES = ("en", "zh")

Klass = Literal["machine", "human"]
_KINDS = ("mlflow", "pipeline", "repo", "export", "document", "interview", "document+interview", "substitute_document")
_CHECK_KINDS = ("mlflow", "pipeline", "repo", "document", "interview")
_MAX_FILE_BYTES = 2_000_000


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

    An ``mlflow`` check compares an indicator with a target; the others say in words what must be seen.
    """

    key: str
    kind: str
    indicator: str | None = None
    op: Literal[">=", "<="] | None = None
    target: Fraction | None = None
    artifact: str | None = None
    text: Text | None = None

    @property
    def machine(self) -> bool:
        return self.kind in ("mlflow", "pipeline", "repo")


@dataclass(frozen=True, slots=True)
class Practice:
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


@lru_cache(maxsize=4)
def load_model(folder: Path = BUNDLED) -> Model:
    """Read a model from its folder. Raises ``ModelError`` with every fault when anything is wrong."""
    faults: list[Fault] = []
    files: dict[str, bytes] = {}
    if not folder.is_dir():
        raise ModelError([Fault(str(folder), "", "is not a folder")])
    for path in sorted(folder.rglob("*.yaml")):
        name = path.relative_to(folder).as_posix()
        if path.stat().st_size > _MAX_FILE_BYTES:
            faults.append(Fault(name, "", f"is larger than {_MAX_FILE_BYTES} bytes"))
            continue
        files[name] = path.read_bytes()
    return parse_model(files, faults)


def parse_model(files: Mapping[str, bytes], faults: list[Fault] | None = None) -> Model:
    """Parse a model from the bytes of its files, named by their path inside the model folder."""
    faults = [] if faults is None else faults
    nodes = {name: _parse_file(name, content, faults) for name, content in sorted(files.items())}
    top = nodes.pop("model.yaml", None)
    if top is None:
        faults.append(Fault("model.yaml", "", "is missing"))
        raise ModelError(faults)
    indicators = _indicators({n: v for n, v in nodes.items() if n.startswith("indicators/")}, faults)
    capabilities = [_capability(node) for name, node in nodes.items() if "/" not in name and node.value is not None]
    model = _model(top, indicators, capabilities, MappingProxyType(dict(sorted(files.items()))))
    _cross_check(model, capabilities, top)
    if faults:
        raise ModelError(faults)
    return model


def _parse_file(name: str, content: bytes, faults: list[Fault]) -> Node:
    try:
        return read_yaml(content.decode("utf-8"), name, faults)
    except UnicodeDecodeError as error:
        faults.append(Fault(name, "", f"is not UTF-8 text (byte {error.start})"))
        return Node(None, name, "", faults)


def _digest(files: Mapping[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name, content in sorted(files.items()):
        whole.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return whole.hexdigest()


def _text(node: Node) -> Text:
    node.only(*LANGUAGES)
    return Text(node.at("en").str(), node.at("zh").str())


def _texts(node: Node) -> Mapping[str, Text]:
    return MappingProxyType({key: _text(child) for key, child in node.items()})


def _model(
    top: Node, indicators: dict[str, Indicator], capabilities: list[Capability], files: Mapping[str, bytes]
) -> Model:
    top.only(
        "model",
        "levels",
        "rating_scale",
        "evidence_kinds",
        "parameters",
        "production_aliases",
        "populations",
        "seeds",
        "external_models",
        "dimensions",
    )
    head = top.at("model")
    head.only("key", "version", "name", "status")
    return Model(
        key=head.at("key").str(),
        version=head.at("version").str(),
        name=_text(head.at("name")),
        status=_text(head.at("status")),
        levels=tuple(_level(node) for node in top.at("levels").list()),
        rating_scale=tuple(_rating_code(node) for node in top.at("rating_scale").list()),
        kinds=MappingProxyType({kind.kind: kind for kind in map(_kind, top.at("evidence_kinds").list())}),
        parameters=_parameters(top.at("parameters")),
        production_aliases=tuple(node.str() for node in top.at("production_aliases").list()),
        populations=_texts(top.at("populations")),
        seeds=_texts(top.at("seeds")),
        external_models=_texts(top.at("external_models")),
        indicators=MappingProxyType(indicators),
        dimensions=tuple(_dimension(node, capabilities) for node in top.at("dimensions").list()),
        digest=_digest(files),
        files=files,
    )


def _level(node: Node) -> Level:
    node.only("level", "name", "meaning")
    return Level(node.at("level").int(), _text(node.at("name")), _text(node.at("meaning")))


def _rating_code(node: Node) -> RatingCode:
    node.only("code", "name", "low", "high", "claim_value")
    one = Fraction(1)
    return RatingCode(
        node.at("code").choice("N", "P", "L", "F"),
        _text(node.at("name")),
        node.at("low").fraction(most=one),
        node.at("high").fraction(most=one),
        node.at("claim_value").fraction(most=one),
    )


def _kind(node: Node) -> EvidenceKind:
    node.only("kind", "klass", "cap", "validity_days", "confidence")
    one = Fraction(1)
    return EvidenceKind(
        node.at("kind").choice(*_KINDS),
        "machine" if node.at("klass").choice("machine", "human") == "machine" else "human",
        node.at("cap").fraction(most=one),
        node.at("validity_days").int(least=1) if node.has("validity_days") else None,
        node.at("confidence").fraction(most=one),
    )


def _parameters(node: Node) -> Parameters:
    whole = ("dimension_slack", "sample_projects_above", "window_days", "decimals")
    names = tuple(Parameters.__dataclass_fields__)
    node.only(*names)
    values: dict[str, Any] = {
        name: node.at(name).int() if name in whole else node.at(name).fraction(most=Fraction(1)) for name in names
    }
    return Parameters(**values)


def _dimension(node: Node, capabilities: list[Capability]) -> Dimension:
    node.only("id", "name", "weight")
    key = node.at("id").str()
    members = tuple(sorted((c for c in capabilities if c.dimension == key), key=lambda c: c.id))
    if not members:
        node.fault("has no capability")
    return Dimension(key, _text(node.at("name")), node.at("weight").fraction(), members)


def _capability(node: Node) -> Capability:
    node.only("id", "dimension", "name", "purpose", "weight", "practices")
    key = node.at("id").str()
    if key and not node.file.startswith(f"{key}-"):
        node.fault(f"the file of capability {key} must be named {key}-….yaml", "id")
    return Capability(
        key,
        node.at("dimension").str(),
        _text(node.at("name")),
        _text(node.at("purpose")),
        node.at("weight").fraction(),
        tuple(_practice(child, key) for child in node.at("practices").list()),
    )


def _practice(node: Node, capability: str) -> Practice:
    node.only(
        "id", "level", "name", "criterion", "scope", "weight", "combine", "evidence", "na_reason", "seeds", "maps"
    )
    key, level = node.at("id").str(), node.at("level").int(least=1)
    if not re.fullmatch(rf"{re.escape(capability)}\.{level}\.[1-9]", key):
        node.fault(f"must be written {capability}.{level}.<n>, for capability, level and a number", "id")
    checks = tuple(_check(child, f"{key}/{n}") for n, child in enumerate(node.at("evidence").list(), 1))
    if not checks:
        node.fault("needs at least one check", "evidence")
    return Practice(
        id=key,
        capability=capability,
        level=level,
        name=_text(node.at("name")),
        criterion=_text(node.at("criterion")),
        scope="project" if node.at("scope").choice("project", "organisation") == "project" else "organisation",
        weight=node.at("weight").fraction(),
        combine="any" if node.at("combine").choice("any", "all") == "any" else "all",
        checks=checks,
        seeds=tuple(child.str() for child in node.at("seeds").list()),
        maps=MappingProxyType({name: tuple(x.str() for x in child.list()) for name, child in node.at("maps").items()}),
        na_reason=_text(node.at("na_reason")) if node.has("na_reason") else None,
    )


def _check(node: Node, key: str) -> Check:
    kind = node.at("kind").choice(*_CHECK_KINDS)
    if kind == "mlflow":
        node.only("kind", "indicator", "op", "target")
        op: Literal[">=", "<="] = ">=" if node.at("op").choice(">=", "<=") == ">=" else "<="
        return Check(key, kind, node.at("indicator").str(), op, node.at("target").fraction(least=None))
    node.only("kind", "artifact", "check")
    artifact = node.at("artifact").str() if node.has("artifact") else None
    return Check(key, kind, artifact=artifact, text=_text(node.at("check")))


def _indicators(nodes: Mapping[str, Node], faults: list[Fault]) -> dict[str, Indicator]:
    found: dict[str, Indicator] = {}
    for node in nodes.values():
        node.only("indicators")
        for child in node.at("indicators").list():
            indicator = _indicator(child)
            if indicator.id in found:
                child.fault(f"indicator {indicator.id} is given twice", "id")
            found[indicator.id] = indicator
    return dict(sorted(found.items()))


def _indicator(node: Node) -> Indicator:
    node.only("id", "type", "absence", "n_min", "name", "definition", "measure", "reason", "examples")
    if node.has("measure") == node.has("reason"):
        node.fault("needs either 'measure' or 'reason' (why it cannot be measured yet), not both")
    kind = node.at("type").choice("share", "count", "bound_ge", "bound_le")
    return Indicator(
        id=node.at("id").str(),
        type=kind,  # type: ignore[arg-type]
        absence="negative" if node.at("absence").choice("negative", "neutral") == "negative" else "neutral",
        n_min=node.at("n_min").int(),
        name=_text(node.at("name")),
        definition=_text(node.at("definition")),
        measure=parse_measure(node.at("measure")) if node.has("measure") else None,
        reason=_text(node.at("reason")) if node.has("reason") else None,
        examples=tuple(child.value for child in node.at("examples").list()) if node.has("examples") else (),
    )


def _cross_check(model: Model, capabilities: list[Capability], top: Node) -> None:
    """What no single file can see: references, duplicates, gaps in the scale and the levels."""
    dimensions = {dimension.id for dimension in model.dimensions}
    for capability in capabilities:
        if capability.dimension not in dimensions:
            top.fault(f"capability {capability.id} names the unknown dimension {capability.dimension!r}", "dimensions")
    ids = [capability.id for capability in capabilities]
    ids += [practice.id for capability in capabilities for practice in capability.practices]
    for twice in sorted({key for key in ids if ids.count(key) > 1}):
        top.fault(f"{twice} is given twice", "dimensions")
    for practice in (p for c in capabilities for p in c.practices):
        _check_references(model, practice, top)
    if [level.number for level in model.levels] != list(range(len(model.levels))):
        top.fault("must count 0, 1, 2, … without a gap", "levels")
    _check_scale(model, top)
    for kind in _KINDS:
        if kind not in model.kinds:
            top.fault(f"kind {kind} is missing", "evidence_kinds")


def _check_references(model: Model, practice: Practice, top: Node) -> None:
    place = Node(
        None, next((n for n in model.files if n.startswith(f"{practice.capability}-")), "?"), practice.id, top.faults
    )
    if practice.level >= len(model.levels):
        place.fault(f"level {practice.level} is not in the model's levels", "level")
    for check in practice.checks:
        if check.indicator and check.indicator not in model.indicators:
            place.fault(f"unknown indicator {check.indicator}", "evidence")
    for seed in practice.seeds:
        if seed not in model.seeds:
            place.fault(f"unknown seed {seed}", "seeds")
    for name in practice.maps:
        if name not in model.external_models:
            place.fault(f"unknown external model {name}", "maps")


def _check_scale(model: Model, top: Node) -> None:
    scale = model.rating_scale
    if [rating.code for rating in scale] != ["N", "P", "L", "F"]:
        top.fault("must list N, P, L, F in this order", "rating_scale")
        return
    joins = [a.high == b.low for a, b in zip(scale, scale[1:], strict=False)]
    if not all(joins) or scale[0].low != 0 or scale[-1].high != 1:
        top.fault("must cover 0 to 1 without gap or overlap", "rating_scale")
