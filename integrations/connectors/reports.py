"""The reports connector: pipeline reports from a folder that the operator allows, or from a web address with an index.

Takes the settings; gives rows of ``reports`` and ``report_values`` and a completeness statement. At a web address the
file ``index.json`` lists the reports (``{"reports": ["ablation.csv", "2026/eval.json"]}``). Files that are no reports
are counted and left alone. Reports among the artifacts of runs come by the MLflow connector instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from integrations.connectors import local_files
from integrations.connectors.base import Check, Fields, Reason, Refused, Sink
from integrations.connectors.guard import PRIVATE_NETWORKS, AddressRule, Resolve, resolve
from integrations.connectors.http import Client, Limits, Timing
from integrations.connectors.report_files import MOST_BYTES, SUFFIXES, TOO_LARGE, Parsed, report_rows
from integrations.connectors.sign_in import authorization, check_sign_in, open_notes
from maturity.facts import Reading, Statement, StreamReading

COLLECTOR_VERSION = "1"
INDEX = "index.json"
STREAM = "reports"
_MOST_FILES = 5000
_CHECK_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class ReportsConfig:
    """Where reports lie. ``base_url`` is an http(s) address or a folder inside ``folders``, which the operator sets."""

    base_url: str
    token: str = field(default="", repr=False)
    ca_path: str = ""
    timeout: float = 60.0
    most_files: int = 1000
    allow_private: tuple[str, ...] = PRIVATE_NETWORKS
    folders: tuple[str, ...] = ()

    @property
    def local(self) -> bool:
        return self.base_url.startswith("/")


def parse(
    data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None, folders: Iterable[str] = ()
) -> ReportsConfig:
    """Settings as stored → checked settings. ``folders``: those of this machine that may be read (none by default).

    Raises ``ConfigError`` with every fault.
    """
    fields, roots = Fields(data), tuple(folders)
    given = data.get("base_url")
    if isinstance(given, str) and given.strip().startswith("/"):
        address = fields.text("base_url")
        local_files.check_inside(fields, "base_url", address, roots)
    else:
        address = fields.url("base_url", required=True)
    config = ReportsConfig(
        base_url=address,
        token=fields.text("token"),
        ca_path=fields.text("ca_path"),
        timeout=fields.number("timeout", 60, 0.05, 600),
        most_files=fields.whole("most_files", 1000, 1, _MOST_FILES),
        allow_private=PRIVATE_NETWORKS if allow_private is None else tuple(allow_private),
        folders=roots,
    )
    check_sign_in(fields, config.token, ca_path=config.ca_path)
    fields.finish()
    return config


class ReportsConnector:
    """One place with reports. ``timing`` and ``resolver`` are replaced in tests."""

    kind = "reports"

    def __init__(self, config: ReportsConfig, *, timing: Timing | None = None, resolver: Resolve = resolve) -> None:
        self._config = config
        self._timing = timing or Timing()
        self._resolver = resolver
        self._notes: Counter[str] = Counter()

    def check(self) -> Check:
        """Look at the list of reports alone."""
        try:
            if self._config.local:
                local_files.files(self._config.base_url, SUFFIXES)
            else:
                with self._client(tries=1, most_seconds=_CHECK_SECONDS) as client:
                    _listed(client)
        except Refused as fault:
            return Check(False, str(fault))
        return Check(True)

    def collect(self, sink: Sink) -> Statement:
        """Read every report; the stream could not be looked at when the list or a listed report cannot be read."""
        started = self._now()
        self._notes.clear()
        rows, seen = 0, set[str]()
        reading = StreamReading(STREAM, Reading.READ)
        try:
            for done, (path, content) in enumerate(self._files(), 1):
                parsed = report_rows(content, path)
                rows += self._write(sink, parsed, seen)
                sink.progress(done, None, STREAM)
            reading = StreamReading(STREAM, Reading.READ, rows)
        except Refused as fault:
            reading = StreamReading(STREAM, Reading.COULD_NOT_LOOK, 0, str(fault))
        return Statement(
            kind=self.kind,
            base_url=self._config.base_url,
            started_at=started,
            finished_at=self._now(),
            streams=(reading,),
            collector_version=f"{self.kind}/{COLLECTOR_VERSION}",
            counts={"reports": len(seen)},
            notes=(
                *(f"{key}:{count}" for key, count in sorted(self._notes.items()) if count),
                *open_notes(self._config.base_url, self._config.token),
            ),
        )

    def _write(self, sink: Sink, parsed: Parsed, seen: set[str]) -> int:
        if parsed.fault:
            self._notes["reports_too_large" if parsed.fault == TOO_LARGE else "files_not_reports"] += 1
            return 0
        key = parsed.reports[0]["report"]
        if key in seen:  # the same bytes under another name
            return 0
        seen.add(key)
        self._notes["report_values_left_out"] += parsed.cut
        sink.write("reports", parsed.reports)
        if parsed.values:
            sink.write("report_values", parsed.values)
        return len(parsed.reports) + len(parsed.values)

    def _files(self) -> Iterator[tuple[str, bytes]]:
        config = self._config
        if config.local:
            yield from self._local(Path(config.base_url))
            return
        with self._client() as client:
            names = _listed(client)
            self._left_out(len(names))
            for name in names[: config.most_files]:
                yield name, client.get_bytes(f"/{quote(name)}", cap=MOST_BYTES + 1)

    def _local(self, root: Path) -> Iterator[tuple[str, bytes]]:
        paths = local_files.files(str(root), SUFFIXES)
        self._left_out(len(paths))
        for path in paths[: self._config.most_files]:
            name = path.name if path == root else path.relative_to(root).as_posix()
            yield name, local_files.content(path, self._config.folders, MOST_BYTES)

    def _left_out(self, found: int) -> None:
        self._notes["reports_not_asked"] += max(0, found - self._config.most_files)

    def _client(self, tries: int = 6, most_seconds: float = 600) -> Client:
        config = self._config
        return Client(
            config.base_url,
            headers=authorization(config.token),
            rule=AddressRule.of(config.allow_private),
            limits=Limits(timeout=min(config.timeout, most_seconds), tries=tries, max_bytes=MOST_BYTES),
            ca_path=config.ca_path,
            timing=self._timing,
            resolver=self._resolver,
        )

    def _now(self) -> int:
        return int(self._timing.now() * 1000)


def _listed(client: Client) -> list[str]:
    """The names in the index. Raises ``Refused`` when it is no such list, or a name leads elsewhere."""
    names = client.get_json(f"/{INDEX}").get("reports")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused(Reason.GARBAGE, "the index holds no list of reports")
    if any(not _plain(name) for name in names):
        raise Refused(Reason.GARBAGE, "the index names something that is no file below it")
    return sorted({name for name in names if name.lower().endswith(SUFFIXES)})


def _plain(name: str) -> bool:
    parts = urlsplit(name)
    steps = name.split("/")
    return not (parts.scheme or parts.netloc or "\\" in name) and name.isprintable() and not {"", ".", ".."} & {*steps}


def connect(
    data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None, folders: Iterable[str] = ()
) -> ReportsConnector:
    """The connector for settings as stored. Raises ``ConfigError`` with every fault."""
    return ReportsConnector(parse(data, allow_private=allow_private, folders=folders))


def link(config: Mapping[str, Any] | ReportsConfig, table: str, row_id: str, *, experiment: str = "") -> str | None:
    """None: a report has no page of its own."""
    return None
