"""registry events: what an MLflow server tells of its model registry at the moment it happens (webhooks).

Takes the raw body and headers of a delivery; gives ``Change`` rows whose interval is a point. A delivery counts only
with the signature that the source's own secret makes over its number, time and body; a late one and one seen before
change nothing. The secret is kept sealed and shown once, when it is made.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets as chance
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.core.signing import BadSignature
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from assessments.evidence import secrets
from assessments.evidence.history import Difference
from assessments.evidence.models import Change, Delivery, Source

KIND = "mlflow"
MOST_BYTES = 1024 * 1024
FRESH = timedelta(minutes=5)
LONGEST_NAME = 500
_KEPT_FOR = timedelta(days=1)  # a delivery older than ``FRESH`` is refused by its time alone
_SECRET_START = "dlemm_hook_"  # noqa: S105 - lets scanners for secrets know ours
_VERSION = "v1,"
_TRIAL = "example_model"  # the model of the deliveries with which MLflow tries out a webhook
_NUMBER = re.compile(r"[A-Za-z0-9._-]{1,100}")


class NotAccepted(Exception):
    """Source, secret, signature or time is wrong; which of them is nobody's business."""


class NotUnderstood(Exception):
    """The delivery is genuine, but its content is not what it must be; the message says what."""


@dataclass(frozen=True, slots=True)
class Signed:
    """The raw body of a delivery with the headers that sign it."""

    body: bytes
    signature: str
    number: str
    time: str


def new_secret(source: Source) -> str:
    """Make the source's secret, in place of an earlier one, and give it: the only time it is seen.

    Raises ``ValueError`` for a source of another kind.
    """
    if source.kind != KIND:
        raise ValueError("only an MLflow server tells of its registry")
    secret = _SECRET_START + chance.token_urlsafe(32)
    source.hook_secret = secrets.seal({"hook": secret}, bound_to=_bound_to(source))
    source.save(update_fields=["hook_secret"])
    return secret


def forget_secret(source: Source) -> None:
    """Accept no more deliveries for the source."""
    source.hook_secret = ""
    source.save(update_fields=["hook_secret"])


def accept(organisation: str, source: str, signed: Signed) -> int:
    """Judge and keep a delivery; gives the number of changes kept. One that was accepted before keeps none.

    Raises ``NotAccepted`` or ``NotUnderstood``; nothing is kept then.
    """
    found = _proven(organisation, source, signed)
    event = _event(signed.body)
    at = _moment(event, signed)
    with transaction.atomic():
        Source.objects.select_for_update().get(pk=found.pk)  # deliveries of one source come one after the other
        try:
            with transaction.atomic():
                Delivery.objects.create(source=found, number=signed.number, received_at=timezone.now())
        except IntegrityError:
            return 0
        found.deliveries.filter(received_at__lt=timezone.now() - _KEPT_FOR).delete()
        return sum(_keep(found, difference, at) for difference in _differences(found, event))


def _proven(organisation: str, key: str, signed: Signed) -> Source:
    """The source that the delivery is for, once signature and time are right."""
    source = Source.objects.filter(organisation__key=organisation, key=key, kind=KIND).first()
    secret = _secret_of(source) or chance.token_urlsafe(32)  # the same work whether or not there is such a source
    content = f"{signed.number}.{signed.time}.".encode("utf-8", "replace") + signed.body
    right = base64.b64encode(hmac.new(secret.encode(), content, hashlib.sha256).digest())
    given = signed.signature.removeprefix(_VERSION).encode("utf-8", "replace")
    genuine = hmac.compare_digest(right, given) and signed.signature.startswith(_VERSION)
    if source is None or not genuine or not _NUMBER.fullmatch(signed.number):
        raise NotAccepted
    if not signed.time.isdecimal() or len(signed.time) > 12 or not _near(int(signed.time), timezone.now()):
        raise NotAccepted
    return source


def _secret_of(source: Source | None) -> str:
    if source is None or not source.hook_secret:
        return ""
    try:
        return secrets.unseal(source.hook_secret, bound_to=_bound_to(source)).get("hook", "")
    except BadSignature:
        return ""


def _bound_to(source: Source) -> str:
    return f"registry events of source {source.pk}"


def _near(seconds: int, moment: datetime) -> bool:
    return abs(seconds - moment.timestamp()) <= FRESH.total_seconds()


def _event(body: bytes) -> Mapping[str, Any]:
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotUnderstood("The body is not JSON.") from error
    if not isinstance(event, dict) or not isinstance(event.get("data"), dict):
        raise NotUnderstood("The body must be an object with entity, action, timestamp and data.")
    return event


def _moment(event: Mapping[str, Any], signed: Signed) -> datetime:
    """When it happened, by the server's clock, which must agree with the time of the delivery."""
    try:
        at = datetime.fromisoformat(str(event.get("timestamp")))
    except ValueError as error:
        raise NotUnderstood("The timestamp is not a time.") from error
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if not _near(int(signed.time), at):
        raise NotUnderstood("The timestamp and the time of the delivery differ.")
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _differences(source: Source, event: Mapping[str, Any]) -> Iterator[Difference]:
    """What the event says, in the words of ``history``; nothing for prompts, budgets and other tenants of the server.

    The value before is left open here; the history knows it.
    """
    data, what = event["data"], (event.get("entity"), event.get("action"))
    other_tenant = event.get("workspace") not in (None, source.config.get("workspace") or "default")
    if other_tenant or what not in _KNOWN or data.get("name") == _TRIAL:
        return
    name = _text(data, "name")
    if what == ("registered_model", "created"):
        yield Difference("registered_model", name, "existence", "", None, "present")
        yield from _tags(data, "registered_model", name)
        return
    if what[0] == "model_version_alias":
        new = f"{name}/{_text(data, 'version')}" if what[1] == "created" else None
        yield Difference("alias", name, "alias", _text(data, "alias"), None, new)
        return
    version = f"{name}/{_text(data, 'version')}"
    if what == ("model_version", "created"):
        yield Difference("model_version", version, "existence", "", None, "present")
        yield from _tags(data, "model_version", version)
    else:
        value = _value(data.get("value")) if what[1] == "set" else None
        yield Difference("model_version", version, "tag", _text(data, "key"), None, value)


_KNOWN = frozenset(
    {
        ("registered_model", "created"),
        ("model_version", "created"),
        ("model_version_tag", "set"),
        ("model_version_tag", "deleted"),
        ("model_version_alias", "created"),
        ("model_version_alias", "deleted"),
    }
)


def _tags(data: Mapping[str, Any], entity: str, ident: str) -> Iterator[Difference]:
    tags = data.get("tags") or {}
    if not isinstance(tags, dict):
        raise NotUnderstood("tags must be an object.")
    for key in tags:
        yield Difference(entity, ident, "tag", _text({"tag": key}, "tag"), None, _value(tags[key]))


def _text(data: Mapping[str, Any], field: str) -> str:
    value = data.get(field)
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_NAME or "\x00" in value:
        raise NotUnderstood(f"{field} must be a text of 1 to {LONGEST_NAME} characters.")
    return value


def _value(value: Any) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise NotUnderstood("The value of a tag must be text.")
    return value


def _keep(source: Source, one: Difference, at: datetime) -> bool:
    """Keep a change that happened at a moment; whether it was news.

    Where a reading saw it before the word of it came, the reading's interval is narrowed to the moment.
    """
    same = source.changes.filter(entity=one.entity, ident=one.ident, field=one.field, key=one.key)
    seen = same.filter(Q(after__isnull=True) | Q(after__lt=at), new=one.new, before__gte=at).order_by("before").first()
    if seen is not None:
        seen.after = seen.before = at
        seen.save(update_fields=["after", "before"])
        return True
    last = same.filter(before__lte=at).order_by("-before", "-pk").first()
    old = last.new if last else None
    if old == one.new and (last is not None or one.new is None):
        return False
    Change.objects.create(
        source=source,
        entity=one.entity,
        ident=one.ident,
        field=one.field,
        key=one.key,
        old=old,
        new=one.new,
        after=at,
        before=at,
    )
    return True
