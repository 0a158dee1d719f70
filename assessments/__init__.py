"""The application: who is assessed, what was seen, what it means, and how it is told."""

from assessments.celery import app as celery_app

__all__ = ["celery_app"]
