"""The quality connector: what data quality tools found, from the result files they leave.

Takes a folder that the operator allows, or a web address and file names; gives rows of ``quality_results``. A file is
known by the SHA-256 of its content, so one that lies in two places counts once; files of no known format are counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from integrations.connectors import local_files
from integrations.connectors.base import Check, Fields, Refused, Sink
from integrations.connectors.guard import PRIVATE_NETWORKS, AddressRule, Resolve, resolve
from integrations.connectors.http import Client, Limits, Timing
from integrations.connectors.local_files import check_inside
from integrations.connectors.quality_formats import Outcome, outcomes
from integrations.connectors.sign_in import authorization, check_sign_in, open_notes
from maturity.facts import Reading, Statement, StreamReading

COLLECTOR_VERSION = "1"
"""Changes when the same files would give other rows."""

MOST_NAMES = 1000
CHECK_SECONDS = 15.0
_ENDINGS = (".json", ".csv")


@dataclass(frozen=True, slots=True)
class QualityConfig:
    """Where result files lie. ``base_url`` is an http(s) address or a folder inside ``folders``, set by the operator.

    ``files``: paths below the address, needed there. ``max_bytes``: the most a file may have. Secrets are left out of
    ``repr``.
    """

    base_url: str
    files: tuple[str, ...] = ()
    project: str = ""
    dataset: str = ""
    token: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    ca_path: str = ""
    timeout: float = 120.0
    max_bytes: int = 16 * 1024 * 1024
    allow_private: tuple[str, ...] = PRIVATE_NETWORKS
    folders: tuple[str, ...] = ()

    @property
    def local(self) -> bool:
        return self.base_url.startswith("/")


def parse(
    data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None, folders: Iterable[str] = ()
) -> QualityConfig:
    """Settings as stored → checked settings. ``folders``: those of this machine that may be read (none by default).

    ``files`` is a text of paths with commas or spaces between them. Raises ``ConfigError`` with every fault.
    """
    fields, roots = Fields(data), tuple(folders)
    given = data.get("base_url")
    local = isinstance(given, str) and given.strip().startswith("/")
    config = QualityConfig(
        base_url=fields.text("base_url") if local else fields.url("base_url", required=True),
        files=tuple(dict.fromkeys(fields.text("files", longest=50_000).replace(",", " ").split())),
        project=fields.text("project", longest=200),
        dataset=fields.text("dataset", longest=200),
        token=fields.text("token"),
        username=fields.text("username", longest=200),
        password=fields.text("password"),
        ca_path=fields.text("ca_path"),
        timeout=fields.number("timeout", 120, 0.05, 600),
        max_bytes=fields.whole("max_bytes", 16 * 1024 * 1024, 1024, 256 * 1024 * 1024),
        allow_private=PRIVATE_NETWORKS if allow_private is None else tuple(allow_private),
        folders=roots,
    )
    _check(config, fields)
    fields.finish()
    return config


def _check(config: QualityConfig, fields: Fields) -> None:
    if config.local:
        check_inside(fields, "base_url", config.base_url, config.folders)
    elif not 0 < len(config.files) <= MOST_NAMES:
        fields.fault("files", f"must name 1 to {MOST_NAMES} files below the address")
    if any(name.startswith("/") or "://" in name or ".." in name.split("/") for name in config.files):
        fields.fault("files", "must be paths below the address")
    check_sign_in(fields, config.token, config.username, config.password, config.ca_path)


class QualityConnector:
    """Result files of one place. ``timing`` and ``resolver`` are replaced in tests."""

    kind = "quality"

    def __init__(self, config: QualityConfig, *, timing: Timing | None = None, resolver: Resolve = resolve) -> None:
        self._config = config
        self._timing = timing or Timing()
        self._resolver = resolver

    def check(self) -> Check:
        """Read the first file."""
        try:
            next(self._contents(tries=1, most_seconds=CHECK_SECONDS, counts={"files_too_large": 0}), None)
        except Refused as fault:
            return Check(False, str(fault))
        return Check(True)

    def collect(self, sink: Sink) -> Statement:
        """Read every file. One that cannot be fetched ends the stream; one of no known format is counted."""
        started = self._now()
        counts = {"files": 0, "files_unknown": 0, "files_too_large": 0}
        rows: dict[str, dict[str, Any]] = {}
        try:
            for name, content in self._contents(counts=counts):
                sink.progress(counts["files"], None, "quality")
                counts["files"] += 1
                found = outcomes(content)
                counts["files_unknown"] += found is None
                rows.update((row["result"], row) for row in self._rows(content, found or []))
                del name, content
        except Refused as fault:
            stream = StreamReading("quality", Reading.COULD_NOT_LOOK, 0, str(fault))
        else:
            ordered = [rows[key] for key in sorted(rows)]
            if ordered:
                sink.write("quality_results", ordered)
            stream = StreamReading("quality", Reading.READ, len(ordered))
        return Statement(
            kind=self.kind,
            base_url=self._config.base_url,
            started_at=started,
            finished_at=self._now(),
            streams=(stream,),
            collector_version=f"{self.kind}/{COLLECTOR_VERSION}",
            counts=counts,
            notes=(*_notes(counts), *open_notes(self._config.base_url, self._config.token or self._config.username)),
        )

    def _rows(self, content: bytes, found: list[Outcome]) -> Iterator[dict[str, Any]]:
        digest = hashlib.sha256(content).hexdigest()
        for number, one in enumerate(found):
            yield {
                "result": f"{digest}-{number}" if number else digest,
                "tool": one.tool,
                "suite": one.suite,
                "dataset": one.dataset or self._config.dataset or None,
                "project": self._config.project or None,
                "at": one.at,
                "checks": one.checks,
                "failed": one.failed,
            }

    def _contents(
        self, *, counts: dict[str, int], tries: int = 6, most_seconds: float = 600
    ) -> Iterator[tuple[str, bytes]]:
        """Name and content of every file. Raises ``Refused``."""
        if self._config.local:
            yield from self._local(counts)
            return
        config = self._config
        with Client(
            config.base_url,
            headers=authorization(config.token, config.username, config.password),
            rule=AddressRule.of(config.allow_private),
            limits=Limits(timeout=min(config.timeout, most_seconds), tries=tries, max_bytes=config.max_bytes),
            ca_path=config.ca_path,
            timing=self._timing,
            resolver=self._resolver,
        ) as client:
            for name in config.files:
                yield name, client.get_bytes(f"/{quote(name)}", cap=config.max_bytes)

    def _local(self, counts: dict[str, int]) -> Iterator[tuple[str, bytes]]:
        for path in local_files.files(self._config.base_url, _ENDINGS):
            content = local_files.content(path, self._config.folders, self._config.max_bytes)
            if len(content) > self._config.max_bytes:
                counts["files_too_large"] += 1
            else:
                yield str(path), content

    def _now(self) -> int:
        return int(self._timing.now() * 1000)


def _notes(counts: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(f"{name}: {counts[name]}" for name in ("files_too_large", "files_unknown") if counts[name])


def connect(
    data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None, folders: Iterable[str] = ()
) -> QualityConnector:
    """The connector for settings as stored; ``folders`` of this machine that may be read.

    Raises ``ConfigError`` with every fault.
    """
    return QualityConnector(parse(data, allow_private=allow_private, folders=folders))


def link(config: Mapping[str, Any] | QualityConfig, table: str, row_id: str, *, experiment: str = "") -> str | None:
    """None: a result file has no page of its own."""
    return None
