"""The watch over a model in service: drift with a verdict, skew, alerts with owners, and what came of the alerts.

Takes the watched features of two populations (see ``monitor``, which computes the statistics); gives findings, alerts,
their precision and thresholds that were recalibrated from the outcomes of earlier alerts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import inf, nextafter

import numpy as np
import numpy.typing as npt

from integrations.reference.monitor import kolmogorov_smirnov, population_stability_index

Values = npt.NDArray[np.float64]  # (n,)
Features = Mapping[str, Values]

MARKED_CHANGE = 0.25
"""Population stability index above which a whole week is read as drifted (Siddiqi 2006)."""
ROUND_H = 9
"""Hour of the day (UTC) of the on-call round, held from Monday to Friday."""
_DRAWS = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """Drift of one feature in one window: ``statistic`` is the population stability index."""

    feature: str
    statistic: float
    ks: float
    threshold: float
    verdict: str  # drift or stable

    def row(self) -> dict[str, float | str]:
        """The finding as a row of the drift report."""
        return {name: getattr(self, name) for name in ("feature", "statistic", "ks", "threshold", "verdict")}


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert rule: what is measured, the limit above which it alerts, and the role that decides."""

    name: str
    threshold: float
    owner: str

    def params(self) -> dict[str, str]:
        """The rule as parameters of a monitor run."""
        return {f"alert.{self.name}.threshold": f"{self.threshold:.6g}", f"alert.{self.name}.owner": self.owner}


@dataclass(frozen=True, slots=True)
class Reading:
    """One rule read in one window that begins at ``at`` (week of the calendar, with its fraction)."""

    rule: str
    at: float
    statistic: float
    actionable: bool = False  # whether something was wrong in that window, as known later


def findings(reference: Features, current: Features, thresholds: Mapping[str, float]) -> list[Finding]:
    """Drift of every feature that has a threshold, in the order of the thresholds."""
    found = []
    for name, threshold in thresholds.items():
        psi = population_stability_index(reference[name], current[name])
        verdict = "drift" if psi > threshold else "stable"
        found.append(Finding(name, psi, kolmogorov_smirnov(reference[name], current[name]), threshold, verdict))
    return found


def skew(trained: Features, served: Features) -> dict[str, float]:
    """Training-serving skew of the same rows on two roads: the largest difference of a feature between the road of
    training and that of serving, in standard deviations of the feature. 0 where both give the same."""
    gaps = {}
    for name, values in trained.items():
        spread = float(values.std()) or 1.0
        gaps[name] = float(np.abs(values - served[name]).max()) / spread
    return gaps


def missing_share(rows: npt.ArrayLike) -> float:
    """Share of values that are no finite number: what a broken feed looks like from here."""
    return float(1.0 - np.isfinite(np.asarray(rows, dtype=np.float64)).mean())


def changed_dependencies(pinned: str, installed: Mapping[str, str]) -> int:
    """How many of the packages that a requirements file pins with ``==`` are installed in another version, or not."""
    lines = (line.split(";")[0].strip() for line in pinned.splitlines())
    pairs = [line.split("==", 1) for line in lines if "==" in line and not line.startswith("#")]
    return sum(installed.get(name.strip().lower()) != version.strip() for name, version in pairs)


def windows(rows: int, parts: int) -> list[npt.NDArray[np.intp]]:
    """Rows in their order, cut into so many windows of nearly equal length; raises ``ValueError`` when a window
    would be empty."""
    if parts < 1 or rows < parts:
        raise ValueError(f"{rows} rows cannot be cut into {parts} windows")
    return list(np.array_split(np.arange(rows), parts))


def natural_thresholds(reference: Features, rows: int, *, share: float, seed: int = 0) -> dict[str, float]:
    """Per feature the index that a window of so many rows exceeds with probability ``share`` although nothing changed:
    a quantile over windows drawn from the reference itself."""
    generator, thresholds = np.random.default_rng(seed), {}
    for name, values in reference.items():
        drawn = (generator.choice(values, rows) for _ in range(_DRAWS))
        thresholds[name] = float(np.quantile([population_stability_index(values, one) for one in drawn], 1 - share))
    return thresholds


def alerts(readings: Iterable[Reading], thresholds: Mapping[str, float]) -> list[Reading]:
    """The readings above the threshold of their rule."""
    return [reading for reading in readings if reading.statistic > thresholds[reading.rule]]


def precision(raised: Sequence[Reading]) -> float:
    """Share of alerts that called for something; raises ``ValueError`` when there was none."""
    if not raised:
        raise ValueError("no alert was raised, so none can be judged")
    return sum(alert.actionable for alert in raised) / len(raised)


def recalibrated(readings: Sequence[Reading], thresholds: Mapping[str, float], *, target: float) -> dict[str, float]:
    """New thresholds from the outcomes of past readings: per rule the lowest one, not below the present, at which the
    share of actionable alerts reaches ``target``. A rule that never reaches it alerts only beyond all it has seen."""
    aim, found = Fraction(str(target)), {}
    for rule, present in thresholds.items():
        own = sorted((r for r in readings if r.rule == rule and r.statistic > present), key=lambda r: -r.statistic)
        found[rule] = nextafter(own[0].statistic, inf) if own else present
        useful = 0
        for count, reading in enumerate(own, start=1):
            useful += reading.actionable
            if Fraction(useful, count) >= aim:
                # Everything down to this reading alerts, so the threshold lies midway to the next lower one.
                below = own[count].statistic if count < len(own) else present
                found[rule] = (reading.statistic + below) / 2
    return found


def missed(readings: Iterable[Reading], thresholds: Mapping[str, float]) -> list[int]:
    """Weeks in which something was wrong and no rule alerted."""
    seen = list(readings)
    troubled = {int(np.floor(reading.at)) for reading in seen if reading.actionable}
    alerted = {int(np.floor(alert.at)) for alert in alerts(seen, thresholds)}
    return sorted(troubled - alerted)


def judged(readings: Iterable[Reading], wrong: Mapping[int, bool]) -> list[Reading]:
    """The readings with their outcome: actionable where something was wrong in their week."""
    return [replace(reading, actionable=wrong[int(np.floor(reading.at))]) for reading in readings]


def next_round(at: datetime) -> datetime:
    """When the on-call round decides on an alert raised at a moment: the next 09:00 UTC of a working day."""
    moment = at.astimezone(UTC)
    decided = moment.replace(hour=ROUND_H, minute=0, second=0, microsecond=0)
    while decided < moment or decided.weekday() > 4:
        decided += timedelta(days=1)
    return decided
