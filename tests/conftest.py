"""Fixtures for the whole test session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integrations import servers


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.MlflowServer]:
    """A real MLflow server for the session. Tests share it: look only at experiments and models you made yourself."""
    with servers.mlflow_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server
