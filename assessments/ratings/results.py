"""results: a kept assessment read back as the values the engine gave.

Takes an organisation (already checked to be the reader's own); gives ``Result`` values for pages, reports and API.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from assessments.evidence import store
from assessments.evidence.links import FactLink, fact_link
from assessments.organisations.models import Organisation
from assessments.ratings.models import Assessment
from maturity import canonical
from maturity.facts import Statement
from maturity.gaps import Gap
from maturity.schema import Model, load_model, parse_model
from maturity.scorecard import CapabilityLevel, Finding, Scorecard

SHOWN_IDS = 50
"""So many passing and failing ids of a finding stand on a page; the result and the pack hold all of them."""


@dataclass(frozen=True, slots=True)
class ShownFinding:
    """A finding with its first ids, and how many ids there are in all."""

    finding: Finding
    passing: int
    failing: int


def shorten(finding: Finding) -> ShownFinding:
    """The finding with its first ids and the number of all."""
    short = replace(finding, passing=finding.passing[:SHOWN_IDS], failing=finding.failing[:SHOWN_IDS])
    return ShownFinding(short, len(finding.passing), len(finding.failing))


@dataclass(frozen=True, slots=True)
class ShownSignal:
    """Something noticed (``maturity.signals``): its kind, the first ids, how many there are, and numbers by name."""

    kind: str
    ids: tuple[str, ...]
    n: int
    detail: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class CapabilityView:
    """What the page of a capability shows: findings are found by (indicator, project)."""

    level: CapabilityLevel
    findings: Mapping[tuple[str, str | None], ShownFinding]
    link: FactLink


@dataclass(frozen=True)
class Result:
    """One assessment. ``summary`` is the scorecard without practices and findings, ``gaps`` what blocks most."""

    assessment: Assessment

    @cached_property
    def summary(self) -> Scorecard:
        return Scorecard.from_json(self.assessment.summary["scorecard"])

    @cached_property
    def gaps(self) -> tuple[Gap, ...]:
        return tuple(canonical.decode(Gap, gap) for gap in self.assessment.summary["gaps"])

    @cached_property
    def statements(self) -> Mapping[str, Statement]:
        """The completeness statement of each source as it was then, those that could not be read included."""
        return {key: Statement.from_json(kept) for key, kept in self.assessment.summary["statements"].items()}

    @property
    def browsing(self) -> str | None:
        """The file in which the facts behind findings can be browsed; None for a result from before there was one."""
        found: str | None = self.assessment.summary.get("browsing")
        return found

    @cached_property
    def signals(self) -> tuple[ShownSignal, ...] | None:
        """What was noticed in the facts; None for a result from before this was looked at."""
        kept = self.assessment.summary.get("signals")
        return None if kept is None else tuple(ShownSignal(**{**one, "ids": tuple(one["ids"])}) for one in kept)

    @cached_property
    def signal_link(self) -> FactLink:
        """Addresses of the facts that signals name."""
        return fact_link(self.assessment.organisation, self.assessment.summary.get("signal_experiments", {}))

    @property
    def outcomes(self) -> Mapping[str, str]:
        """The outcome of each check over all projects."""
        found: Mapping[str, str] = self.assessment.summary.get("outcomes", {})
        return found

    @cached_property
    def model(self) -> Model:
        """The very model the assessment was made with, out of its pack if the bundled one has moved on."""
        bundled = load_model()
        if bundled.digest == self.assessment.model_digest:
            return bundled
        return _packed_model(self.assessment.organisation_id, self.assessment.pack_sha256)

    def capability(self, key: str) -> CapabilityView:
        """One capability with its practices, findings and links. Raises ``CapabilityResult.DoesNotExist``."""
        detail = self.assessment.capabilities.get(capability=key).detail
        shown = [canonical.decode(ShownFinding, row) for row in detail["findings"]]
        return CapabilityView(
            level=canonical.decode(CapabilityLevel, detail["capability"]),
            findings={(short.finding.indicator, short.finding.project): short for short in shown},
            link=fact_link(self.assessment.organisation, detail["experiments"]),
        )

    @cached_property
    def link(self) -> FactLink:
        """Addresses of every fact that a page or report may cite."""
        details = self.assessment.capabilities.values_list("detail__experiments", flat=True)
        merged = {fact: experiment for experiments in details for fact, experiment in experiments.items()}
        return fact_link(self.assessment.organisation, merged)

    def scorecard(self) -> Scorecard:
        """The whole scorecard from its kept bytes. Raises ``EvidenceDamaged`` when they are not what was kept."""
        content = self._kept(self.assessment.result_sha256, "json")
        return Scorecard.from_json(json.loads(content))

    def pack(self) -> bytes:
        """The evidence pack. Raises ``EvidenceDamaged`` when it is not what was kept."""
        return self._kept(self.assessment.pack_sha256, "dlemm")

    def _kept(self, sha256: str, suffix: str) -> bytes:
        return store.read_bytes(self.assessment.organisation_id, sha256, suffix)


def latest(organisation: Organisation) -> Result | None:
    """The result of the latest date, and of those the one made last; None before the first assessment."""
    assessment = organisation.assessments.select_related("organisation").order_by("-as_of", "-pk").first()
    return Result(assessment) if assessment else None


@lru_cache(maxsize=8)
def _packed_model(organisation_id: int, pack_sha256: str) -> Model:
    """The model in a pack; parsing one takes long enough to be remembered between pages."""
    from maturity import pack

    return parse_model(pack.model_files(store.read_bytes(organisation_id, pack_sha256, "dlemm")))
