"""The release gate: thresholds on measured metrics, and the verdict on one candidate.

A metric that was not measured fails its rule: silence is no pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


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


def judge(policy: str, rules: Iterable[Rule], metrics: Mapping[str, float]) -> Verdict:
    """Hold metrics to the rules of a policy, which is named by id and version such as ``release-gate/1``."""
    return Verdict(policy, tuple(reason for rule in rules if (reason := rule.broken_by(metrics))))
