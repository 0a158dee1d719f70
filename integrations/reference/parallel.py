"""Training on several processes, held against the single process: does splitting the work change what is learnt?

``parity`` starts ``torchrun`` on a small transformer and real digits, and gives one row of plain numbers for every way
to split. The processes are ended whatever happens: by the launcher, by their own alarm, or with their parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from integrations.reference.errors import ParallelRunError, PortUnavailableError
from integrations.reference.stories import find_story

KINDS = ("ddp", "fsdp2", "tp")
"""Ways to split: copies of the network, cut state (FSDP2), cut matrices (tensor parallel)."""
ROWS = 384
"""Training rows: the processes wait for each other at every step, so more of them would only take time."""
WORKER = "integrations.reference.parallel_worker"
ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_S = 5.0
_TOLD = re.compile(
    r"^(\[rank\d+\]: )?(?!torch\.distributed\.elastic)[\w.]*(Error|Exception|Interrupt)\b|: Signal \d+ \("
)
"""Lines that tell why a process failed: its own exception, or the launcher's word on a signal that ended it."""
_PEER_GONE = "Connection closed by peer"
_PORT_SIGNS = ("eaddrinuse", "address already in use")


def parity(
    kinds: Sequence[str] = KINDS,
    *,
    world: int = 2,
    compress: bool = False,
    limit_s: float = 180.0,
    port: int = 0,
) -> list[dict[str, Any]]:
    """Train once in a single process and once for each kind on ``world`` processes; one row a kind.

    A row holds ``technique`` (the kind), ``loss_single`` and ``loss_parallel`` (validation loss of the last epoch),
    ``loss_diff`` (their absolute difference), ``loss_tolerance`` (what is allowed), ``gradient_diff`` (of the first
    step: norm of the difference over norm), ``throughput`` (rows a second, all processes together), ``memory`` (peak
    of the largest process, MB), ``size`` (weights of the network, MB), ``state_mb`` (weights and optimiser state that
    one process holds), ``generalisation_gap`` (accuracy on the training rows minus that on the validation rows), the
    same of the single process as ``throughput_single``, ``memory_single`` and ``state_mb_single``, and ``world`` and
    ``backend``.

    ``compress`` sends gradients as bfloat16 (not for ``tp``). ``port`` 0 takes a free one. Raises ``ParallelRunError``
    when the processes fail or do not end in ``limit_s`` seconds, ``PortUnavailableError`` when the port is taken.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ParallelRunError(f"There is no way {unknown[0]!r} to split a training; there are {', '.join(KINDS)}.")
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        task = {"kinds": list(kinds), "compress": compress, "limit_s": limit_s}
        (Path(folder) / "task.json").write_text(json.dumps(task))
        _write_data(Path(folder) / "data.npz")
        launch(WORKER, [folder], world=world, limit_s=limit_s, port=port)
        rows: list[dict[str, Any]] = json.loads((Path(folder) / "rows.json").read_text())
    return rows


def _write_data(file: Path) -> None:
    """The digits for the task; read once here, so that the processes need not load the library they come with."""
    story = find_story("digits")
    training, validation = story.training(-11.0), story.validation()
    np.savez(file, x=training.x[:ROWS], y=training.y[:ROWS], validation_x=validation.x, validation_y=validation.y)


def launch(module: str, arguments: Sequence[str], *, world: int, limit_s: float, port: int = 0) -> str:
    """Run a module on so many processes by ``torchrun`` and wait for it; gives what they wrote.

    Raises ``ParallelRunError`` and ``PortUnavailableError`` as ``parity`` does.
    """
    rendezvous = ["--standalone"] if port == 0 else ["--master-addr=127.0.0.1", f"--master-port={port}"]
    command = [sys.executable, "-m", "torch.distributed.run", *rendezvous, f"--nproc-per-node={world}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *_python_path()])}
    environment.setdefault("OMP_NUM_THREADS", "1")
    process = subprocess.Popen(  # noqa: S603 -- our own interpreter and module
        [*command, "-m", module, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        raise ParallelRunError(f"The {world} processes did not end within {limit_s:g} s and were stopped.") from error
    finally:
        _end(process)
    if process.returncode != 0:
        raise _failure(output, world, port)
    return output


def _end(process: subprocess.Popen[str]) -> None:
    """End the launcher; asked politely it ends its processes, which otherwise end with it."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        process.send_signal(sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_PATIENCE_S)


def _failure(output: str, world: int, port: int) -> Exception:
    """The error for what the processes wrote: the last exception of one of them, not the launcher's summary."""
    if any(sign in output.lower() for sign in _PORT_SIGNS):
        return PortUnavailableError(
            f"Port {port or 'of the rendezvous'} is taken; choose another, or 0 for a free one."
        )
    told = [line.split("]: ", 1)[-1].strip() for line in output.splitlines() if _TOLD.search(line)]
    told.sort(key=lambda line: _PEER_GONE in line)  # that a peer is gone is what the others notice, not the cause
    reason = told[0] if told else (output.strip().splitlines() or ["no output"])[-1]
    return ParallelRunError(f"Training on {world} processes failed: {reason}")


def _python_path() -> list[str]:
    return [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
