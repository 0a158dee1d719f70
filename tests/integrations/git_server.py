"""Real git for tests: repositories built with the executable, and a smart-HTTP server on loopback.

Takes folders; gives repositories and the address of a server (``git http-backend`` behind a small CGI bridge) that may
ask for a user name and password.
"""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NOBODY = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}


@dataclass
class Repository:
    """A bare repository that tests write commits into; paths are bytes-safe and times are given."""

    folder: Path
    branch: str = "main"
    files: dict[bytes, tuple[str, bytes]] = field(default_factory=dict)
    clock: int = 1_790_000_000

    def __post_init__(self) -> None:
        self.git("init", "--quiet", "--bare", f"--initial-branch={self.branch}", ".")

    def git(self, *arguments: str, given: bytes = b"") -> str:
        self.folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            input=given,
            capture_output=True,
            check=True,
            env={**os.environ, **NOBODY},
        )
        return done.stdout.decode().strip()

    def commit(
        self,
        files: Mapping[str | bytes, str | bytes] | None = None,
        *,
        message: str = "Change",
        author: str = "Ann <ann@example.org>",
        at: int | None = None,
        merge: str = "",
        modes: Mapping[str | bytes, str] | None = None,
        base: str = "",
        ref: str = "",
    ) -> str:
        """A commit through fast-import; gives its hash."""
        self.clock += 60
        when = self.clock if at is None else at
        text = message.encode()
        target = ref or f"refs/heads/{self.branch}"
        lines = [f"commit {target}\nauthor {author} {when} +0000\n".encode()]
        lines.append(f"committer {author} {when} +0000\ndata {len(text)}\n".encode() + text + b"\n")
        parent = base or self.git("for-each-ref", "--format=%(objectname)", target)
        if parent:
            lines.append(f"from {parent}\n".encode())
        if merge:
            lines.append(f"merge {merge}\n".encode())
        for path, content in (files or {}).items():
            name = path.encode() if isinstance(path, str) else path
            data = content.encode() if isinstance(content, str) else content
            mode = (modes or {}).get(path, "100644")
            quoted = b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'
            if mode == "160000":
                lines.append(b"M 160000 " + data + b" " + quoted + b"\n")
            else:
                lines.append(f"M {mode} inline ".encode() + quoted + b"\ndata %d\n" % len(data) + data + b"\n")
        self.git("fast-import", "--quiet", "--force", "--date-format=raw-permissive", given=b"".join(lines) + b"\n")
        return self.git("rev-parse", target)


@dataclass
class GitServer:
    """A running server: its address, and the request lines it saw."""

    url: str
    seen: list[str]


@contextlib.contextmanager
def git_server(root: Path, *, user: str = "", password: str = "") -> Iterator[GitServer]:
    """Serve every repository below ``root`` until the block ends; with ``password`` only to those who know it."""
    backend = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

        def do_GET(self) -> None:
            seen.append(f"{self.command} {self.path}")
            if password and self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.end_headers()
                return
            self._bridge()

        do_POST = do_GET  # noqa: N815

        def _bridge(self) -> None:
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b"".join(iter(self._chunk, b""))
            environment = {**os.environ, "GIT_PROJECT_ROOT": str(root), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path}
            environment |= {"REQUEST_METHOD": self.command, "QUERY_STRING": query, "CONTENT_LENGTH": str(len(body))}
            environment |= {"CONTENT_TYPE": self.headers.get("Content-Type", ""), "REMOTE_ADDR": "127.0.0.1", **NOBODY}
            environment |= {"HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", "")}
            environment |= {"GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}
            done = subprocess.run(
                [f"{backend}/git-http-backend"], input=body, capture_output=True, env=environment, check=False
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = [line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line]
            status = next((value for name, value in headers if name == "Status"), "200 OK")
            self.send_response(int(status.split()[0]))
            for name, value in headers:
                if name != "Status":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _chunk(self) -> bytes:
            size = int(self.rfile.readline(), 16)
            data = self.rfile.read(size)
            self.rfile.readline()
            return data

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield GitServer(f"http://127.0.0.1:{server.server_port}", seen)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
