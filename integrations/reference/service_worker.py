"""The worker of the serving process: one model in memory, answers over HTTP, a log of every prediction.

``POST /predict`` takes either float32 rows, little-endian, with their shape in the header ``x-shape: 100,18`` (the
batch interface; the answer is float32 probabilities (n, classes), the version in ``x-version``), or JSON
``{"rows": [[...], ...]}``. ``GET /health`` says which version answers. Requests that are waiting are scored together.
When more are waiting than can be answered in time, the next is refused with 503 at once. A model that raises, or whose
answer is not a number, is replaced for that answer by the fallback, marked ``x-fallback: 1``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import json
import math
import os
import socket
import sys
import threading
import time
import zipfile
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
import torch
import uvicorn

Rows = npt.NDArray[np.float32]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]

MAX_BODY = 64 * 2**20  # bytes of one request
MAX_BATCH = 4096  # rows scored together
INLINE_MS = 2.0
"""A batch expected to take no longer is scored on the event loop, without the hop to a thread."""
LEAST_ROWS = 16
"""A smaller batch costs as much as one of so many rows, when the time of a row is reckoned."""
_BINARY, _JSON = b"application/octet-stream", b"application/json"


class BadRequestError(Exception):
    """The request makes no sense; its text says why."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version ready to answer: rows (n, ...) to logits (n, classes); ``prior`` is the answer without a model."""

    version: str
    run: Callable[[Rows], Rows]
    shape: tuple[int, ...]  # of one row
    prior: Rows  # (classes,)


def open_package(path: str, version: str, sha256: str, prior: list[float]) -> Loaded:
    """Load a package and try it. A bad one raises ``ValueError`` or whatever its loader raises."""
    if sha256:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise ValueError(f"its SHA-256 is {found[:12]}…, not {sha256[:12]}…")
    run, shape = _open_onnx(path) if path.endswith(".onnx") else _open_exported(path)
    answer = run(np.zeros((2, *shape), dtype=np.float32))
    if answer.ndim != 2 or len(answer) != 2 or not np.isfinite(answer).all():
        raise ValueError(f"two rows of zeros gave logits of shape {answer.shape}, or no numbers")
    classes = answer.shape[1]
    given = np.asarray(prior or [1 / classes] * classes, dtype=np.float32)
    if given.shape != (classes,):
        raise ValueError(f"its answers have {classes} classes, the fallback has {given.size}")
    return Loaded(version, run, shape, given)


def _open_exported(path: str) -> tuple[Callable[[Rows], Rows], tuple[int, ...]]:
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"its part {damaged} is damaged")
    program = torch.export.load(path)
    examples = program.example_inputs
    if examples is None:
        raise ValueError("it names no example input")
    module = program.module()
    shape = tuple(examples[0][0].shape[1:])

    def run(rows: Rows) -> Rows:
        with torch.inference_mode():
            # A program exported from more than one row may not take a single one.
            given = np.concatenate([rows, rows]) if len(rows) == 1 else rows
            logits: Rows = module(torch.from_numpy(given)).float().numpy()
        return logits[: len(rows)]

    return run, shape


def _open_onnx(path: str) -> tuple[Callable[[Rows], Rows], tuple[int, ...]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]

    def run(rows: Rows) -> Rows:
        logits: Rows = session.run(None, {entry.name: rows})[0]
        return logits

    return run, tuple(entry.shape[1:])


class Scorer:
    """The model in service; gathers what is waiting into batches. Swapping the model is one assignment."""

    def __init__(self, max_requests: int, max_wait_ms: float) -> None:
        self.loaded: Loaded | None = None
        self.fault = ""  # for drills: nan or error
        self.max_requests, self.max_wait_ms = max_requests, max_wait_ms
        self.requests = 0  # in hand
        self.rows = 0  # waiting or being scored
        self.ms_per_row = 0.0  # running mean
        self._waiting: list[tuple[Loaded, Rows, asyncio.Future[tuple[Rows, bool]]]] = []
        self._task: asyncio.Task[None] | None = None
        self._pool = ThreadPoolExecutor(1)

    @property
    def full(self) -> bool:
        """Whether the next request would wait too long."""
        return self.requests >= self.max_requests or self.rows * self.ms_per_row > self.max_wait_ms

    async def score(self, loaded: Loaded, rows: Rows) -> tuple[Rows, bool]:
        """Probabilities (n, classes), and whether they are the fallback."""
        if self._task is None and len(rows) * self.ms_per_row <= INLINE_MS:
            return self._timed(loaded, rows)
        future: asyncio.Future[tuple[Rows, bool]] = asyncio.get_running_loop().create_future()
        self._waiting.append((loaded, rows, future))
        self.rows += len(rows)
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        """Score in a thread, batch by batch, until nothing waits; the event loop goes on taking requests."""
        while self._waiting:
            loaded, batch = self._waiting[0][0], self._next()
            rows = batch[0][1] if len(batch) == 1 else np.concatenate([part[1] for part in batch])
            loop = asyncio.get_running_loop()
            answer, fallback = await loop.run_in_executor(self._pool, self._timed, loaded, rows)
            self.rows -= len(rows)
            at = 0
            for _, part, future in batch:
                if not future.cancelled():
                    future.set_result((answer[at : at + len(part)], fallback))
                at += len(part)
        self._task = None

    def _timed(self, loaded: Loaded, rows: Rows) -> tuple[Rows, bool]:
        begin = time.perf_counter()
        scored = self.compute(loaded, rows)
        spent = (time.perf_counter() - begin) * 1000 / max(len(rows), LEAST_ROWS)
        self.ms_per_row = 0.9 * self.ms_per_row + 0.1 * spent if self.ms_per_row else spent
        return scored

    def _next(self) -> list[tuple[Loaded, Rows, asyncio.Future[tuple[Rows, bool]]]]:
        """The first requests that go into one batch: of the same version, not too many rows."""
        count, rows, first = 0, 0, self._waiting[0][0]
        for loaded, part, _ in self._waiting:
            if loaded is not first or (count and rows + len(part) > MAX_BATCH):
                break
            count, rows = count + 1, rows + len(part)
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    def compute(self, loaded: Loaded, rows: Rows) -> tuple[Rows, bool]:
        """Score rows; whatever goes wrong in the model, there is an answer."""
        try:
            if self.fault == "error":
                raise RuntimeError("a fault that a drill asked for")
            logits = loaded.run(rows)
            if self.fault == "nan":
                logits = np.full_like(logits, np.nan)
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            shares /= shares.sum(axis=1, keepdims=True)
        except Exception as error:  # any fault of any model; the customer gets the fallback and the log says so
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            return np.tile(loaded.prior, (len(rows), 1)), True
        bad = ~np.isfinite(shares).all(axis=1)
        if bad.any():
            shares[bad] = loaded.prior
        return shares, bool(bad.any())


class Application:
    """The two addresses, as a plain ASGI application."""

    def __init__(self, scorer: Scorer, log: TextIO) -> None:
        self.scorer, self.log = scorer, log

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        path = scope.get("path")
        if path == "/health":
            loaded = self.scorer.loaded
            status = {"status": "ok", "version": loaded.version} if loaded else {"status": "no model is loaded"}
            await answer(send, 200 if loaded else 503, json.dumps(status).encode())
        elif path == "/predict" and scope["method"] == "POST":
            await self._admit(scope, receive, send)
        else:
            await answer(send, 404, b'{"error": "there are POST /predict and GET /health"}')

    async def _admit(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        scorer, loaded = self.scorer, self.scorer.loaded
        if loaded is None or scorer.full:
            reason = b'{"error": "too much to do"}' if loaded else b'{"error": "no model is loaded"}'
            await answer(send, 503, reason, [(b"retry-after", b"1")])
            return
        scorer.requests += 1
        try:
            await self._predict(loaded, scope, receive, send)
        except BadRequestError as error:
            await answer(send, 400, json.dumps({"error": str(error)}).encode())
        finally:
            scorer.requests -= 1

    async def _predict(self, loaded: Loaded, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        binary = b"x-shape" in headers
        body = await _body(receive)
        rows = _binary_rows(body, headers[b"x-shape"]) if binary else _json_rows(body)
        if rows.shape[1:] != loaded.shape:
            raise BadRequestError(f"a row has the shape {rows.shape[1:]}, not {loaded.shape}")
        shares, fallback = await self.scorer.score(loaded, rows)
        version = "fallback" if fallback else loaded.version
        about = [(b"x-version", version.encode()), (b"x-fallback", b"1" if fallback else b"0")]
        if binary:
            about.append((b"x-classes", str(shares.shape[1]).encode()))
            await answer(send, 200, shares.astype("<f4").tobytes(), about, _BINARY)
        else:
            told = {"version": version, "fallback": fallback, "probabilities": shares.tolist()}
            await answer(send, 200, json.dumps(told).encode(), about)
        self._record(version, rows, shares)

    def _record(self, version: str, rows: Rows, shares: Rows) -> None:
        """One line a request: time, version, digest of the rows, label and confidence of each."""
        labels, confidences = shares.argmax(1), shares.max(1)
        line = {
            "at": round(time.time() * 1000),  # milliseconds since 1970, UTC
            "version": version,
            "input": hashlib.sha256(rows).hexdigest()[:16],
            "rows": len(rows),
            "labels": labels.tolist(),
            "confidences": np.round(confidences.astype(np.float64), 4).tolist(),
        }
        try:
            self.log.write(json.dumps(line) + "\n")
        except OSError as error:  # such as a full disk, which is no reason to stop answering
            sys.stderr.write(f"a prediction was not logged: {error}\n")


async def answer(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None, kind: bytes = _JSON
) -> None:
    """One whole answer."""
    about = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": about})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive) -> bytearray:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequestError("the client went away")
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise BadRequestError(f"a request has at most {MAX_BODY} bytes")
        if not message.get("more_body"):
            return body


def _binary_rows(body: bytearray, header: bytes) -> Rows:
    try:
        shape = tuple(int(part) for part in header.split(b","))
    except ValueError:
        raise BadRequestError("x-shape is not written such as 100,18") from None
    if len(shape) < 2 or min(shape) < 1 or math.prod(shape) * 4 != len(body):
        raise BadRequestError(f"{len(body)} bytes are no float32 rows of shape {shape}")
    return np.frombuffer(body, dtype="<f4").reshape(shape)


def _json_rows(body: bytearray) -> Rows:
    try:
        rows = np.asarray(json.loads(body)["rows"], dtype=np.float32)
    except (ValueError, TypeError, KeyError):
        raise BadRequestError('the body is not JSON such as {"rows": [[0.1, 0.2]]}') from None
    if rows.ndim < 2 or not rows.size:
        raise BadRequestError("there is no row")
    return rows


def obey(scorer: Scorer, web: uvicorn.Server) -> None:
    """Carry out commands until standard input closes, then ask the web server to end."""
    for line in sys.stdin:
        command = json.loads(line)
        if "inject" in command:
            scorer.fault = command["inject"]
            reply(injected=scorer.fault)
            continue
        try:
            loaded = open_package(
                command["load"], command["version"], command.get("sha256", ""), command.get("prior", [])
            )
        except Exception as error:  # whatever a broken file makes a loader raise; the old version goes on answering
            reply(error=f"{type(error).__name__}: {error}")
        else:
            scorer.loaded, scorer.ms_per_row = loaded, 0.0
            gc.collect()
            gc.freeze()  # the collector need not walk the libraries and the model while requests wait
            reply(loaded=loaded.version)
    web.should_exit = True


def reply(**content: object) -> None:
    """One JSON line to the supervisor."""
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Serve on an inherited socket until standard input closes."""
    parser = argparse.ArgumentParser(prog="python -m integrations.reference.service_worker")
    parser.add_argument("--fd", type=int, required=True, help="the listening socket")
    parser.add_argument("--log", required=True, help="file of the prediction log, JSON lines")
    parser.add_argument("--max-requests", type=int, default=64, help="in hand at once")
    parser.add_argument("--max-wait-ms", type=float, default=250.0, help="longest expected wait of a new request")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    listener = socket.socket(fileno=arguments.fd)
    scorer = Scorer(arguments.max_requests, arguments.max_wait_ms)
    with open(arguments.log, "a", encoding="utf-8", buffering=1) as log:
        config = uvicorn.Config(
            Application(scorer, log), log_level="error", access_log=False, lifespan="off", timeout_keep_alive=60
        )
        web = uvicorn.Server(config)
        threading.Thread(target=obey, args=(scorer, web), daemon=True).start()
        reply(ready=True, process=os.getpid())
        web.run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
