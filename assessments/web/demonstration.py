"""demonstration: the whole road on one machine, from an empty folder to a site with a real result.

A real ``mlflow server`` on loopback, the reference pipeline against it, an organisation with a project and a source,
and then the same steps that everybody runs: collect, assess. The pipeline and the server are processes of their own;
this one only starts them, and stops them on its way out, whatever ends it. A second run reuses what is there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from django.conf import settings
from django.contrib.auth import get_user_model

from assessments.organisations.models import Membership, Organisation
from assessments.ratings.ladder import climb_aloud, climbed, folder_of, take

KEY, ACCOUNT = "demo", "demo"
STEP = 1
"""The step that is climbed when nothing was climbed before: the quickest. The page climbs further."""
START_SECONDS = 120


class DemonstrationError(Exception):
    """The demonstration cannot go on; the message says why and what to do."""


def check_installed() -> None:
    """Raise ``DemonstrationError`` when the optional packages of the demonstration are missing."""
    missing = [name for name in ("mlflow", "torch", "sklearn") if find_spec(name) is None]
    if missing:
        raise DemonstrationError(f"not installed: {', '.join(missing)}. Run 'make demo', which installs them.")


def home_folder() -> Path:
    """Where the demonstration keeps its MLflow server."""
    home = Path(settings.DATA) / "demo"
    home.mkdir(parents=True, exist_ok=True)
    return home


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Hold the demonstration's lock; the system lets go of it however this process ends."""
    if sys.platform == "win32":  # no such locks there: two demonstrations at once are the user's to avoid
        yield
        return
    import fcntl

    with (home_folder() / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DemonstrationError(
                f"a demonstration is running already on {settings.DATA}; stop it, or set DLEMM_DATA to another folder"
            ) from error
        yield


@contextlib.contextmanager
def mlflow_server() -> Iterator[str]:
    """A real tracking server on loopback for as long as the block runs; gives its address."""
    home = home_folder()
    _end_orphan(home)
    port = _port(home / "mlflow-port")
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        "--backend-store-uri",
        f"sqlite:///{home / 'mlflow.db'}",
        "--artifacts-destination",
        str(home / "artifacts"),
    ]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_TELEMETRY_DISABLED": "true"}
    with (home / "mlflow.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    (home / "mlflow-process").write_text(str(process.pid))
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(process, address, home / "mlflow.log")
        yield address
    finally:
        stop(process)


def _end_orphan(home: Path) -> None:
    """End the server of a demonstration that was killed, if the process with its number still is that server."""
    kept = home / "mlflow-process"
    with contextlib.suppress(OSError, ValueError):
        pid = int(kept.read_text())
        if str(home) in Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"):
            os.killpg(pid, signal.SIGKILL)


def _port(kept: Path) -> int:
    """The port of the last time, so that links stay right, or a free one when it is taken."""
    wanted = int(kept.read_text()) if kept.exists() else 0
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            chosen = int(probe.getsockname()[1])
            kept.write_text(str(chosen))
            return chosen
    raise DemonstrationError("no free port on loopback for the tracking server")


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if _healthy(address):
            return
        time.sleep(0.2)
    raise DemonstrationError(f"the MLflow server did not start; its log is {log}")


def _healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except OSError:
        return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and everything it started: politely first, then not."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
            break


def run_pipeline(demo: Organisation, address: str) -> None:
    """Climb the ladder of the reference pipeline; one that was climbed before, to whatever step, is left as it is."""
    folder = folder_of(demo)
    if climbed(demo) is None:
        climb_aloud(STEP, address, folder)
    take(demo, folder, address)


def run_command(*arguments: str) -> None:
    """Run a management command as a user would, in a process of its own, so that this one stays small."""
    status = subprocess.run(  # noqa: S603 - our own command line
        [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), *arguments], check=False
    ).returncode
    if status:
        raise DemonstrationError(f"manage.py {' '.join(arguments)} ended with status {status}; see its message above")


def organisation(key: str = KEY) -> Organisation:
    """The organisation of the reference pipeline, made at the first time; one that is no demonstration is refused."""
    found, _ = Organisation.objects.get_or_create(key=key, defaults={"name": "Reference organisation", "demo": True})
    if not found.demo:
        raise DemonstrationError(f"{key} is no demonstration; runs of the reference pipeline never count for it")
    return found


def interrupt(signum: int, frame: FrameType | None) -> None:
    """Let a signal that ends the process end it like Ctrl-C, so that nothing is left running."""
    raise KeyboardInterrupt


def account(demo: Organisation) -> tuple[str, str]:
    """The demonstration's account with a new random password, which is only ever shown once."""
    users = get_user_model()
    user, _ = users.objects.get_or_create(username=ACCOUNT)
    password = secrets.token_urlsafe(12)
    user.set_password(password)
    user.save(update_fields=["password"])
    Membership.objects.update_or_create(organisation=demo, user=user, defaults={"role": Membership.Role.OWNER})
    return ACCOUNT, password
