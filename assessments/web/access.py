"""Who may see what: an organisation is found only by its members; for everybody else it does not exist."""

from __future__ import annotations

from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from assessments.organisations.models import Organisation


def organisation_of(request: HttpRequest, key: str) -> Organisation:
    """The member's organisation. Raises ``Http404`` for a foreign one exactly as for one that is not there."""
    return get_object_or_404(Organisation.objects.visible_to(request.user), key=key)
