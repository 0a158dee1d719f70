"""How long scoring takes: ``python -m benchmarks.scoring [MODEL FOLDER]``.

Scores every practice of a model over 20 projects with a finding and a claim for all of them, and verdicts for every
second human part. Ages and values differ by project, so that little of the work repeats. Prints the median of five.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path

from maturity.answers import Answers, Claim, Verdict
from maturity.schema import BUNDLED, Model, load_model
from maturity.scorecard import Finding, Outcome
from maturity.scoring import score

PROJECTS = tuple(f"project-{number:02}" for number in range(20))
AS_OF = date(2025, 6, 30)
ROUNDS = 5


def findings(model: Model, chance: random.Random) -> list[Finding]:
    """One finding per indicator or other machine check, and per project as well as the organisation."""
    keys = [check.indicator or check.key for check in model.checks.values() if check.machine]
    return [_finding(key, project, chance) for key in sorted(set(keys)) for project in (None, *PROJECTS)]


def _finding(key: str, project: str | None, chance: random.Random) -> Finding:
    n, age = chance.randint(0, 200), chance.randint(0, 200)
    read_at = int(datetime(2025, 6, 30, 9, tzinfo=UTC).timestamp() * 1000) - age * 86_400_000
    if n == 0:
        return Finding(key, project, Outcome.NO_EVIDENCE, n=0, read_at=read_at)
    return Finding(key, project, None, Fraction(chance.randint(0, n), n), n, read_at=read_at)


def answers(model: Model, chance: random.Random) -> Answers:
    """A claim for every practice and project, and verdicts on every second human part."""
    claims, verdicts = [], []
    for practice in model.practices.values():
        places = PROJECTS if practice.scope == "project" else (None,)
        human = any(not check.machine for check in practice.checks)
        for number, project in enumerate(places):
            claims.append(Claim(practice.id, project, chance.choice("NPLF")))
            if human and number % 2 == 0:
                dated = AS_OF - timedelta(days=chance.randint(0, 700))
                key, code = f"{practice.id}-{project}", chance.choice("NPLF")
                verdicts.append(Verdict(key, practice.id, project, "document", dated, "assessor", "seen", code))
    return Answers(tuple(claims), tuple(verdicts))


def main(folder: Path = BUNDLED) -> None:
    """Print the median time of scoring, and of turning the result into bytes."""
    chance = random.Random(1)
    model = load_model(folder)
    seen, said = findings(model, chance), answers(model, chance)
    scoring, writing, size = [], [], 0
    for _ in range(ROUNDS):
        start = time.perf_counter()
        card = score(model, seen, said, projects=PROJECTS, as_of=AS_OF)
        middle = time.perf_counter()
        size = len(card.to_bytes())
        scoring.append(middle - start)
        writing.append(time.perf_counter() - middle)
    lines = (
        f"{len(model.practices)} practices, {len(PROJECTS)} projects, {len(seen)} findings",
        f"score: median {statistics.median(scoring):.3f} s of {ROUNDS}",
        f"to bytes: median {statistics.median(writing):.3f} s of {ROUNDS}, {size / 1e6:.1f} MB",
    )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
