"""The closed vocabulary in which an indicator's YAML says how it is measured (parsed here, run by ``indicators``)."""

from __future__ import annotations

from dataclasses import dataclass

from maturity.reader import Node


@dataclass(frozen=True, slots=True)
class Measure:
    """How an indicator is measured: placeholder until the vocabulary is written."""

    population: str


def parse_measure(node: Node) -> Measure | None:
    """Parse the ``measure`` block of an indicator; None when it has none or is faulty."""
    return None
