"""Facts that programs send: their tokens, the batches that were accepted, and what a connector is told of them.

Takes rows as they came and judges all of them before anything is kept; a batch is one file in the evidence store and
one row here, written last. A token is kept as its hash alone, so nobody who reads the database can send in its name.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from assessments.evidence import store
from integrations.connectors.push import packed
from integrations.connectors.rows import KEYS, PUSHED_TABLES, checked, key_of

if TYPE_CHECKING:
    from assessments.evidence.models import Source

KIND = "push"
SUFFIX = "json.gz"
MOST_BYTES = 5 * 1024 * 1024
MOST_ROWS = 10_000
MOST_FAULTS = 50
_TOKEN_START = "dlemm_"  # noqa: S105 - lets scanners for secrets know ours
_BATCH_FIELDS = frozenset({"table", "rows", "tables", "batch"})


class PushToken(models.Model):
    """One way into one source of kind ``push``; shown once, kept as a hash, and worthless once revoked."""

    source = models.ForeignKey("evidence.Source", on_delete=models.CASCADE, related_name="push_tokens")
    label = models.CharField(_("label"), max_length=100, blank=True)
    sha256 = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(_("made"), auto_now_add=True)
    used_at = models.DateTimeField(_("last used"), null=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name = _("push token")
        verbose_name_plural = _("push tokens")

    def __str__(self) -> str:
        return f"{self.pk} {self.label}".strip()


class PushedBatch(models.Model):
    """One accepted batch. ``sha256`` is that of its rows, ``file`` that of the stored file."""

    source = models.ForeignKey("evidence.Source", on_delete=models.CASCADE, related_name="pushed_batches")
    key = models.CharField(_("batch"), max_length=100)
    sha256 = models.CharField(max_length=64)
    file = models.CharField(max_length=64)
    tables = models.JSONField(_("tables"), default=dict)  # table -> number of rows
    token = models.ForeignKey(PushToken, on_delete=models.SET_NULL, null=True, related_name="batches")
    received_at = models.DateTimeField(_("received"))

    class Meta:
        ordering = ["received_at", "pk"]
        constraints = [models.UniqueConstraint(fields=["source", "key"], name="pushed_batch_once")]
        verbose_name = _("pushed batch")
        verbose_name_plural = _("pushed batches")

    def __str__(self) -> str:
        return f"{self.key} ({self.received_at:%Y-%m-%d %H:%M})"


@dataclass(frozen=True, slots=True)
class RowFault:
    """One thing wrong in a batch: the table, the row (from 1) and column where there is one, and a sentence."""

    message: str
    table: str = ""
    row: int | None = None
    column: str = ""

    def to_json(self) -> dict[str, Any]:
        found = {"table": self.table, "row": self.row, "column": self.column, "message": self.message}
        return {name: value for name, value in found.items() if value not in ("", None)}


class BatchRefused(Exception):
    """The batch has faults (the first fifty are told), and nothing of it was kept."""

    def __init__(self, *faults: RowFault) -> None:
        self.faults = faults[:MOST_FAULTS]
        super().__init__(f"{len(faults)} fault(s)")


class BatchTooLarge(Exception):
    """The batch has more rows than the limit."""


class BatchDiffers(Exception):
    """A batch of this key was accepted before, with other rows."""


def new_token(source: Source, label: str = "") -> str:
    """Make a token for a source of kind ``push`` and give it: the only time it is seen. Raises ``ValueError``."""
    if source.kind != KIND:
        raise ValueError("only a source of kind push receives facts")
    token = _TOKEN_START + secrets.token_urlsafe(32)
    PushToken.objects.create(source=source, label=label, sha256=_hash(token))
    return token


def token_of(text: str) -> PushToken | None:
    """The valid token with this text, or None."""
    found = PushToken.objects.select_related("source__organisation").filter(sha256=_hash(text), revoked_at=None).first()
    return found if found is not None and found.source.kind == KIND else None


def accept(token: PushToken, body: Any) -> tuple[PushedBatch, bool]:
    """Judge and keep a batch; gives it, and whether it is new.

    Raises ``BatchRefused`` with every fault, ``BatchTooLarge`` or ``BatchDiffers``; nothing is kept then.
    """
    key, tables = _judged(body)
    sha256, content = packed(tables)
    source = token.source
    PushToken.objects.filter(pk=token.pk).update(used_at=timezone.now())
    held = source.pushed_batches.filter(key=key).first()
    if held is None:
        file = store.keep_bytes(source.organisation_id, content, SUFFIX)
        counts = {table: len(rows) for table, rows in tables.items()}
        try:
            with transaction.atomic():
                return source.pushed_batches.create(
                    key=key, sha256=sha256, file=file, tables=counts, token=token, received_at=timezone.now()
                ), True
        except IntegrityError:  # the same key arrived twice at once
            held = source.pushed_batches.get(key=key)
    if held.sha256 != sha256:
        raise BatchDiffers
    return held, False


def connector_config(source: Source) -> dict[str, Any]:
    """The settings of a source for its connector, with the files that the application itself keeps for it.

    ``path`` (an uploaded file, by ``upload`` = its SHA-256 in the store) and ``batches`` come from here alone: what a
    person wrote under these names is dropped, so no setting leads to another file of this machine.
    Raises ``BadSignature`` as ``Source.full_config``.
    """
    config = source.full_config()
    config.pop("path", None)
    config.pop("batches", None)
    upload = config.pop("upload", None)
    if upload is not None:
        config["path"] = str(_upload_path(source, str(upload)))
    if source.kind == KIND:
        config["batches"] = [
            {
                "path": str(store.path_of(source.organisation_id, batch.file, SUFFIX)),
                "sha256": batch.file,
                "tables": sorted(batch.tables),
            }
            for batch in (source.pushed_batches.all() if source.pk else ())
        ]
    return config


def keep_upload(source: Source, content: bytes) -> None:
    """Keep an uploaded file and let the source read it from now on. The caller has judged its size."""
    config = {name: value for name, value in source.config.items() if name not in ("file", "folder", "base_url")}
    source.config = {**config, "upload": store.keep_bytes(source.organisation_id, content, "upload")}
    source.save(update_fields=["config"])


def _upload_path(source: Source, sha256: str) -> Any:
    """Where an upload lies; a name that is no hash leads nowhere."""
    named = sha256 if len(sha256) == 64 and set(sha256) <= set("0123456789abcdef") else "missing"
    return store.path_of(source.organisation_id, named, "upload")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _judged(body: Any) -> tuple[str, dict[str, list[dict[str, Any]]]]:
    """The key and the checked rows of a batch. Raises ``BatchRefused`` or ``BatchTooLarge``."""
    if not isinstance(body, dict):
        raise BatchRefused(RowFault("must be a JSON object with batch and either table and rows, or tables"))
    key, given = body.get("batch"), _tables(body)
    if not isinstance(key, str) or not 1 <= len(key) <= 100 or not key.isprintable():
        raise BatchRefused(RowFault("batch must be a text of 1 to 100 printable characters that is new for each batch"))
    if sum(map(len, given.values())) > MOST_ROWS:
        raise BatchTooLarge
    kept: dict[str, list[dict[str, Any]]] = {}
    faults: list[RowFault] = []
    for table, rows in given.items():
        kept[table] = list(_checked_rows(table, rows, faults))
        if len(faults) >= MOST_FAULTS:
            break
    faults += [] if faults else _strays(kept)
    if faults:
        raise BatchRefused(*faults)
    return key, kept


def _tables(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    faults = [RowFault(f"{str(name)[:60]} is not a field of a batch") for name in body if name not in _BATCH_FIELDS]
    if ("tables" in body) == ("table" in body or "rows" in body):
        raise BatchRefused(*faults, RowFault("give either table and rows, or tables"))
    given = body["tables"] if "tables" in body else {body.get("table"): body.get("rows")}
    if not isinstance(given, dict) or not given:
        raise BatchRefused(*faults, RowFault("tables must map names of tables to lists of rows"))
    known = ", ".join(PUSHED_TABLES)
    for table, rows in given.items():
        if table not in PUSHED_TABLES:
            faults.append(RowFault(f"cannot be sent; known are {known}", table=str(table)[:60]))
        elif not isinstance(rows, list) or not rows:
            faults.append(RowFault("must be a list of at least one row", table=table))
    if faults:
        raise BatchRefused(*faults)
    return given


def _checked_rows(table: str, rows: list[Any], faults: list[RowFault]) -> Any:
    """Rows as the table keeps them; faults are added to the list until it is full."""
    first: dict[tuple[Any, ...], int] = {}
    for number, row in enumerate(rows, 1):
        if len(faults) >= MOST_FAULTS:
            return
        if not isinstance(row, dict):
            faults.append(RowFault("must be a JSON object", table, number))
            continue
        kept, found = checked(table, row)
        faults += [RowFault(message, table, number, column) for column, message in found]
        key = key_of(table, kept)
        if not found and first.setdefault(key, number) != number:
            faults.append(RowFault(f"is the same fact as row {first[key]}", table, number, KEYS[table][0]))
        yield kept


def _strays(tables: Mapping[str, list[dict[str, Any]]]) -> list[RowFault]:
    """Values of a report must come with their report, else they would hang in the air."""
    reports = {row["report"] for row in tables.get("reports", ())}
    values = enumerate(tables.get("report_values", ()), 1)
    message = "is no report of this batch; send a report together with its values"
    return [RowFault(message, "report_values", n, "report") for n, row in values if row["report"] not in reports]
