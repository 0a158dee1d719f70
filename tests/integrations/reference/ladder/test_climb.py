"""Ladders that are killed, stopped, started twice and broken: real processes and a real server, and what is left."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("mlflow")

import torch
from mlflow import MlflowClient

from integrations.reference import __main__ as command
from integrations.reference.errors import DiskFullError, explain
from integrations.reference.ladder.calendar import Calendar
from integrations.reference.ladder.climb import Telling, workshop
from integrations.reference.ladder.hold import HELD
from integrations.reference.ladder.publish import DONE
from integrations.reference.ladder.rungs import Rungs
from integrations.reference.ladder.workshop import Workshop
from integrations.reference.stories import kept

pytestmark = [
    pytest.mark.server,
    pytest.mark.torch,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc"),
]

ROOT = Path(__file__).parents[4]
MARKER = "DLEMM_TEST_LADDER"
"""In the environment of a ladder and so of every process that it starts, however far away from it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What a ladder told from first to last, and how it ended."""

    code: int
    pieces: list[str]
    state: str
    message: str
    errors: str


@dataclass(slots=True)
class Climbing:
    """A ladder that is under way."""

    process: subprocess.Popen[str]
    errors: Path
    pieces: list[str] = field(default_factory=list)

    def until(self, piece: str = "") -> None:
        """Wait until the work reaches a piece, any piece when none is named."""
        for news in self._news():
            if news.get("step") == "digits" and news["doing"].startswith(piece):
                return
        raise AssertionError(f"it ended before {piece}: {self.errors.read_text()}")

    def end(self) -> Ended:
        last = list(self._news())[-1:] or [{}]
        code = self.process.wait(timeout=60)
        told = last[0]
        return Ended(code, self.pieces, told.get("state", ""), told.get("message", ""), self.errors.read_text())

    def _news(self) -> Iterator[dict[str, str]]:
        for line in self.process.stdout:
            news = json.loads(line)
            if news.get("step") == "digits":
                self.pieces.append(news["doing"])
            yield news


@dataclass(frozen=True, slots=True)
class Ladder:
    """The first step of the digits, on a server and in a folder of its own."""

    url: str
    folder: Path
    prefix: str

    def arguments(self) -> list[str]:
        where = ["--tracking-uri", self.url, "--experiment-prefix", self.prefix, "--folder", str(self.folder)]
        return ["run", "digits", "--step", "1", *where]

    @contextlib.contextmanager
    def climbing(self) -> Iterator[Climbing]:
        """A ladder in a session of its own; nothing of it is left afterwards."""
        self.folder.mkdir(parents=True, exist_ok=True)
        errors = self.folder.with_suffix(".errors")
        with errors.open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "integrations.reference", *self.arguments(), "--json"],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=ROOT,
                env={**os.environ, MARKER: str(self.folder)},
                start_new_session=True,
            )
        try:
            yield Climbing(process, errors)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()

    def climb(self) -> Ended:
        with self.climbing() as under_way:
            return under_way.end()

    def processes(self) -> dict[int, list[str]]:
        """Command lines of the ladder's processes and of those that these started, by number."""
        marker, found = f"{MARKER}={self.folder}".encode(), {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):  # one that has just ended, or of somebody else
                if entry.name.isdigit() and marker in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_text().split("\0")
        return found

    def is_alone_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while self.processes() and time.monotonic() < until:
            time.sleep(0.1)
        return not self.processes()

    def published(self) -> tuple[list, list]:
        """The runs and the versions that are on the server."""
        client = MlflowClient(self.url)
        experiment = client.get_experiment_by_name(f"{self.prefix}/digits")
        assert experiment.tags[HELD] == ""
        versions = client.search_model_versions(f"name = '{self.prefix}-digits'")
        return client.search_runs([experiment.experiment_id]), versions

    def is_whole(self) -> bool:
        runs, versions = self.published()
        ended = {run.info.status for run in runs} == {"FINISHED"} and all(DONE in run.data.tags for run in runs)
        return ended and [version.tags.get(DONE) for version in versions] == ["true"]


def one_sentence(text: str, *parts: str) -> bool:
    return "\n" not in text and all(part in text for part in parts)


# Killed, then broken.


@dataclass(frozen=True, slots=True)
class Killed:
    ladder: Ladder
    before: list[str]
    failed: Ended
    log: str  # of the failure
    after: Ended


@pytest.fixture(scope="module")
def killed(mlflow_server, tmp_path_factory) -> Killed:
    """A ladder whose processes were killed in mid-work, then one that failed, as a piece had become a folder; and one
    that found all in order."""
    ladder = Ladder(mlflow_server.url, tmp_path_factory.mktemp("killed") / "ladder", "killed")
    with ladder.climbing() as first:
        first.until("elsewhere")
        os.killpg(first.process.pid, signal.SIGKILL)
        first.process.wait()
    (piece,) = (ladder.folder / "work").glob("*/program-*.pt")
    kept_piece = piece.rename(piece.with_suffix(".aside"))
    piece.mkdir()
    failed = ladder.climb()
    log = (ladder.folder / "digits.log").read_text()
    piece.rmdir()
    kept_piece.rename(piece)
    return Killed(ladder, first.pieces, failed, log, ladder.climb())


def test_a_ladder_that_was_killed_keeps_its_finished_pieces_and_goes_on_with_the_next(killed: Killed) -> None:
    finished = killed.before[:-1]
    assert len(finished) > 1
    assert killed.after.code == 0, killed.after
    assert not set(finished) & set(killed.after.pieces)
    assert [text.partition("/")[0] for text in killed.failed.pieces] == ["program"]
    assert len(killed.after.pieces) > 1
    assert killed.ladder.is_whole()


def test_what_a_killed_ladder_had_started_ends_by_itself(killed: Killed) -> None:
    assert killed.ladder.is_alone_within(20)
    assert not list(killed.ladder.folder.rglob("*.part"))


def test_work_that_fails_for_an_unknown_reason_is_told_by_its_last_line_and_its_log(killed: Killed) -> None:
    log = killed.ladder.folder / "digits.log"
    assert (killed.failed.code, killed.failed.state, killed.failed.errors) == (2, "failed", "")
    assert one_sentence(killed.failed.message, "The work on digits failed: IsADirectoryError", f"(all of it: {log})")
    assert "Traceback" in killed.log
    assert killed.after.code == 0, killed.after


# Stopped, refused, and left by one of its processes.


@dataclass(frozen=True, slots=True)
class Stopped:
    ladder: Ladder
    second: tuple[int, str]
    deserted: Ended
    by_signal: dict[int, tuple[Ended, bool]]
    again: Ended


@pytest.fixture(scope="module")
def stopped(mlflow_server, tmp_path_factory) -> Stopped:
    """A ladder that met, one after the other: a second one, the loss of its worker, SIGTERM, SIGINT; then nothing."""
    ladder = Ladder(mlflow_server.url, tmp_path_factory.mktemp("stopped") / "ladder", "stopped")
    with ladder.climbing() as under_way:
        under_way.until()
        with contextlib.redirect_stderr(io.StringIO()) as said:
            second = command.main(ladder.arguments()), said.getvalue()
        (worker,) = (number for number, words in ladder.processes().items() if "work" in words)
        os.kill(worker, signal.SIGKILL)
        deserted = under_way.end()
    by_signal = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        with ladder.climbing() as under_way:
            under_way.until()
            under_way.process.send_signal(number)
            ended = under_way.end()
            by_signal[number] = ended, ladder.is_alone_within(1)
    return Stopped(ladder, second, deserted, by_signal, ladder.climb())


def test_a_second_ladder_in_the_same_folder_is_refused(stopped: Stopped) -> None:
    code, said = stopped.second
    assert code == 2
    assert one_sentence(said.strip(), f"Another ladder is being climbed in {stopped.ladder.folder}", "another --folder")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_ladder_that_is_stopped_says_so_and_leaves_no_process(stopped: Stopped, number: int) -> None:
    ended, alone = stopped.by_signal[number]
    assert (ended.code, ended.state, ended.errors) == (130, "interrupted", "")
    assert one_sentence(ended.message, "Interrupted", f"kept in {stopped.ladder.folder}", "the same command goes on")
    assert alone


def test_a_ladder_whose_worker_is_killed_says_so(stopped: Stopped) -> None:
    assert (stopped.deserted.code, stopped.deserted.state, stopped.deserted.errors) == (2, "failed", "")
    assert one_sentence(stopped.deserted.message, "working on digits was ended by signal 9", "run again")


def test_a_ladder_that_was_stopped_goes_on(stopped: Stopped) -> None:
    assert stopped.again.code == 0, stopped.again
    assert stopped.ladder.is_whole()


def test_telling_that_is_broken_off_has_ended_when_the_folder_is_let_go(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(kept, "folder", None)
    telling = Telling(Rungs.to(1), Calendar(round(time.time() * 1000)), tmp_path, stories=["digits"])
    with pytest.raises(KeyboardInterrupt), telling:
        raise KeyboardInterrupt
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("telling")]


# Without room.


def full(result: object, file: Path) -> None:
    """What ``torch.save`` does on a full disk: a part is written, the rest is not."""
    file.write_bytes(b"half")
    raise OSError(errno.ENOSPC, "No space left on device", str(file))


def test_a_full_disk_while_a_piece_is_kept_leaves_no_part_of_it(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "save", full)
    shop = Workshop(tmp_path, "one")
    with pytest.raises(OSError, match="No space left") as raised:
        shop.once("piece", lambda: {"a": 1})
    known = explain(raised.value)
    assert isinstance(known, DiskFullError)
    assert one_sentence(str(known), "disk of this machine is full", str(shop.folder))
    assert list(shop.folder.iterdir()) == []
    monkeypatch.undo()
    assert shop.once("piece", lambda: {"a": 1}) == {"a": 1}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(("folder", "size"), [("plain", 1), ("plain", 100_000), ("ünlike", 100_000)])
def test_what_torch_makes_of_a_full_disk_is_understood_too(tmp_path, folder: str, size: int) -> None:
    shop = Workshop(tmp_path / folder, "one")
    (shop.folder / f"piece.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises((OSError, RuntimeError)) as raised:
        shop.once("piece", lambda: torch.zeros(size))
    assert isinstance(explain(raised.value), DiskFullError)
    assert list(shop.folder.iterdir()) == []


def test_a_full_disk_ends_the_work_with_one_sentence(tmp_path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "folder", None)
    monkeypatch.setattr(torch, "save", full)
    given = ["work", "digits", "1", "--folder", str(tmp_path), "--now", str(round(time.time() * 1000))]
    assert command.main(given) == 2
    said = capsys.readouterr().err.strip()
    assert one_sentence(said, "disk of this machine is full", str(workshop(tmp_path, "digits").folder), "run again")
    assert not [file for file in tmp_path.rglob("*") if file.suffix in {".part", ".pt"}]


# Looked at later.


def test_what_was_published_holds_and_whatever_is_changed_later_is_named(killed, mlflow_server, capsys) -> None:
    folder = killed.ladder.folder
    given = ["verify", "--tracking-uri", killed.ladder.url, "--folder", str(folder)]
    assert command.main(given) == 0, capsys.readouterr().out
    assert "Everything that was published is there" in capsys.readouterr().out
    rows = json.loads((folder / "papers" / "manifest.json").read_text())["runs"]
    papered = [row for row in rows if row["artifacts"]]
    bare = [row for row in rows if not row["artifacts"]]
    assert len(papered) > 1, rows
    client = MlflowClient(killed.ladder.url)
    changed, path = papered[0], next(iter(papered[0]["artifacts"]))
    client.log_text(changed["id"], "something else", path)
    missing, gone = papered[1], next(iter(papered[1]["artifacts"]))
    (file,) = (mlflow_server.folder / "artifacts").glob(f"*/{missing['id']}/artifacts/{gone}")
    file.unlink()
    deleted, ended = bare[0], bare[1]
    client.delete_run(deleted["id"])
    client.update_run(ended["id"], "FAILED")
    assert command.main(given) == 1
    assert set(capsys.readouterr().out.splitlines()) == {
        f"{changed['name']}: {path} was changed",
        f"{missing['name']}: {gone} is not there",
        f"{deleted['name']}: the run {deleted['id']} is deleted",
        f"{ended['name']}: it is FAILED, not FINISHED",
    }
