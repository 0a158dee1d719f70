from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from assessments.celery import app
from assessments.evidence import schedule
from assessments.evidence.collect import AlreadyCollecting, collect
from assessments.evidence.models import Collection, Source
from assessments.jobs import work
from assessments.jobs.embedded import embedded_worker
from assessments.jobs.models import Job
from assessments.jobs.processes import is_gone, this_process
from assessments.ratings.models import Assessment
from integrations.connectors.base import Sink
from maturity.facts import Statement
from tests.assessments.conftest import STREAMS, Scripted, World

Use = Callable[[Scripted], None]
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _queue() -> Iterator[None]:
    app.control.purge()
    yield
    app.control.purge()


@pytest.fixture
def source(world: World) -> Source:
    return world.acme.sources.get()


def run(job: Job) -> Job:
    work.run(job.pk)
    job.refresh_from_db()
    return job


def test_a_job_collects_one_source_and_no_other(world: World, source: Source, scripted: Use) -> None:
    Source.objects.create(organisation=world.acme, key="second", config={"base_url": "http://127.0.0.1:9/b"})
    scripted(Scripted())
    job = run(schedule.ask(source, by=world.alice))
    assert job.state == Job.State.DONE
    assert "experiments: read to the end" in job.log
    assert [one.source.key for one in Collection.objects.all()] == ["mlflow"]
    assert not Assessment.objects.exists()


def test_a_source_that_cannot_be_read_fails_its_job_in_plain_words(source: Source, scripted: Use) -> None:
    scripted(Scripted(unread=dict.fromkeys(STREAMS, "unreachable: The server could not be reached.")))
    job = run(schedule.ask(source, by=None))
    assert job.state == Job.State.FAILED
    assert job.log.splitlines()[-1] == "The source could not be read; what was known before stays in force."


def test_a_job_for_a_source_that_is_gone_says_so(source: Source) -> None:
    job = schedule.ask(source, by=None)
    source.delete()
    assert run(job).log == "The source mlflow is not there any more."


def test_a_job_that_meets_another_reading_ends_with_a_clear_line(source: Source, scripted: Use) -> None:
    scripted(Scripted())
    Collection.objects.create(source=source, started_at=timezone.now(), process="another-machine:1")
    job = run(schedule.ask(source, by=None))
    assert job.state == Job.State.FAILED
    assert job.log.startswith("Nothing was done: this source is being read already (mlflow is being collected since ")


def test_two_threads_of_one_process_never_read_one_source_at_once(source: Source, scripted: Use) -> None:
    class Twice(Scripted):
        def collect(self, sink: Sink) -> Statement:
            with pytest.raises(AlreadyCollecting):
                collect(source)
            return super().collect(sink)

    scripted(Twice())
    assert collect(source).state == Collection.State.COMPLETE
    assert Collection.objects.count() == 1


@pytest.mark.parametrize(
    ("runs", "by_hand", "asked", "everything"),
    [(20_000, True, False, True), (20_001, True, False, False), (20_001, True, True, True), (5, False, False, False)],
)
def test_how_much_is_read_again(
    world: World, source: Source, runs: int, by_hand: bool, asked: bool, everything: bool, scripted: Use
) -> None:
    scripted(Scripted())
    collection = collect(source)
    collection.statement["counts"] = {**collection.statement.get("counts", {}), "runs": runs}
    collection.save()
    job = schedule.ask(source, by=world.alice if by_hand else None, everything=asked)
    assert job.options == {"everything": everything}


def test_two_sources_have_a_job_each_and_one_source_one(world: World, source: Source) -> None:
    second = Source.objects.create(organisation=world.acme, key="second", config={"base_url": "http://127.0.0.1:9/b"})
    jobs = {schedule.ask(one, by=None).pk for one in (source, second, source)}
    assert len(jobs) == 2


def test_a_source_is_collected_when_its_time_has_come_and_only_once(source: Source, scripted: Use) -> None:
    scripted(Scripted())
    now = timezone.now()
    assert schedule.collect_due(now) == []
    schedule.set_schedule(source, every_minutes=15)
    (job,) = schedule.collect_due(now)
    assert schedule.collect_due(now + 60 * MINUTE) == []  # it waits still
    run(job)
    assert schedule.collect_due(now + 14 * MINUTE) == []
    assert len(schedule.collect_due(now + 16 * MINUTE)) == 1


def test_a_source_that_fails_is_tried_again_at_its_next_time(source: Source, scripted: Use) -> None:
    scripted(Scripted(unread=dict.fromkeys(STREAMS, "unreachable: down.")))
    schedule.set_schedule(source, every_minutes=15)
    now = timezone.now()
    (job,) = schedule.collect_due(now)
    assert run(job).state == Job.State.FAILED
    assert schedule.collect_due(now + MINUTE) == []
    assert len(schedule.collect_due(now + 16 * MINUTE)) == 1


def test_a_source_of_every_minute_is_collected_at_every_tick(source: Source, scripted: Use) -> None:
    scripted(Scripted())
    schedule.set_schedule(source, every_minutes=1)
    tick = timezone.now()
    for number in range(3):
        (job,) = schedule.collect_due(tick + number * MINUTE)
        run(job)
        Job.objects.filter(pk=job.pk).update(requested_at=tick + number * MINUTE + timedelta(seconds=2))
        Collection.objects.update(started_at=tick + number * MINUTE + timedelta(seconds=3))


def test_a_source_that_somebody_reads_by_hand_is_left_alone(source: Source) -> None:
    schedule.set_schedule(source, every_minutes=1)
    Collection.objects.create(source=source, started_at=timezone.now() - 10 * MINUTE, process=this_process())
    running = Collection.objects.create(
        source=source, started_at=timezone.now() - 10 * MINUTE, heartbeat_at=timezone.now(), process="elsewhere:1"
    )
    assert schedule.collect_due(timezone.now()) == []
    running.delete()
    assert len(schedule.collect_due(timezone.now())) == 1


def test_the_command_sets_shows_and_ends_a_schedule(source: Source, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("set_schedule", "acme", "mlflow", "--every", "15", "--audit-hours", "24")
    source.refresh_from_db()
    assert (source.every_minutes, source.audit_hours) == (15, 24)
    call_command("set_schedule", "acme", "mlflow", "--never")
    source.refresh_from_db()
    assert (source.every_minutes, source.audit_hours) == (None, 24)
    assert "every 15 minute(s)" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--every", "0"], ["--every", "999999"], ["--audit-hours", "0"]])
def test_the_command_refuses_numbers_out_of_bounds(source: Source, wrong: list[str]) -> None:
    with pytest.raises(CommandError, match="must be from 1"):
        call_command("set_schedule", "acme", "mlflow", *wrong)
    with pytest.raises(CommandError, match="There is no source"):
        call_command("set_schedule", "globex", "absent", "--never")


def test_an_owner_sets_the_schedule_on_the_page(signed_in: Client, source: Source) -> None:
    address = reverse("source-schedule", args=["acme", "mlflow"])
    assert signed_in.post(address, {"every_minutes": "30", "audit_hours": "48"}).status_code == 302
    source.refresh_from_db()
    assert (source.every_minutes, source.audit_hours) == (30, 48)
    assert "every 30 minute(s)" in signed_in.get(reverse("sources", args=["acme"])).content.decode()
    signed_in.post(address, {"every_minutes": "", "audit_hours": "48"})
    source.refresh_from_db()
    assert source.every_minutes is None


@pytest.mark.parametrize(
    "wrong", [{"every_minutes": "0", "audit_hours": "1"}, {"every_minutes": "x"}, {"audit_hours": "9" * 40}]
)
def test_the_page_says_what_is_wrong_and_changes_nothing(
    signed_in: Client, source: Source, wrong: dict[str, str]
) -> None:
    response = signed_in.post(reverse("source-schedule", args=["acme", "mlflow"]), wrong)
    assert response.status_code == 400
    assert 'role="alert"' in response.content.decode()
    source.refresh_from_db()
    assert (source.every_minutes, source.audit_hours) == (None, 168)


def test_a_viewer_sees_the_schedule_and_can_neither_set_it_nor_collect(client: Client, world: World) -> None:
    client.force_login(world.bob)
    assert client.post(reverse("source-schedule", args=["acme", "mlflow"]), {"audit_hours": "1"}).status_code == 403
    assert client.post(reverse("source-collect", args=["acme", "mlflow"])).status_code == 403
    page = client.get(reverse("sources", args=["acme"])).content.decode()
    assert "Collected only when asked for." in page
    assert "Read everything again" not in page
    assert "Collect this source" not in page


def test_the_second_button_reads_everything_again(signed_in: Client, source: Source) -> None:
    signed_in.post(reverse("source-collect", args=["acme", "mlflow"]), {"everything": "1"})
    assert Job.objects.get().options == {"everything": True}


def test_the_page_of_a_job_says_how_long_it_will_take(signed_in: Client, world: World) -> None:
    job = Job.objects.create(
        organisation=world.acme,
        kind="collect",
        subject="mlflow",
        state=Job.State.RUNNING,
        doing="runs",
        doing_since=timezone.now() - MINUTE,
        done=25,
        total=100,
    )
    page = signed_in.get(reverse("job", args=["acme", job.pk])).content.decode()
    assert "Collect mlflow" in page
    assert "25 / 100" in page
    assert "about 3 minutes left" in page


@pytest.mark.parametrize(("done", "total", "seconds"), [(0, 9, 60), (5, None, 60), (5, 9, 1)])
def test_a_step_that_tells_nothing_gives_no_time(world: World, done: int, total: int | None, seconds: int) -> None:
    now = timezone.now()
    since = now - timedelta(seconds=seconds)
    job = Job(organisation=world.acme, state=Job.State.RUNNING, doing_since=since, done=done, total=total)
    assert job.seconds_left(now) is None


def test_a_job_whose_process_was_killed_is_an_orphan_at_once(world: World, ended_process: str) -> None:
    job = Job.objects.create(
        organisation=world.acme,
        kind="collect",
        state=Job.State.RUNNING,
        heartbeat_at=timezone.now(),
        process=ended_process,
    )
    alive = Job.objects.create(
        organisation=world.globex,
        kind="collect",
        state=Job.State.RUNNING,
        heartbeat_at=timezone.now(),
        process=this_process(),
    )
    assert work.requeue_orphans() == 1
    for one, state in ((job, Job.State.QUEUED), (alive, Job.State.RUNNING)):
        one.refresh_from_db()
        assert one.state == state


def test_a_job_that_keeps_ending_its_process_is_given_up(world: World, ended_process: str) -> None:
    job = Job.objects.create(organisation=world.acme, kind="collect", process=ended_process)
    for queued in (1, 1, 1, 0):
        Job.objects.filter(pk=job.pk).update(state=Job.State.RUNNING)
        assert work.requeue_lost() == queued
    job.refresh_from_db()
    assert job.state == Job.State.FAILED
    assert "several times" in job.log


@pytest.fixture
def ended_process() -> str:
    import socket
    import subprocess

    process = subprocess.Popen(["true"])
    process.wait()
    name = f"{socket.gethostname()}:{process.pid}"
    assert is_gone(name)
    return name


def test_a_job_whose_process_is_to_end_waits_for_the_next_start(
    world: World, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told_to_end(job: Job, report: work.Report) -> None:
        raise work.Cancelled

    monkeypatch.setattr(work, "_function", lambda kind: told_to_end)
    job = run(schedule.ask(source, by=None))
    assert (job.state, job.finished_at) == (Job.State.QUEUED, None)


@pytest.mark.django_db(transaction=True)
def test_the_site_collects_by_its_own_clock(
    world: World, source: Source, scripted: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(Scripted())
    schedule.set_schedule(source, every_minutes=15)
    monkeypatch.setitem(app.conf.beat_schedule["collect-due"], "schedule", 0.2)
    with embedded_worker():
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not Job.objects.filter(state=Job.State.DONE).exists():
            time.sleep(0.05)
    assert [job.state for job in Job.objects.all()] == [Job.State.DONE]
    assert not any(thread.name == "Beat" for thread in threading.enumerate())
