"""Jobs: what was asked for, how far it is, and how it ended."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from assessments.organisations.models import Organisation

SILENT = timedelta(minutes=5)
"""A running job that has not been heard of for so long lost its worker."""

WARM_UP_SECONDS = 5
"""A step that runs for less says nothing of how long it will take."""


class JobQuerySet(models.QuerySet["Job"]):
    def open(self) -> JobQuerySet:
        """Jobs that wait or run."""
        return self.filter(state__in=[Job.State.QUEUED, Job.State.RUNNING])

    def silent(self) -> JobQuerySet:
        """Running jobs whose worker has not been heard of for too long."""
        return self.filter(state=Job.State.RUNNING, heartbeat_at__lt=timezone.now() - SILENT)


class Job(models.Model):
    """One piece of long work for an organisation. Its state lives here, not in the message queue."""

    class State(models.TextChoices):
        QUEUED = "queued", _("waiting")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        CANCELLED = "cancelled", _("cancelled")

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="jobs")
    kind = models.CharField(_("kind"), max_length=40)
    subject = models.CharField(_("about"), max_length=100, blank=True)  # what it is about, such as the key of a source
    options = models.JSONField(default=dict, blank=True)
    state = models.CharField(_("state"), max_length=20, choices=State.choices, default=State.QUEUED)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    requested_at = models.DateTimeField(_("requested"), auto_now_add=True)
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    heartbeat_at = models.DateTimeField(null=True)
    process = models.CharField(max_length=80, blank=True)
    lost = models.PositiveSmallIntegerField(default=0)  # how often its process ended without a word
    done = models.PositiveIntegerField(_("done"), default=0)
    total = models.PositiveIntegerField(_("total"), null=True)
    doing = models.CharField(_("doing"), max_length=200, blank=True)
    doing_since = models.DateTimeField(null=True)
    log = models.TextField(_("log"), blank=True)
    language = models.CharField(max_length=20, default="en")
    cancel_requested = models.BooleanField(default=False)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-requested_at", "-pk"]
        constraints = [
            # Two people who press the button at once get one job.
            models.UniqueConstraint(
                fields=["organisation", "kind", "subject"],
                condition=models.Q(state__in=["queued", "running"]),
                name="one_open_job_of_a_kind",
            )
        ]
        verbose_name = _("job")
        verbose_name_plural = _("jobs")

    def __str__(self) -> str:
        return f"{self.kind} {self.subject or self.organisation} ({self.state})"

    @property
    def ended(self) -> bool:
        return self.state not in (self.State.QUEUED, self.State.RUNNING)

    def seconds_left(self, now: datetime) -> int | None:
        """About how long the present step will yet take (s), from how fast it went; None when nothing tells."""
        if self.state != self.State.RUNNING or not self.doing_since or not self.done or not self.total:
            return None
        spent = (now - self.doing_since).total_seconds()
        return round(spent * max(0, self.total - self.done) / self.done) if spent >= WARM_UP_SECONDS else None
