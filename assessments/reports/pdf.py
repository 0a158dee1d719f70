"""The report as a PDF: A4, tagged, in one font for both languages.

Takes a ``ReportDocument``; gives the bytes of a PDF, the same bytes for the same document. Text reaches the template as
JSON and is never markup. Each report is typeset in a fresh folder that holds nothing else, by a process of its own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from calendar import timegm
from datetime import date
from pathlib import Path

from assessments.reports.document import ReportDocument
from assessments.reports.drawing import drawable, radar_picture
from assessments.reports.glyphs import FONTS

TEMPLATE = FONTS.parent / "report.typ"
SECONDS = 60
_MESSAGE = 2000


class ReportError(Exception):
    """The PDF could not be made; the message says why."""


def render(document: ReportDocument, *, seconds: float = SECONDS) -> bytes:
    """The PDF of a report. Raises ``ReportError`` when typesetting fails or takes longer than ``seconds``."""
    with tempfile.TemporaryDirectory(prefix="report-") as name:
        folder = Path(name)
        shutil.copyfile(TEMPLATE, folder / "report.typ")
        (folder / "data.json").write_text(json.dumps(drawable(document)), encoding="utf-8")
        (folder / "radar.svg").write_text(radar_picture(document), encoding="utf-8")
        _typeset(folder, document.cover.as_of, seconds)
        return (folder / "report.pdf").read_bytes()


def _typeset(folder: Path, day: date, seconds: float) -> None:
    program = Path(__file__).with_name("typesetter.py")
    created = timegm(day.timetuple())  # midnight UTC, so that equal documents give equal bytes
    command = [sys.executable, "-I", str(program), str(folder), str(FONTS), str(created)]
    try:
        # An empty environment: the program needs no setting, and secrets of this process are none of its business.
        done = subprocess.run(command, env={}, cwd=folder, capture_output=True, timeout=seconds, check=False)  # noqa: S603 - own program
    except subprocess.TimeoutExpired as error:
        raise ReportError(f"typesetting took longer than {seconds:g} seconds") from error
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip()[-_MESSAGE:]
        raise ReportError(f"typesetting failed: {reason or f'exit status {done.returncode}'}")
