"""What no single value of a model can show: references between files, things given twice, gaps.

Takes the values that ``schema`` read together with the nodes they came from, so that each fault names its file
and key. A part that could not be read is not held against the parts that refer to it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from maturity.reader import Node
from maturity.structure import Capability, Model, Practice

INDICATORS = "indicators/"
"""The folder of a model that holds its indicators; the other files but ``model.yaml`` are capabilities."""

EVIDENCE_KINDS = (
    "mlflow",
    "pipeline",
    "repo",
    "export",
    "document",
    "interview",
    "document+interview",
    "substitute_document",
)
"""The kinds of evidence that scoring knows; a model gives each of them a cap, a validity and a confidence."""


@dataclass(frozen=True, slots=True)
class _Known:
    """The names that a capability's file may use; None where the part that gives them could not be read."""

    dimensions: Container[str] | None
    levels: Container[int] | None
    seeds: Container[str] | None
    external_models: Container[str] | None
    indicators: Container[str] | None


def check_whole(
    model: Model, top: Node, nodes: Mapping[str, Node], capabilities: list[tuple[Node, Capability]]
) -> None:
    """What no single value can see: references between files, duplicates, gaps in the scale and the levels."""
    known = _known(model, top, nodes)
    _check_top(model, top)
    _check_ids(top, capabilities)
    if not any(node.silent for node in nodes.values()):
        for place, dimension in zip(top.at("dimensions").list(), model.dimensions, strict=True):
            if place.sound and not dimension.capabilities:
                place.fault(f"dimension {dimension.id} has no capability")
    for node, capability in capabilities:
        _unknown(node.at("dimension"), "dimension", capability.dimension, known.dimensions)
        for place, practice in zip(node.at("practices").list(), capability.practices, strict=True):
            _check_practice(place, practice, known)
            _check_targets(place, practice, model)


def _known(model: Model, top: Node, nodes: Mapping[str, Node]) -> _Known:
    indicators_read = not any(node.silent for name, node in nodes.items() if name.startswith(INDICATORS))
    dimensions = {dimension.id for dimension in model.dimensions}
    return _Known(
        dimensions=dimensions if dimensions and "" not in dimensions else None,
        levels=range(len(model.levels)) if len(model.levels) > 1 else None,
        seeds=model.seeds if top.at("seeds").value is not None else None,
        external_models=model.external_models if top.at("external_models").value is not None else None,
        indicators=model.indicators if indicators_read else None,
    )


def _unknown(place: Node, what: str, name: Any, known: Container[Any] | None) -> None:
    if place.sound and known is not None and name not in known:
        place.fault(f"unknown {what} {name}")


def _check_practice(place: Node, practice: Practice, known: _Known) -> None:
    _unknown(place.at("level"), "level", practice.level, known.levels)
    for n, check in enumerate(practice.checks):
        if check.indicator is not None:
            _unknown(place.at("evidence").at(n).at("indicator"), "indicator", check.indicator, known.indicators)
    for n, seed in enumerate(practice.seeds):
        _unknown(place.at("seeds").at(n), "seed", seed, known.seeds)
    for name in practice.maps:
        _unknown(place.at("maps").at(name), "external model", name, known.external_models)


def _check_targets(place: Node, practice: Practice, model: Model) -> None:
    """An upper bound is compared with <=, all else with >=; a share or count is divided by its target."""
    for n, check in enumerate(practice.checks):
        indicator = model.indicators.get(check.indicator or "")
        if indicator is None or check.target is None:
            continue
        op, target = place.at("evidence").at(n).at("op"), place.at("evidence").at(n).at("target")
        wanted = "<=" if indicator.type == "bound_le" else ">="
        if op.sound and check.op != wanted:
            op.fault(f"must be {wanted}, because {indicator.id} is of type {indicator.type}")
        if target.sound and indicator.type in ("share", "count") and check.target <= 0:
            target.fault(f"must be above 0, because {indicator.id} is of type {indicator.type}")
        if indicator.type == "share" and check.target > 1:
            target.fault(f"must be at most 1, because {indicator.id} is a share")


def _check_ids(top: Node, capabilities: list[tuple[Node, Capability]]) -> None:
    places = [node.at("id") for node in top.at("dimensions").list()]
    places += [node.at("kind") for node in top.at("evidence_kinds").list()]
    for node, _ in capabilities:
        places += [node.at("id"), *(child.at("id") for child in node.at("practices").list())]
    seen = set()
    for place in places:
        if isinstance(place.value, str) and place.value in seen:
            place.fault(f"{place.value} is given twice")
        elif isinstance(place.value, str):
            seen.add(place.value)


def _check_top(model: Model, top: Node) -> None:
    if top.at("levels").sound and [level.number for level in model.levels] != list(range(len(model.levels))):
        top.fault("must count 0, 1, 2, … without a gap", "levels")
    if top.at("evidence_kinds").sound:
        for kind in EVIDENCE_KINDS:
            if kind not in model.kinds:
                top.fault(f"kind {kind} is missing", "evidence_kinds")
    if top.at("rating_scale").sound:
        _check_scale(model, top.at("rating_scale"))


def _check_scale(model: Model, place: Node) -> None:
    scale = model.rating_scale
    if [rating.code for rating in scale] != ["N", "P", "L", "F"]:
        place.fault("must list N, P, L, F in this order")
        return
    joined = all(a.high == b.low for a, b in pairwise(scale)) and all(rating.low < rating.high for rating in scale)
    if not joined or scale[0].low != 0 or scale[-1].high != 1:
        place.fault("must cover 0 to 1 without gap or overlap")
        return
    for rating in scale:
        if model.code(rating.claim_value) != rating.code:
            place.fault(f"the claim value of {rating.code} must lie in its own range")
