"""The model as data: YAML files read into frozen values, every fault reported at once with file and key.

``load_model()`` gives the bundled model; ``load_model(folder)`` any other one of the same layout:
``model.yaml``, ``indicators/*.yaml`` and one file per capability, named ``<id>-<words>.yaml``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import fields
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from maturity.check_measures import parse_check_measure
from maturity.consistency import EVIDENCE_KINDS, INDICATORS, check_whole
from maturity.reader import Fault, ModelError, Node, read_yaml, unreadable
from maturity.structure import (
    Capability,
    Check,
    Dimension,
    EvidenceKind,
    Indicator,
    Klass,
    Level,
    Model,
    Parameters,
    Practice,
    RatingCode,
    Text,
)
from maturity.vocabulary import parse_measure

__all__ = [
    "BUNDLED",
    "LANGUAGES",
    "Capability",
    "Check",
    "Dimension",
    "EvidenceKind",
    "Fault",
    "Indicator",
    "Klass",
    "Level",
    "Model",
    "ModelError",
    "Parameters",
    "Practice",
    "RatingCode",
    "Text",
    "load_model",
    "parse_model",
]

BUNDLED = Path(__file__).parent / "model"
LANGUAGES = ("en", "zh")

_TOP = "model.yaml"
_CHECK_KINDS = ("mlflow", "pipeline", "repo", "document", "interview")
_WHOLE_PARAMETERS = {"dimension_slack": 0, "sample_projects_above": 1, "window_days": 1, "decimals": 0}
_ONE = Fraction(1)
_MAX_FILE_BYTES = 2_000_000


def load_model(folder: Path = BUNDLED) -> Model:
    """Read a model from its folder; the bundled one is read once. Raises ``ModelError`` with every fault found."""
    return _bundled() if folder == BUNDLED else _load(folder)


@cache
def _bundled() -> Model:
    return _load(BUNDLED)


def _load(folder: Path) -> Model:
    if not folder.is_dir():
        raise ModelError([Fault(str(folder), "", "is not a folder")])
    faults: list[Fault] = []
    files: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*.yaml")):
        name = path.relative_to(folder).as_posix()
        try:
            with path.open("rb") as stream:
                files[name] = stream.read(_MAX_FILE_BYTES + 1)
        except OSError as error:
            faults.append(Fault(name, "", f"cannot be read: {error.strerror}"))
    return parse_model(files, faults)


def parse_model(files: Mapping[str, bytes], faults: list[Fault] | None = None) -> Model:
    """Parse a model from the bytes of its files, named by their path inside the model folder.

    ``faults`` are those found before. Raises ``ModelError`` when there is any fault, old or new.
    """
    faults = [] if faults is None else faults
    nodes = {name: _parse_file(name, content, faults) for name, content in sorted(files.items())}
    top = nodes.pop(_TOP, None) or unreadable(_TOP, "is missing", faults)
    indicators = _indicators([node for name, node in nodes.items() if name.startswith(INDICATORS)])
    capabilities = [(node, _capability(node)) for name, node in nodes.items() if not name.startswith(INDICATORS)]
    model = _model(top, indicators, [capability for _, capability in capabilities], files)
    check_whole(model, top, nodes, capabilities)
    if faults:
        raise ModelError(faults)
    return model


def _parse_file(name: str, content: bytes, faults: list[Fault]) -> Node:
    if "/" in name.removeprefix(INDICATORS):
        return unreadable(name, "stands in a folder that is not part of a model", faults)
    if len(content) > _MAX_FILE_BYTES:
        return unreadable(name, f"is larger than {_MAX_FILE_BYTES} bytes", faults)
    try:
        return read_yaml(content.decode("utf-8"), name, faults)
    except UnicodeDecodeError as error:
        return unreadable(name, f"is not UTF-8 text (byte {error.start})", faults)


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


def _weight(node: Node) -> Fraction:
    weight = node.fraction()
    if node.sound and weight == 0:
        node.fault("must be above 0")
    return weight


def _model(
    top: Node, indicators: Mapping[str, Indicator], capabilities: list[Capability], files: Mapping[str, bytes]
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
        levels=tuple(_level(node) for node in top.at("levels").list(least=2)),
        rating_scale=tuple(_rating_code(node) for node in top.at("rating_scale").list()),
        kinds=MappingProxyType({kind.kind: kind for kind in map(_kind, top.at("evidence_kinds").list())}),
        parameters=_parameters(top.at("parameters")),
        production_aliases=tuple(node.str() for node in top.at("production_aliases").list(least=1)),
        populations=_texts(top.at("populations")),
        seeds=_texts(top.at("seeds")),
        external_models=_texts(top.at("external_models")),
        indicators=MappingProxyType(indicators),
        dimensions=tuple(_dimension(node, capabilities) for node in top.at("dimensions").list(least=1)),
        digest=_digest(files),
        files=MappingProxyType(dict(sorted(files.items()))),
    )


def _level(node: Node) -> Level:
    node.only("level", "name", "meaning")
    return Level(node.at("level").int(), _text(node.at("name")), _text(node.at("meaning")))


def _rating_code(node: Node) -> RatingCode:
    node.only("code", "name", "low", "high", "claim_value")
    return RatingCode(
        node.at("code").choice("N", "P", "L", "F"),
        _text(node.at("name")),
        node.at("low").fraction(most=_ONE),
        node.at("high").fraction(most=_ONE),
        node.at("claim_value").fraction(most=_ONE),
    )


def _kind(node: Node) -> EvidenceKind:
    node.only("kind", "klass", "cap", "validity_days", "confidence")
    return EvidenceKind(
        node.at("kind").choice(*EVIDENCE_KINDS),
        node.at("klass").choice("machine", "human"),
        node.at("cap").fraction(most=_ONE),
        node.at("validity_days").int(least=1) if node.has("validity_days") else None,
        node.at("confidence").fraction(most=_ONE),
    )


def _parameters(node: Node) -> Parameters:
    names = [parameter.name for parameter in fields(Parameters)]
    node.only(*names)
    values: dict[str, Any] = {}
    for name in names:
        least = _WHOLE_PARAMETERS.get(name)
        values[name] = node.at(name).fraction(most=_ONE) if least is None else node.at(name).int(least=least)
    return Parameters(**values)


def _dimension(node: Node, capabilities: list[Capability]) -> Dimension:
    node.only("id", "name", "weight")
    key = node.at("id").str()
    members = tuple(sorted((c for c in capabilities if c.dimension == key), key=lambda c: c.id))
    return Dimension(key, _text(node.at("name")), _weight(node.at("weight")), members)


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
        _weight(node.at("weight")),
        tuple(_practice(child, key) for child in node.at("practices").list(least=1)),
    )


def _practice(node: Node, capability: str) -> Practice:
    node.only(
        "id", "level", "name", "criterion", "scope", "weight", "combine", "evidence", "na_reason", "seeds", "maps"
    )
    key, level = node.at("id").str(), node.at("level").int(least=1)
    if node.sound and not re.fullmatch(rf"{re.escape(capability)}\.{level}\.[1-9]", key):
        node.fault(f"must be written {capability}.{level}.<n>, for capability, level and a number", "id")
    return Practice(
        id=key,
        capability=capability,
        level=level,
        name=_text(node.at("name")),
        criterion=_text(node.at("criterion")),
        scope=node.at("scope").choice("project", "organisation"),
        weight=_weight(node.at("weight")),
        combine=node.at("combine").choice("any", "all"),
        checks=tuple(_check(child, f"{key}/{n}") for n, child in enumerate(node.at("evidence").list(least=1), 1)),
        seeds=tuple(child.str() for child in node.at("seeds").list()),
        maps=MappingProxyType({name: tuple(x.str() for x in child.list()) for name, child in node.at("maps").items()}),
        na_reason=_text(node.at("na_reason")) if node.has("na_reason") else None,
    )


def _check(node: Node, key: str) -> Check:
    kind = node.at("kind")
    name = kind.choice(*_CHECK_KINDS)
    if not kind.sound:
        return Check(key, name)
    if name == "mlflow":
        node.only("kind", "indicator", "op", "target")
        op: Literal[">=", "<="] = node.at("op").choice(">=", "<=")
        return Check(key, name, node.at("indicator").str(), op, node.at("target").fraction(least=None))
    computed = ("measure", "examples") if name in ("pipeline", "repo") else ()
    node.only("kind", "artifact", "check", *computed)
    measure = parse_check_measure(node.at("measure")) if node.has("measure") and computed else None
    return Check(
        key,
        name,
        op=">=" if measure and measure.target else None,
        target=measure.target if measure else None,
        artifact=node.at("artifact").str() if node.has("artifact") else None,
        text=_text(node.at("check")),
        measure=measure,
        examples=tuple(child.value for child in node.at("examples").list()) if node.has("examples") else (),
    )


def _indicators(nodes: list[Node]) -> Mapping[str, Indicator]:
    found: dict[str, Indicator] = {}
    for node in nodes:
        node.only("indicators")
        for child in node.at("indicators").list(least=1):
            indicator = _indicator(child)
            if indicator.id and indicator.id in found:
                child.fault(f"indicator {indicator.id} is given twice", "id")
            found.setdefault(indicator.id, indicator)
    return dict(sorted(found.items()))


def _indicator(node: Node) -> Indicator:
    node.only("id", "type", "absence", "n_min", "name", "definition", "measure", "reason", "examples")
    if node.has("measure") == node.has("reason"):
        node.fault("needs either 'measure' or 'reason' (why it cannot be measured yet), not both")
    return Indicator(
        id=node.at("id").str(),
        type=node.at("type").choice("share", "count", "bound_ge", "bound_le"),
        absence=node.at("absence").choice("negative", "neutral"),
        n_min=node.at("n_min").int(),
        name=_text(node.at("name")),
        definition=_text(node.at("definition")),
        measure=parse_measure(node.at("measure")) if node.has("measure") else None,
        reason=_text(node.at("reason")) if node.has("reason") else None,
        examples=tuple(child.value for child in node.at("examples").list()) if node.has("examples") else (),
    )
