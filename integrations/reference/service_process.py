"""The supervisor of the serving process: holds the port, keeps a worker alive, remembers the last good version.

Started and steered by ``service.py``: one JSON line per command on standard input, one per answer on standard output.
Commands: ``load`` (a package and its version), ``inject`` (a fault, for drills) and ``state``. The worker
(``service_worker.py``) has the model; when it dies, another one is started on the same port with the last version that
was loaded, and requests that arrive meanwhile wait in the port's queue. Standard input closing ends both processes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

ANSWER_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 3.0
TRIES = 5
"""Workers in a row that may die before they serve; then the supervisor gives up, rather than start them for ever."""
BACKLOG = 2048


class Worker:
    """One worker process and the line to it."""

    def __init__(self, listener: socket.socket, folder: Path, limits: list[str]) -> None:
        fd = listener.fileno()
        command = [sys.executable, "-m", "integrations.reference.service_worker", "--fd", str(fd)]
        with (folder / "worker-errors.txt").open("a") as errors:
            self.process = subprocess.Popen(  # noqa: S603 -- our own module, no shell, no outside text
                [*command, "--log", str(folder / "predictions.jsonl"), *limits],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                pass_fds=[fd],
            )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in cast(Any, self.process.stdout):
            self._lines.put(line)
        self._lines.put("")  # the end of its output

    def answer(self) -> dict[str, Any]:
        """Its next answer; an ``error`` when it is silent or dead."""
        try:
            line = self._lines.get(timeout=ANSWER_TIMEOUT_S)
        except queue.Empty:
            return {"error": f"the worker said nothing for {ANSWER_TIMEOUT_S:g} s", "dead": True}
        content: dict[str, Any] = json.loads(line) if line else {"error": "the worker died", "dead": True}
        return content

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send a command and wait for the answer to it."""
        commands = cast(Any, self.process.stdin)
        try:
            commands.write(json.dumps(command) + "\n")
            commands.flush()
        except OSError:
            return {"error": "the worker died", "dead": True}
        return self.answer()

    def end(self) -> None:
        """Let it end by closing its input, or kill it."""
        with contextlib.suppress(OSError):  # it has ended already, which is what we want
            cast(Any, self.process.stdin).close()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Supervisor:
    """Keeps one worker alive. ``good`` is the command that loads the last version that was loaded."""

    def __init__(self, listener: socket.socket, folder: Path, limits: list[str]) -> None:
        self.listener, self.folder, self.limits = listener, folder, limits
        self.good: dict[str, Any] | None = None
        self.restarts = 0
        self.stopping = False
        self.lock = threading.Lock()  # one command, or one restart, at a time
        self.worker = self._started()
        threading.Thread(target=self._watch, daemon=True).start()

    def _started(self) -> Worker:
        """A worker that is ready and serves the last good version."""
        for _ in range(TRIES):
            worker = Worker(self.listener, self.folder, self.limits)
            told = worker.answer()
            if "ready" in told and self.good is not None:
                told = worker.ask(self.good)
            if "error" not in told:
                return worker
            worker.end()
        reply(error=f"{TRIES} workers in a row could not serve: {told['error']}", fatal=True)
        os._exit(4)  # from whichever thread: there is nothing left to supervise

    def _watch(self) -> None:
        while True:
            self.worker.process.wait()
            with self.lock:
                if self.stopping:
                    return
                self.restarts += 1
                self.worker = self._started()

    def obey(self, command: dict[str, Any]) -> None:
        """Carry out one command and answer it."""
        with self.lock:
            if "state" in command:
                reply(state=True, worker=self.worker.process.pid, restarts=self.restarts)
                return
            own = self._kept(command) if "load" in command else command
            told = self.worker.ask(own)
            if "loaded" in told:
                self.good = own
            reply(**told)

    def _kept(self, command: dict[str, Any]) -> dict[str, Any]:
        """The command with our own copy of the package, so that a restart does not depend on anybody's file."""
        given = Path(command["load"])
        own = self.folder / f"package-{command['number']}{given.suffix}"
        try:
            shutil.copyfile(given, own)
        except OSError:
            own.unlink(missing_ok=True)
            return command  # the worker says what is wrong with the file
        return {**command, "load": str(own)}

    def stop(self) -> None:
        self.stopping = True
        self.worker.end()


def reply(**content: object) -> None:
    """One JSON line to the parent."""
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Bind, report the port, supervise until standard input closes; 3 when the port could not be had."""
    parser = argparse.ArgumentParser(prog="python -m integrations.reference.service_process")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--folder", required=True, type=Path, help="takes log, packages and error output")
    arguments, limits = parser.parse_known_args()
    # The protocol is named so that asyncio turns Nagle's algorithm off; otherwise every answer waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((arguments.host, arguments.port))
        listener.listen(BACKLOG)
    except OSError as error:
        reply(error=f"{arguments.host}:{arguments.port}: {error.strerror}")
        return 3
    begin = time.perf_counter()
    supervisor = Supervisor(listener, arguments.folder, limits)
    reply(port=listener.getsockname()[1], seconds=time.perf_counter() - begin)
    for line in sys.stdin:
        supervisor.obey(json.loads(line))
    supervisor.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
