"""The lifecycle policy: a versioned file of rules, and what they say about one version.

Takes the outcome of a shadow test on live traffic; gives the action and the rule that led to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from integrations.reference.canary import Verdict

Action = Literal["promote", "rollback"]
FILE = Path(__file__).parent / "policies" / "lifecycle.yaml"


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The rules as their file states them."""

    id: str
    version: int
    promote_on: frozenset[str]
    delta_at_most: float
    rollback_on: frozenset[str]
    live_drop_at_least: float

    def rule(self, name: str) -> str:
        """Value of the tag ``dlemm.decision.policy`` for a rule of this file."""
        return f"{self.id}/{self.version}:{name}"

    def action(self, verdict: Verdict) -> Action:
        """What to do with a version after its shadow test."""
        delta = verdict.loss_candidate - verdict.loss_champion
        if verdict.decision in self.promote_on and delta <= self.delta_at_most:
            return "promote"
        return "rollback"


def load_lifecycle(file: Path = FILE) -> Lifecycle:
    """Read the policy; a missing rule is a ``KeyError``."""
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return Lifecycle(
        id=content["id"],
        version=content["version"],
        promote_on=frozenset(content["promote"]["decisions"]),
        delta_at_most=content["promote"]["delta_at_most"],
        rollback_on=frozenset(content["rollback"]["decisions"]),
        live_drop_at_least=content["rollback"]["live_drop_at_least"],
    )
