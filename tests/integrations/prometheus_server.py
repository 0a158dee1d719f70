"""A real Prometheus server for tests, holding a past that its own tool wrote from OpenMetrics text."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.integrations.servers import free_port
from tests.services import absent


@contextlib.contextmanager
def prometheus_server(folder: Path, openmetrics: str, *, wait: float = 60) -> Iterator[str]:
    """Run Prometheus over the samples until the block ends; gives its address. Skips where there is no Prometheus."""
    server, tool = shutil.which("prometheus"), shutil.which("promtool")
    if server is None or tool is None:
        absent("Prometheus")
    (folder / "past.txt").write_text(openmetrics)
    (folder / "prometheus.yml").write_text("global: {}\n")
    backfill = [str(tool), "tsdb", "create-blocks-from", "openmetrics", "past.txt", "data"]
    subprocess.run(backfill, cwd=folder, check=True, capture_output=True, timeout=120)
    port = free_port()
    command = [str(server), "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=error"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=20y"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            yield _healthy(process, f"http://127.0.0.1:{port}", folder, time.monotonic() + wait)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


def _healthy(process: subprocess.Popen[bytes], url: str, folder: Path, until: float) -> str:
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/-/ready", timeout=2, trust_env=False).status_code == 200:
                return url
        time.sleep(0.1)
    raise RuntimeError("Prometheus did not start:\n" + (folder / "server.log").read_text()[-2000:])
