"""Extra request headers as a setting: what a proxy in front of a server wants to see, such as Cloudflare Access.

Takes a JSON object as text, because settings and secrets are texts; gives pairs of name and value. A fault names what
is wrong but never a value, for the values are secrets.
"""

from __future__ import annotations

import re

import orjson

from integrations.connectors.base import Fields

_NAME = re.compile(r"[A-Za-z0-9-]{1,100}")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-type", "accept-encoding"})
_MOST = 10


def extra_headers(fields: Fields, field: str = "headers") -> tuple[tuple[str, str], ...]:
    """The headers that a setting asks for; every fault goes to ``fields``."""
    text = fields.text(field, longest=10_000)
    if not text:
        return ()
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict) or len(given) > _MOST:
        fields.fault(field, f'must be a JSON object of at most {_MOST} headers, such as {{"X-Team": "blue"}}')
        return ()
    for name, value in given.items():
        if not _NAME.fullmatch(name) or name.lower() in _OURS:
            fields.fault(field, "has a name that is no header's, or one that is not to be set here")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            fields.fault(field, "has a value that is not printable ASCII text")
    return tuple(given.items())
