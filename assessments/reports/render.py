"""render: a kept result as a report document, with its sources and links."""

from __future__ import annotations

from assessments.ratings.results import Result
from assessments.reports.document import ReportDocument, build
from maturity.facts import Statement


def report_of(result: Result, language: str) -> ReportDocument:
    """The report of a result in ``en`` or ``zh``. Raises ``EvidenceDamaged`` when what was kept was altered."""
    assessment = result.assessment
    statements = {
        c.source.key: Statement.from_json(c.statement) for c in assessment.collections.select_related("source")
    }
    return build(
        result.model,
        result.scorecard(),
        result.gaps,
        organisation=assessment.organisation.name,
        demo=assessment.organisation.demo,
        statements=statements,
        links=result.link,
        pack_id=assessment.pack_id,
        language=language,
    )
