"""The app of web."""

from django.apps import AppConfig


class WebConfig(AppConfig):
    name = "assessments.web"
    label = "web"
