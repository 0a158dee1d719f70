"""The guarded HTTP client all connectors use: careful about where it connects, patient, and exact about failure.

Takes a base address, headers and limits; gives decoded JSON objects or small files, or raises ``Refused`` with a
reason. No redirects, no proxy or credential settings from the environment, certificates always verified, answers capped
on decoded bytes, and an answer that is empty, cut or not what was asked for is never taken for a result.
"""

from __future__ import annotations

import email.utils
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpcore
import httpx
import orjson

from integrations.connectors.base import Reason, Refused
from integrations.connectors.guard import AddressRule, GuardedBackend, Resolve, resolve

_BUSY = frozenset({408, 425, 429})
_PASSING_ERRORS = frozenset({500, 502, 503})
_LONGEST_BACKOFF = 30.0  # seconds
_LONGEST_RETRY_AFTER = 120.0  # seconds
_LOGIN_WORDS = re.compile(r"log-?in|sign-?in|oauth|openid|saml|sso|auth", re.IGNORECASE)
_ERROR_CODE = re.compile(r"[A-Z][A-Z_]{2,60}")

T = TypeVar("T")
Query = Mapping[str, str | int | list[str]]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait (seconds), how often to ask, how much to accept (decoded bytes).

    ``per_second``: the most questions a second, for servers that count them; 0 is no limit.
    """

    timeout: float = 120.0
    connect_timeout: float = 10.0
    tries: int = 6
    max_bytes: int = 64 * 1024 * 1024
    per_second: float = 0.0


@dataclass(slots=True)
class Meter:
    """What the client did so far; ``server_ahead`` is the server's clock minus ours in seconds, None if unknown."""

    requests: int = 0
    retries: int = 0
    received_bytes: int = 0
    server_ahead: int | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """Clocks and chance, to be replaced in tests: wall clock, monotonic clock, sleep, a number from 0 to 1."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole answer."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def is_page(self) -> bool:
        """The answer is a web page, not data."""
        return self.body[:200].lstrip().lower().startswith((b"<!doctype", b"<html", b"<head", b"<?xml"))


class _Transport(httpx.BaseTransport):
    """httpx on a connection pool whose every connection passes the guard."""

    def __init__(self, backend: httpcore.NetworkBackend, context: ssl.SSLContext | None) -> None:
        self._pool = httpcore.ConnectionPool(ssl_context=context, network_backend=backend, max_connections=8)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method,
                url,
                headers=request.headers.raw,
                content=request.read(),
                extensions=request.extensions,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Stream(answer))

    def close(self) -> None:
        self._pool.close()


class _Stream(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class Client:
    """Asks one server; see the module docstring for what it promises. Close it, or use it in a ``with``.

    Threads may share it: the pool of connections stands that, and the meter is written under a lock.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str],
        rule: AddressRule,
        limits: Limits,
        ca_path: str = "",
        timing: Timing | None = None,
        resolver: Resolve = resolve,
    ) -> None:
        self._base = base_url
        self._limits = limits
        self._timing = timing or Timing()
        self.meter = Meter()
        self._metering = threading.Lock()
        self._next_turn = 0.0
        self._http = httpx.Client(
            transport=_Transport(GuardedBackend(rule, resolver), _tls(base_url, ca_path)),
            headers={"Accept-Encoding": "gzip", "User-Agent": "dlemm-collector", **headers},
            timeout=httpx.Timeout(limits.timeout, connect=min(limits.connect_timeout, limits.timeout)),
            follow_redirects=False,
            trust_env=False,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get_json(self, path: str, query: Query | None = None, *, tries: int | None = None) -> dict[str, Any]:
        """The JSON object at a path. Raises ``Refused``."""
        return self._ask(lambda: _json(self._once("GET", path, query, None)), tries)

    def post_json(
        self, path: str, body: Mapping[str, Any], *, tries: int | None = None, alone: bool = False
    ) -> dict[str, Any]:
        """The JSON object that answers a question (a read: asking twice does no harm). Raises ``Refused``.

        ``alone``: the connection ends with the answer. Connections that stay open often end up at one process of a
        server that has several; new ones spread.
        """
        headers = {"Content-Type": "application/json", **({"Connection": "close"} if alone else {})}
        return self._ask(lambda: _json(self._once("POST", path, None, orjson.dumps(body), headers=headers)), tries)

    def get_bytes(self, path: str, query: Query | None = None, *, cap: int, tries: int | None = None) -> bytes:
        """A small file, at most ``cap`` bytes. Raises ``Refused``; a web page instead of the file counts as a login."""
        return self._ask(lambda: _file(self._once("GET", path, query, None, cap)), tries)

    def _ask(self, attempt: Callable[[], T], tries: int | None) -> T:
        """Ask until there is an answer, no hope, or no try left; waits grow at random up to half a minute."""
        for turn in range(self._limits.tries):
            try:
                return attempt()
            except Refused as fault:
                if not fault.again or turn + 1 >= self._most_tries(fault.reason, tries):
                    raise
                backoff = min(_LONGEST_BACKOFF, 0.3 * 2**turn) * self._timing.chance()
                self._timing.sleep(backoff if fault.after is None else fault.after)
                self._count(retries=1)
        raise ValueError("tries must be at least 1")

    def _most_tries(self, reason: Reason, tries: int | None) -> int:
        """A question that timed out twice is too big; ``tries`` bounds what may be the fault of the question alone."""
        most = self._limits.tries if reason is not Reason.TOO_SLOW else min(2, self._limits.tries)
        about_the_question = reason in (Reason.TOO_SLOW, Reason.SERVER_ERROR, Reason.GARBAGE)
        return min(most, tries) if tries is not None and about_the_question else most

    def _count(self, *, requests: int = 0, retries: int = 0, received: int = 0) -> None:
        with self._metering:
            self.meter.requests += requests
            self.meter.retries += retries
            self.meter.received_bytes += received

    def _once(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: bytes | None,
        cap: int | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Ask once and judge the status. Raises ``Refused``, whose ``again`` says whether asking again may help."""
        self._count(requests=1)
        self._wait_for_turn()
        began = self._timing.monotonic()
        try:
            with self._http.stream(method, self._base + path, params=query, content=body, headers=headers) as response:
                self._note_clock(response.headers)
                reply = Reply(response.status_code, response.headers, self._read(response, began, cap))
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpx.DecodingError) as error:
            raise _transport_fault(error) from error
        _judge(reply, self._base, self._timing.now())
        return reply

    def _wait_for_turn(self) -> None:
        """Spread the questions of all threads evenly, so that a server that counts them has no reason to refuse."""
        if not self._limits.per_second:
            return
        with self._metering:
            now = self._timing.monotonic()
            turn = max(now, self._next_turn)
            self._next_turn = turn + 1 / self._limits.per_second
        if turn > now:
            self._timing.sleep(turn - now)

    def _read(self, response: httpx.Response, began: float, cap: int | None) -> bytes:
        """The body, decoded; stopped when it grows past the cap or trickles past the time limit."""
        if response.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity", "gzip"):
            raise Refused(Reason.GARBAGE, "unknown content encoding")
        limit = self._limits.max_bytes if cap is None else cap
        pieces, size = [], 0
        for piece in response.iter_bytes():
            pieces.append(piece)
            size += len(piece)
            self._count(received=len(piece))
            if size > limit:
                raise Refused(Reason.TOO_LARGE, f"more than {limit} bytes")
            if self._timing.monotonic() - began > self._limits.timeout:
                raise Refused(Reason.TOO_SLOW, f"more than {self._limits.timeout:g} s", again=True)
        return b"".join(pieces)

    def _note_clock(self, headers: httpx.Headers) -> None:
        for value in headers.get_list("date")[:1]:
            sent = _http_date(value)
            if sent is not None and self.meter.server_ahead is None:
                self.meter.server_ahead = round(sent + 0.5 - self._timing.now())  # the header drops the fraction


def _tls(base_url: str, ca_path: str) -> ssl.SSLContext | None:
    """Certificates of the public authorities, and of our own one if given; None for plain http."""
    if urlsplit(base_url).scheme != "https":
        return None
    context = httpx.create_ssl_context(verify=True, trust_env=False)
    if ca_path:
        context.load_verify_locations(cafile=ca_path)
    return context


def _transport_fault(error: Exception) -> Refused:
    behind = error.args[0] if error.args else None
    if isinstance(behind, ssl.SSLCertVerificationError):
        return Refused(Reason.TLS, behind.verify_message)
    if isinstance(behind, ssl.SSLError):
        return Refused(Reason.TLS, "the server does not speak TLS as we do")
    if isinstance(error, httpcore.ConnectError | httpcore.ConnectTimeout):
        return Refused(Reason.UNREACHABLE, again=True)
    if isinstance(error, httpcore.TimeoutException):
        return Refused(Reason.TOO_SLOW, again=True)
    if isinstance(error, httpx.DecodingError):
        return Refused(Reason.GARBAGE, "damaged compression", again=True)
    return Refused(Reason.CUT_SHORT, again=True)


def _judge(reply: Reply, base: str, now: float) -> None:
    """Raise ``Refused`` unless the status says that the body is the answer."""
    status = reply.status
    if 200 <= status < 300:
        return
    detail = f"status {status}{_error_code(reply.body)}"
    if 300 <= status < 400:
        raise _redirect(reply.headers.get("Location", ""), base, status)
    if status in _BUSY:
        raise Refused(Reason.BUSY, detail, again=True, after=_retry_after(reply.headers, now))
    if status == 504:  # a gateway gave up waiting for the server behind it
        raise Refused(Reason.TOO_SLOW, detail, again=True)
    if status >= 500:
        again = status in _PASSING_ERRORS
        raise Refused(Reason.SERVER_ERROR, detail, again=again, after=_retry_after(reply.headers, now))
    raise Refused(_refusal(status, reply.body), detail)


def _refusal(status: int, body: bytes) -> Reason:
    if status == 403 and b"Invalid Host header" in body:
        return Reason.BAD_HOST
    by_status = {401: Reason.UNAUTHORISED, 403: Reason.FORBIDDEN, 404: Reason.NOT_FOUND, 405: Reason.NOT_FOUND}
    return by_status.get(status, Reason.BAD_REQUEST)


def _error_code(body: bytes) -> str:
    """MLflow's error code, if the body holds one; nothing else of a server's error text is repeated."""
    try:
        code = orjson.loads(body[:10_000]).get("error_code")
    except (orjson.JSONDecodeError, AttributeError):
        return ""
    return f", {code}" if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""


def _redirect(location: str, base: str, status: int) -> Refused:
    try:
        target, source = urlsplit(location), urlsplit(base)
    except ValueError:
        return Refused(Reason.REDIRECTED, f"status {status}")
    if target.scheme == "https" and source.scheme == "http" and target.hostname == source.hostname:
        return Refused(Reason.REDIRECTED, "the same host over https")
    if _LOGIN_WORDS.search(location):
        return Refused(Reason.LOGIN_PAGE, f"status {status}")
    return Refused(Reason.REDIRECTED, f"status {status}")


def _json(reply: Reply) -> dict[str, Any]:
    kind = reply.headers.get("Content-Type", "")
    if reply.is_page or (reply.body and kind.startswith("text/html")):
        raise Refused(Reason.LOGIN_PAGE, "a web page instead of data")
    if not reply.body.strip():
        raise Refused(Reason.GARBAGE, "an empty answer", again=True)
    try:
        data = orjson.loads(reply.body)
    except orjson.JSONDecodeError as error:
        raise Refused(Reason.GARBAGE, "not JSON", again=True) from error
    if not isinstance(data, dict):
        raise Refused(Reason.GARBAGE, "not a JSON object")
    return data


def _file(reply: Reply) -> bytes:
    if reply.is_page:
        raise Refused(Reason.LOGIN_PAGE, "a web page instead of a file")
    return reply.body


def _retry_after(headers: httpx.Headers, now: float) -> float | None:
    """Seconds to wait as the server asks (a number or a date), at most two minutes; None when it does not ask."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return min(float(value[:9]), _LONGEST_RETRY_AFTER)
    until = _http_date(value) if value else None
    return None if until is None else min(max(0.0, until - now), _LONGEST_RETRY_AFTER)


def _http_date(value: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
