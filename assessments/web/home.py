"""The first page after signing in, and the health check."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render

from assessments.organisations.models import Organisation


def home(request: HttpRequest) -> HttpResponse:
    """The organisations of the reader; straight to the overview when there is only one."""
    organisations = list(Organisation.objects.visible_to(request.user))
    if len(organisations) == 1:
        return redirect("overview", organisations[0].key)
    return render(request, "pages/home.html", {"organisations": organisations})


@login_not_required
def health(request: HttpRequest) -> JsonResponse:
    """Tells a supervisor that the process answers and reaches its database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return JsonResponse({"status": "ok"})
