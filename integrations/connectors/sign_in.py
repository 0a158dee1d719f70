"""Signing in at a web address: which settings go together, the header that is sent, and whether it travels openly.

Takes the settings ``token``, ``username``, ``password`` and ``ca_path`` that all connectors over HTTP share; gives
faults and headers. No fault repeats a value.
"""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import urlsplit

from integrations.connectors.base import Fields


def check_sign_in(fields: Fields, token: str, username: str = "", password: str = "", ca_path: str = "") -> None:
    """Note what is wrong with sign-in details."""
    if token and (username or password):
        fields.fault("token", "give either a token or a user name and password")
    if bool(username) != bool(password):
        fields.fault("password", "user name and password belong together")
    if ":" in username:
        fields.fault("username", "must not contain a colon")
    if not token.isascii() or " " in token:
        fields.fault("token", "must be ASCII without spaces")
    if ca_path and not Path(ca_path).is_file():
        fields.fault("ca_path", "is not a file on this machine")


def authorization(token: str, username: str = "", password: str = "") -> dict[str, str]:
    """The request header that says who we are; empty for nobody."""
    if token:
        return {"Authorization": f"Bearer {token}"}
    pair = base64.b64encode(f"{username}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"} if username else {}


def goes_openly(base_url: str) -> bool:
    """What is sent to the address goes over a connection that is not encrypted, to another machine."""
    parts = urlsplit(base_url)
    return parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1")


def open_notes(base_url: str, secrets: object) -> tuple[str, ...]:
    """The note ``secrets_over_http`` when there are sign-in details and they go openly."""
    return ("secrets_over_http",) if secrets and goes_openly(base_url) else ()
