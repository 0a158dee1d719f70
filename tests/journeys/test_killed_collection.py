"""A process that is killed in the middle of a long collection: the next one goes on where it stopped."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from mlflow import MlflowClient

from tests.integrations.servers import Answer, MlflowServer, stub_server
from tests.journeys.test_real_services import ROOT, environment, manage

RUNS = 60
DAY = 86_400_000
# A checkpoint after every five runs instead of thousands; all else is the command that the site itself starts.
CHILD = (
    "import os, sys, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'assessments.settings'; django.setup();"
    "from assessments.evidence import reading; reading.BATCH_RUNS = 5;"
    "from django.core.management import call_command; call_command('run_job', sys.argv[1])"
)


@dataclass
class Slow:
    """A proxy that takes its time with run searches, and keeps the runs it gave."""

    url: str = ""
    delay: float = 0.4
    given: list[str] = field(default_factory=list)


@contextlib.contextmanager
def slow_proxy(target: str) -> Iterator[Slow]:
    slow = Slow()

    def answer(line: str, body: bytes, number: int) -> Answer:
        method, _, path = line.partition(" ")
        sent = httpx.request(method, target + path, content=body, headers={"Content-Type": "application/json"})
        search = path.endswith("/runs/search")
        if search:
            slow.given += [run["info"]["run_id"] for run in json.loads(sent.content).get("runs", [])]
        return Answer(sent.status_code, sent.content, delay=slow.delay if search else 0)

    with stub_server(answer) as stub:
        slow.url = stub.url
        yield slow


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(folder / "dlemm.sqlite3", timeout=20)) as database:
        return database.execute(query).fetchall()


@pytest.mark.server
def test_a_killed_collection_goes_on_and_asks_for_nothing_twice(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    client = MlflowClient(mlflow_server.url)
    experiment = client.create_experiment("killed-collection")
    first = 1_600_000_000_000
    starts = {
        client.create_run(experiment, start_time=at).info.run_id: at for at in range(first, first + RUNS * DAY, DAY)
    }
    env = environment(tmp_path)
    manage(env, "migrate")
    manage(env, "add_organisation", "acme", "Acme", "--project", "all=*")
    with slow_proxy(mlflow_server.url) as slow:
        manage(env, "add_source", "acme", slow.url)
        prepare = (
            "from assessments.evidence.models import Source; from assessments.evidence import schedule;"
            "source = Source.objects.get(); source.config.update(page_size=3, connections=1); source.save();"
            "print(schedule.ask(source, by=None).pk)"
        )
        number = manage(env, "shell", "--no-imports", "-c", prepare).strip()
        command = [sys.executable, "-c", CHILD, number]
        child = subprocess.Popen(command, cwd=ROOT, env=env)
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not [
                row for row in rows(tmp_path, "select checkpoint from evidence_collection") if row[0] not in ("", "{}")
            ]:
                time.sleep(0.05)
        finally:
            child.kill()
            child.wait()
        (left,) = rows(tmp_path, "select checkpoint, state from evidence_collection")
        resume_from = json.loads(str(left[0]))["resume_from"]
        held = {run for run, at in starts.items() if at < resume_from}
        assert 0 < len(held) < RUNS
        assert rows(tmp_path, "select state from job_job") == [("running",)]

        again = "from assessments.jobs.work import requeue_orphans; print(requeue_orphans())"
        assert manage(env, "shell", "--no-imports", "-c", again).strip() == "1"
        slow.delay, slow.given = 0, []
        subprocess.run(command, cwd=ROOT, env=env, check=True)
    assert rows(tmp_path, "select state from job_job") == [("done",)]
    assert held.isdisjoint(slow.given)
    assert starts.keys() - held <= set(slow.given)
    states = rows(tmp_path, "select state from evidence_collection order by id")
    assert states == [("interrupted",), ("complete",)]
    count = (
        "from assessments.evidence.models import *; from assessments.evidence.manifest import *;"
        "from maturity.batches import GROUP_OF;"
        "one = Collection.objects.first(); held = Held(one.source.organisation_id, Manifest.from_json(one.manifest));"
        "print(*held.owners(GROUP_OF['runs'])['run'].to_pylist())"
    )
    assert starts.keys() <= set(manage(env, "shell", "--no-imports", "-c", count).split())
