"""Files of this machine that a source may read: those in folders that the operator lists, and no others.

Takes a path that a person wrote and the operator's folders (``DLEMM_FOLDERS``, none by default); gives files and their
content. One gate for all connectors: a path is judged after its links were followed, so nobody's source leads to
the files of another.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from integrations.connectors.base import Fields, Reason, Refused

MOST_FILES = 20_000


def inside(path: str | Path, folders: Iterable[str]) -> bool:
    """Whether a path, links followed, lies in one of the folders."""
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(os.path.realpath(folder)) for folder in folders if folder)


def check_inside(fields: Fields, field: str, path: str, folders: Iterable[str]) -> None:
    """Note a fault of a setting whose path (empty: none) is not in one of the folders."""
    if path and not (path.startswith("/") and inside(path, folders)):
        fields.fault(
            field, "is not in a folder that this installation may read (the operator names them in DLEMM_FOLDERS)"
        )


def files(root: str, endings: Sequence[str]) -> list[Path]:
    """Regular files below a folder with one of the endings, sorted; links are not followed. ``root`` may be a file.

    Raises ``Refused`` when any part cannot be listed, or there are more than ``MOST_FILES``.
    """

    def stop(error: OSError) -> None:
        raise Refused(Reason.FORBIDDEN, f"a folder cannot be read: {error.strerror}") from error

    if os.path.isfile(root):
        return [Path(root)]
    if not os.path.isdir(root):
        raise Refused(Reason.NOT_FOUND, "the folder does not exist")
    found: list[Path] = []
    for folder, _, names in os.walk(root, onerror=stop):
        paths = (Path(folder) / name for name in names if name.lower().endswith(tuple(endings)))
        found += [path for path in paths if path.is_file() and not path.is_symlink()]
        if len(found) > MOST_FILES:
            raise Refused(Reason.TOO_LARGE, f"more than {MOST_FILES} files")
    return sorted(found)


def opened(path: str | Path, folders: Iterable[str]) -> BinaryIO:
    """A regular file inside the folders, open for reading. Raises ``Refused``.

    Judged again at every opening: what lay there when the settings were written may have been swapped since.
    """
    real = os.path.realpath(path)
    if not inside(real, folders):
        raise Refused(Reason.ADDRESS_REFUSED)
    try:
        handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        gone = isinstance(error, FileNotFoundError)
        raise Refused(Reason.NOT_FOUND if gone else Reason.FORBIDDEN, "a file cannot be read") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Refused(Reason.FORBIDDEN, "a file cannot be read")
    return os.fdopen(handle, "rb")


def content(path: str | Path, folders: Iterable[str], cap: int) -> bytes:
    """The content of a file, at most one byte more than ``cap``, so that a larger one shows. Raises ``Refused``."""
    with opened(path, folders) as file:
        try:
            return file.read(cap + 1)
        except OSError as error:
            raise Refused(Reason.FORBIDDEN, "a file cannot be read") from error
