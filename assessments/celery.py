"""The Celery application.

With the broker ``memory://`` (the default) jobs run beside the site's own process, and the clock of the schedules is a
thread there; with Redis or RabbitMQ jobs run in workers of their own (``celery -A assessments worker``), and one
``celery -A assessments beat`` is the clock.
"""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "assessments.settings")

app = Celery("assessments")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["assessments.jobs", "assessments.evidence"])
