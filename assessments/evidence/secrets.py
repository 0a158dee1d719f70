"""Secrets of sources at rest: encrypted with a key derived from the site's secret key, bound to one address.

Takes small mappings of text; gives tokens that only open for the address they were sealed for, so that pointing a
source at another server never sends it the old server's password.
"""

from __future__ import annotations

import base64
import hashlib
import json

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.core.signing import BadSignature


def _fernet() -> Fernet:
    key = hashlib.sha256(b"dlemm source secrets\0" + settings.SECRET_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(key))


def seal(values: dict[str, str], *, bound_to: str) -> str:
    """Encrypt ``values`` for the address ``bound_to``; empty when there is nothing to keep."""
    kept = {name: value for name, value in values.items() if value}
    if not kept:
        return ""
    return _fernet().encrypt(json.dumps({"for": bound_to, "values": kept}).encode()).decode()


def unseal(token: str, *, bound_to: str) -> dict[str, str]:
    """The values. Raises ``BadSignature`` when the key or the address is another one than at sealing."""
    try:
        content = json.loads(_fernet().decrypt(token.encode()))
    except InvalidToken as error:
        raise BadSignature("the stored secret cannot be opened with this site's secret key") from error
    if content["for"] != bound_to:
        raise BadSignature("the stored secret belongs to another address; enter it again")
    values: dict[str, str] = content["values"]
    return values
