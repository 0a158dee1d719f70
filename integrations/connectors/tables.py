"""The tables connector: incidents and other facts that an organisation keeps in a spreadsheet.

Takes a CSV or Excel file and a mapping of columns; gives the rows of one fact table. Faults are told in the user's own
words, by row and column; when more than one row in twenty is faulty, nothing of the file counts.
"""

from __future__ import annotations

import codecs
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from integrations.connectors import local_files, sheets
from integrations.connectors.base import Check, Fields, Refused, Sink, gettext_noop
from integrations.connectors.guard import PRIVATE_NETWORKS, AddressRule
from integrations.connectors.http import Client, Limits
from integrations.connectors.rows import FILE_TABLES, KEYS, NotSo, checked, key_of, milliseconds, shown
from integrations.connectors.sign_in import authorization, check_sign_in, open_notes
from maturity.facts import TABLES, Reading, Statement, StreamReading

COLLECTOR_VERSION = "1"
PAGE = 5000
MOST_BAD = 0.05
MOST_FAULTS_TOLD = 20
_EXCEL_ERRORS = frozenset({"#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!"})
_NO_FILE_ENCODINGS = frozenset({"idna", "punycode"})  # of host names; slow beyond measure for a file
_SAMPLE = datetime(2026, 1, 31, 14, 30, tzinfo=UTC)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")

NO_COLUMN = gettext_noop("The file lacks a column that the settings name, or has it twice.")
BAD_ROWS = gettext_noop("More than one row in twenty is faulty, so nothing of the file counts.")


@dataclass(frozen=True, slots=True)
class TablesConfig:
    """Which file, how it is written, and which of its columns mean what.

    ``file`` is a path inside the operator's ``folders``, ``path`` one that the application keeps and names. ``columns``
    maps columns of the fact table to those of the file; ``fixed`` gives columns one value for all rows; ``values``
    translates.
    """

    table: str
    columns: Mapping[str, str]
    base_url: str = ""
    file: str = ""
    path: str = ""
    sheet: str = ""
    fixed: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    timezone: str = "UTC"
    time_format: str = ""
    decimal: str = "."
    encoding: str = "utf-8"
    delimiter: str = ""
    token: str = field(default="", repr=False)
    ca_path: str = ""
    allow_private: tuple[str, ...] = PRIVATE_NETWORKS
    folders: tuple[str, ...] = ()


def parse(
    data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None, folders: Iterable[str] = ()
) -> TablesConfig:
    """Settings as stored → checked settings. ``folders``: those of this machine that may be read (none by default).

    Raises ``ConfigError`` with every fault.
    """
    maps = ("columns", "fixed", "values")
    fields = Fields({name: value for name, value in data.items() if name not in maps})
    config = TablesConfig(
        table=fields.text("table") or "incidents",
        columns=_texts(data.get("columns"), "columns", fields),
        fixed=_texts(data.get("fixed"), "fixed", fields),
        values=_values(data.get("values"), fields),
        base_url=fields.url("base_url"),
        file=fields.text("file"),
        path=fields.text("path"),
        sheet=fields.text("sheet", longest=200),
        timezone=fields.text("timezone", longest=100) or "UTC",
        time_format=fields.text("time_format", longest=100),
        decimal=fields.text("decimal") or ".",
        encoding=fields.text("encoding", longest=40) or "utf-8",
        delimiter=fields.text("delimiter"),
        token=fields.text("token"),
        ca_path=fields.text("ca_path"),
        allow_private=PRIVATE_NETWORKS if allow_private is None else tuple(allow_private),
        folders=tuple(folders),
    )
    _check_place(config, fields)
    _check_reading(config, fields)
    _check_mapping(config, fields)
    fields.finish()
    return config


def _texts(given: Any, name: str, fields: Fields) -> Mapping[str, str]:
    given = {} if given is None else given
    if not isinstance(given, Mapping) or not all(isinstance(value, str) and value.strip() for value in given.values()):
        fields.fault(name, "must map columns to texts")
        return {}
    return {str(key): value.strip() for key, value in given.items()}


def _values(given: Any, fields: Fields) -> Mapping[str, Mapping[str, str]]:
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        fields.fault("values", "must map columns to translations")
        return {}
    return {str(column): _texts(pairs, f"values {column}", fields) for column, pairs in given.items()}


def _check_place(config: TablesConfig, fields: Fields) -> None:
    if sum(map(bool, (config.base_url, config.file, config.path))) != 1:
        fields.fault("file", "give either a file or an address")
    local_files.check_inside(fields, "file", config.file, config.folders)
    if config.token and not config.base_url:
        fields.fault("token", "belongs to an address")
    check_sign_in(fields, config.token, ca_path=config.ca_path)


def _check_reading(config: TablesConfig, fields: Fields) -> None:
    if config.decimal not in (".", ","):
        fields.fault("decimal", "must be . or ,")
    if config.delimiter not in ("", ",", ";", "|", "tab"):
        fields.fault("delimiter", "must be one of , ; | tab")
    try:
        ZoneInfo(config.timezone)
    except (KeyError, ValueError, OSError):
        fields.fault("timezone", "is not a time zone such as Europe/Paris")
    try:
        "".encode(config.encoding)
        strange = codecs.lookup(config.encoding).name in _NO_FILE_ENCODINGS
    except (LookupError, UnicodeError):
        strange = True
    if strange:
        fields.fault("encoding", "is not an encoding such as utf-8 or gb18030")
    try:
        datetime.strptime(_SAMPLE.strftime(config.time_format), config.time_format)  # noqa: DTZ007 - thrown away
    except (ValueError, re.error):  # such as a directive that is unknown or stands there twice
        fields.fault("time_format", "is not a form such as %d/%m/%Y %H:%M")


def _check_mapping(config: TablesConfig, fields: Fields) -> None:
    if config.table not in FILE_TABLES:
        fields.fault("table", f"must be one of {', '.join(FILE_TABLES)}")
        return
    known = TABLES[config.table].names
    for name, mapping in (("columns", config.columns), ("fixed", config.fixed), ("values", config.values)):
        if unknown := sorted(set(mapping) - set(known)):
            fields.fault(name, f"{', '.join(unknown)[:200]}: no column of {config.table}, which has {', '.join(known)}")
    if both := sorted(set(config.columns) & set(config.fixed)):
        fields.fault("fixed", f"{', '.join(both)}: is read from the file already")
    _kept, faults = checked(config.table, {})
    given = {*config.columns, *config.fixed}
    if missing := [column for column, _message in faults if column not in given]:
        fields.fault("columns", f"must say where {', '.join(missing)} come from")


class TablesConnector:
    """One file."""

    kind = "tables"

    def __init__(self, config: TablesConfig) -> None:
        self._config = config

    def check(self) -> Check:
        """Read the whole file without keeping anything: files are small, and faults are best told at once."""
        reading = _Reading(self._config)
        try:
            reading.read()
        except (sheets.Unreadable, Refused) as fault:
            return Check(False, str(fault))
        return Check(not reading.refused, reading.refused)

    def collect(self, sink: Sink) -> Statement:
        """Read every row; faulty ones are told and left out, and too many of them make the file count for nothing."""
        started = _now()
        stream = TABLES[self._config.table].stream
        reading = _Reading(self._config)
        try:
            reading.read()
            reason = reading.refused
        except (sheets.Unreadable, Refused) as fault:
            reason = str(fault)
        if not reason:
            for start in range(0, len(reading.rows), PAGE):
                sink.write(self._config.table, reading.rows[start : start + PAGE])
                sink.progress(min(start + PAGE, len(reading.rows)), len(reading.rows), "rows")
        told = StreamReading(stream, Reading.COULD_NOT_LOOK, 0, reason)
        return Statement(
            kind=self.kind,
            base_url=self._config.base_url or Path(self._config.file).name,
            started_at=started,
            finished_at=_now(),
            streams=(told if reason else StreamReading(stream, Reading.READ, len(reading.rows)),),
            collector_version=f"{self.kind}/{COLLECTOR_VERSION}",
            counts={"rows": reading.seen, "rows_faulty": reading.faulty},
            notes=(*reading.notes(), *open_notes(self._config.base_url, self._config.token)),
        )


class _Reading:
    """The rows of the file that are in order, and the faults of the others in the user's words."""

    def __init__(self, config: TablesConfig) -> None:
        self._config = config
        self._zone = ZoneInfo(config.timezone)
        self._kinds = {column.name: column.kind for column in TABLES[config.table].columns}
        self._first: dict[tuple[Any, ...], int] = {}
        self._faults: list[str] = []
        self.rows: list[dict[str, Any]] = []
        self.seen = 0
        self.faulty = 0

    @property
    def refused(self) -> str:
        """Why nothing of the file counts; empty when it counts."""
        if self.faulty <= MOST_BAD * self.seen:
            return ""
        return f"bad_rows: {BAD_ROWS} ({self.faulty}/{self.seen}; {self._faults[0]})"

    def notes(self) -> tuple[str, ...]:
        """The number of faulty rows and the first faults, as ``key:text``."""
        if not self.faulty:
            return ()
        return (f"rows_faulty:{self.faulty}", *(f"row_fault:{fault}" for fault in self._faults))

    def read(self) -> None:
        """Read the whole file. Raises ``Unreadable`` or ``Refused`` when it cannot be read at all."""
        config = self._config
        delimiter = "\t" if config.delimiter == "tab" else config.delimiter
        found = sheets.rows(_content(config), sheet=config.sheet, encoding=config.encoding, delimiter=delimiter)
        _number, header = next(found, (0, ()))
        if not header:
            raise sheets.Unreadable(f"empty: {sheets.EMPTY}")
        places = self._places([_cell_text(cell) for cell in header])
        for number, cells in found:
            self._take(number, {name: cells[at] if at < len(cells) else None for name, at in places.items()})

    def _places(self, header: Sequence[str]) -> Mapping[str, int]:
        counts = Counter(header)
        wrong = sorted({theirs for theirs in self._config.columns.values() if counts[theirs] != 1})
        if wrong:
            there = ", ".join(name for name in header if name)[:300]
            raise sheets.Unreadable(f"no_column: {NO_COLUMN} ({', '.join(wrong)[:300]}; {there})")
        return {name: header.index(theirs) for name, theirs in self._config.columns.items()}

    def _take(self, number: int, cells: Mapping[str, Any]) -> None:
        self.seen += 1
        faults: list[tuple[str, str]] = []
        row: dict[str, Any] = {}
        for name, cell in {**self._config.fixed, **cells}.items():
            try:
                row[name] = self._read_cell(name, cell)
            except NotSo as fault:
                faults.append((name, str(fault)))
        unread = {name for name, _message in faults}
        kept, more = checked(self._config.table, row)
        faults += [fault for fault in more if fault[0] not in unread]
        key = key_of(self._config.table, kept)
        if not faults and key in self._first:
            faults = [(KEYS[self._config.table][-1], f"is the same fact as row {self._first[key]}")]
        if not faults:
            self._first[key] = number
            self.rows.append(kept)
            return
        self.faulty += 1
        for name, message in faults[: MOST_FAULTS_TOLD - len(self._faults)]:
            self._faults.append(f"row {number}, {self._config.columns.get(name, name)}: {message}")

    def _read_cell(self, name: str, cell: Any) -> Any:
        """A cell as the value of a column, translated first where the settings say so."""
        kind = self._kinds[name]
        text = _cell_text(cell)
        if text in _EXCEL_ERRORS:
            raise NotSo(f"holds the error {text}")
        translated = self._config.values.get(name, {}).get(text)
        if translated is not None:
            cell = text = translated
        if not text:
            return None
        if kind == "ms":
            return self._time(name, cell)
        if kind in ("number", "count"):
            return self._number(cell)
        return text

    def _number(self, cell: Any) -> float:
        if isinstance(cell, int | float) and not isinstance(cell, bool):
            return cell
        text = str(cell).strip()
        percent = text.endswith("%")
        plain = text.rstrip("%").strip()
        if self._config.decimal == ",":
            plain = plain.replace(".", "#").replace(",", ".")  # a point is no decimal sign then
        if not _NUMBER.fullmatch(plain):
            raise NotSo(f"must be a number with {shown(self._config.decimal)} as decimal sign, not {shown(text)}")
        return float(plain) / 100 if percent else float(plain)

    def _time(self, name: str, cell: Any) -> int:
        moment = self._moment(cell)
        if name == "day":  # a day is a date, whatever the time zone
            return milliseconds(datetime(moment.year, moment.month, moment.day, tzinfo=UTC))
        return milliseconds(moment if moment.tzinfo else moment.replace(tzinfo=self._zone))

    def _moment(self, cell: Any) -> datetime:
        if isinstance(cell, datetime):
            return cell
        if isinstance(cell, date):
            return datetime(cell.year, cell.month, cell.day)  # noqa: DTZ001 - the zone is added above
        text = str(cell).strip()
        form = self._config.time_format
        try:
            return datetime.strptime(text, form) if form else datetime.fromisoformat(text)  # noqa: DTZ007
        except ValueError as error:
            expected = f"in the form {form}" if form else "such as 2026-01-31 or 2026-01-31 14:30"
            raise NotSo(f"must be a time {expected}, not {shown(text)}") from error


def _cell_text(cell: Any) -> str:
    """A cell as text: 4711.0 is the number 4711, as the spreadsheet shows it."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell).strip()


def _content(config: TablesConfig) -> bytes:
    """The whole file. Raises ``Refused``; a ``path`` was set by the application and lies where it keeps files."""
    if config.base_url:
        limits = Limits(max_bytes=sheets.MOST_BYTES)
        rule = AddressRule.of(config.allow_private)
        headers = authorization(config.token)
        with Client(config.base_url, headers=headers, rule=rule, limits=limits, ca_path=config.ca_path) as client:
            return client.get_bytes("", cap=sheets.MOST_BYTES)
    folders = (str(Path(config.path).parent),) if config.path else config.folders
    return local_files.content(config.file or config.path, folders, sheets.MOST_BYTES)


def _now() -> int:
    return int(time.time() * 1000)


def connect(
    data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None, folders: Iterable[str] = ()
) -> TablesConnector:
    """The connector for settings as stored. Raises ``ConfigError`` with every fault."""
    return TablesConnector(parse(data, allow_private=allow_private, folders=folders))


def link(config: Mapping[str, Any], table: str, row_id: str, *, experiment: str = "") -> str | None:
    """A row of a file has no page."""
    return None
