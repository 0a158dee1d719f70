"""Every address of the site."""

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path
from django.views.generic import RedirectView
from django.views.i18n import set_language

from assessments.web import (
    capability,
    contributions,
    facts,
    help_pages,
    home,
    jobs,
    names,
    overview,
    projects,
    report,
    sign_in,
    signals,
    source,
    source_forms,
    sources,
)

urlpatterns = [
    path("", home.home, name="home"),
    path("sign-in/", sign_in.SignIn.as_view(), name="sign-in"),
    path("sign-out/", LogoutView.as_view(), name="sign-out"),
    path("language/", sign_in.open_to_all(set_language), name="set_language"),
    path("health/", home.health, name="health"),
    path("help/", help_pages.page, name="help"),
    path("help/<slug:name>/", help_pages.page, name="help-page"),
    path("organisations/<slug:key>/", overview.page, name="overview"),
    path("organisations/<slug:key>/capabilities/<slug:capability>/", capability.page, name="capability"),
    path("organisations/<slug:key>/sources/", sources.page, name="sources"),
    path("organisations/<slug:key>/facts/", facts.page, name="facts"),
    path("organisations/<slug:key>/facts.csv", facts.file, name="facts-file"),
    path("organisations/<slug:key>/signals/", signals.page, name="signals"),
    path("organisations/<slug:key>/contributions/", contributions.page, name="contributions"),
    path("organisations/<slug:key>/add-source/", source_forms.add, name="source-add"),
    path("organisations/<slug:key>/sources/<slug:source>/", source.page, name="source"),
    path("organisations/<slug:key>/sources/<slug:source>/changes/", source.changes, name="source-changes"),
    path("organisations/<slug:key>/sources/<slug:source>/edit/", source_forms.edit, name="source-edit"),
    path("organisations/<slug:key>/sources/<slug:source>/check/", source_forms.check, name="source-check"),
    path("organisations/<slug:key>/sources/<slug:source>/remove/", source_forms.remove, name="source-remove"),
    path("organisations/<slug:key>/sources/<slug:source>/upload/", source_forms.upload, name="source-upload"),
    path("organisations/<slug:key>/sources/<slug:source>/tokens/", source_forms.make_token, name="source-token"),
    path(
        "organisations/<slug:key>/sources/<slug:source>/tokens/<int:number>/revoke/",
        source_forms.revoke_token,
        name="source-token-revoke",
    ),
    path("organisations/<slug:key>/names/", names.page, name="names"),
    path("organisations/<slug:key>/names/add/", names.add, name="names-add"),
    path("organisations/<slug:key>/names/count/", names.count, name="names-count"),
    path("organisations/<slug:key>/names/<int:number>/remove/", names.remove, name="names-remove"),
    path("organisations/<slug:key>/projects/", projects.page, name="projects"),
    path("organisations/<slug:key>/project-add/", projects.edit, name="project-add"),
    path("organisations/<slug:key>/project-add/preview/", projects.preview, name="project-draft"),
    path("organisations/<slug:key>/projects/<slug:project>/", projects.edit, name="project"),
    path("organisations/<slug:key>/projects/<slug:project>/preview/", projects.preview, name="project-preview"),
    path("organisations/<slug:key>/sources/<slug:source>/collect/", jobs.collect, name="source-collect"),
    path("organisations/<slug:key>/sources/<slug:source>/schedule/", sources.set_schedule, name="source-schedule"),
    path("organisations/<slug:key>/jobs/", jobs.start, name="job-start"),
    path("organisations/<slug:key>/jobs/<int:number>/", jobs.page, name="job"),
    path("organisations/<slug:key>/jobs/<int:number>/cancel/", jobs.stop, name="job-cancel"),
    path("organisations/<slug:key>/report/", report.page, name="report"),
    path("organisations/<slug:key>/report/<slug:language>.<slug:kind>", report.file, name="report-file"),
    path("api/v1/", include("assessments.api.urls")),
    path(
        "admin/login/",
        sign_in.open_to_all(RedirectView.as_view(pattern_name="sign-in", query_string=True)),
        name="operators-sign-in",
    ),
    path("admin/", admin.site.urls),
]
