"""Who may see what: an organisation is found only by its members; for everybody else it does not exist."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from assessments.organisations.models import Membership, Organisation


def organisation_of(request: HttpRequest, key: str) -> Organisation:
    """The member's organisation. Raises ``Http404`` for a foreign one exactly as for one that is not there."""
    return get_object_or_404(Organisation.objects.visible_to(request.user), key=key)


def editable_organisation_of(request: HttpRequest, key: str) -> Organisation:
    """The organisation, for a member who may change things in it; a viewer is refused with 403."""
    organisation = organisation_of(request, key)
    if not may_change(request, organisation):
        raise PermissionDenied
    return organisation


def owned_organisation_of(request: HttpRequest, key: str) -> Organisation:
    """The organisation, for its owners; any other member is refused with 403."""
    organisation = organisation_of(request, key)
    if not is_owner(request, organisation):
        raise PermissionDenied
    return organisation


def is_owner(request: HttpRequest, organisation: Organisation) -> bool:
    """Whether the reader owns the organisation."""
    if not request.user.is_authenticated:
        return False
    return organisation.memberships.filter(user=request.user, role=Membership.Role.OWNER).exists()


def may_change(request: HttpRequest, organisation: Organisation) -> bool:
    """Whether the reader's role is more than that of a viewer."""
    if not request.user.is_authenticated:
        return False
    return organisation.memberships.filter(user=request.user).exclude(role=Membership.Role.VIEWER).exists()
