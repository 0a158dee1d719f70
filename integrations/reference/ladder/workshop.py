"""The workshop: work that takes time is done once and kept, so that a ladder goes on where it was stopped.

A result is a plain value (numbers, texts, lists, dictionaries, tensors). It is kept in a file named by what was done;
the folder is named by everything the results depend on. A file is written whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class Workshop:
    """Results below one folder. ``fingerprint`` is everything they depend on besides their name."""

    def __init__(self, folder: Path, fingerprint: str, say: Callable[[str], None] = lambda text: None) -> None:
        self.folder = folder / hashlib.sha256(fingerprint.encode()).hexdigest()[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.say = say
        self.seconds: dict[str, float] = {}
        """Seconds of the work done now, by name; results that were there are not in it."""

    def once(self, name: str, work: Callable[[], Any]) -> Any:
        """The result of ``work``, done now or kept from before. A damaged file is done again."""
        file = self.folder / f"{_UNSAFE.sub('-', name)}.pt"
        if file.exists():
            with contextlib.suppress(Exception):  # whatever a half-written or foreign file makes the loader say
                return torch.load(file, weights_only=True)
        self.say(name)
        begin = time.perf_counter()
        result = work()
        self.seconds[name] = time.perf_counter() - begin
        unfinished = file.with_suffix(f".{os.getpid()}.part")
        try:
            torch.save(result, unfinished)
            os.replace(unfinished, file)
        finally:
            unfinished.unlink(missing_ok=True)
        return result
