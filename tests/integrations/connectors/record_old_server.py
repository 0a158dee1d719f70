"""Records how a real, older MLflow server answers our connector, for tests that have no such server.

    python -m tests.integrations.connectors.record_old_server OLD/bin/python mlflow-2.9.2.json

``OLD`` has that MLflow, installed by hand: ``pip install mlflow==2.9.2 "sqlalchemy<2.1" "setuptools<81"``.
The server is filled by its own client (``fill_old``); the answers are kept as they came.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from integrations.connectors.http import Timing
from integrations.connectors.mlflow import MlflowConnector, parse
from tests.integrations.connectors.recorder import Recorder
from tests.integrations.connectors.replay import FOLDER, PAGE_SIZES, question
from tests.integrations.servers import Answer, mlflow_server, stub_server

_KEPT_HEADERS = ("Content-Type", "Date")


def record(python: str) -> dict[str, Any]:
    """What ``fill_old`` put on a server of that interpreter, and its answers to our collections."""
    answers: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder, mlflow_server(Path(folder), python=python) as server:
        shutil.copy(Path(__file__).with_name("fill_old.py"), folder)  # MLflow notes the path and looks for a repository
        nobody = {**os.environ, "LOGNAME": "tester", "USER": "tester"}
        fill = [python, "fill_old.py", server.url]
        filled = subprocess.run(fill, capture_output=True, text=True, check=True, cwd=folder, env=nobody)
        told, at = json.loads(filled.stdout.rstrip().rpartition("\n")[2]), time.time()

        def forward(line: str, body: bytes, _: int) -> Answer:
            method, path = line.split(" ", 1)
            headers = {"Content-Type": "application/json"} if body else {}
            real = httpx.request(method, server.url + path, content=body, headers=headers, timeout=60, trust_env=False)
            kept = [(name, real.headers[name]) for name in _KEPT_HEADERS if name in real.headers]
            answers[question(line, body)] = {"status": real.status_code, "headers": kept, "body": real.text}
            return Answer(real.status_code, real.content, tuple(kept))

        with stub_server(forward) as proxy:
            for size in PAGE_SIZES:
                connector = MlflowConnector(
                    parse({"base_url": proxy.url, "page_size": size}), timing=Timing(now=lambda: at)
                )
                print(connector.collect(Recorder()).to_json()["streams"])
    return {"told": told, "at": at, "answers": answers}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    recorded = record(sys.argv[1])
    (FOLDER / sys.argv[2]).write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
