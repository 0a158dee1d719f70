"""The OpenLineage connector: which datasets jobs read and wrote, from run events kept as lines of JSON.

Takes a folder of event files, one file or an address; gives rows of ``lineage_datasets``. Every event counts once,
however often it is written down; lines that are no run event are counted, and never stop the reading.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from integrations.connectors import local_files
from integrations.connectors.base import Check, Fields, Reason, Refused, Sink, gettext_noop
from integrations.connectors.guard import PRIVATE_NETWORKS, AddressRule
from integrations.connectors.http import Client, Limits
from integrations.connectors.rows import LONGEST_TEXT, NotSo, time_ms
from integrations.connectors.sign_in import authorization, check_sign_in, open_notes
from maturity.facts import Reading, Statement, StreamReading

COLLECTOR_VERSION = "1"
STREAM = "lineage"
SUFFIXES = (".ndjson", ".jsonl", ".json")
LONGEST_LINE = 4 * 1024 * 1024  # bytes
PAGE = 5000
_STATES = frozenset({"START", "COMPLETE", "FAIL", "ABORT"})
_QUALITY = ("dataQualityMetrics", "dataQualityAssertions")
_SIGN_IN = re.compile(r"//[^/\s]*@")

NO_EVENTS = gettext_noop("There are lines, but none of them is a run event of OpenLineage.")


@dataclass(frozen=True, slots=True)
class OpenLineageConfig:
    """Where the events lie: in ``folder``, inside the operator's ``folders``, or in one file at ``base_url``.

    ``path`` is a file that the application keeps and names; a person cannot set it.
    """

    base_url: str = ""
    folder: str = ""
    path: str = ""
    token: str = field(default="", repr=False)
    ca_path: str = ""
    max_bytes: int = 256 * 1024 * 1024
    allow_private: tuple[str, ...] = PRIVATE_NETWORKS
    folders: tuple[str, ...] = ()


def parse(
    data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None, folders: Iterable[str] = ()
) -> OpenLineageConfig:
    """Settings as stored → checked settings. ``folders``: those of this machine that may be read (none by default).

    Raises ``ConfigError`` with every fault.
    """
    fields = Fields(data)
    config = OpenLineageConfig(
        base_url=fields.url("base_url"),
        folder=fields.text("folder"),
        path=fields.text("path"),
        token=fields.text("token"),
        ca_path=fields.text("ca_path"),
        max_bytes=fields.whole("max_bytes", 256 * 1024 * 1024, 1024, 4 * 1024 * 1024 * 1024),
        allow_private=PRIVATE_NETWORKS if allow_private is None else tuple(allow_private),
        folders=tuple(folders),
    )
    if sum(map(bool, (config.base_url, config.folder, config.path))) != 1:
        fields.fault("folder", "give either a folder or an address")
    local_files.check_inside(fields, "folder", config.folder, config.folders)
    if config.token and not config.base_url:
        fields.fault("token", "belongs to an address")
    check_sign_in(fields, config.token, ca_path=config.ca_path)
    fields.finish()
    return config


class OpenLineageConnector:
    """The events of one folder, file or address."""

    kind = "openlineage"

    def __init__(self, config: OpenLineageConfig) -> None:
        self._config = config

    def check(self) -> Check:
        """Read the first line that is an event; a folder that is still empty is in order."""
        events = _Events()
        try:
            for line in self._lines(Counter()):
                if events.rows(line):
                    return Check(True)
            return Check(False, f"no_events: {NO_EVENTS}") if events.useless else Check(True)
        except Refused as fault:
            return Check(False, str(fault))

    def collect(self, sink: Sink) -> Statement:
        """Read every event."""
        started = _now()
        counts: Counter[str] = Counter()
        events = _Events()
        written = 0
        try:
            for page in self._pages(events, counts):
                sink.write("lineage_datasets", page)
                written += len(page)
                sink.progress(written, None, "events")
        except Refused as fault:
            stream = StreamReading(STREAM, Reading.COULD_NOT_LOOK, 0, str(fault))
        else:
            stream = StreamReading(STREAM, Reading.READ, written)
            if events.useless:
                stream = StreamReading(STREAM, Reading.COULD_NOT_LOOK, 0, f"no_events: {NO_EVENTS}")
        return Statement(
            kind=self.kind,
            base_url=self._config.base_url,
            started_at=started,
            finished_at=_now(),
            streams=(stream,),
            collector_version=f"{self.kind}/{COLLECTOR_VERSION}",
            counts={**counts, **events.counts},
            notes=(
                *(f"{key}:{events.counts[key]}" for key in ("bad_lines", "other_events") if events.counts[key]),
                *open_notes(self._config.base_url, self._config.token),
            ),
        )

    def _pages(self, events: _Events, counts: Counter[str]) -> Iterator[list[dict[str, Any]]]:
        page: list[dict[str, Any]] = []
        for line in self._lines(counts):
            page += events.rows(line)
            if len(page) >= PAGE:
                yield page
                page = []
        if page:
            yield page

    def _lines(self, counts: Counter[str]) -> Iterator[bytes]:
        """Every line. Raises ``Refused``."""
        if self._config.base_url:
            yield from self._fetched(counts).splitlines()
            return
        read = 0
        for file in self._opened():
            counts["files"] += 1
            with file:
                while line := _line(file):
                    read += len(line)
                    if read > self._config.max_bytes:
                        raise Refused(Reason.TOO_LARGE, f"more than {self._config.max_bytes} bytes")
                    yield line

    def _opened(self) -> Iterator[BinaryIO]:
        """The files, one after the other; ``path`` was set by the application and lies where it keeps files."""
        config = self._config
        if config.path:
            yield local_files.opened(config.path, (str(Path(config.path).parent),))
            return
        for path in local_files.files(config.folder, SUFFIXES):
            yield local_files.opened(path, config.folders)

    def _fetched(self, counts: Counter[str]) -> bytes:
        config = self._config
        limits = Limits(max_bytes=config.max_bytes)
        rule = AddressRule.of(config.allow_private)
        headers = authorization(config.token)
        with Client(config.base_url, headers=headers, rule=rule, limits=limits, ca_path=config.ca_path) as client:
            body = client.get_bytes("", cap=config.max_bytes)
            counts["requests"] = client.meter.requests
        return body


def _line(file: BinaryIO) -> bytes:
    try:
        return file.readline(LONGEST_LINE + 1)
    except OSError as error:
        raise Refused(Reason.FORBIDDEN, "a file cannot be read") from error


class _Events:
    """Turns lines into rows and remembers which events it has seen."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self.counts: Counter[str] = Counter()

    @property
    def useless(self) -> bool:
        """There were lines, and none was an event."""
        return bool(self.counts["bad_lines"] + self.counts["other_events"]) and not self._seen

    def rows(self, line: bytes) -> list[dict[str, Any]]:
        """The rows of one line: none for an empty or bad line, an event seen before, or one of another type."""
        if not line.strip():
            return []
        try:
            event = _event(line)
            if "run" not in event and ("job" in event or "dataset" in event):
                self.counts["other_events"] += 1
                return []
            digest = hashlib.sha256(orjson.dumps(event, option=orjson.OPT_SORT_KEYS))
            rows = _rows(event, digest.hexdigest())
        except (NotSo, ValueError, KeyError, TypeError, AttributeError):
            self.counts["bad_lines"] += 1
            return []
        if digest.digest() in self._seen:
            self.counts["events_repeated"] += 1
            return []
        self._seen.add(digest.digest())
        self.counts["events"] += 1
        return rows


def _event(line: bytes) -> dict[str, Any]:
    event = orjson.loads(line) if len(line) <= LONGEST_LINE else None
    if not isinstance(event, dict):
        raise NotSo("not an event")
    return event


def _rows(event: Mapping[str, Any], digest: str) -> list[dict[str, Any]]:
    """One row a dataset. Raises for anything that a run event must have and this has not."""
    state = event.get("eventType")
    shared = {
        "event": digest,
        "job": _name(event["job"]),
        "job_run": _text(event["run"]["runId"]),
        "at": time_ms(_text(event["eventTime"])),
        "state": state if state in _STATES else "OTHER",
    }
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for direction in ("input", "output"):
        for dataset in event.get(f"{direction}s") or ():
            row = {**shared, "direction": direction, **_dataset(dataset, f"{direction}Facets")}
            found.setdefault((direction, row["dataset"]), row)
    return list(found.values())


def _dataset(dataset: Mapping[str, Any], more: str) -> dict[str, Any]:
    facets = {name: facet for name, facet in (dataset.get("facets") or {}).items() if _present(facet)}
    both = {**facets, **{name: facet for name, facet in (dataset.get(more) or {}).items() if _present(facet)}}
    version = both.get("version", both.get("datasetVersion", {})).get("datasetVersion")
    return {
        "dataset": _name(dataset),
        "version": _text(str(version)) if version not in (None, "") else None,
        "has_schema": bool(facets.get("schema", {}).get("fields")),
        "has_quality": any(name in both for name in _QUALITY),
    }


def _present(facet: Any) -> bool:
    """A facet may say that it is deleted."""
    return isinstance(facet, dict) and not facet.get("_deleted")


def _name(thing: Mapping[str, Any]) -> str:
    """Namespace and name; sign-in details inside an address are cut out."""
    return f"{_SIGN_IN.sub('//', _text(thing['namespace']))}/{_text(thing['name'])}"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > LONGEST_TEXT or not value.isprintable():
        raise NotSo("not a text of the expected length")
    return value


def _now() -> int:
    return int(time.time() * 1000)


def connect(
    data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None, folders: Iterable[str] = ()
) -> OpenLineageConnector:
    """The connector for settings as stored. Raises ``ConfigError`` with every fault."""
    return OpenLineageConnector(parse(data, allow_private=allow_private, folders=folders))


def link(config: Mapping[str, Any], table: str, row_id: str, *, experiment: str = "") -> str | None:
    """Files of events have no pages."""
    return None
