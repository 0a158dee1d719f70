"""A site as a new user starts it: its own data folder, its own process, and the button that does the work."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integrations.servers import free_port

ROOT = Path(__file__).resolve().parents[2]


def manage(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DLEMM_", "DJANGO_"))}
    environment |= {"DLEMM_DATA": str(folder), "DJANGO_SUPERUSER_PASSWORD": "a-long-password"}
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def run(folder: Path, *arguments: str) -> str:
    process = manage(folder, *arguments)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return output


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    run(tmp_path, "migrate")
    run(tmp_path, "createsuperuser", "--noinput", "--username", "alice", "--email", "alice@mail.example")
    run(tmp_path, "add_organisation", "acme", "Acme", "--project", "fraud=fraud-*", "--owner", "alice")
    run(tmp_path, "add_source", "acme", "http://127.0.0.1:9")
    process = manage(tmp_path, "serve", "--host", "127.0.0.1", "--port", str(free_port()))
    assert process.stdout is not None
    address = re.search(r"http://\S+", process.stdout.readline())
    assert address is not None
    process.stdout.readline()
    yield address.group()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0


def test_the_button_collects_and_assesses_in_the_background(site: str) -> None:
    with httpx.Client(base_url=site, follow_redirects=True, timeout=30) as browser:
        for _ in range(100):
            try:
                page = browser.get("/sign-in/")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        form = {"username": "alice", "password": "a-long-password", "csrfmiddlewaretoken": token(page)}
        page = browser.post("/sign-in/", data=form)
        assert "There is no result yet" in page.text
        sources = browser.get("/organisations/acme/sources/")
        job = browser.post("/organisations/acme/jobs/", data={"csrfmiddlewaretoken": token(sources)})
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and "See the result" not in job.text:
            time.sleep(0.3)
            job = browser.get(job.url)
        assert "could not look: The server could not be reached" in job.text
        assert "Level 0" in browser.get("/organisations/acme/").text


def token(page: httpx.Response) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert found is not None
    return found.group(1)
