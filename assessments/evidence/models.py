"""Sources, their collections, and what we saw of things that carry no time of their own.

Bulk facts are not rows here: a collection lists content-addressed files (``manifest``), written before it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from assessments.evidence import secrets
from assessments.organisations.models import KEY, Organisation
from maturity.facts import Statement

AUDIT_HOURS = 168


class Source(models.Model):
    """Where facts come from. Its secret is encrypted at rest and bound to the address it was given for."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="sources")
    key = models.CharField(_("key"), max_length=49, validators=[KEY])
    kind = models.CharField(_("kind"), max_length=20, default="mlflow")
    config = models.JSONField(_("configuration"), default=dict)
    secret = models.TextField(_("secret"), blank=True, editable=False)
    hook_secret = models.TextField(blank=True, editable=False)  # see ``registry_events``
    every_minutes = models.PositiveIntegerField(_("collect every (minutes)"), null=True, blank=True)
    audit_hours = models.PositiveIntegerField(_("read everything again within (hours)"), default=AUDIT_HOURS)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["key"]
        constraints = [models.UniqueConstraint(fields=["organisation", "key"], name="source_key_once")]
        verbose_name = _("source")
        verbose_name_plural = _("sources")

    def __str__(self) -> str:
        return f"{self.key} ({self.kind})"

    def set_secret(self, values: dict[str, str]) -> None:
        """Encrypt the secret values (token, or user name and password) for the present address."""
        self.secret = secrets.seal(values, bound_to=self.config.get("base_url", ""))

    def full_config(self) -> dict[str, Any]:
        """Configuration with its secrets, for the connector only. Raises ``BadSignature`` if the address changed."""
        if not self.secret:
            return dict(self.config)
        return {**self.config, **secrets.unseal(self.secret, bound_to=self.config.get("base_url", ""))}


class CollectionQuerySet(models.QuerySet["Collection"]):
    def finished(self, *, until: datetime) -> CollectionQuerySet:
        return self.filter(finished_at__lte=until).exclude(state=Collection.State.RUNNING)

    def in_force(self, source: Source, *, until: datetime) -> Collection | None:
        """The collection a result rests on: the newest complete one, else the newest that read anything.

        So a server that is down today leaves yesterday's facts in place instead of an empty organisation.
        """
        done = self.filter(source=source).finished(until=until).order_by("-finished_at", "-pk")
        return (
            done.filter(state=Collection.State.COMPLETE).first()
            or done.filter(state__in=[Collection.State.PARTIAL, Collection.State.SUSPECT]).first()
            or done.filter(state=Collection.State.FAILED).first()
        )


class Collection(models.Model):
    """One reading of one source: its completeness statement and the files that hold what was read."""

    class State(models.TextChoices):
        RUNNING = "running", _("running")
        COMPLETE = "complete", _("complete")
        PARTIAL = "partial", _("partly read")
        SUSPECT = "suspect", _("suspect: something seen before is gone")
        FAILED = "failed", _("could not look")
        INTERRUPTED = "interrupted", _("interrupted")

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="collections")
    state = models.CharField(_("state"), max_length=20, choices=State.choices, default=State.RUNNING)
    started_at = models.DateTimeField(_("started"))
    finished_at = models.DateTimeField(_("finished"), null=True)
    process = models.CharField(max_length=80, blank=True)
    statement = models.JSONField(_("completeness statement"), default=dict)
    manifest = models.JSONField(_("manifest"), default=dict)  # see ``manifest.Manifest``
    fingerprint = models.CharField(max_length=16, blank=True)  # of the source's settings, see ``plan.fingerprint``
    checkpoint = models.JSONField(default=dict)  # the manifest so far of a first reading that has not ended
    heartbeat_at = models.DateTimeField(null=True)
    lost_experiments = models.JSONField(_("lost experiments"), default=list)
    lost_models = models.JSONField(_("lost registered models"), default=list)

    objects = CollectionQuerySet.as_manager()

    class Meta:
        ordering = ["-started_at", "-pk"]
        indexes = [models.Index(fields=["source", "state", "finished_at"], name="collection_in_force")]
        verbose_name = _("collection")
        verbose_name_plural = _("collections")

    def __str__(self) -> str:
        return f"{self.source.key} {self.started_at:%Y-%m-%d %H:%M} ({self.state})"

    @property
    def tables_held(self) -> frozenset[str]:
        """The tables that were read whole."""
        return frozenset(self.manifest.get("tables", ()))

    def read_statement(self) -> Statement | None:
        return Statement.from_json(self.statement) if self.statement else None


class Change(models.Model):
    """Something that changed at a source between two readings, or at the moment that the source itself told of.

    MLflow keeps no time for an alias, a tag or a deletion, so we keep the interval ourselves. ``after`` is the last
    reading with the old value, None when the first reading already had the new one.
    """

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="changes")
    entity = models.CharField(_("what"), max_length=20)
    ident = models.CharField(_("id"), max_length=600)
    field = models.CharField(_("field"), max_length=20)
    key = models.CharField(_("name"), max_length=600, blank=True)
    old = models.TextField(_("before"), null=True)  # noqa: DJ001 - None says that there was no value
    new = models.TextField(_("after"), null=True)  # noqa: DJ001 - the same
    after = models.DateTimeField(_("last seen as before"), null=True)
    before = models.DateTimeField(_("first seen as after"))

    class Meta:
        ordering = ["before", "pk"]
        indexes = [
            models.Index(fields=["source", "before"], name="change_time"),
            models.Index(fields=["source", "entity", "ident"], name="change_of"),
        ]
        verbose_name = _("change")
        verbose_name_plural = _("changes")

    def __str__(self) -> str:
        return f"{self.entity} {self.ident}: {self.field} {self.key}"


class Delivery(models.Model):
    """A delivery of registry events that was accepted, so that a second one of the same number does nothing."""

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="deliveries")
    number = models.CharField(max_length=100)
    received_at = models.DateTimeField(_("received"))

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "number"], name="delivery_once")]
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")

    def __str__(self) -> str:
        return self.number


import assessments.evidence.pushed  # noqa: E402, F401 - Django finds models through this module alone
