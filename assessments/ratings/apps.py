"""The app of ratings."""

from django.apps import AppConfig


class RatingsConfig(AppConfig):
    name = "assessments.ratings"
    label = "rating"
