"""A small organisation for the report's tests: the bundled model, findings and answers, scored for real."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from fractions import Fraction
from functools import cache
from typing import Any

from assessments.reports.document import ReportDocument, build
from maturity.answers import Answers, Claim, Verdict, Waiver
from maturity.facts import Reading, Statement, StreamReading
from maturity.gaps import gaps
from maturity.schema import Indicator, Model, load_model
from maturity.scorecard import Finding, Outcome, Scorecard
from maturity.scoring import score

AS_OF = date(2025, 3, 1)
READ_AT = int(datetime(2025, 2, 20, 6, tzinfo=UTC).timestamp() * 1000)
WINDOW = (READ_AT - 180 * 86_400_000, READ_AT)
PACK_ID = "ab" * 32
STATEMENT = Statement(
    kind="mlflow",
    base_url="https://mlflow.example",
    started_at=READ_AT - 60_000,
    finished_at=READ_AT,
    server_version="3.17.2",
    streams=(
        StreamReading("experiments", Reading.READ, 4),
        StreamReading("runs", Reading.READ, 1234),
        StreamReading("logged_models", Reading.NOT_SUPPORTED, 0, "the server is older than 3.0"),
        StreamReading("artifacts", Reading.COULD_NOT_LOOK, 0, "the server answered 503 three times"),
    ),
)


def finding(indicator: Indicator, project: str | None, place: int) -> Finding:
    """A finding of the kind that stands at this place of a fixed round: met, short of the target, none, unreadable."""
    turn = place % 6
    base = {"indicator": indicator.id, "project": project, "read_at": READ_AT, "window": WINDOW}
    if turn == 4:
        return Finding(**base, outcome=Outcome.NO_EVIDENCE, reason="empty_population")
    if turn == 5:
        details = {"stream": "artifacts", "source": "lab", "why": "the server answered 503 three times"}
        return Finding(**base, outcome=Outcome.COULD_NOT_LOOK, reason="stream_not_read", details=details)
    n = (60, 70, 20, 9)[turn]
    good = n if turn < 2 else n * turn // 5
    ids = tuple(f"lab:{hashlib.md5(f'{place}/{number}'.encode()).hexdigest()}" for number in range(n))
    if indicator.type == "share":
        return Finding(
            **base, outcome=None, value=Fraction(good, n), n=n, numerator=good, denominator=n,
            passing=ids[:good], failing=ids[good:],
        )  # fmt: skip
    value = Fraction(5 - turn) if indicator.type != "bound_le" else Fraction(turn * 3, 2)
    return Finding(**base, outcome=None, value=value, n=n, passing=ids[:good], failing=ids[good:])


def findings(model: Model, projects: Sequence[str]) -> list[Finding]:
    """One finding per indicator for every project and for the organisation."""
    places = [None, *projects]
    return [
        finding(indicator, project, 7 * row + 3 * column)
        for row, indicator in enumerate(model.indicators.values())
        for column, project in enumerate(places)
    ]


def answers(model: Model, projects: Sequence[str], *, reason: str = "the labels are sensor readings") -> Answers:
    """Confident claims, some documents and interviews, one practice and one check that do not apply."""
    claims = [Claim(p.id, None, "FFLLP"[p.level - 1]) for p in model.practices.values()]
    human = [p for p in model.practices.values() if any(not check.machine for check in p.checks)]
    verdicts = []
    for place, practice in enumerate(p for p in human if p.level <= 2):
        for kind in ("document", "interview") if place % 2 else ("document",):
            verdicts.append(
                Verdict(f"V{place}{kind[0]}", practice.id, None, kind, date(2025, 1, 10), "assessor", reason, code="F")
            )
    excused = next(p for p in model.practices.values() if p.na_reason is not None)
    waivers = (Waiver(excused.id, None, "no such data", reason, "assessor"),)
    return Answers(tuple(claims), tuple(verdicts), waivers)


@cache
def scorecard(projects: tuple[str, ...] = ("fraud", "vision")) -> Scorecard:
    """The sample, scored."""
    model = load_model()
    return score(model, findings(model, projects), answers(model, projects), projects=projects, as_of=AS_OF)


def address(unit: str, fact: str) -> str | None:
    """Runs have an address, nothing else has."""
    return f"https://mlflow.example/#/runs/{fact.partition(':')[2]}" if unit == "run" else None


def document(
    language: str = "en",
    *,
    card: Scorecard | None = None,
    organisation: str = "Example Works",
    statements: Mapping[str, Statement] | None = None,
    **others: Any,
) -> ReportDocument:
    """The sample's report."""
    model = load_model()
    card = card or scorecard()
    given = {"demo": False, "links": address, "pack_id": PACK_ID, **others}
    return build(
        model, card, gaps(model, card), organisation=organisation, language=language,
        statements={"lab": STATEMENT} if statements is None else statements, **given,
    )  # fmt: skip
