"""A serving process of its own for any model: load, ask, load-test, and the drills that show how it heals itself.

Takes a package (a ``torch.export`` program ``.pt2`` or an ``.onnx``); gives probabilities as they came over HTTP, and
what was measured. A supervisor (``service_process.py``) keeps the process that has the model alive. Times in
milliseconds unless a name says ``seconds``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, cast

import numpy as np
import numpy.typing as npt

from integrations.reference.errors import PipelineError, PortUnavailableError

Rows = npt.NDArray[np.float32]

START_TIMEOUT_S, STOP_TIMEOUT_S, REQUEST_TIMEOUT_S = 90.0, 8.0, 15.0
MOST_ROWS = 1024
"""Rows of one request of ``predict``; more are sent in several."""
MOST_BYTES = 4 * 2**20  # of one request of ``predict``
DISTINCT = 64
"""Different request bodies of a load test."""
ROOT = Path(__file__).parents[2]


class PackageRefusedError(PipelineError):
    """The service did not take a package; the version before it goes on answering."""


class NoAnswerError(PipelineError):
    """A request was refused or its connection broke."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for some rows. ``version`` is ``fallback`` when the model could not answer."""

    probabilities: Rows  # (n, classes)
    version: str
    latency_ms: float
    fallback: bool = False


@dataclass(frozen=True, slots=True)
class Drill:
    """One fault that was injected, whether the service got over it without a person, and in how many seconds."""

    name: str
    recovered: bool
    seconds: float
    values: dict[str, float] = field(default_factory=dict)


class Service:
    """A serving process of our own. Use it as a context manager: on leaving, its processes are gone."""

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        max_requests: int = 64,
        max_wait_ms: float = 250.0,
    ) -> None:
        """Start the processes without waiting for them. ``folder`` takes the prediction log, packages and errors.

        Port 0 takes any free one. More than ``max_requests`` in hand, or an expected wait of more than
        ``max_wait_ms``, and the next request is refused with 503.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.host, self.folder, self.port = host, folder, 0
        self.log = folder / "predictions.jsonl"
        self.version = ""  # in service
        self.max_requests = max_requests
        self._packages = 0
        self._answers: queue.Queue[str] = queue.Queue()
        self._connection: http.client.HTTPConnection | None = None
        command = [sys.executable, "-m", "integrations.reference.service_process", "--host", host, "--port", str(port)]
        command += ["--folder", str(folder), "--max-requests", str(max_requests), "--max-wait-ms", str(max_wait_ms)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
        with (folder / "supervisor-errors.txt").open("w") as errors:
            self.process = subprocess.Popen(  # noqa: S603 -- our own module, no shell, no outside text
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                start_new_session=True,
            )
        # Both are there because both were asked for as pipes.
        self._commands = cast(TextIO, self.process.stdin)
        self._output = cast(TextIO, self.process.stdout)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Service:
        try:
            self.await_port()
        except PortUnavailableError:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the processes: politely by closing the input, then by force; safe to call twice."""
        self._disconnect()
        with contextlib.suppress(OSError):  # it has ended already, which is what we want
            self._commands.close()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)  # the supervisor's own session: it and its worker
            self.process.wait()
        self._reader.join(STOP_TIMEOUT_S)
        self._output.close()

    def await_port(self) -> int:
        """Wait until the service listens; raises ``PortUnavailableError`` when it cannot, naming the reason."""
        if not self.port:
            told = self._told()
            if "port" not in told:
                raise PortUnavailableError(f"The serving process got no port: {told.get('error')}.")
            self.port = int(told["port"])
        return self.port

    def load(self, file: Path, version: str, *, sha256: str = "", prior: tuple[float, ...] = ()) -> float:
        """Put the package of a version into service; the seconds that it took.

        ``sha256`` is checked when given. ``prior`` is the fallback answer (classes,), equal shares when empty. Raises
        ``PackageRefusedError``; the version before then goes on answering.
        """
        self.await_port()
        begin = time.perf_counter()
        self._packages += 1
        told = self._command(
            load=str(Path(file).resolve()), version=version, number=self._packages, sha256=sha256, prior=list(prior)
        )
        if told.get("loaded") != version:
            raise PackageRefusedError(f"version {version} was not taken into service: {told.get('error')}")
        self.version = version
        return time.perf_counter() - begin

    def predict(self, rows: Rows) -> Answer:
        """Ask over the batch interface for rows (n, ...), in several requests when there are many.

        Raises ``NoAnswerError``.
        """
        rows = np.ascontiguousarray(rows, dtype="<f4")
        step = max(1, min(MOST_ROWS, MOST_BYTES // max(1, rows[:1].nbytes)))
        begin = time.perf_counter()
        parts = [self._request(rows[at : at + step]) for at in range(0, len(rows), step)]
        latency = (time.perf_counter() - begin) * 1000
        fallback = any(part.fallback for part in parts)
        version = "fallback" if fallback else parts[-1].version
        return Answer(np.concatenate([part.probabilities for part in parts]), version, latency, fallback)

    def predict_one(self, row: Rows) -> Answer:
        """Ask for a single row (without the leading dimension) as JSON. Raises ``NoAnswerError``."""
        body = json.dumps({"rows": [np.asarray(row).tolist()]}).encode()
        begin = time.perf_counter()
        content, _ = self._exchange(body, {"Content-Type": "application/json"})
        told = json.loads(content)
        latency = (time.perf_counter() - begin) * 1000
        return Answer(np.asarray(told["probabilities"], np.float32), told["version"], latency, told["fallback"])

    def healthy(self) -> bool:
        """One health probe."""
        probe = http.client.HTTPConnection(self.host, self.await_port(), timeout=REQUEST_TIMEOUT_S)
        try:
            probe.request("GET", "/health")
            return probe.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            probe.close()

    def logged(self) -> list[dict[str, Any]]:
        """The prediction log: one entry a request with ``at`` (ms), ``version``, ``input`` (digest of its rows),
        ``rows``, ``labels`` and ``confidences``."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines]

    def load_test(self, rows: Rows, *, rate_per_s: float, seconds: float, batch: int) -> dict[str, Any]:
        """Send so many rows a second in batches for some seconds, by a client process of its own.

        An open loop: a request is due at its time whether or not others were answered, and its latency counts from
        then. ``sustained_rate_per_s`` counts rows answered. Repeats ``rows`` as needed.
        """
        bodies = self.folder / "load-bodies.bin"
        distinct = max(1, min(DISTINCT, len(rows) // batch))
        picked = np.resize(np.arange(len(rows)), distinct * batch)
        bodies.write_bytes(np.ascontiguousarray(rows[picked], dtype="<f4").tobytes())
        shape = ",".join(str(size) for size in (batch, *rows.shape[1:]))
        command = [sys.executable, "-m", "integrations.reference.service_load", "--port", str(self.await_port())]
        command += ["--interval-s", str(batch / rate_per_s), "--seconds", str(seconds), "--shape", shape]
        done = subprocess.run(  # noqa: S603 -- our own module, no shell, no outside text
            [*command, "--bodies", str(bodies)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=seconds + REQUEST_TIMEOUT_S * 4,
            check=False,
        )
        bodies.unlink()
        if done.returncode:
            raise NoAnswerError(f"the load test failed: {done.stderr.strip().splitlines()[-1:]}")
        seen = json.loads(done.stdout)
        sustained = seen["answered"] * batch / seen["duration_s"]
        return {**seen, "rate_per_s": rate_per_s, "sustained_rate_per_s": sustained, "batch": batch, **_hardware()}

    def crash(self, rows: Rows) -> Drill:
        """Kill the worker (SIGKILL) and wait until the same version answers again, from another process."""
        expected, before = self.predict(rows), self._command(state=True)
        begin = time.perf_counter()
        os.kill(before["worker"], signal.SIGKILL)
        answer = self._first_answer(rows)
        seconds = time.perf_counter() - begin
        after = self._command(state=True)
        same = answer is not None and answer.version == expected.version
        near = same and bool(np.allclose(cast(Answer, answer).probabilities, expected.probabilities, atol=1e-5))
        recovered = near and after["worker"] != before["worker"]
        return Drill("worker_killed", recovered, seconds, {"restarts": float(after["restarts"])})

    def refuse_corrupt(self, file: Path, rows: Rows) -> Drill:
        """Try to load a damaged copy of a package: it must be refused, and the version in service go on answering."""
        expected = self.predict(rows)
        content = bytearray(Path(file).read_bytes())
        middle = len(content) // 2
        content[middle : middle + 64] = bytes(byte ^ 0xFF for byte in content[middle : middle + 64])
        damaged = self.folder / f"damaged{Path(file).suffix}"
        damaged.write_bytes(content)
        begin = time.perf_counter()
        try:
            self.load(damaged, "damaged", sha256=hashlib.sha256(Path(file).read_bytes()).hexdigest())
        except PackageRefusedError:
            refused = True
        else:
            refused = False
        answer = self._first_answer(rows)
        kept = answer is not None and answer.version == expected.version
        damaged.unlink()
        return Drill("corrupt_package", refused and kept, time.perf_counter() - begin, {"refused": float(refused)})

    def fall_back(self, rows: Rows, kind: str = "nan") -> Drill:
        """Let the model give NaN (``nan``) or raise (``error``): there must be a fallback answer, and the model's own
        again once the fault is gone."""
        expected = self.predict(rows)
        self._command(inject=kind)
        during = self.predict(rows)
        self._command(inject="")
        begin = time.perf_counter()
        answer = self._first_answer(rows)
        seconds = time.perf_counter() - begin
        usable = during.fallback and bool(np.isfinite(during.probabilities).all())
        back = answer is not None and not answer.fallback and answer.version == expected.version
        return Drill(f"model_{kind}", usable and back, seconds, {"fallback_latency_ms": during.latency_ms})

    def flood(self, rows: Rows, *, requests: int = 0) -> Drill:
        """Send many requests in one moment: some must be shed with 503, none lost, and the next one answered."""
        self.predict(rows[:1])
        count = requests or 6 * self.max_requests
        begin = time.perf_counter()
        statuses = asyncio.run(_burst(self.host, self.await_port(), rows, count))
        answer = self._first_answer(rows[:1])
        seconds = time.perf_counter() - begin
        answered, shed = statuses.count(200), statuses.count(503)
        recovered = answer is not None and not answer.fallback and answered > 0 and answered + shed == count
        values = {"answered": float(answered), "shed": float(shed), "requests": float(count)}
        return Drill("request_flood", recovered and shed > 0, seconds, values)

    def _request(self, rows: Rows) -> Answer:
        headers = {"Content-Type": "application/octet-stream", "X-Shape": ",".join(map(str, rows.shape))}
        begin = time.perf_counter()
        content, told = self._exchange(rows.tobytes(), headers)
        latency = (time.perf_counter() - begin) * 1000
        shares = np.frombuffer(content, dtype="<f4").reshape(len(rows), int(told["x-classes"]))
        return Answer(shares, told["x-version"], latency, told["x-fallback"] == "1")

    def _exchange(self, body: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
        """One POST over the kept connection; body and headers of the answer."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self.host, self.await_port(), timeout=REQUEST_TIMEOUT_S)
        try:
            self._connection.request("POST", "/predict", body, headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._disconnect()
            raise NoAnswerError(f"the connection broke: {error}") from error
        if answer.status != http.client.OK:
            raise NoAnswerError(f"{answer.status}: {content.decode(errors='replace')}")
        return content, {name.lower(): value for name, value in answer.getheaders()}

    def _first_answer(self, rows: Rows, *, within_s: float = 30.0) -> Answer | None:
        """The first answer that comes, asking again and again; None when none came in time."""
        deadline = time.perf_counter() + within_s
        while time.perf_counter() < deadline:
            try:
                return self.predict(rows)
            except NoAnswerError:
                time.sleep(0.02)
        return None

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _command(self, **command: object) -> dict[str, Any]:
        try:
            self._commands.write(json.dumps(command) + "\n")
            self._commands.flush()
        except OSError as error:
            raise PortUnavailableError(f"The serving process has ended: {self._last_error()}") from error
        return self._told()

    def _read(self) -> None:
        for line in self._output:
            self._answers.put(line)
        self._answers.put("")  # the end of its output

    def _told(self) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=START_TIMEOUT_S)
        except queue.Empty:
            raise PortUnavailableError(f"The serving process said nothing for {START_TIMEOUT_S:g} s.") from None
        if not line:
            raise PortUnavailableError(f"The serving process has ended: {self._last_error()}")
        content: dict[str, Any] = json.loads(line)
        return content

    def _last_error(self) -> str:
        for name in ("worker-errors.txt", "supervisor-errors.txt"):
            file = self.folder / name
            lines = file.read_text(errors="replace").strip().splitlines() if file.exists() else []
            if lines:
                return lines[-1]
        return "it left no message"


async def _burst(host: str, port: int, rows: Rows, count: int) -> list[int]:
    """Statuses of many requests sent at once, each on its own connection; 0 where the connection broke."""
    least = max(1, min(len(rows), math.ceil(65_536 / max(1, rows[:1].nbytes))))
    body = np.ascontiguousarray(rows[:least], dtype="<f4").tobytes()
    shape = ",".join(str(size) for size in (least, *rows.shape[1:]))
    head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nX-Shape: {shape}\r\nContent-Length: {len(body)}\r\n\r\n"
    lines = [await asyncio.open_connection(host, port) for _ in range(count)]
    for _, writer in lines:
        writer.write(head.encode() + body)

    async def status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        try:
            first = await asyncio.wait_for(reader.readline(), REQUEST_TIMEOUT_S * 2)
            return int(first.split()[1])
        except (OSError, TimeoutError, IndexError):
            return 0
        finally:
            writer.close()

    return list(await asyncio.gather(*(status(*line) for line in lines)))


def _hardware() -> dict[str, str]:
    from integrations.reference.latency import hardware

    return {"hardware": hardware()}
