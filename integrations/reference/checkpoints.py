"""Checkpoints: the whole state of a training after each epoch, written so that no crash can damage the one before.

A file holds a digest and a payload that is read without running any code. It gets its name only when it is on the
disk as a whole. The last two epochs are kept.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import pickle  # for the name of its error alone
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from integrations.reference.errors import AlreadyRunningError, CheckpointError, DiskFullError

KEPT = 2
"""Checkpoints that stay on the disk; the older one is the way back when the newest is damaged."""
_MAGIC = b"reference-checkpoint-1\n"
_DIGEST_BYTES = hashlib.sha256().digest_size


class Checkpoints:
    """The checkpoints of one training in one folder, held by one process at a time.

    ``identity`` is everything the result depends on, by name; a checkpoint of another training is refused with the
    names of what differs. Use as a context manager. Entering raises ``AlreadyRunningError`` while another process
    holds the folder; the lock of a killed process is gone with it.
    """

    def __init__(self, folder: Path, identity: dict[str, str]) -> None:
        self.folder, self.identity = folder, identity
        self._lock: Any = None

    def __enter__(self) -> Checkpoints:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise AlreadyRunningError(
                f"Another process is training with the checkpoints in {self.folder}; wait for it or choose another."
            ) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lock.close()

    def files(self) -> list[Path]:
        """The checkpoints there are, oldest first."""
        return sorted(self.folder.glob("epoch-*.pt"))

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Write the state after an epoch, whole or not at all, then drop what is too old.

        Raises ``DiskFullError`` when there is no room; the checkpoints of the epochs before are untouched.
        """
        payload = io.BytesIO()
        torch.save({"identity": self.identity, "epoch": epoch, "state": state}, payload)
        body = payload.getbuffer()
        unfinished = self.folder / "unfinished.part"
        try:
            with unfinished.open("wb") as file:
                file.write(_MAGIC + hashlib.sha256(body).digest())
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, self.folder / f"epoch-{epoch:06d}.pt")
            self._sync_folder()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise DiskFullError(self._no_room(epoch)) from error
        finally:
            unfinished.unlink(missing_ok=True)
        for old in self.files()[:-KEPT]:
            old.unlink()

    def load(self) -> dict[str, Any] | None:
        """The state after the last epoch written; None when there is none.

        Raises ``CheckpointError`` for a damaged file, and for one of another training.
        """
        files = self.files()
        if not files:
            return None
        newest = files[-1]
        content = newest.read_bytes()
        start = len(_MAGIC) + _DIGEST_BYTES
        body = memoryview(content)[start:]
        if not content.startswith(_MAGIC) or hashlib.sha256(body).digest() != content[len(_MAGIC) : start]:
            raise CheckpointError(f"{newest} is damaged; {self._fallback(files)}.")
        try:
            kept = torch.load(io.BytesIO(body), weights_only=True, map_location="cpu")
        except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
            raise CheckpointError(f"{newest} cannot be read by this version; {self._fallback(files)}.") from error
        other = sorted(
            name
            for name in self.identity.keys() | kept["identity"].keys()
            if self.identity.get(name) != kept["identity"].get(name)
        )
        if other:
            raise CheckpointError(
                f"{newest} belongs to another training; it differs in {', '.join(other)}. Choose another folder."
            )
        state: dict[str, Any] = kept["state"]
        return state

    def _fallback(self, files: list[Path]) -> str:
        before = f"from {files[-2].stem}" if len(files) > 1 else "from the beginning"
        return f"delete it to go on {before}"

    def _no_room(self, epoch: int) -> str:
        files = self.files()
        kept = f"{files[-1].name} is whole" if files else "no checkpoint was written before"
        return f"The disk of {self.folder} is full, so epoch {epoch} could not be kept ({kept}); free space and resume."

    def _sync_folder(self) -> None:
        """Make the new name survive a power cut; not every file system lets a folder be synchronised."""
        with contextlib.suppress(OSError):
            handle = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
