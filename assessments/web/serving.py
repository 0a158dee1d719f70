"""serving: the site in one process, for any host name, address and port.

Takes a host and a port; gives the addresses people can type, and serves with waitress until it is stopped.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

from django.core.handlers.wsgi import WSGIHandler

ATTEMPTS = 20


class NoPort(Exception):
    """Neither the wanted port nor the ones after it are free."""


def free_socket(host: str, port: int) -> socket.socket:
    """A listening socket on ``port`` or, when that is taken, on the next free one. Raises ``NoPort``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if not 0 <= port <= 65535:
        raise NoPort(f"{port} is no port; choose one from 1 to 65535")
    for candidate in range(port, min(port + ATTEMPTS, 65536) if port else 1):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise NoPort(f"cannot listen on {host}: {error.strerror}") from error
            continue
        return listener
    raise NoPort(f"ports {port} to {port + ATTEMPTS - 1} of {host} are taken; choose another with --port")


def addresses(listener: socket.socket) -> Iterator[str]:
    """The addresses under which the site can be reached from here and from other machines."""
    host, port = listener.getsockname()[:2]
    if host not in ("0.0.0.0", "::"):  # noqa: S104 - a comparison
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}/"
        return
    yield f"http://localhost:{port}/"
    name = socket.gethostname()
    yield f"http://{name}:{port}/"


def serve(listener: socket.socket, *, threads: int = 8) -> None:
    """Serve until interrupted."""
    import waitress

    from assessments.jobs.embedded import embedded_worker
    from assessments.wsgi import application

    handler: WSGIHandler = application
    with embedded_worker():
        waitress.serve(handler, sockets=[listener], threads=threads, ident=None, clear_untrusted_proxy_headers=False)
