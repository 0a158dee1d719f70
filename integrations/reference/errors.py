"""What can go wrong for the person at the terminal, each as one sentence with an exit code.

Takes any exception of the story, gives a ``PipelineError`` that says what to do next, or nothing when the fault is
one of the program (then the traceback is the honest answer).
"""

from __future__ import annotations

import errno
import importlib.util
from collections.abc import Iterator

DISK_FULL_SIGNS = ("no space left", "database or disk is full", "disk quota exceeded")
UNREACHABLE_SIGNS = ("failed with exception", "max retries exceeded", "connection refused", "connection aborted")
UNWRITTEN_SIGNS = ("basic_ios::clear: iostream error", "pytorchstreamwriter failed writing")
"""What ``torch.save`` says, as a ``RuntimeError``, when a file takes no more bytes."""
REFUSED_SIGNS = ("error code 401", "error code 403", "error 401", "error 403", "unauthorized", "permission_denied")
_LOCKED = "pip install -r requirements-reference.txt"
LIBRARIES = {
    "torch": "pip install torch",
    **dict.fromkeys(
        ("mlflow", "sklearn", "uvicorn", "onnx", "onnxruntime", "onnxscript", "optuna", "pandera", "cleanlab"), _LOCKED
    ),
    **dict.fromkeys(("pydicom", "scipy", "matplotlib", "coverage", "pytest"), _LOCKED),
}


class PipelineError(Exception):
    """A fault that one sentence explains; ``exit_code`` is what the command returns."""

    exit_code = 2


class ServerUnreachableError(PipelineError):
    """The tracking server does not answer, or is no tracking server."""


class CredentialsRefusedError(PipelineError):
    """The tracking server answers but does not let us in."""


class MissingLibraryError(PipelineError):
    """A library of the pipeline is not installed."""

    @classmethod
    def of(cls, error: ModuleNotFoundError) -> MissingLibraryError:
        """The sentence for a module that could not be imported."""
        return cls(f"{error.name} is not installed; install it with: {LIBRARIES.get(error.name or '', _LOCKED)}")


class PortUnavailableError(PipelineError):
    """The serving process got no port, or never answered on it."""


class DiskFullError(PipelineError):
    """This machine or the tracking server has no room left."""


class AlreadyRunningError(PipelineError):
    """Another process is telling the same story on the same server."""


class DeletedExperimentError(PipelineError):
    """Somebody deleted the experiment of the story on purpose; it is not ours to bring back."""


class RecipeError(PipelineError):
    """A training was asked for something that there is not, or that this machine cannot do."""


class TrainingDataError(PipelineError):
    """The rows for a training do not fit: none at all, other shapes than the network takes, classes unknown to it."""


class EmptyClassError(TrainingDataError):
    """A class has no training row, so nothing could be learnt about it."""


class DivergedError(PipelineError):
    """The loss became infinite or no number; the weights after it are worth nothing."""


class CheckpointError(PipelineError):
    """A checkpoint is damaged, or belongs to another training."""


class ParallelRunError(PipelineError):
    """The processes of a training on several processes failed, or did not end in time."""


class StoppedError(PipelineError):
    """A person or the system asked the process to stop."""

    exit_code = 130


def require_libraries() -> None:
    """Raise ``MissingLibraryError`` for the first library that is not installed; imports nothing."""
    for library, command in LIBRARIES.items():
        if importlib.util.find_spec(library) is None:
            raise MissingLibraryError(f"{library} is not installed; install it with: {command}")


def explain(error: BaseException, *, tracking_uri: str = "the tracking server") -> PipelineError | None:
    """The sentence for an exception, looking through its causes; None when it is not one of the known faults."""
    for link in _chain(error):
        if isinstance(link, PipelineError):
            return link
        if isinstance(link, KeyboardInterrupt):
            return StoppedError("Interrupted; open runs were ended as KILLED and nothing is left running.")
        if known := _explain_one(link, tracking_uri):
            return known
    return None


def _explain_one(error: BaseException, tracking_uri: str) -> PipelineError | None:
    text = str(error).lower()
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" ({error.filename})" if error.filename else ""
        return DiskFullError(f"The disk of this machine is full{where}; free some space and run again.")
    if isinstance(error, RuntimeError) and any(sign in text for sign in UNWRITTEN_SIGNS):
        return DiskFullError("A file could not be written: the disk of this machine is full; free some and run again.")
    if isinstance(error, ModuleNotFoundError) and error.name in LIBRARIES:
        return MissingLibraryError.of(error)
    if not _is_from_mlflow(error):
        return None
    if any(sign in text for sign in DISK_FULL_SIGNS):
        return DiskFullError(f"The disk of the tracking server at {tracking_uri} is full; free some space there.")
    if any(sign in text for sign in REFUSED_SIGNS):
        return CredentialsRefusedError(
            f"The tracking server at {tracking_uri} refused the credentials; set MLFLOW_TRACKING_TOKEN, or "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
        )
    if any(sign in text for sign in UNREACHABLE_SIGNS):
        return ServerUnreachableError(f"The tracking server at {tracking_uri} does not answer; is it running?")
    return None


def _is_from_mlflow(error: BaseException) -> bool:
    """Client and transport errors of MLflow, told by their module so that nothing heavy is imported here."""
    return type(error).__module__.split(".")[0] in ("mlflow", "requests", "urllib3")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, then what it was raised from or while handling, each once."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
