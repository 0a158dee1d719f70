"""A client that sends facts: one file without dependencies, to be copied next to a pipeline or a CI script.

    from push_client import push
    push("https://dlemm.example/api/v1/organisations/acme/facts/", token, "ci_runs", rows)

Takes the address, a token, a table and its rows; gives the server's answer or raises ``PushRefused``. The key of a
batch is the hash of its content, so sending the same again, in a repeated job or after a fault, changes nothing.
From a shell: ``DLEMM_TOKEN=… python push_client.py ADDRESS TABLE < rows.json``.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

WAITS = (1.0, 4.0, 16.0, 60.0)
"""Seconds before each further try."""
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class PushRefused(Exception):
    """The facts were not accepted; ``status`` is 0 when the server did not answer, ``faults`` says what was wrong."""

    def __init__(self, status: int, detail: str, faults: Sequence[Mapping[str, Any]] = ()) -> None:
        self.status = status
        self.faults = tuple(faults)
        told = "".join(f"\n  {_told(fault)}" for fault in self.faults)
        super().__init__(f"{status or 'no answer'}: {detail}{told}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token elsewhere."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def push(
    url: str,
    token: str,
    table: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    timeout: float = 60.0,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Send the rows of one table; gives the server's answer. Raises ``PushRefused``."""
    return push_tables(url, token, {table: rows}, timeout=timeout, sleep=sleep)


def push_tables(
    url: str,
    token: str,
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    timeout: float = 60.0,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Send rows of several tables as one batch: all are kept or none. Raises ``PushRefused``."""
    content = json.dumps({name: list(rows) for name, rows in tables.items()}, sort_keys=True, allow_nan=False)
    key = hashlib.sha256(content.encode()).hexdigest()
    body = f'{{"batch": "{key}", "tables": {content}}}'.encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "User-Agent": "dlemm-push"}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - the caller's own
    for wait in (*WAITS, None):
        try:
            return _once(request, timeout)
        except PushRefused as refused:
            if wait is None or (refused.status and refused.status not in _PASSING):
                raise
            sleep(wait)
    raise AssertionError("the last try returns or raises")


def _once(request: urllib.request.Request, timeout: float) -> dict[str, Any]:
    opener = urllib.request.build_opener(_NoRedirect())
    try:
        with opener.open(request, timeout=timeout) as response:
            answer = json.loads(response.read())
            if isinstance(answer, dict) and "batch" in answer:
                return answer
            raise PushRefused(response.status, "the address answers, but not with what this client knows")
    except urllib.error.HTTPError as error:
        raise _refusal(error) from None
    except (OSError, http.client.HTTPException) as error:
        raise PushRefused(0, f"the server cannot be reached ({type(error).__name__})") from None
    except ValueError:
        raise PushRefused(200, "the address answers, but not with what this client knows") from None


def _refusal(error: urllib.error.HTTPError) -> PushRefused:
    with error:
        try:
            answer = json.loads(error.read(1_000_000))
            return PushRefused(error.code, str(answer["detail"]), answer.get("faults", ()))
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError):
            return PushRefused(error.code, str(error.reason))


def _told(fault: Mapping[str, Any]) -> str:
    place = [str(fault[name]) for name in ("table", "row", "column") if name in fault]
    return f"{', '.join(place)}: {fault.get('message', '')}"


def main() -> int:
    """Send the rows on standard input: a JSON list, or one JSON object a line."""
    url, table = sys.argv[1:3]
    text = sys.stdin.read()
    rows = json.loads(text) if text.lstrip().startswith("[") else [json.loads(x) for x in text.splitlines() if x]
    try:
        answer = push(url, os.environ["DLEMM_TOKEN"], table, rows)
    except PushRefused as refused:
        sys.stderr.write(f"{refused}\n")
        return 1
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
