"""The shared MLflow server with content of this folder, and a second one that is empty."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integrations import servers
from tests.integrations.servers import MlflowServer


@dataclass(frozen=True, slots=True)
class Filled:
    """The server's address and what MLflow's own client says is there (see ``fill``)."""

    url: str
    content: dict[str, Any]

    @property
    def experiments(self) -> list[str]:
        return [self.content[name]["experiment"] for name in ("times", "gone", "model")]


@pytest.fixture(scope="session")
def filled(mlflow_server: MlflowServer) -> Filled:
    command = [sys.executable, "-m", "tests.integrations.connectors.fill", mlflow_server.url]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": mlflow_server.url}
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return Filled(mlflow_server.url, json.loads(done.stdout.rstrip().rpartition("\n")[2]))


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with servers.mlflow_server(tmp_path_factory.mktemp("empty")) as server:
        yield server
