"""Settings of a repository and the git executable, run so that a hostile repository can neither run nor reach anything.

Takes an https address (or a folder the operator allows); gives a bare copy without files checked out, and commands on
it. The executable is used rather than a library: dulwich has no partial clone, reads whole packs into memory and cannot
be killed at a limit. Secrets travel in the environment of the process, and nothing git says is repeated.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

from integrations.connectors.base import Fields, Reason, Refused
from integrations.connectors.guard import PRIVATE_NETWORKS, AddressRule, Resolve
from integrations.connectors.local_files import check_inside, inside
from integrations.connectors.sign_in import authorization, check_sign_in

BLOB_LIMIT = 1024 * 1024
"""Files above (bytes) are not fetched; their paths are."""

_BRANCH = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_/-]|\.(?!\.))*")
_PACKAGE = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_OLDEST_GIT = (2, 37)  # the first that can pin an address


@dataclass(frozen=True, slots=True)
class RepositoryConfig:
    """Where a repository stands and how to read it. Secrets are left out of ``repr``.

    ``base_url`` is an http(s) address or a folder inside ``folders``, which the operator sets. ``timeout`` seconds for
    the whole reading, ``max_bytes`` for the copy; ``shared_packages`` the organisation's own components.
    """

    base_url: str
    branch: str = ""
    name: str = ""
    project: str = ""
    token: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    ca_path: str = ""
    web_url: str = ""
    shared_packages: tuple[str, ...] = ()
    template_marker: str = ""
    timeout: float = 600.0
    max_bytes: int = 1024**3
    allow_private: tuple[str, ...] = PRIVATE_NETWORKS
    folders: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The repository's key: equal for every connector that reads the same address and branch."""
        parts = urlsplit(self.base_url)
        address = (
            f"{(parts.hostname or '').lower()}:{parts.port or ''}{parts.path.removesuffix('/').removesuffix('.git')}"
        )
        return hashlib.sha256(f"{address}#{self.branch}".encode()).hexdigest()[:16]

    @property
    def title(self) -> str:
        """The name given, or the last part of the address."""
        return self.name or self.base_url.rstrip("/").rpartition("/")[2].removesuffix(".git") or self.key

    @property
    def local(self) -> bool:
        return self.base_url.startswith("/")


def parse(
    data: Mapping[str, Any], *, allow_private: Iterable[str] | None = None, folders: Iterable[str] = ()
) -> RepositoryConfig:
    """Settings as stored → checked settings. ``folders``: those of this machine that may be read (none by default).

    Raises ``ConfigError`` with every fault.
    """
    fields = Fields(data)
    roots = tuple(folders)
    packages = tuple(sorted({p.strip() for p in fields.text("shared_packages").split(",") if p.strip()}))
    config = RepositoryConfig(
        base_url=_address(data, fields, roots),
        branch=fields.text("branch", longest=200),
        name=fields.text("name", longest=200),
        project=fields.text("project", longest=200),
        token=fields.text("token"),
        username=fields.text("username", longest=200),
        password=fields.text("password"),
        ca_path=fields.text("ca_path"),
        web_url=fields.url("web_url"),
        shared_packages=packages,
        template_marker=fields.text("template_marker", longest=300),
        timeout=fields.number("timeout", 600, 0.05, 3600),
        max_bytes=fields.whole("max_bytes", 1024**3, 1024, 20 * 1024**3),
        allow_private=PRIVATE_NETWORKS if allow_private is None else tuple(allow_private),
        folders=roots,
    )
    _check(config, fields)
    fields.finish()
    return config


def _address(data: Mapping[str, Any], fields: Fields, folders: tuple[str, ...]) -> str:
    given = data.get("base_url")
    if not (isinstance(given, str) and given.strip().startswith("/")):
        return fields.url("base_url", required=True)
    path = fields.text("base_url")
    check_inside(fields, "base_url", path, folders)
    return path


def _check(config: RepositoryConfig, fields: Fields) -> None:
    check_sign_in(fields, config.token, config.username, config.password, config.ca_path)
    if config.branch and not _BRANCH.fullmatch(config.branch):
        fields.fault("branch", "is not the name of a branch")
    if not all(_PACKAGE.fullmatch(package) for package in config.shared_packages):
        fields.fault("shared_packages", "must be package names with commas between them")


@dataclass(slots=True)
class Git:
    """Git commands in one temporary folder, all under one deadline (monotonic seconds) and one size limit."""

    config: RepositoryConfig
    folder: Path
    resolver: Resolve
    deadline: float
    beat: Callable[[], None] = field(default=lambda: None)

    @property
    def copy(self) -> Path:
        return self.folder / "copy"

    def remote(self) -> str:
        """The address as git gets it: a pinned host name in ASCII, or a folder."""
        if self.config.local:
            return f"file://{os.path.realpath(self.config.base_url)}"
        parts = urlsplit(self.config.base_url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else _ascii_host(parts.hostname or "")
        return urlunsplit((parts.scheme, host + (f":{parts.port}" if parts.port else ""), parts.path, "", ""))

    def prepare(self) -> None:
        """Write git's only settings file and check the address and git itself. Raises ``Refused``."""
        found = re.search(rb"(\d+)\.(\d+)", self.run("version", check=False))
        if found is None or (int(found[1]), int(found[2])) < _OLDEST_GIT:
            raise Refused(Reason.DEPENDS, f"git {_OLDEST_GIT[0]}.{_OLDEST_GIT[1]} or later is not installed")
        if self.config.local and not inside(self.config.base_url, self.config.folders):
            raise Refused(Reason.ADDRESS_REFUSED)
        settings = dict(_SETTINGS)
        if self.config.ca_path:
            settings["http.sslCAInfo"] = self.config.ca_path
        if pin := self._pin():
            settings["http.curloptResolve"] = pin
        lines = []
        for name, value in settings.items():
            section, _, key = name.rpartition(".")
            lines.append(
                f'[{section}]\n\t{key} = "{value.replace(chr(92), chr(92) * 2).replace(chr(34), chr(92) + chr(34))}"\n'
            )
        (self.folder / "gitconfig").write_text("".join(lines), encoding="utf-8")

    def _pin(self) -> str:
        """``host:port:addresses`` for curl, every address checked. Raises ``Refused``."""
        if self.config.local:
            return ""
        parts = urlsplit(self.config.base_url)
        host = _ascii_host(parts.hostname or "")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        rule = AddressRule.of(self.config.allow_private)
        try:
            addresses = list(self.resolver(host, port))
        except (OSError, UnicodeError) as error:
            raise Refused(Reason.UNREACHABLE, "the name has no address", again=True) from error
        if not addresses or not all(rule.permits(address) for address in addresses):
            raise Refused(Reason.ADDRESS_REFUSED)
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(host)
            return ""  # a number needs no look-up
        return f"{host}:{port}:" + ",".join(f"[{a}]" if ":" in a else a for a in addresses)

    def _environment(self) -> dict[str, str]:
        allowed = "file" if self.config.local else urlsplit(self.config.base_url).scheme
        home = str(self.folder)
        sent = {**_ENVIRONMENT, "PATH": os.environ.get("PATH", os.defpath), "HOME": home, "XDG_CONFIG_HOME": home}
        sent |= {"GIT_CONFIG_GLOBAL": f"{home}/gitconfig", "GIT_ALLOW_PROTOCOL": allowed, "TMPDIR": home}
        user = "x-access-token" if self.config.token else self.config.username
        header = authorization("", user, self.config.token or self.config.password)
        if header and not self.config.local:
            sent |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.extraHeader"}
            sent["GIT_CONFIG_VALUE_0"] = f"Authorization: {header['Authorization']}"
        return sent

    @contextlib.contextmanager
    def running(
        self, *arguments: str, lines: Sequence[str] = ()
    ) -> Iterator[tuple[subprocess.Popen[bytes], BufferedReader]]:
        """A git process whose group dies at the deadline, at the size limit, or when the block ends.

        ``lines`` is its input. Raises ``Refused`` when a limit was met.
        """
        (self.folder / "input").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        with (self.folder / "input").open("rb") as source, (self.folder / "errors").open("wb") as errors:
            try:
                process = subprocess.Popen(  # noqa: S603 - fixed program, arguments checked, no shell
                    ["git", *arguments],  # noqa: S607 - the system's git
                    stdin=source,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=self._environment(),
                    cwd=self.folder,
                    start_new_session=True,
                )
            except OSError as error:
                raise Refused(Reason.DEPENDS, "git is not installed") from error
        watch = _Watch(process, self.folder, self.deadline, self.config.max_bytes)
        out = cast("BufferedReader", process.stdout)
        try:
            yield process, out
        finally:
            watch.end()
            out.close()
        if watch.met is not None:
            raise watch.met

    def run(self, *arguments: str, check: bool = True, cap: int = 64 * 1024 * 1024) -> bytes:
        """What a command prints. Raises ``Refused`` when it fails (unless ``check`` is off), or prints too much."""
        with self.running(*arguments) as (process, out):
            printed = bytearray()
            while piece := self._piece(out):
                printed += piece
                if len(printed) > cap:
                    raise Refused(Reason.TOO_LARGE, f"more than {cap} bytes")
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.5)
                self.beat()
        if process.returncode and check:
            raise self.fault()
        return bytes(printed)

    def _piece(self, out: BufferedReader) -> bytes:
        self.beat()
        return out.read1(1 << 16)

    def said(self) -> str:
        """The start of what git last wrote to its error channel; for judging, never for showing."""
        with (self.folder / "errors").open("rb") as errors:
            return errors.read(65536).decode("utf-8", "replace")

    def fault(self) -> Refused:
        """Why the last command failed, judged from git's own words, none of which are repeated."""
        said = self.said()
        for pattern, reason, detail, again in _FAULTS:
            if re.search(pattern, said, re.IGNORECASE):
                return Refused(reason, detail, again=again)
        return Refused(Reason.GARBAGE, "git could not read the repository")


class _Watch:
    """Kills a process group at a deadline or when its folder grows past a limit; ``met`` says which."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, deadline: float, most: int) -> None:
        self.met: Refused | None = None
        self._process = process
        self._folder = folder
        self._deadline = deadline
        self._most = most
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._done.wait(min(0.25, max(0.01, self._deadline - time.monotonic()))):
            if time.monotonic() > self._deadline:
                self.met = Refused(Reason.TOO_SLOW, "reading the repository", again=True)
            elif _size(self._folder) > self._most:
                self.met = self._too_large()
            if self.met is not None:
                self._kill()
                return

    def _kill(self) -> None:
        if self._process.returncode is not None:
            return  # reaped: its number may be another's by now
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        self._done.set()
        self._thread.join()
        self._kill()
        self._process.wait()
        if self.met is None and _size(self._folder) > self._most:  # it was quicker than the watch
            self.met = self._too_large()

    def _too_large(self) -> Refused:
        return Refused(Reason.TOO_LARGE, f"a copy of more than {self._most} bytes")


def _size(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(root, name)).st_size
    return total


def _ascii_host(host: str) -> str:
    """A host name as curl will look it up, so that the pin fits it. Raises ``Refused``."""
    try:
        return host.rstrip(".").lower() if host.isascii() else host.rstrip(".").encode("idna").decode()
    except UnicodeError as error:
        raise Refused(Reason.UNREACHABLE, "the name has no address") from error


_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.bigFileThreshold": "1m",
    "credential.helper": "",
    "safe.directory": "*",
    "protocol.allow": "never",
    "protocol.https.allow": "always",
    "protocol.http.allow": "always",
    "protocol.file.allow": "always",
    "http.followRedirects": "false",
    "http.sslVerify": "true",
    "http.proxy": "",
    "http.emptyAuth": "false",
    "submodule.recurse": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "pack.threads": "1",
    "pack.windowMemory": "64m",
    "transfer.bundleURI": "false",
}
_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
}
_FAULTS: tuple[tuple[str, Reason, str, bool], ...] = (
    (r"authentication failed|could not read (username|password)|returned error: 401", Reason.UNAUTHORISED, "", False),
    (r"returned error: 403", Reason.FORBIDDEN, "", False),
    (r"returned error: 30\d|from redirection|redirect", Reason.REDIRECTED, "", False),
    (r"remote branch .* not found", Reason.NOT_FOUND, "the branch", False),
    (
        r"is this a git repository|does not appear to be a git|not a git repository",
        Reason.NOT_FOUND,
        "no git repository",
        False,
    ),
    (r"returned error: 4(04|10)|repository .* not found|does not exist|no such file", Reason.NOT_FOUND, "", False),
    (r"returned error: 429", Reason.BUSY, "", True),
    (r"returned error: 5\d\d", Reason.SERVER_ERROR, "", True),
    (r"certificate|ssl|tls|gnutls", Reason.TLS, "", False),
    (r"could not resolve|failed to connect|couldn't connect|connection refused", Reason.UNREACHABLE, "", True),
    (r"timed out|too slow", Reason.TOO_SLOW, "", True),
    (r"early eof|hung up|disconnect|rpc failed|empty reply|connection reset", Reason.CUT_SHORT, "", True),
    (r"transport .* not allowed", Reason.ADDRESS_REFUSED, "", False),
)
