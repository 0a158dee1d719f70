"""A proxy that spoils answers on purpose, from a seed: resets, cut bodies, busy and broken answers, garbage, delays.

Takes the address of a real server; gives an address in front of it. It copies raw TCP, so connections really break.
Each connection carries one question: the proxy asks the server to close after it.
"""

from __future__ import annotations

import contextlib
import random
import socket
import socketserver
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
_WHOLE = {
    "busy": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "broken": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "garbage": _OK + b"Content-Length: 9\r\n\r\n\x00\xff{{{ [,]",
    "empty": _OK + b"Content-Length: 0\r\n\r\n",
}
FAULTS = ("reset", "cut head", "cut body", "late", *_WHOLE)


@dataclass(slots=True)
class Faulty:
    """A running proxy: its address, and how often it did what."""

    url: str
    done: Counter[str] = field(default_factory=Counter)


@contextlib.contextmanager
def faulty_proxy(target: str, *, seed: int, share: float = 0.25) -> Iterator[Faulty]:
    """Stand in front of ``target`` until the block ends, and spoil ``share`` of the answers."""
    to = urlsplit(target)
    chance, turn = random.Random(seed), threading.Lock()
    faulty = Faulty("")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with turn:
                fault = chance.choice(FAULTS) if chance.random() < share else "none"
                part = chance.random()
                faulty.done[fault] += 1
            with contextlib.suppress(OSError):
                self._answer(fault, part)

        def _answer(self, fault: str, part: float) -> None:
            question = _question(self.request)
            if not question or fault == "reset":
                _reset(self.request)
            elif fault in _WHOLE:
                self.request.sendall(_WHOLE[fault])
            else:
                head, _, body = _forwarded(to.hostname or "", to.port or 80, question).partition(b"\r\n\r\n")
                time.sleep(0.05 * part if fault == "late" else 0)
                sent = {
                    "cut head": head[: len(head) // 2],
                    "cut body": head + b"\r\n\r\n" + body[: int(len(body) * part)],
                }
                self.request.sendall(sent.get(fault, head + b"\r\n\r\n" + body))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        faulty.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield faulty
        finally:
            server.shutdown()
            thread.join()


def _question(connection: socket.socket) -> bytes:
    """One whole question, rewritten so that the connection ends with its answer; empty when the asker went away."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    length = next((int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n" + body


def _forwarded(host: str, port: int, question: bytes) -> bytes:
    """The whole answer of the server."""
    with socket.create_connection((host, port), timeout=60) as server:
        server.sendall(question)
        return b"".join(iter(lambda: server.recv(65536), b""))


def _reset(connection: socket.socket) -> None:
    """End a connection with a reset instead of a goodbye."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
