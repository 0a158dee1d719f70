import errno
import os
from pathlib import Path

import pytest

from integrations.reference import errors
from integrations.reference.errors import explain

MlflowLike = type("MlflowException", (Exception,), {"__module__": "mlflow.exceptions"})
URI = "http://tracking.example"


def _full_disk() -> OSError:
    """What writing to a full disk raises."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        os.write(full, b"x")
    except OSError as error:
        return error
    finally:
        os.close(full)
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "kind", "part"),
    [
        (MlflowLike("API request to http://x failed with exception refused"), errors.ServerUnreachableError, URI),
        (MlflowLike("error code 401 != 200. Unauthorized"), errors.CredentialsRefusedError, "MLFLOW_TRACKING_TOKEN"),
        (MlflowLike("PERMISSION_DENIED: no"), errors.CredentialsRefusedError, "refused"),
        (MlflowLike("(sqlite3.OperationalError) database or disk is full"), errors.DiskFullError, URI),
        (OSError(errno.EDQUOT, "quota", "/tmp/x"), errors.DiskFullError, "/tmp/x"),
        (RuntimeError("basic_ios::clear: iostream error"), errors.DiskFullError, "disk of this machine is full"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), errors.MissingLibraryError, "pip install torch"),
        (ModuleNotFoundError("No module named 'mlflow'", name="mlflow"), errors.MissingLibraryError, "pip install -r"),
        (KeyboardInterrupt(), errors.StoppedError, "nothing is left running"),
        (errors.PortUnavailableError("no port"), errors.PortUnavailableError, "no port"),
    ],
)
def test_a_known_fault_becomes_one_sentence(error: BaseException, kind: type, part: str) -> None:
    known = explain(error, tracking_uri=URI)
    assert type(known) is kind
    assert part in str(known)
    assert "\n" not in str(known)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_as_such() -> None:
    known = explain(_full_disk())
    assert type(known) is errors.DiskFullError
    assert "disk of this machine is full" in str(known)


def test_the_cause_of_an_error_is_looked_at() -> None:
    outer = RuntimeError("could not log the model")
    outer.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert isinstance(explain(outer), errors.DiskFullError)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("failed with exception"),
        RuntimeError("size mismatch"),
        MlflowLike("invalid name"),
        ModuleNotFoundError("x", name="x"),
    ],
)
def test_a_fault_of_the_program_keeps_its_traceback(error: Exception) -> None:
    assert explain(error) is None


def test_exit_codes_tell_fault_and_interruption_apart() -> None:
    assert errors.ServerUnreachableError.exit_code == 2
    assert errors.StoppedError.exit_code == 130


def test_a_missing_library_is_found_before_anything_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    found = errors.importlib.util.find_spec
    monkeypatch.setattr(errors.importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    with pytest.raises(errors.MissingLibraryError, match="torch is not installed; install it with: pip install torch"):
        errors.require_libraries()
