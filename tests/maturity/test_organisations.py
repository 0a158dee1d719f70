"""Made organisations: what the generator promises, and that more maturity never scores lower."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from maturity.answers import Answers
from maturity.indicators import measure_all
from maturity.schema import load_model
from maturity.scorecard import Scorecard
from maturity.scoring import score
from tests.organisations import AS_OF, Made, facts, rows


def scored(made: Made) -> Scorecard:
    model = load_model()
    findings = measure_all(model, facts(made), as_of=AS_OF, projects=made.names)
    day = datetime.fromtimestamp(AS_OF / 1000, tz=UTC).date()
    return score(model, findings, Answers(), projects=made.names, as_of=day)


def test_the_same_seed_makes_the_same_organisation() -> None:
    assert rows(Made(runs=50)) == rows(Made(runs=50))
    assert rows(Made(runs=50)) != rows(Made(runs=50, seed=8))


@pytest.mark.parametrize("runs", [1, 10, 1000])
def test_an_organisation_is_as_large_as_asked_for(runs: int) -> None:
    made = rows(Made(runs=runs, projects=3, versions=5))
    assert (len(made["runs"]), len(made["experiments"]), len(made["model_versions"])) == (runs, 3, 15)


def test_the_more_practices_are_followed_the_higher_the_index() -> None:
    indexes = [scored(Made(runs=120, maturity=maturity)).index.rated for maturity in (0.0, 0.5, 1.0)]
    assert indexes == sorted(indexes)
    assert indexes[0] < indexes[-1]
