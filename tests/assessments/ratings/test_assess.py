from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from assessments.evidence import store
from assessments.evidence.collect import collect
from assessments.organisations.models import Project
from assessments.ratings import results
from assessments.ratings.assess import NothingToAssess, assess
from assessments.ratings.models import AnswerSet
from assessments.ratings.results import latest
from assessments.reports.render import report_of
from maturity import pack
from maturity.answers import parse_answers
from maturity.schema import load_model
from tests.assessments.conftest import Scripted, World

START = 1_700_000_000_000
HOUR = 3_600_000
AS_OF = datetime.fromtimestamp(START / 1000 + 7200, tz=UTC)
Use = Callable[[Scripted], None]


def rows(runs: int, *, seeded: int) -> dict[str, list[dict[str, object]]]:
    """A small server: finished training runs, of which ``seeded`` are pinned to a commit."""
    tags = [{"run": f"r{n}", "key": "dlemm.stage", "value": "train"} for n in range(runs)]
    tags += [{"run": f"r{n}", "key": "mlflow.source.git.commit", "value": "a" * 40} for n in range(seeded)]
    return {
        "experiments": [{"experiment": "1", "name": "fraud", "lifecycle": "active", "created_at": START}],
        "runs": [
            {
                "run": f"r{n}",
                "experiment": "1",
                "name": f"r{n}",
                "status": "FINISHED",
                "lifecycle": "active",
                "start_at": START - HOUR,
                "end_at": START - HOUR + 60_000 + n,
            }
            for n in range(runs)
        ],
        "run_metrics": [{"run": f"r{n}", "key": "loss", "value": float(n)} for n in range(runs)],
        "run_tags": tags,
    }


@pytest.fixture
def assessed(world: World, scripted: Use) -> World:
    """Acme with ten training runs, nine of them pinned to a commit, assessed once."""
    scripted(Scripted(rows(10, seeded=9), now=START))
    collect(world.acme.sources.get())
    assess(world.acme, as_of=AS_OF)
    return world


def test_a_result_cites_the_very_runs_that_pass_and_fail(assessed: World) -> None:
    result = latest(assessed.acme)
    shown = result.capability("MD1").findings[("EXP-02", "fraud")]
    assert shown.finding.failing == ("mlflow:r9",)
    assert shown.passing == 9
    assert result.link("run", "mlflow:r9") == "http://127.0.0.1:9/#/experiments/1/runs/r9"


def test_a_result_read_back_is_the_one_that_was_kept(assessed: World) -> None:
    result = latest(assessed.acme)
    whole = result.scorecard()
    assert result.summary.level == whole.level
    assert [c.level for c in result.summary.capabilities] == [c.level for c in whole.capabilities]
    assert result.capability("MD1").level == next(c for c in whole.capabilities if c.capability == "MD1")


def test_the_pack_of_a_result_verifies_and_has_the_id_in_the_report(assessed: World) -> None:
    result = latest(assessed.acme)
    verification = pack.verify(result.pack(), expected_id=result.assessment.pack_id)
    assert verification.faults == ()
    assert verification.scorecard == result.scorecard()


def test_assessing_twice_at_the_same_time_gives_the_same_bytes(assessed: World) -> None:
    first = latest(assessed.acme).assessment
    second = assess(assessed.acme, as_of=AS_OF)
    assert (first.result_sha256, first.pack_sha256) == (second.result_sha256, second.pack_sha256)


def test_a_server_that_could_not_be_read_does_not_move_the_score(assessed: World, scripted: Use) -> None:
    streams = ("experiments", "runs", "logged_models", "artifacts", "registry")
    scripted(Scripted(unread=dict.fromkeys(streams, "unauthorised: 401"), now=START + 1))
    collect(assessed.acme.sources.get())
    before = latest(assessed.acme).assessment
    after = assess(assessed.acme, as_of=AS_OF)
    assert after.result_sha256 == before.result_sha256


def test_a_source_never_read_is_not_an_empty_organisation(world: World, scripted: Use) -> None:
    streams = ("experiments", "runs", "logged_models", "artifacts", "registry")
    scripted(Scripted(unread=dict.fromkeys(streams, "unreachable: down"), now=START))
    collect(world.acme.sources.get())
    assess(world.acme, as_of=AS_OF)
    findings = latest(world.acme).scorecard().findings
    assert {f.outcome for f in findings} <= {"could_not_look", "not_supported"}


def test_an_empty_server_is_a_clear_result(world: World, scripted: Use) -> None:
    scripted(Scripted(now=START))
    collect(world.acme.sources.get())
    assess(world.acme, as_of=AS_OF)
    result = latest(world.acme)
    assert result.summary.level.rated == 0
    assert "no_evidence" in {f.outcome for f in result.scorecard().findings}


def test_claims_alone_never_reach_a_level(world: World, scripted: Use) -> None:
    model = load_model()
    text = json.dumps({"claims": dict.fromkeys(model.practices, "F")})
    answers = parse_answers(text, "answers.yaml", model)
    AnswerSet.objects.create(organisation=world.acme, content=answers.to_json(), origin="answers.yaml")
    scripted(Scripted(now=START))
    collect(world.acme.sources.get())
    AnswerSet.objects.update(given_at=AS_OF)
    assess(world.acme, as_of=AS_OF)
    level = latest(world.acme).summary.level
    assert (level.claimed, level.rated, level.evidenced) == (5, 0, 0)


def test_reference_runs_count_only_in_a_demonstration(world: World, scripted: Use) -> None:
    content = rows(10, seeded=10)
    content["run_tags"] += [{"run": f"r{n}", "key": "dlemm.origin", "value": "reference"} for n in range(10)]
    scripted(Scripted(content, now=START))
    collect(world.acme.sources.get())

    def passing() -> int:
        assess(world.acme, as_of=AS_OF)
        return latest(world.acme).capability("MD1").findings[("EXP-02", "fraud")].passing

    assert passing() == 0
    world.acme.demo = True
    world.acme.save()
    assert passing() == 10


def test_an_organisation_without_projects_is_told_so(world: World) -> None:
    Project.objects.all().delete()
    with pytest.raises(NothingToAssess, match="no project in scope"):
        assess(world.acme, as_of=AS_OF)


def test_an_altered_result_is_noticed(assessed: World) -> None:
    result = latest(assessed.acme)
    path = store.path_of(assessed.acme.pk, result.assessment.result_sha256, "json")
    path.write_bytes(path.read_bytes().replace(b'"coverage"', b'"c0verage"', 1))
    with pytest.raises(store.EvidenceDamaged, match="altered"):
        result.scorecard()


def test_a_removed_source_leaves_the_report_of_an_earlier_result_as_it_was(assessed: World) -> None:
    def sources() -> list[str]:
        return [source.key for source in report_of(latest(assessed.acme), "en").sources]

    assert sources() == ["mlflow"]
    assessed.acme.sources.all().delete()
    assert sources() == ["mlflow"]


def test_a_result_keeps_the_model_it_was_made_with(assessed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    own = latest(assessed.acme).assessment.model_digest
    moved_on = replace(load_model(), digest="0" * 64)
    monkeypatch.setattr(results, "load_model", lambda: moved_on)
    assert latest(assessed.acme).model.digest == own
