"""The report of a kept result: reads what was kept and hands it to ``document.build``, which decides what is told."""

from __future__ import annotations

from assessments.ratings.results import Result
from assessments.reports.document import ReportDocument, build


def report_of(result: Result, language: str) -> ReportDocument:
    """The report of a result in ``en`` or ``zh``. Raises ``EvidenceDamaged`` when the kept bytes were changed."""
    assessment = result.assessment
    return build(
        result.model,
        result.scorecard(),
        result.gaps,
        organisation=assessment.organisation.name,
        demo=assessment.organisation.demo,
        statements=result.statements,
        links=result.link,
        pack_id=assessment.pack_id,
        language=language,
    )
