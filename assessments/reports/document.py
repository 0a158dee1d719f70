"""The report as one value, from which every format is drawn.

``build`` takes a model, a scorecard with its gaps, the statements of the sources and a function that gives addresses
of facts; it gives a ``ReportDocument`` in one language. Pure: no database, no clock, no network. Everything in it is
said in words and shown numbers; the exact fraction stands beside each number, and each finding cites the ids it rests
on (the first 50 and how many more), its indicator and its sources.

As JSON (``to_bytes``) the document has the fields of ``ReportDocument`` and of the classes in ``parts``, by name:

- keys sorted, no white space, UTF-8, one line ending in a line feed: equal documents give equal bytes;
- a fraction is text ``"9/10"``, a date ``"2025-03-01"``, a time of reading ``"2025-03-01 06:00 UTC"``;
- a field that is null or that holds its default is the absence of a value, never zero;
- a value per view is an object with ``claimed``, ``evidenced``, ``lower``, ``rated`` and ``upper``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from assessments.evidence.telling import reason_in
from assessments.reports.details import Link, Teller, capability_item, left_out
from assessments.reports.figures import moment, number, percent
from assessments.reports.labels import method_note
from assessments.reports.parts import (
    Blocker,
    CapabilityItem,
    Cover,
    Evidence,
    HeatGroup,
    LeftOut,
    OverClaim,
    Radar,
    Reading,
    Result,
    SourceItem,
    StreamItem,
    Term,
)
from assessments.reports.summary import capability_name, capability_standing, heat_group, radar, reading, result
from maturity import canonical
from maturity.facts import Reading as StreamState
from maturity.facts import Statement
from maturity.gaps import Gap
from maturity.schema import Model
from maturity.scorecard import Scorecard
from maturity.telling import gap_sentence

SHOWN_BLOCKERS, SHOWN_OVER_CLAIMS = 15, 15
_STREAM_LABELS = {
    StreamState.READ: "read_here",
    StreamState.NOT_SUPPORTED: "not_supported_here",
    StreamState.COULD_NOT_LOOK: "could_not_look_here",
}


@dataclass(frozen=True, slots=True)
class ReportDocument:
    """A whole report in one language. Notes say how many of how many stand in a list that is cut."""

    language: str
    cover: Cover
    result: Result
    reading: Reading
    radar: Radar
    heatmap: tuple[HeatGroup, ...]
    blockers_note: str
    blockers: tuple[Blocker, ...]
    over_claims_note: str
    over_claims: tuple[OverClaim, ...]
    capabilities: tuple[CapabilityItem, ...]
    left_out: tuple[LeftOut, ...]
    sources: tuple[SourceItem, ...]
    method: tuple[Term, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON data of the report."""
        return cast(dict[str, Any], canonical.encode(self))

    def to_bytes(self) -> bytes:
        """Canonical bytes: equal documents give equal bytes."""
        return canonical.to_bytes(self.to_json())

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ReportDocument:
        """Read back what ``to_json`` gave. Raises ``ValueError`` when the data do not fit."""
        return canonical.decode(cls, data)


def build(
    model: Model,
    scorecard: Scorecard,
    gaps: Sequence[Gap],
    *,
    organisation: str,
    demo: bool,
    statements: Mapping[str, Statement],
    links: Link,
    pack_id: str,
    language: str,
) -> ReportDocument:
    """The report of a scorecard made with ``model``, whose ``gaps`` stand in order of worth.

    ``links`` gives the address of a fact from (unit, id), None when it has none; ``language`` is ``en`` or ``zh``.
    """
    teller = Teller.of(model, scorecard, links, sorted(statements), language)
    standings = {c.capability: capability_standing(teller, c) for c in scorecard.capabilities}
    blockers, claims = gaps[:SHOWN_BLOCKERS], scorecard.gaps[:SHOWN_OVER_CLAIMS]
    return ReportDocument(
        language=language,
        cover=_cover(teller, scorecard, organisation, pack_id, demo=demo),
        result=result(teller, scorecard),
        reading=reading(teller),
        radar=radar(teller, scorecard),
        heatmap=tuple(heat_group(teller, dimension, standings) for dimension in scorecard.dimensions),
        blockers_note=_note(teller, "blockers", len(blockers), len(gaps))
        if scorecard.projects
        else teller.word("no_project_yet"),
        blockers=tuple(_blocker(teller, gap) for gap in blockers),
        over_claims_note=_note(teller, "over_claims", len(claims), len(scorecard.gaps)),
        over_claims=tuple(_over_claims(teller, scorecard)),
        capabilities=tuple(capability_item(teller, c, standings[c.capability]) for c in scorecard.capabilities),
        left_out=tuple(left_out(teller, scorecard)),
        sources=tuple(_source(teller, key, statement) for key, statement in sorted(statements.items())),
        method=tuple(_method(teller, scorecard)),
    )


def _note(teller: Teller, key: str, shown: int, count: int) -> str:
    return teller.word(f"{key}_text", shown=shown, count=count) if count else teller.word(f"{key}_none")


def _cover(teller: Teller, scorecard: Scorecard, organisation: str, pack_id: str, *, demo: bool) -> Cover:
    model, language = teller.model, teller.language
    return Cover(
        title=teller.word("title"),
        organisation=organisation,
        demo=teller.word("demo") if demo else "",
        as_of=scorecard.as_of,
        projects=scorecard.projects,
        model=model.name.in_(language),
        version=scorecard.version,
        digest=scorecard.digest,
        status=model.status.in_(language),
        pack_id=pack_id,
        verify=f"python -m maturity verify FILE --id {pack_id}",
        verify_text=teller.word("verify_text"),
    )


def _blocker(teller: Teller, gap: Gap) -> Blocker:
    return Blocker(
        practice=gap.practice,
        practice_name=teller.name(gap.practice),
        capability=gap.capability,
        capability_name=capability_name(teller, gap.capability),
        level=gap.level,
        kind=gap.kind.value,
        kind_name=teller.word(gap.kind.value),
        sentence=gap_sentence(teller.model, gap, teller.language),
        gain=number(gap.gain, 1),
        evidence=tuple(_gap_evidence(teller, gap)),
    )


def _gap_evidence(teller: Teller, gap: Gap) -> Iterator[Evidence]:
    """The findings that fall short; none where an assessor's verdict counted instead of a measurement."""
    for shortfall in gap.shortfalls:
        finding = teller.findings.get((gap.indicator or gap.check, shortfall.project))
        if finding is not None and shortfall.unit:
            yield teller.evidence(finding, failing=shortfall.failing)


def _over_claims(teller: Teller, scorecard: Scorecard) -> Iterator[OverClaim]:
    code = teller.model.code
    for gap in scorecard.gaps[:SHOWN_OVER_CLAIMS]:
        yield OverClaim(
            practice=gap.practice,
            name=teller.name(gap.practice),
            claimed=number(gap.claimed),
            claimed_code=code(gap.claimed),
            rated=number(gap.rated),
            rated_code=code(gap.rated),
            gap=number(gap.gap),
        )


def _source(teller: Teller, key: str, statement: Statement) -> SourceItem:
    return SourceItem(
        key=key,
        kind=statement.kind,
        address=statement.base_url,
        version=statement.server_version,
        started=moment(statement.started_at),
        finished=moment(statement.finished_at),
        complete=statement.complete,
        streams=tuple(
            StreamItem(
                teller.word(f"stream_{stream.stream}"),
                stream.state.value,
                teller.word(_STREAM_LABELS[stream.state]),
                stream.rows,
                reason_in(stream.reason, teller.language),
            )
            for stream in statement.streams
        ),
        notes=statement.notes,
    )


def _method(teller: Teller, scorecard: Scorecard) -> Iterator[Term]:
    """Paragraphs on the method, with the numbers of the very model."""
    model, parameters = teller.model, teller.model.parameters
    gaps: dict[str, dict[str, object]] = {
        "levels": {
            "gate": number(parameters.level_gate).shown,
            "veto": number(parameters.veto_at_or_below).shown,
            "base": number(parameters.base_gate).shown,
            "share": str(parameters.dimension_share),
            "slack": parameters.dimension_slack,
        },
        "claims": {
            "cap": number(parameters.claim_only_cap).shown,
            "document": number(model.kinds["document"].cap).shown,
            "interview": number(model.kinds["interview"].cap).shown,
        },
        "freshness": {
            **{kind: model.kinds[kind].validity_days for kind in ("mlflow", "document", "interview")},
            "window": parameters.window_days,
        },
        "confidence": {
            "confidence": percent(parameters.provisional_if_confidence_below, teller.language).shown,
            "coverage": percent(parameters.provisional_if_answer_coverage_below, teller.language).shown,
        },
        "limits": {"status": model.status.in_(teller.language)},
    }
    for key in ("exact", "levels", "claims", "absence", "freshness", "sampling", "index", "confidence"):
        yield method_note(key, teller.language, **gaps.get(key, {}))
    if changed := _changed_weights(model, scorecard):
        yield method_note("weights", teller.language, weights=changed)
    yield method_note("limits", teller.language, **gaps["limits"])


def _changed_weights(model: Model, scorecard: Scorecard) -> str:
    own = {dimension.id: dimension.weight for dimension in model.dimensions}
    own |= {capability.id: capability.weight for capability in model.capabilities.values()}
    used = {**scorecard.weights.dimensions, **scorecard.weights.capabilities}
    return ", ".join(f"{key} {weight}" for key, weight in used.items() if weight != own.get(key))
