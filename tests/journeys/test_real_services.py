"""The same road on the servers of a larger installation: PostgreSQL as database, Redis or RabbitMQ as broker."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from kombu import Connection, Queue

from tests.integrations.servers import MlflowServer
from tests.services import missing

ROOT = Path(__file__).resolve().parents[2]
POSTGRES = os.environ.get("DLEMM_TEST_POSTGRES", "postgres://postgres@127.0.0.1:5432/postgres")
BROKERS = {
    "redis": os.environ.get("DLEMM_TEST_REDIS", "redis://127.0.0.1:6379/9"),
    "rabbitmq": os.environ.get("DLEMM_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672//"),
}
PORTS = {"redis": 6379, "rabbitmq": 5672}


def environment(folder: Path, **settings: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("DLEMM_", "DJANGO_"))}
    return {**clean, "DLEMM_DATA": str(folder), **settings}


def manage(env: dict[str, str], *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def database() -> Iterator[str]:
    """A fresh PostgreSQL database of the test's own."""
    name = f"dlemm_test_{secrets.token_hex(6)}"
    try:
        admin = psycopg.connect(POSTGRES, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        missing("PostgreSQL")
        raise
    with admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        try:
            yield POSTGRES.rpartition("/")[0] + f"/{name}"
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.postgres
def test_the_whole_road_runs_on_postgresql(tmp_path: Path, database: str) -> None:
    env = environment(tmp_path, DLEMM_DATABASE=database)
    manage(env, "migrate")
    manage(env, "add_organisation", "acme", "Acme", "--project", "fraud=fraud-*")
    manage(env, "add_source", "acme", "http://127.0.0.1:9")
    assert "Level 0" in manage(env, "assess", "acme")
    report = tmp_path / "report.pdf"
    manage(env, "report", "acme", "--format", "pdf", "--output", str(report))
    assert report.read_bytes().startswith(b"%PDF-")
    assert not (tmp_path / "dlemm.sqlite3").exists()


@pytest.mark.parametrize("kind", sorted(BROKERS))
def test_a_worker_of_its_own_takes_jobs_from_a_real_broker(
    tmp_path: Path, kind: str, mlflow_server: MlflowServer
) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORTS[kind])) != 0:
            missing(kind)
    env = environment(tmp_path, DLEMM_BROKER=BROKERS[kind])
    manage(env, "migrate")
    manage(env, "add_organisation", "acme", "Acme", "--project", "fraud=fraud-*")
    manage(env, "add_source", "acme", mlflow_server.url)
    queue = f"dlemm-test-{secrets.token_hex(6)}"
    ask = (
        "from assessments.jobs.models import Job; from assessments.jobs.tasks import run_job;"
        "from assessments.organisations.models import Organisation;"
        "acme = Organisation.objects.get();"
        "jobs = [Job.objects.create(organisation=acme, kind='collect', subject='mlflow'),"
        "Job.objects.create(organisation=acme, kind='refresh')];"
        f"[run_job.apply_async([job.pk], queue='{queue}') for job in jobs]"
    )
    manage(env, "shell", "--no-imports", "-c", ask)
    worker = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "assessments",
            "worker",
            "--queues",
            queue,
            "--pool",
            "solo",
            "--loglevel",
            "WARNING",
        ],
        cwd=ROOT,
        env=env,
        start_new_session=True,
    )
    look = "from assessments.jobs.models import Job; print(*Job.objects.order_by('pk').values_list('state', flat=True))"
    try:
        deadline = time.monotonic() + 60
        states = {"queued"}
        while time.monotonic() < deadline and not states <= {"done", "failed"}:
            time.sleep(0.5)
            states = set(manage(env, "shell", "--no-imports", "-c", look).split())
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        worker.wait(timeout=30)
        with Connection(BROKERS[kind]) as broker:
            Queue(queue, channel=broker.default_channel).delete()
    assert states == {"done"}
    counted = (
        "from assessments.evidence.models import Collection; print(Collection.objects.filter(state='complete').count())"
    )
    assert manage(env, "shell", "--no-imports", "-c", counted).strip() == "2"
