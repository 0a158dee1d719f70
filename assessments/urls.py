"""Every address of the site."""

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path
from django.views.generic import RedirectView
from django.views.i18n import set_language

from assessments.web import capability, help_pages, home, jobs, overview, report, sign_in, sources

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
