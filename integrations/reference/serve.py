"""The serving process: answers predictions over HTTP from an exported model, and logs each of them.

Takes the exported program of a registered version, not the training code: what is served is what was packaged. It
is started and steered by ``endpoint.py``: one JSON line per command on standard input (``{"load": path, "version":
"3"}`` swaps the model), one JSON line per answer on standard output. When standard input closes, because the parent
said so or died, the process ends.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TextIO

import torch
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

Pixels = Annotated[list[Annotated[float, Field(ge=0.0, le=1.0)]], Field(min_length=64, max_length=64)]


class Request(BaseModel):
    """Images as rows of 64 brightness values from 0 to 1, left to right, top to bottom."""

    images: Annotated[list[Pixels], Field(min_length=1, max_length=256)]


class Response(BaseModel):
    """One label and ten probabilities per image, and the version that answered."""

    version: str
    labels: list[int]
    probabilities: list[list[float]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version ready to answer."""

    version: str
    module: torch.nn.Module


class Server:
    """The model in service and the log of its predictions; swapping the model is one assignment."""

    def __init__(self, log: TextIO) -> None:
        self.log = log
        self.loaded: Loaded | None = None

    def load(self, path: str, version: str) -> None:
        """Replace the model by the exported program in a file."""
        self.loaded = Loaded(version, torch.export.load(path).module())

    def predict(self, request: Request) -> Response:
        loaded = self.loaded
        if loaded is None:
            raise HTTPException(status_code=503, detail="no model is loaded")
        images = torch.tensor(request.images, dtype=torch.float32).reshape(-1, 1, 8, 8)  # (n, 64) -> (n, 1, 8, 8)
        with torch.no_grad():
            shares = torch.softmax(loaded.module(images), dim=1)  # (n, 10)
        labels = shares.argmax(1).tolist()
        self._record(loaded.version, labels, shares.max(1).values.tolist())
        return Response(version=loaded.version, labels=labels, probabilities=shares.tolist())

    def _record(self, version: str, labels: list[int], confidences: list[float]) -> None:
        now = round(time.time() * 1000)  # milliseconds since 1970, UTC
        for label, confidence in zip(labels, confidences, strict=True):
            line = {"at": now, "version": version, "label": label, "confidence": round(confidence, 6)}
            self.log.write(json.dumps(line) + "\n")
        self.log.flush()


def application(server: Server) -> FastAPI:
    """The two addresses: ``POST /predict`` and ``GET /health``."""
    app = FastAPI(title="reference pipeline", docs_url=None, redoc_url=None, openapi_url=None)

    # Coroutines, so that the tiny model answers on the event loop without a hop to a thread.
    @app.post("/predict")
    async def predict(request: Request) -> Response:
        return server.predict(request)

    @app.get("/health")
    async def health() -> dict[str, str]:
        if server.loaded is None:
            raise HTTPException(status_code=503, detail="no model is loaded")
        return {"status": "ok", "version": server.loaded.version}

    return app


def answer(**content: object) -> None:
    """One JSON line to the parent."""
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def obey(server: Server, web: uvicorn.Server) -> None:
    """Carry out commands until standard input closes, then ask the web server to end."""
    for line in sys.stdin:
        command = json.loads(line)
        try:
            server.load(command["load"], command["version"])
        except Exception as error:  # whatever a broken file makes torch raise, the parent is told and we go on serving
            answer(error=f"{type(error).__name__}: {error}")
        else:
            answer(loaded=command["version"])
    web.should_exit = True


def main() -> int:
    """Bind, report the port, serve until standard input closes; 3 when the port could not be had."""
    parser = argparse.ArgumentParser(prog="python -m integrations.reference.serve")
    parser.add_argument("--host", required=True)
    parser.add_argument("--log", required=True, type=Path, help="file of the prediction log, JSON lines")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # The protocol is named so that asyncio turns Nagle's algorithm off; otherwise every answer waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.bind((arguments.host, 0))
    except OSError as error:
        answer(error=f"{arguments.host}: {error.strerror}")
        return 3
    with arguments.log.open("a", encoding="utf-8") as log:
        server = Server(log)
        web = uvicorn.Server(uvicorn.Config(application(server), log_level="error", access_log=False, lifespan="off"))
        threading.Thread(target=obey, args=(server, web), daemon=True).start()
        answer(port=listener.getsockname()[1])
        web.run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
