"""A model of the smallest kind, for tests that measure: no capability, the bundled numbers, the given indicators."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from maturity import schema
from maturity.reader import Fault, read_yaml
from maturity.schema import BUNDLED, Indicator, Model


def small_model(indicators: Mapping[str, Indicator], *, bundled: Path = BUNDLED) -> Model:
    """The bundled model's parameters and production aliases, with these indicators alone."""
    faults: list[Fault] = []
    top = read_yaml((bundled / "model.yaml").read_text(encoding="utf-8"), "model.yaml", faults)
    top.value["dimensions"] = []
    return schema._model(top, indicators, [], {})
