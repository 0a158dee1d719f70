"""The tracking server as the pipeline meets it: a client of one that answers, and libraries that keep quiet."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from integrations.reference.errors import ServerUnreachableError, explain

_CONNECT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "GIT_PYTHON_REFRESH": "quiet",
}


def client_of(tracking_uri: str) -> MlflowClient:
    """A client of a server that answers. Raises ``PipelineError`` when the address is none, or does not let us in."""
    if not tracking_uri.startswith(("http://", "https://")):
        raise ServerUnreachableError(f"{tracking_uri!r} is no address of a tracking server; it begins with http(s)://")
    try:
        with _environment(_CONNECT):
            client = MlflowClient(tracking_uri)
            client.search_experiments(max_results=1)
    except MlflowException as error:
        if known := explain(error, tracking_uri=tracking_uri):
            raise known from error
        first_line = str(error).splitlines()[0][:200]
        raise ServerUnreachableError(f"{tracking_uri} is not a usable MLflow tracking server: {first_line}") from error
    return client


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep MLflow, torch and their friends from talking over the display; the process is as before afterwards."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "torch", "git", "urllib3")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), _environment(_QUIET):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
