"""Rows that a generator made, kept in a folder, so that the next process reads them instead of making them again."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[np.generic]]

folder: Path | None = None
"""Where they are kept; nothing is kept while there is none."""


def once(name: str, make: Callable[[], Arrays]) -> Arrays:
    """The arrays of that name, made now or read. The name says the generator, its version and every setting."""
    if folder is None:
        return make()
    file = folder / f"{name}.npz"
    with contextlib.suppress(OSError, EOFError, ValueError, zipfile.BadZipFile), np.load(file) as stored:
        return dict(stored)
    made = make()
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(f".{os.getpid()}.part")
    try:
        with unfinished.open("wb") as out:
            np.savez(out, **made)
        os.replace(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)
    return made
