"""The app of evidence."""

from django.apps import AppConfig


class EvidenceConfig(AppConfig):
    name = "assessments.evidence"
    label = "evidence"
