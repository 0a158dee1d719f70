"""adding: one road for adding and changing a source, taken by the command and by the page.

Takes texts as a person wrote them; gives a saved ``Source`` or every fault, by field. Nothing is saved when there is a
fault, and no fault repeats a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from tempfile import NamedTemporaryFile
from typing import Any

from django.core.exceptions import ValidationError
from django.core.signing import BadSignature
from django.utils.translation import gettext as _

from assessments.evidence import collect, pushed
from assessments.evidence.kinds import KINDS, Form, Kind, Unreadable, value_of
from assessments.evidence.models import Source
from assessments.evidence.telling import reason_sentence
from integrations.connectors.base import Check, ConfigError, connector

CHECK_SECONDS = 20
MOST_UPLOAD = 20 * 1024 * 1024
_PENDING = "0" * 64
"""Stands for a file that is still to be uploaded."""


class SourceRefused(Exception):
    """The settings cannot be used; ``faults`` gives a sentence for each field, ``""`` for the whole."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        self.faults = dict(faults)
        super().__init__("; ".join(f"{name}: {text}" if name else text for name, text in self.faults.items()))


def read_settings(kind: Kind, texts: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Texts as settings and secrets. Raises ``SourceRefused`` with every text that is not written as it must be."""
    config: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    faults: dict[str, str] = {}
    for name, text in texts.items():
        setting = kind.setting(name)
        if setting is None:
            faults[name] = _("is not a setting of this kind of source")
        elif setting.form is Form.SECRET:
            secrets[name] = text.strip()
        else:
            try:
                value = value_of(setting, text)
            except Unreadable as error:
                faults[name] = str(error)
                continue
            if value is not None:
                config[name] = value.rstrip("/") if setting.name == "base_url" and isinstance(value, str) else value
    if faults:
        raise SourceRefused(faults)
    return config, {name: value for name, value in secrets.items() if value}


def prepare(source: Source, config: Mapping[str, Any], secrets: Mapping[str, str], *, forget: bool = False) -> Source:
    """Put settings into a source, new or known, and judge them; nothing is saved.

    Without new secrets the old ones stay, as long as the address does; ``forget`` drops them. Raises ``SourceRefused``.
    """
    faults = {} if source.kind in KINDS else {"kind": _("There is no such kind of source.")}
    faults |= {name: _("is a secret and does not belong here") for name in config if _is_secret(source.kind, name)}
    upload = source.config.get("upload")
    old_address = source.config.get("base_url", "")
    kept = {"upload": upload} if upload and not _names_a_place(config) else {}
    source.config = {**config, **kept}
    if secrets or forget:
        source.set_secret(dict(secrets))
    elif source.secret and source.config.get("base_url", "") != old_address:
        faults["base_url"] = _("The address is another one, so the sign-in details must be entered again.")
    try:
        source.clean_fields(exclude=["organisation", "config", "secret"])
        source.validate_constraints()
    except ValidationError as error:
        faults |= {"key" if name == "__all__" else name: " ".join(texts) for name, texts in error.message_dict.items()}
    faults = {**({} if faults else _connector_faults(source)), **faults, **_twin(source)}
    if faults:
        raise SourceRefused(faults)
    return source


def _is_secret(kind: str, name: str) -> bool:
    setting = KINDS[kind].setting(name) if kind in KINDS else None
    return setting is not None and setting.form is Form.SECRET and name != "username"


def waits(source: Source) -> bool:
    """Whether the source still waits for a file to be uploaded."""
    return KINDS[source.kind].uploads and not _names_a_place(source.config) and "upload" not in source.config


def _names_a_place(config: Mapping[str, Any]) -> bool:
    return any(config.get(name) for name in ("base_url", "file", "folder"))


def _connector_faults(source: Source) -> dict[str, str]:
    """What the connector says of the settings. A kind that takes uploads may still wait for its file."""
    try:
        if waits(source):
            waiting = Source(organisation=source.organisation, kind=source.kind, secret=source.secret)
            waiting.config = {**source.config, "upload": _PENDING}
            collect.connect(waiting)
        else:
            collect.connect(source)
    except ConfigError as error:
        found: dict[str, list[str]] = {}
        for fault in error.faults:
            name, message = fault.field.partition(" ")[0], _(fault.message)
            found.setdefault(name, []).append(message if name == fault.field else f"{fault.field}: {message}")
        return {name: "; ".join(told) for name, told in found.items()}
    except BadSignature as error:
        return {"": str(error)}
    return {}


def _twin(source: Source) -> dict[str, str]:
    """The same MLflow server twice would count every run twice."""
    address = source.config.get("base_url")
    if not address or source.kind not in ("mlflow", "mlflow-sql"):
        return {}
    same = source.organisation.sources.exclude(pk=source.pk).filter(kind=source.kind, config__base_url=address)
    twin = same.first()
    if twin is None or twin.config.get("workspace", "") != source.config.get("workspace", ""):
        return {}
    return {"base_url": _("%(key)s is the same server already; its runs would count twice.") % {"key": twin.key}}


def check(source: Source) -> Check:
    """Ask the source whether it answers, for at most twenty seconds. Raises ``ConfigError`` or ``BadSignature``."""
    reader = collect.connect(source)
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        return pool.submit(reader.check).result(timeout=CHECK_SECONDS)
    except Late:
        return Check(False, "too_slow: The server took too long to answer.")
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def upload(source: Source, content: bytes) -> None:
    """Judge a file and let the source read it from now on. Raises ``SourceRefused`` and keeps what was before."""
    if not KINDS[source.kind].uploads:
        raise SourceRefused({"file": _("This kind of source takes no file.")})
    if not content:
        raise SourceRefused({"file": _("The file is empty.")})
    if len(content) > MOST_UPLOAD:
        raise SourceRefused({"file": _("The file is larger than 20 MB.")})
    if reason := _upload_fault(source, content):
        raise SourceRefused({"file": reason})
    pushed.keep_upload(source, content)


def _upload_fault(source: Source, content: bytes) -> str:
    """What the connector says of a file before it is the source's own."""
    dropped = ("file", "folder", "base_url", "token", "upload")
    config = {name: value for name, value in source.config.items() if name not in dropped}
    with NamedTemporaryFile(prefix="dlemm-", suffix=".upload") as judged:
        judged.write(content)
        judged.flush()
        try:
            found = connector(source.kind, {**config, "path": judged.name}).check()
        except ConfigError as error:
            return str(error)
    return "" if found.ok else reason_sentence(found.reason)
