"""The page of the reference pipeline: steps to run, and the pictures and documents of the ladder climbed last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from assessments.jobs import work as jobs
from assessments.jobs.models import Job
from assessments.organisations.models import Organisation
from assessments.ratings import ladder
from assessments.ratings import refresh as refreshing
from assessments.ratings.ladder import climb, climbing, folder_of, take
from tests.assessments.conftest import World

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def demo(world: World, settings, tmp_path: Path) -> Organisation:
    settings.LADDERS = tmp_path / "ladders"
    settings.SOURCE_FOLDERS = [str(settings.LADDERS)]
    world.acme.demo = True
    world.acme.save()
    return world.acme


@pytest.fixture
def papers(demo: Organisation) -> Path:
    """What a ladder of step 2 leaves, in small."""
    papers = folder_of(demo) / "papers"
    for name, content in {
        "figures/digits/monitor-3-drift_chart.png": PNG,
        "documents/digits/DG3.1.1.md": b"# Label source\n\n<script>alert(1)</script> *three* readers",
        "records/incidents.csv": b"incident,project,kind,opened_at\ni1,digits,model,2026-03-01T00:00:00Z\n",
        "answers.yaml": b'{"verdicts": [], "waivers": []}',
    }.items():
        (papers / name).parent.mkdir(parents=True, exist_ok=True)
        (papers / name).write_bytes(content)
    row = {"key": "digits", "name": "Digits", "experiments": ["reference-ladder/digits"]}
    row |= {"models": ["reference-ladder-digits"], "idea_at": "2026-01-01T00:00:00.000Z", "started_at": None}
    repositories = {"git-digits": {"base_url": str(folder_of(demo) / "repository"), "project": "digits"}}
    told = {"step": 2, "without": [], "repositories": repositories, "projects": [row]}
    (papers / "organisation.json").write_text(json.dumps(told))
    (folder_of(demo) / "repository").mkdir()
    return papers


def address(name: str, /, **more: object) -> str:
    return reverse(name, kwargs={"key": "acme", **more})


def test_the_page_offers_five_steps_and_says_what_was_not_run_yet(signed_in: Client, demo: Organisation) -> None:
    html = signed_in.get(address("reference")).content.decode()
    assert html.count('name="step"') == 5
    assert "has not been run here yet" in html


def test_only_a_demonstration_has_the_page(signed_in: Client, world: World) -> None:
    assert signed_in.get(address("reference")).status_code == 404
    assert signed_in.post(address("reference-climb"), {"step": "1"}).status_code == 404


def test_pictures_and_documents_of_the_last_ladder_are_shown(signed_in: Client, papers: Path) -> None:
    html = signed_in.get(address("reference")).content.decode()
    assert "step 2" in html
    assert "drift chart" in html
    assert "DG3.1.1" in html
    shown = signed_in.get(address("reference-picture", project="digits", name="monitor-3-drift_chart.png"))
    assert b"".join(shown.streaming_content) == PNG
    assert shown["Content-Type"] == "image/png"
    text = signed_in.get(address("reference-document", project="digits", practice="DG3.1.1")).content.decode()
    assert "<em>three</em>" in text
    assert "<script>alert" not in text


@pytest.mark.parametrize("name", ["../organisation.json", "..%2Forganisation.json", "none.png", "."])
def test_nothing_but_the_pictures_is_given_away(signed_in: Client, papers: Path, name: str) -> None:
    place = address("reference-picture", project="digits", name="x").removesuffix("x")
    assert signed_in.get(place + name).status_code == 404
    assert signed_in.get(address("reference-document", project="digits", practice="..")).status_code == 404


def test_the_ladder_of_another_organisation_is_not_there(signed_in: Client, papers: Path) -> None:
    Organisation.objects.create(key="other", name="Other", demo=True)
    assert signed_in.get(reverse("reference", kwargs={"key": "other"})).status_code == 404


def test_a_step_becomes_a_job_and_pressing_twice_makes_one(
    signed_in: Client, demo: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_enqueue", lambda job: None)
    for _ in range(2):
        answer = signed_in.post(address("reference-climb"), {"step": "3"})
    job = Job.objects.get(kind="ladder")
    assert job.options == {"step": 3}
    assert answer["Location"] == address("job", number=job.pk)
    assert signed_in.post(address("reference-climb"), {"step": "6"}).status_code == 404


def test_the_papers_become_projects_sources_records_and_answers(papers: Path, demo: Organisation) -> None:
    take(demo, folder_of(demo), "http://127.0.0.1:9")
    (project,) = demo.projects.all()
    assert (project.key, project.experiments, project.idea_at.year) == ("digits", ["reference-ladder/digits"], 2026)
    assert {source.key: source.kind for source in demo.sources.all()} == {
        "mlflow": "mlflow",
        "git-digits": "git",
        "incidents": "tables",
    }
    assert demo.answer_sets.first().origin == "ladder 2"
    (papers / "records" / "incidents.csv").unlink()
    take(demo, folder_of(demo), "http://127.0.0.1:9")
    assert not demo.sources.filter(key="incidents").exists()


def test_a_job_takes_the_news_of_the_pipeline_and_then_the_papers(
    papers: Path, demo: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def news(step: int, where: str, folder: Path) -> Iterator[dict[str, object]]:
        yield {"event": "work", "step": "digits", "doing": "train/baseline"}
        yield {"event": "end", "state": "finished", "message": f"step {step} is up"}

    monkeypatch.setattr(ladder, "climbing", news)
    monkeypatch.setattr(refreshing, "refresh", lambda job, report: None)
    said: list[str] = []
    job = Job.objects.create(organisation=demo, kind="ladder", options={"step": 2})
    climb(job, lambda done, total, doing: said.append(doing))
    job.refresh_from_db()
    assert said == ["digits: train/baseline"]
    assert job.log == "digits: train/baseline\nstep 2 is up"
    assert demo.projects.get().key == "digits"


def test_a_pipeline_that_cannot_reach_its_server_ends_the_job_with_its_sentence(tmp_path: Path) -> None:
    with pytest.raises(jobs.JobFailed, match=r"127\.0\.0\.1:9"):
        list(climbing(1, "http://127.0.0.1:9", tmp_path))


def test_a_job_of_an_organisation_that_is_no_demonstration_is_refused(world: World) -> None:
    job = Job.objects.create(organisation=world.acme, kind="ladder", options={"step": 2})
    with pytest.raises(jobs.JobFailed, match="demonstration"):
        climb(job, lambda done, total, doing: None)
