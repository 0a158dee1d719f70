"""The Celery application.

With the broker ``memory://`` (the default) jobs run beside the site's own process; with Redis or RabbitMQ in workers of
their own, started by ``celery -A assessments worker``.
"""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "assessments.settings")

app = Celery("assessments")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["assessments.jobs"])
