"""Turns a folder into a PDF with Typst: run as a program of its own, ``python -I typesetter.py FOLDER FONTS SECONDS``.

FOLDER holds ``report.typ`` and all it reads; nothing outside it can be read, and no package can be fetched into it.
The PDF is written there as ``report.pdf``, tagged for accessibility (PDF/UA-1), its date SECONDS since 1970. A process
of its own because typesetting keeps hundreds of megabytes and holds the interpreter while it runs. Exit status 1, with
what is wrong on standard error, when it fails.
"""

from __future__ import annotations

import sys
from pathlib import Path

import typst


def typeset(folder: Path, fonts: Path, seconds: int) -> None:
    """Write ``report.pdf`` into the folder. Raises ``typst.TypstError``."""
    faces = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(fonts)])
    typst.compile(
        folder / "report.typ",
        output=folder / "report.pdf",
        root=folder,
        font_paths=faces,
        ignore_system_fonts=True,
        format="pdf",
        pdf_standards=["ua-1"],
        timestamp=seconds,
        package_path=folder / "no-packages",
        package_cache_path=folder / "no-packages",
    )


if __name__ == "__main__":
    try:
        typeset(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    except typst.TypstError as error:
        sys.stderr.write("\n".join([error.message, error.diagnostic, *error.hints]))
        sys.exit(1)
