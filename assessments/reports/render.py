"""The report of a kept result: reads what was kept and hands it to ``document.build``, which decides what is told."""

from __future__ import annotations

from assessments.ratings.results import Result
from assessments.reports.document import ReportDocument, build


def report_of(result: Result, language: str) -> ReportDocument:
    """The report of a result in ``en`` or ``zh``. Raises ``EvidenceDamaged`` when the kept bytes were changed."""
    assessment = result.assessment
    collections = assessment.collections.select_related("source")
    read = {collection.source.key: collection.read_statement() for collection in collections}
    return build(
        result.model,
        result.scorecard(),
        result.gaps,
        organisation=assessment.organisation.name,
        demo=assessment.organisation.demo,
        statements={key: statement for key, statement in read.items() if statement is not None},
        links=result.link,
        pack_id=assessment.pack_id,
        language=language,
    )
