from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from celery.contrib.testing.worker import start_worker
from django.core.signing import BadSignature
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from kombu.exceptions import OperationalError

from assessments.celery import app
from assessments.evidence import collect as collecting
from assessments.evidence.models import Source
from assessments.jobs import work
from assessments.jobs.models import Job
from assessments.jobs.tasks import run_job
from assessments.ratings.models import Assessment
from tests.assessments.conftest import Scripted, World

Use = Callable[[Scripted], None]


@pytest.fixture
def queue() -> Iterator[None]:
    """The embedded queue, emptied around the test."""
    app.control.purge()
    yield
    app.control.purge()


def refresh_of(world: World) -> Job:
    return Job.objects.create(organisation=world.acme, kind="refresh")


def test_a_job_collects_assesses_and_tells_what_it_did(world: World, scripted: Use) -> None:
    scripted(Scripted())
    job = refresh_of(world)
    work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.DONE
    assert "experiments: read to the end" in job.log
    assert Assessment.objects.count() == 1


def test_running_a_job_twice_does_its_work_once(world: World, scripted: Use) -> None:
    scripted(Scripted())
    job = refresh_of(world)
    work.run(job.pk)
    work.run(job.pk)
    assert Assessment.objects.count() == 1


def test_a_job_that_fails_says_why_and_the_worker_lives_on(world: World, scripted: Use) -> None:
    world.acme.projects.all().delete()
    scripted(Scripted())
    job = refresh_of(world)
    work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.FAILED
    assert "no project in scope" in job.log


def test_a_running_job_stops_at_its_next_word_when_asked(
    world: World, scripted: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = refresh_of(world)
    scripted(Scripted())

    def stubborn(job: Job, report: work.Report) -> None:
        work.cancel(job)
        report(1, 2, "reading")
        raise AssertionError("went on after it was asked to stop")

    monkeypatch.setattr(work, "_function", lambda kind: stubborn)
    work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLED


def test_a_waiting_job_is_stopped_at_once(world: World) -> None:
    job = refresh_of(world)
    work.cancel(job)
    work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLED


def test_two_people_who_press_the_button_get_one_job(world: World, queue: None) -> None:
    first = work.request(world.acme, "refresh", by=world.alice)
    second = work.request(world.acme, "refresh", by=world.bob)
    assert first == second


def test_what_a_dead_process_left_behind_is_queued_again(world: World, queue: None, scripted: Use) -> None:
    scripted(Scripted())
    long_ago = timezone.now() - timedelta(hours=1)
    silent = Job.objects.create(organisation=world.acme, kind="refresh", state=Job.State.RUNNING, heartbeat_at=long_ago)
    fresh = Job.objects.create(
        organisation=world.globex, kind="refresh", state=Job.State.RUNNING, heartbeat_at=timezone.now()
    )
    assert work.requeue_orphans() == 1
    silent.refresh_from_db()
    fresh.refresh_from_db()
    assert (silent.state, fresh.state) == (Job.State.QUEUED, Job.State.RUNNING)


def test_a_job_that_lost_its_worker_does_not_block_the_button(world: World, queue: None) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    lost = Job.objects.create(organisation=world.acme, kind="refresh", state=Job.State.RUNNING, heartbeat_at=long_ago)
    assert work.request(world.acme, "refresh", by=world.alice) != lost
    lost.refresh_from_db()
    assert lost.state == Job.State.FAILED


def test_a_viewer_may_watch_but_not_start(client: Client, world: World, queue: None) -> None:
    client.force_login(world.bob)
    assert client.post(reverse("job-start", args=["acme"])).status_code == 403
    job = refresh_of(world)
    assert client.get(reverse("job", args=["acme", job.pk])).status_code == 200
    assert client.post(reverse("job-cancel", args=["acme", job.pk])).status_code == 403
    assert "Collect and assess now" not in client.get(reverse("sources", args=["acme"])).content.decode()


def test_the_page_of_a_job_reloads_itself_until_it_is_over(signed_in: Client, world: World) -> None:
    job = refresh_of(world)
    address = reverse("job", args=["acme", job.pk])
    assert signed_in.get(address)["Refresh"] == "2"
    signed_in.post(reverse("job-cancel", args=["acme", job.pk]))
    assert "Refresh" not in signed_in.get(address)


@pytest.mark.django_db(transaction=True)
def test_the_button_reaches_a_real_worker(client: Client, world: World, queue: None, scripted: Use) -> None:
    scripted(Scripted())
    client.force_login(world.alice)
    with start_worker(app, pool="threads", concurrency=1, perform_ping_check=False, shutdown_timeout=20):
        client.post(reverse("job-start", args=["acme"]))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not Job.objects.get().ended:
            time.sleep(0.05)
    assert Job.objects.get().state == Job.State.DONE


def test_a_source_whose_secret_cannot_be_opened_does_not_stop_the_others(world: World, scripted: Use) -> None:
    broken = world.acme.sources.get()
    Source.objects.create(organisation=world.acme, key="zz-good", config={"base_url": "http://127.0.0.1:9"})
    good = Scripted()

    def connect(source: Source) -> Scripted:
        if source.pk == broken.pk:
            raise BadSignature("the stored secret belongs to another address; enter it again")
        return good

    scripted(good)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collecting, "connect", connect)
        job = refresh_of(world)
        work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.DONE
    assert "another address" in job.log
    assert Assessment.objects.count() == 1


def test_a_job_that_was_ended_meanwhile_stays_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = refresh_of(world)

    def slow(job: Job, report: work.Report) -> None:
        Job.objects.filter(pk=job.pk).update(state=Job.State.FAILED)

    monkeypatch.setattr(work, "_function", lambda kind: slow)
    work.run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.FAILED


def test_a_process_that_ends_without_a_word_fails_its_job(world: World) -> None:
    job = Job.objects.create(organisation=world.acme, kind="refresh", state=Job.State.RUNNING)
    work.lost_worker(job.pk, "The process of the job ended without a word (status -9).")
    job.refresh_from_db()
    assert job.state == Job.State.FAILED
    assert "status -9" in job.log


@pytest.mark.django_db(transaction=True)
def test_a_broker_out_of_reach_is_told_and_does_not_block_the_button(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(number: int) -> None:
        raise OperationalError("no broker at this address")

    monkeypatch.setattr(run_job, "delay", unreachable)
    first = work.request(world.acme, "refresh", by=world.alice)
    first.refresh_from_db()
    assert first.state == Job.State.FAILED
    assert "could not be reached" in first.log
    assert work.request(world.acme, "refresh", by=world.alice) != first
