"""Answers as they were given, and assessments with their results.

A result is computed, never typed in: its bytes lie in the evidence store under their SHA-256 together with the pack
they can be verified with; the rows here are what pages show of it.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from assessments.evidence.models import Collection
from assessments.organisations.models import Organisation


class AnswerSet(models.Model):
    """Claims, verdicts and waivers of an organisation, kept as given; the newest set counts."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="answer_sets")
    content = models.JSONField(_("answers"))
    given_at = models.DateTimeField(_("given"), auto_now_add=True)
    given_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    origin = models.CharField(_("origin"), max_length=200)

    class Meta:
        ordering = ["-given_at", "-pk"]
        get_latest_by = ["given_at", "pk"]
        verbose_name = _("answers")
        verbose_name_plural = _("answers")

    def __str__(self) -> str:
        return f"{self.origin} ({self.given_at:%Y-%m-%d})"


class Assessment(models.Model):
    """One result of an organisation as of a time. ``summary`` is what the overview shows."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="assessments")
    as_of = models.DateTimeField(_("as of"))
    created_at = models.DateTimeField(auto_now_add=True)
    model_version = models.CharField(_("model version"), max_length=40)
    model_digest = models.CharField(max_length=64)
    result_sha256 = models.CharField(max_length=64)
    pack_sha256 = models.CharField(max_length=64)
    pack_id = models.CharField(_("pack id"), max_length=64)
    collections = models.ManyToManyField(Collection, related_name="assessments")
    answers = models.ForeignKey(AnswerSet, null=True, on_delete=models.PROTECT, related_name="assessments")
    summary = models.JSONField(_("summary"))

    class Meta:
        ordering = ["-created_at", "-pk"]
        get_latest_by = ["created_at", "pk"]
        verbose_name = _("assessment")
        verbose_name_plural = _("assessments")

    def __str__(self) -> str:
        return f"{self.organisation} {self.as_of:%Y-%m-%d}"


class CapabilityResult(models.Model):
    """The part of a result that the page of one capability shows, with the first ids of each finding."""

    assessment = models.ForeignKey(Assessment, on_delete=models.CASCADE, related_name="capabilities")
    capability = models.CharField(max_length=20)
    detail = models.JSONField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["assessment", "capability"], name="capability_once")]
        verbose_name = _("capability result")
        verbose_name_plural = _("capability results")

    def __str__(self) -> str:
        return f"{self.assessment} {self.capability}"
