"""The app of organisations."""

from django.apps import AppConfig


class OrganisationsConfig(AppConfig):
    name = "assessments.organisations"
    label = "organisation"
