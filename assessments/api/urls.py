"""Addresses of the REST interface."""

from django.urls import path

from assessments.api import views

urlpatterns = [
    path("organisations/", views.OrganisationList.as_view(), name="api-organisations"),
    path("organisations/<slug:key>/scorecard", views.ScorecardView.as_view(), name="api-scorecard"),
]
