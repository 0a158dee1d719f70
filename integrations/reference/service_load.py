"""The client of a load test, a process of its own: sends batches at a declared rate, whether or not answers come.

Takes a file of request bodies and the rate; prints one JSON object: milliseconds from the moment at which a request was
due until its answer was there, so that waiting counts (an open loop), and how much was answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import deque
from pathlib import Path
from typing import cast

WARM_UP_S = 0.5
GRACE_S = 5.0
"""Seconds after the last request in which answers are still awaited."""
CONNECTIONS = 16


class Line(asyncio.Protocol):
    """One connection; carries one request at a time."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.transport: asyncio.Transport
        self.buffer = b""
        self.due: float | None = None  # of the request that is under way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.load.free(self)

    def send(self, request: bytes, due: float) -> None:
        self.due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        if len(rest) < length:
            return
        self.buffer = b""
        if self.due is not None:
            self.load.done(self.due, ok=head[9:12] == b"200")
        self.due = None
        self.load.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self.due is not None:
            self.load.done(self.due, ok=False)
        self.load.lost()


class Load:
    """A load test under way."""

    def __init__(self, port: int, requests: list[bytes], interval_s: float, seconds: float) -> None:
        self.port, self.requests, self.interval_s, self.seconds = port, requests, interval_s, seconds
        self.idle: list[Line] = []
        self.waiting: deque[tuple[bytes, float]] = deque()
        self.latencies: list[float] = []  # ms, of answered requests
        self.failed = self.under_way = 0
        self.begin = self.last = 0.0
        self.reconnecting: set[asyncio.Task[object]] = set()

    async def run(self) -> dict[str, float]:
        """Warm up, then send for the given time; what was seen."""
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            await self._connect()
        self.begin = loop.time() + WARM_UP_S
        start = loop.time()
        for number in range(int((WARM_UP_S + self.seconds) / self.interval_s)):
            due = start + number * self.interval_s
            if (delay := due - loop.time()) > 0:
                await asyncio.sleep(delay)
            self._give(self.requests[number % len(self.requests)], due)
        deadline = loop.time() + GRACE_S
        while self.under_way and loop.time() < deadline:
            await asyncio.sleep(0.005)
        return self._seen()

    def _give(self, request: bytes, due: float) -> None:
        self.under_way += 1
        if self.idle:
            self.idle.pop().send(request, due)
        else:
            self.waiting.append((request, due))

    def free(self, line: Line) -> None:
        """A connection can carry the next request."""
        if self.waiting:
            line.send(*self.waiting.popleft())
        else:
            self.idle.append(line)

    def done(self, due: float, *, ok: bool) -> None:
        """An answer came, or a connection broke."""
        self.under_way -= 1
        now = asyncio.get_running_loop().time()
        if due < self.begin:
            return
        self.last = now
        if ok:
            self.latencies.append((now - due) * 1000)
        else:
            self.failed += 1

    def lost(self) -> None:
        """A connection ended: open another."""
        self.idle = [line for line in self.idle if not line.transport.is_closing()]
        task: asyncio.Task[object] = asyncio.get_running_loop().create_task(self._connect())
        self.reconnecting.add(task)
        task.add_done_callback(self.reconnecting.discard)

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: Line(self), "127.0.0.1", self.port)
        except OSError:
            return  # the others carry on; what waits too long is counted as failed

    def _seen(self) -> dict[str, float]:
        ordered = sorted(self.latencies)
        failed = self.failed + self.under_way
        shares = {f"latency_p{percent}_ms": quantile(ordered, percent / 100) for percent in (50, 95, 99)}
        duration = max(self.last - self.begin, self.seconds)
        return {"answered": len(ordered), "errors": failed, "duration_s": duration, **shares}


def quantile(ordered: list[float], share: float) -> float:
    """The smallest value that at least this share does not exceed; NaN without values."""
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def main() -> int:
    """Send and print."""
    parser = argparse.ArgumentParser(prog="python -m integrations.reference.service_load")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--interval-s", type=float, required=True, help="between two requests")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--shape", required=True, help="of the rows of one request, such as 100,18")
    parser.add_argument("--bodies", type=Path, required=True, help="file of request bodies, one after the other")
    arguments = parser.parse_args()
    size = 4
    for part in arguments.shape.split(","):
        size *= int(part)
    content = arguments.bodies.read_bytes()
    head = (
        f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{arguments.port}\r\nContent-Type: application/octet-stream\r\n"
        f"X-Shape: {arguments.shape}\r\nContent-Length: {size}\r\n\r\n"
    ).encode()
    requests = [head + content[at : at + size] for at in range(0, len(content) - size + 1, size)]
    load = Load(arguments.port, requests, arguments.interval_s, arguments.seconds)
    sys.stdout.write(json.dumps(asyncio.run(load.run())) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
