"""Addresses of the REST interface."""

from django.urls import path

from assessments.api import facts, registry_events, views

urlpatterns = [
    path("organisations/", views.OrganisationList.as_view(), name="api-organisations"),
    path("organisations/<slug:key>/scorecard", views.ScorecardView.as_view(), name="api-scorecard"),
    path("organisations/<slug:key>/facts/", facts.FactsView.as_view(), name="api-facts"),
    path(
        "organisations/<slug:key>/sources/<slug:source>/registry-events/",
        registry_events.RegistryEventsView.as_view(),
        name="api-registry-events",
    ),
]
