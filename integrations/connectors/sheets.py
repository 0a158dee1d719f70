"""Reads a table out of a CSV or Excel file, row by row, whatever is in the file.

Takes bytes; gives the header and then (row number as the spreadsheet shows it, cells), or ``Unreadable`` with a
sentence. Formulas are not evaluated: a cell counts as the value stored with it. A file that unpacks to more than the
limit is refused before it is unpacked.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from integrations.connectors.base import gettext_noop

MOST_BYTES = 64 * 1024 * 1024
MOST_UNPACKED = 512 * 1024 * 1024
MOST_ROWS, MOST_COLUMNS, MOST_PARTS = 1_000_000, 1000, 10_000
_DELIMITERS = ",;\t|"

TOO_LARGE = gettext_noop("The file is larger than the limit.")
NOT_EXCEL = gettext_noop("The file is not an Excel workbook (.xlsx), or it is damaged or protected by a password.")
NO_SHEET = gettext_noop("The workbook has no sheet of that name.")
NOT_TEXT = gettext_noop("The file is not text in the encoding given in the settings.")
NOT_CSV = gettext_noop("The file is not CSV, or a quotation mark in it is never closed.")
EMPTY = gettext_noop("The file has no header row.")

Row = tuple[int, Sequence[Any]]


class Unreadable(Exception):
    """The file as a whole cannot be read; the text is written ``key: sentence (detail)``."""


def rows(content: bytes, *, sheet: str = "", encoding: str = "utf-8", delimiter: str = "") -> Iterator[Row]:
    """Every row that is not empty, the header first; row numbers count from 1. Raises ``Unreadable``."""
    if len(content) > MOST_BYTES:
        raise Unreadable(f"too_large: {TOO_LARGE} ({MOST_BYTES >> 20} MiB)")
    found = _excel(content, sheet) if content[:4] == b"PK\x03\x04" else _csv(content, encoding, delimiter)
    for number, cells in enumerate(found, 1):
        if number > MOST_ROWS:
            raise Unreadable(f"too_large: {TOO_LARGE} ({MOST_ROWS} rows)")
        if len(cells) > MOST_COLUMNS:
            raise Unreadable(f"too_large: {TOO_LARGE} ({MOST_COLUMNS} columns)")
        if any(cell is not None and str(cell).strip() for cell in cells):
            yield number, cells


def _csv(content: bytes, encoding: str, delimiter: str) -> Iterator[Sequence[Any]]:
    if content[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":  # the older .xls, and workbooks with a password
        raise Unreadable(f"not_excel: {NOT_EXCEL}")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    try:
        text = content.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except (UnicodeError, LookupError) as error:
        raise Unreadable(f"not_text: {NOT_TEXT} ({encoding})") from error
    if "\0" in text:
        raise Unreadable(f"not_text: {NOT_TEXT} ({encoding})")
    first = text.partition("\n")[0]
    delimiter = delimiter or max(_DELIMITERS, key=first.count)
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise Unreadable(f"not_csv: {NOT_CSV}") from error


def _excel(content: bytes, sheet: str) -> Iterator[Sequence[Any]]:
    import openpyxl  # only a collection that meets a workbook needs it

    _judge_size(content)
    try:
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
    except Exception as error:  # what a damaged workbook raises is beyond listing
        raise Unreadable(f"not_excel: {NOT_EXCEL}") from error
    try:
        names = [page.title for page in book.worksheets]
        if not names or (sheet and sheet not in names):
            raise Unreadable(f"no_sheet: {NO_SHEET} ({', '.join(names)[:200]})")
        page: Any = book[sheet or names[0]]
        page.reset_dimensions()  # what a file says of its own size is not to be trusted
        cells = page.iter_rows(values_only=True)
        yield from islice((_trimmed(row) for row in cells), MOST_ROWS + 1)
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"not_excel: {NOT_EXCEL}") from error
    finally:
        book.close()


def _judge_size(content: bytes) -> None:
    """Refuse a bomb before it is unpacked: no part gives more bytes than the archive says here."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise Unreadable(f"not_excel: {NOT_EXCEL}") from error
    if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > MOST_UNPACKED:
        raise Unreadable(f"too_large: {TOO_LARGE} ({MOST_UNPACKED >> 20} MiB unpacked)")


def _trimmed(row: Sequence[Any]) -> Sequence[Any]:
    end = len(row)
    while end and row[end - 1] is None:
        end -= 1
    return row[:end]
