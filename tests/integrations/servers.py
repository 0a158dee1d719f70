"""Servers for tests: a real MLflow server in a process group of its own, and a small stub that misbehaves on purpose.

Takes a folder (MLflow) or a table of answers (the stub); gives a running server with its address, ended by the
context manager. Ports come from the operating system.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx


def free_port() -> int:
    """A port that was free on loopback a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class MlflowServer:
    """A running MLflow server: its address and the folder that holds its database (``mlflow.db``) and artifacts."""

    url: str
    folder: Path


@contextlib.contextmanager
def mlflow_server(
    folder: Path,
    *,
    wait: float = 120,
    backend: str = "",
    python: str = sys.executable,
    options: tuple[str, ...] = (),
) -> Iterator[MlflowServer]:
    """Run ``mlflow server`` on SQLite in ``folder``, or on the database ``backend``, until the block ends.

    Raises ``RuntimeError`` if it does not start. ``python``: the interpreter of another installation of MLflow;
    ``options``: further options of the command.

    Background jobs are off: they start eight more processes and nothing here needs them.
    """
    url = f"http://127.0.0.1:{free_port()}"
    command = [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", url.rpartition(":")[2]]
    command += ["--workers", "1", "--backend-store-uri", backend or f"sqlite:///{folder}/mlflow.db"]
    command += ["--serve-artifacts", "--artifacts-destination", f"{folder}/artifacts", *options]
    path = f"{Path(python).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # older ones look for gunicorn there
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, "PATH": path, **settings}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=folder
        )
        try:
            _wait_until_healthy(process, url, folder, time.monotonic() + wait)
            yield MlflowServer(url, folder)
        finally:
            _end_group(process)


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str, folder: Path, until: float) -> None:
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=2, trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError("mlflow server did not start:\n" + (folder / "server.log").read_text()[-2000:])


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the server and the workers it started; the group is ours because it was started as a session."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the stub sends: a status, a body and headers; ``claim`` overstates the length, ``delay`` waits first."""

    status: int = 200
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    claim: int = 0  # bytes promised in Content-Length beyond the body; the connection then closes
    delay: float = 0.0  # seconds before the first byte
    drip: float = 0.0  # seconds between two bytes of the body


@dataclass(slots=True)
class Stub:
    """A running stub: its address and the requests it saw, as (method and path, headers)."""

    url: str
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def stub_server(answer: Callable[[str, bytes, int], Answer], *, tls: ssl.SSLContext | None = None) -> Iterator[Stub]:
    """Serve ``answer(method and path, request body, number of this request from 0)`` on loopback, over TLS if given."""
    stub = Stub("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            line = f"{self.command} {self.path}"
            stub.seen.append((line, dict(self.headers)))
            reply = answer(line, body, len(stub.seen) - 1)
            stub.stopping.wait(reply.delay)
            with contextlib.suppress(ConnectionError):
                self.send_response_only(reply.status)
                for name, value in reply.headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body) + reply.claim))
                self.end_headers()
                for piece in [reply.body] if not reply.drip else [bytes([byte]) for byte in reply.body]:
                    self.wfile.write(piece)
                    stub.stopping.wait(reply.drip)
            self.close_connection = bool(reply.claim)

        do_GET = do_POST = _reply  # noqa: N815 - the names http.server looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Keep test output quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        stub.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield stub
        finally:
            stub.stopping.set()
            server.shutdown()
            thread.join()
