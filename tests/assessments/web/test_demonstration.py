from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assessments.web import demonstration
from assessments.web.serving import NoPort, addresses, free_socket

ROOT = Path(__file__).resolve().parents[3]


def test_a_second_demonstration_on_the_same_folder_is_told_of_the_first() -> None:
    with (
        demonstration.only_one(),
        pytest.raises(demonstration.DemonstrationError, match="running already"),
        demonstration.only_one(),
    ):
        pytest.fail("both hold the lock")


def test_the_lock_is_free_again_afterwards() -> None:
    for _ in range(2):
        with demonstration.only_one():
            pass


def test_a_server_whose_demonstration_was_killed_is_ended_by_the_next() -> None:
    home = demonstration.home_folder()
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)", str(home / "mlflow.db")], start_new_session=True
    )
    (home / "mlflow-process").write_text(str(orphan.pid))
    while "mlflow.db" not in Path(f"/proc/{orphan.pid}/cmdline").read_text():
        time.sleep(0.01)  # the new process has not become the program yet
    demonstration._end_orphan(home)
    assert orphan.wait(timeout=10) == -signal.SIGKILL


def test_a_stranger_that_got_the_old_servers_number_is_left_alone() -> None:
    home = demonstration.home_folder()
    (home / "mlflow-process").write_text(str(os.getpid()))
    demonstration._end_orphan(home)


def test_a_port_that_is_taken_gives_way_to_the_next_free_one() -> None:
    with free_socket("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with free_socket("127.0.0.1", port) as second:
            assert second.getsockname()[1] > port
            assert list(addresses(second)) == [f"http://127.0.0.1:{second.getsockname()[1]}/"]


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_said_to_be_none(port: int) -> None:
    with pytest.raises(NoPort, match="is no port"):
        free_socket("127.0.0.1", port)


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (("collect", "x"), {}, "run: manage.py migrate"),
        (("check",), {"DLEMM_DEBUG": "maybe"}, "DLEMM_DEBUG"),
    ],
)
def test_what_a_user_can_mend_is_said_in_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], environment: dict[str, str], told: str
) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DLEMM_", "DJANGO_"))}
    result = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**clean, "DLEMM_DATA": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert told in result.stderr
    assert "Traceback" not in result.stderr
