"""The app of api."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "assessments.api"
    label = "api"
