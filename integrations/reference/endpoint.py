"""The serving process seen from outside: start, load a version, ask, measure, stop.

Takes the folder of an exported model, gives latencies in milliseconds and answers as they came over the wire.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import platform
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, cast

import numpy as np
import numpy.typing as npt

from integrations.reference.data import Images
from integrations.reference.errors import PortUnavailableError

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 10.0
CONNECTIONS = 2  # parallel clients of the throughput measurement
PROBE_EVERY = 10  # requests between two health probes
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Reply:
    """One answered or failed request for one image; latency in milliseconds as the client saw it."""

    status: int  # 0 when the connection failed
    latency_ms: float
    label: int
    probabilities: tuple[float, ...]
    version: str

    @property
    def answered(self) -> bool:
        return self.status == http.client.OK


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Latency of sequential requests and throughput of parallel ones, one image each."""

    latency_p50_ms: float
    latency_p95_ms: float
    throughput_rps: float
    requests: int

    def metrics(self) -> dict[str, float]:
        """The benchmark under its MLflow names."""
        return {
            "perf/latency_p50_ms": self.latency_p50_ms,
            "perf/latency_p95_ms": self.latency_p95_ms,
            "perf/throughput_rps": self.throughput_rps,
            "perf/requests": self.requests,
        }


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a window of the stream looked like from the client: every reply, and the health probes in between."""

    replies: tuple[Reply, ...]
    probes: tuple[bool, ...]

    @property
    def answered(self) -> tuple[Reply, ...]:
        return tuple(reply for reply in self.replies if reply.answered)

    def metrics(self) -> dict[str, float]:
        """Operation of the window: milliseconds and shares."""
        latencies = [reply.latency_ms for reply in self.answered]
        metrics = {
            "ops/requests": len(self.replies),
            "ops/error_rate": 1 - len(self.answered) / len(self.replies),
            "ops/availability": sum(self.probes) / len(self.probes),
        }
        if latencies:
            metrics["ops/latency_p50_ms"] = float(np.quantile(latencies, 0.5))
            metrics["ops/latency_p95_ms"] = float(np.quantile(latencies, 0.95))
        return metrics


class Endpoint:
    """A serving process of our own. Use it as a context manager: on leaving, the process is gone."""

    def __init__(self, folder: Path, *, host: str = "127.0.0.1") -> None:
        """Start the process without waiting for it; ``folder`` takes the prediction log and its error output."""
        self.host = host
        self.log = folder / "predictions.jsonl"
        self.port = 0
        self._errors = folder / "serving-errors.txt"
        self._answers: queue.Queue[str] = queue.Queue()
        command = [sys.executable, "-m", "integrations.reference.serve", "--host", host, "--log", str(self.log)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
        with self._errors.open("w") as errors:
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
        self._reader = threading.Thread(target=self._read_answers, daemon=True)
        self._reader.start()

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process: politely by closing its input, then by force; safe to call twice."""
        with contextlib.suppress(BrokenPipeError):  # it has ended already, which is what we want
            self._commands.close()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(STOP_TIMEOUT_S)
        self._output.close()

    def await_port(self) -> int:
        """Wait until the process has bound its port; raises ``PortUnavailableError`` when it cannot."""
        if not self.port:
            content = self._answer()
            if "port" not in content:
                raise PortUnavailableError(f"The serving process got no port: {content.get('error')}.")
            self.port = int(content["port"])
        return self.port

    def load(self, exported: Path, version: str) -> None:
        """Swap the model in service for an exported program; answers carry the new version from then on."""
        self.await_port()
        try:
            self._commands.write(json.dumps({"load": str(exported), "version": version}) + "\n")
            self._commands.flush()
        except BrokenPipeError as error:
            raise PortUnavailableError(f"The serving process has ended: {self._last_error()}") from error
        content = self._answer()
        if content.get("loaded") != version:
            raise RuntimeError(f"version {version} could not be loaded for serving: {content.get('error')}")

    def ask(self, images: Images, *, connection: http.client.HTTPConnection | None = None) -> Reply:
        """One request for one image (1, 8, 8); a failed connection is a reply with status 0, not an exception."""
        body = json.dumps({"images": [images.reshape(64).tolist()]})
        begin = time.perf_counter()
        own = connection or self.connect()
        try:
            own.request("POST", "/predict", body, {"Content-Type": "application/json"})
            answer = own.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            own.close()
            return Reply(0, (time.perf_counter() - begin) * 1000, -1, (), "")
        finally:
            if connection is None:
                own.close()
        latency = (time.perf_counter() - begin) * 1000
        if answer.status != http.client.OK:
            return Reply(answer.status, latency, -1, (), "")
        told: dict[str, Any] = json.loads(content)
        return Reply(answer.status, latency, told["labels"][0], tuple(told["probabilities"][0]), told["version"])

    def healthy(self) -> bool:
        """One health probe."""
        connection = self.connect()
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def connect(self) -> http.client.HTTPConnection:
        """A fresh connection; it is opened by its first request."""
        return http.client.HTTPConnection(self.host, self.await_port(), timeout=REQUEST_TIMEOUT_S)

    def send(self, images: Iterable[Images]) -> Traffic:
        """A window of stream, image by image over one connection, with health probes in between."""
        connection = self.connect()
        replies: list[Reply] = []
        probes = [self.healthy()]
        try:
            for image in images:
                replies.append(self.ask(image, connection=connection))
                if len(replies) % PROBE_EVERY == 0:
                    probes.append(self.healthy())
        finally:
            connection.close()
        return Traffic(tuple(replies), tuple(probes))

    def benchmark(self, images: Images, *, requests: int, seconds: float) -> Benchmark:
        """Latency over ``requests`` sequential requests after a warm-up, throughput over ``seconds``."""
        picked = [images[number % len(images)] for number in range(requests)]
        self.send(picked[:20])
        latencies = [reply.latency_ms for reply in self.send(picked).answered]
        p50, p95 = np.quantile(latencies, [0.5, 0.95])
        return Benchmark(float(p50), float(p95), self._throughput(picked, seconds), len(latencies))

    def logged(self) -> int:
        """Number of predictions in the log of the process so far."""
        return sum(1 for _ in self.log.open(encoding="utf-8"))

    def _throughput(self, picked: Sequence[Images], seconds: float) -> float:
        """Answered requests per second over parallel connections."""
        counts = [0] * CONNECTIONS
        begin = time.perf_counter()

        def client(number: int) -> None:
            connection = self.connect()
            while time.perf_counter() - begin < seconds:
                image = picked[counts[number] % len(picked)]
                counts[number] += self.ask(image, connection=connection).answered
            connection.close()

        threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts) / (time.perf_counter() - begin)

    def _read_answers(self) -> None:
        for line in self._output:
            self._answers.put(line)
        self._answers.put("")  # the end of its output

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=START_TIMEOUT_S)
        except queue.Empty:
            raise PortUnavailableError(f"The serving process said nothing for {START_TIMEOUT_S:g} s.") from None
        if not line:
            raise PortUnavailableError(f"The serving process ended at its start: {self._last_error()}")
        content: dict[str, Any] = json.loads(line)
        return content

    def _last_error(self) -> str:
        lines = self._errors.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it left no message"


def parity(replies: Sequence[Reply], trained: npt.NDArray[np.float32]) -> float:
    """Largest absolute difference between served and trained probabilities, both (n, 10)."""
    served = np.array([reply.probabilities for reply in replies])
    return float(np.abs(served - trained).max())


def hardware() -> str:
    """The processor and how much of it is used, the value of the tag ``dlemm.perf.hardware``."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line.partition(":")[2] for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = models[0].strip() if models else name
    return f"{name}, {os.cpu_count()} CPUs, 1 thread"
