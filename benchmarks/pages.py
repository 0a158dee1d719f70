"""Times the site: migrating a fresh database, the overview page with its queries, and the memory of the web process.

The overview is measured at two sizes, 1 project with 200 runs and 20 projects with 10 000, because it must not depend
on them; the peer in the same run is an empty page of the same site (the sign-in page), so a ratio can be quoted.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

REPEATS = 15


def main() -> None:
    """Print the figures."""
    if os.environ.get("DLEMM_BENCH") != "inside":
        with tempfile.TemporaryDirectory() as folder:
            environment = {
                **os.environ,
                "DLEMM_DATA": folder,
                "DLEMM_BENCH": "inside",
                "DJANGO_SETTINGS_MODULE": "assessments.settings",
            }
            subprocess.run([sys.executable, "-m", "benchmarks.pages"], env=environment, check=True)
        return
    import django

    django.setup()
    _migrate()
    for projects, runs in ((1, 200), (20, 10_000)):
        _overview(projects, runs)
    _memory()


def _migrate() -> None:
    from django.core.management import call_command

    started = time.perf_counter()
    call_command("migrate", verbosity=0)
    print(f"migrate a fresh SQLite database: {time.perf_counter() - started:.2f} s")


def _overview(projects: int, runs: int) -> None:
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext
    from django.utils import timezone

    from assessments.evidence.manifest import Manifest
    from assessments.evidence.models import Collection, Source
    from assessments.evidence.store import Staging
    from assessments.organisations.models import Membership, Organisation, Project
    from assessments.ratings.assess import assess
    from maturity.facts import TABLES, Reading, Statement, StreamReading

    key = f"bench-{projects}"
    organisation = Organisation.objects.create(key=key, name=key)
    user, _ = get_user_model().objects.get_or_create(username="bench")
    Membership.objects.create(organisation=organisation, user=user)
    for number in range(projects):
        Project.objects.create(
            organisation=organisation, key=f"p{number}", name=f"P{number}", experiments=[f"e{number}"]
        )
    now = int(timezone.now().timestamp() * 1000)
    source = Source.objects.create(organisation=organisation, key="mlflow", config={"base_url": "http://127.0.0.1:9"})
    streams = ("experiments", "runs", "logged_models", "artifacts", "registry")
    with Staging(organisation.pk) as staging:
        for table, content in _rows(projects, runs, now).items():
            staging.write(table, content)
        manifest = Manifest(staging.seal(table for table, one in TABLES.items() if one.stream in streams))
    statement = Statement(
        "mlflow", "http://127.0.0.1:9", now, now, tuple(StreamReading(s, Reading.READ) for s in streams)
    )
    Collection.objects.create(
        source=source,
        state=Collection.State.COMPLETE,
        started_at=timezone.now(),
        finished_at=timezone.now(),
        statement=statement.to_json(),
        manifest=manifest.to_json(),
    )
    started = time.perf_counter()
    assess(organisation, as_of=timezone.now())
    took = time.perf_counter() - started
    client = Client()
    client.force_login(user)
    with CaptureQueriesContext(connection) as captured:
        client.get(f"/organisations/{key}/")
        statements = len(captured)
    page = _median(client, f"/organisations/{key}/")
    client.logout()
    peer = _median(client, "/sign-in/")
    print(
        f"{projects} project(s), {runs} runs: assess {took:.2f} s; overview {1000 * page:.0f} ms, {statements} SQL "
        f"statements; sign-in page {1000 * peer:.0f} ms; ratio {page / peer:.1f}"
    )


def _rows(projects: int, runs: int, now: int) -> dict[str, list[dict[str, object]]]:
    experiments = [
        {"experiment": str(n), "name": f"e{n}", "lifecycle": "active", "created_at": now} for n in range(projects)
    ]
    rows: list[dict[str, object]] = []
    tags: list[dict[str, object]] = []
    for n in range(runs):
        start = now - (n % 150) * 86_400_000
        rows.append(
            {
                "run": f"r{n}",
                "experiment": str(n % projects),
                "name": f"r{n}",
                "status": "FINISHED",
                "lifecycle": "active",
                "start_at": start,
                "end_at": start + 60_000,
            }
        )
        tags += [{"run": f"r{n}", "key": "dlemm.stage", "value": "train"}]
        tags += [{"run": f"r{n}", "key": "mlflow.source.git.commit", "value": "c" * 40}] if n % 10 else []
    return {"experiments": experiments, "runs": rows, "run_tags": tags}


def _median(client: object, address: str) -> float:
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        client.get(address)  # type: ignore[attr-defined]
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _memory() -> None:
    """Resident memory of a fresh process that serves pages, after the overview was asked for."""
    code = (
        "import django; django.setup()\n"
        "from django.test import Client; from django.contrib.auth import get_user_model\n"
        "import assessments.wsgi\n"
        "c = Client(); c.force_login(get_user_model().objects.get(username='bench'))\n"
        "assert c.get('/organisations/bench-20/').status_code == 200\n"
        "assert c.get('/organisations/bench-20/capabilities/MD1/').status_code == 200\n"
        "print(open('/proc/self/status').read())\n"
    )
    status = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    resident = next((line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")), None)
    print(
        f"memory of the web process after two pages: {int(resident) / 1024:.0f} MB" if resident else "memory: not known"
    )


if __name__ == "__main__":
    main()
