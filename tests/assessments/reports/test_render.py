"""From a kept result to a report, and the command that writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from assessments.evidence.collect import collect
from assessments.ratings.assess import assess
from assessments.ratings.results import Result, latest
from assessments.reports.document import ReportDocument
from assessments.reports.render import report_of
from tests.assessments.conftest import Scripted, World

START = 1_700_000_000_000
HOUR = 3_600_000


@pytest.fixture
def result(world: World, scripted: Callable[[Scripted], None]) -> Result:
    """Acme's result: ten finished training runs, nine of them pinned to a commit."""
    names = [f"{n:032x}" for n in range(10)]
    runs = [
        {"run": name, "experiment": "1", "name": name, "status": "FINISHED", "lifecycle": "active",
         "start_at": START - HOUR, "end_at": START - HOUR + 60_000 + n}
        for n, name in enumerate(names)
    ]  # fmt: skip
    tags = [{"run": name, "key": "dlemm.stage", "value": "train"} for name in names]
    tags += [{"run": name, "key": "mlflow.source.git.commit", "value": "a" * 40} for name in names[:9]]
    metrics = [{"run": name, "key": "loss", "value": float(n)} for n, name in enumerate(names)]
    experiment = {"experiment": "1", "name": "fraud", "lifecycle": "active", "created_at": START}
    scripted(Scripted({"experiments": [experiment], "runs": runs, "run_tags": tags, "run_metrics": metrics}, now=START))
    collect(world.acme.sources.get())
    assess(world.acme, as_of=datetime.fromtimestamp(START / 1000 + 7200, tz=UTC))
    found = latest(world.acme)
    assert found is not None
    return found


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_report_of_a_result_is_drawn_from_what_was_kept(result: Result, language: str) -> None:
    document = report_of(result, language)
    scorecard = result.scorecard()
    assert document.language == language
    assert document.cover.organisation == "Acme"
    assert document.cover.pack_id == result.assessment.pack_id
    assert document.cover.digest == result.assessment.model_digest
    assert document.result.overall.level == scorecard.level
    assert [source.key for source in document.sources] == ["mlflow"]
    assert document.cover.demo == ""


def test_the_report_cites_the_very_run_that_fails_with_its_address(result: Result) -> None:
    document = report_of(result, "en")
    cited = {
        reference.id: reference.link
        for capability in document.capabilities
        for practice in capability.practices
        for project in practice.projects
        for check in project.checks
        if check.evidence and check.evidence.indicator == "EXP-02"
        for reference in check.evidence.failing.ids
    }
    assert cited == {f"mlflow:{9:032x}": f"http://127.0.0.1:9/#/experiments/1/runs/{9:032x}"}


def run(*arguments: object) -> str:
    out = StringIO()
    call_command("report", *map(str, arguments), stdout=out)
    return out.getvalue()


def test_the_command_writes_either_format_in_either_language(result: Result, tmp_path: Path) -> None:
    paper, data = tmp_path / "report.pdf", tmp_path / "report.json"
    assert str(paper) in run("acme", "--output", paper)
    run("acme", "--format", "json", "--language", "zh", "--output", data)
    assert paper.read_bytes().startswith(b"%PDF-")
    assert ReportDocument.from_json(json.loads(data.read_bytes())) == report_of(result, "zh")


def test_the_command_says_what_is_missing(result: Result, world: World, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no organisation 'nobody'"):
        run("nobody", "--output", tmp_path / "x.pdf")
    with pytest.raises(CommandError, match="assess globex"):
        run("globex", "--output", tmp_path / "x.pdf")
    with pytest.raises(CommandError, match="No such file"):
        run("acme", "--format", "json", "--output", tmp_path / "no-folder" / "x.json")
    assert list(tmp_path.glob("*.pdf")) == []
