"""How long a new user waits for the first evidenced levels: ``python -m benchmarks.first_levels [RUNS]``.

Starts a real MLflow server with 5,000 runs, gives its address to a new organisation of an empty site, collects and
assesses, as the page's button does; then again by hand and by schedule, while nothing changed. The first is the peer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

RUNS = 5_000


def main(runs: int = RUNS) -> None:
    """Print the seconds from the address to the levels, and those of the second time."""
    from benchmarks.collecting import fill
    from tests.integrations.servers import mlflow_server

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "server").mkdir()
        with mlflow_server(Path(folder) / "server") as server:
            fill(server.folder / "mlflow.db", runs)
            answer = subprocess.run(
                [sys.executable, "-m", "benchmarks.first_levels", "--site", server.url],
                env={**os.environ, "DLEMM_DATA": folder, "DJANGO_SETTINGS_MODULE": "assessments.settings"},
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            ).stdout
    seconds = json.loads(answer.splitlines()[-1])
    for name, took in seconds.items():
        print(f"{runs} runs, {name}: collect {took['collect']:.1f} s, assess {took['assess']:.1f} s")
    first, again = (sum(seconds[name].values()) for name in ("first", "by schedule"))
    print(
        f"address to first levels: {first:.1f} s; by schedule, nothing new: {again:.1f} s ({again / first:.2f} of it)"
    )


def _site(url: str) -> dict[str, dict[str, float]]:
    import django
    from django.core.management import call_command

    django.setup()
    from django.utils import timezone

    from assessments.evidence.collect import collect
    from assessments.evidence.models import Source
    from assessments.organisations.models import Organisation, Project
    from assessments.ratings.assess import assess

    call_command("migrate", verbosity=0)
    organisation = Organisation.objects.create(key="acme", name="Acme")
    Project.objects.create(organisation=organisation, key="all", name="All", experiments=["*"])
    source = Source.objects.create(organisation=organisation, key="mlflow", config={"base_url": url})
    found = {}
    for name, everything in (("first", None), ("by hand", None), ("by schedule", False)):
        began = time.perf_counter()
        collect(source, everything=everything)
        collected = time.perf_counter()
        assess(organisation, as_of=timezone.now() + timedelta(seconds=1))
        found[name] = {"collect": collected - began, "assess": time.perf_counter() - collected}
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--site"]:
        print(json.dumps(_site(sys.argv[2])))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else RUNS)
