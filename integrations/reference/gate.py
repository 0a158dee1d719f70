"""The release gate: a versioned file of thresholds, and the verdict of one candidate against it.

Takes measured metrics, gives a verdict with every rule that does not hold. A metric that was not measured fails its
rule: silence is no pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Rule:
    """One threshold on one metric; either bound may be absent."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None

    def broken_by(self, metrics: Mapping[str, float]) -> str | None:
        """Why the rule does not hold, in words; None when it holds."""
        value = metrics.get(self.metric)
        if value is None:
            return f"{self.metric} was not measured"
        if self.at_least is not None and not value >= self.at_least:  # a NaN is not at least anything
            return f"{self.metric} is {value:.4g}, below {self.at_least:g}"
        if self.at_most is not None and not value <= self.at_most:
            return f"{self.metric} is {value:.4g}, above {self.at_most:g}"
        return None


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """Limits for the version in service: milliseconds and shares."""

    latency_p95_ms: float
    error_rate: float
    availability: float


@dataclass(frozen=True, slots=True)
class Policy:
    """The thresholds of a case, as its file states them."""

    id: str
    version: int
    release: tuple[Rule, ...]
    challenger: tuple[Rule, ...]
    parity_tolerance: float
    service_level: ServiceLevel
    drift_psi: float
    accuracy_drop: float

    @property
    def name(self) -> str:
        """Value of the tag ``dlemm.gate.policy``."""
        return f"{self.id}/{self.version}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a gate; passed exactly when no rule is broken."""

    policy: str
    broken: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.broken

    @property
    def status(self) -> str:
        """Value of the tag ``dlemm.gate.status``."""
        return "passed" if self.passed else "failed"


def load_policy(file: str) -> Policy:
    """Read a thresholds file that lies beside this module; an unknown or missing key is a ``TypeError``."""
    content: dict[str, Any] = yaml.safe_load((Path(__file__).parent / file).read_text(encoding="utf-8"))
    return Policy(
        release=tuple(Rule(**rule) for rule in content.pop("release")),
        challenger=tuple(Rule(**rule) for rule in content.pop("challenger")),
        service_level=ServiceLevel(**content.pop("service_level")),
        **content.pop("watch"),
        **content,
    )


def judge(policy: Policy, metrics: Mapping[str, float], *, challenger: bool = False) -> Verdict:
    """Hold the metrics of a candidate to the release rules, and to the challenger rules when it replaces another."""
    rules = policy.release + (policy.challenger if challenger else ())
    broken = (rule.broken_by(metrics) for rule in rules)
    return Verdict(policy.name, tuple(reason for reason in broken if reason))
