"""Organisations, their projects and their members.

An organisation is the tenant: everything below it is invisible to people who are not its members.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from maturity.names import LONGEST_NAME, Mapped, Names, Place

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser, AnonymousUser

KEY = RegexValidator(r"^[a-z0-9][a-z0-9-]{0,48}\Z", _("Use small letters, digits and hyphens, at most 49 of them."))


class OrganisationQuerySet(models.QuerySet["Organisation"]):
    def visible_to(self, user: AbstractUser | AnonymousUser) -> OrganisationQuerySet:
        """Organisations the user is a member of; nobody else's."""
        return self.filter(memberships__user_id=user.pk) if user.is_authenticated else self.none()


class Organisation(models.Model):
    """A tenant. ``demo`` ones show runs of the bundled reference pipeline, which never count for others."""

    key = models.CharField(_("key"), max_length=49, unique=True, validators=[KEY])
    name = models.CharField(_("name"), max_length=200)
    demo = models.BooleanField(_("demonstration"), default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OrganisationQuerySet.as_manager()

    class Meta:
        ordering = ["name", "key"]
        verbose_name = _("organisation")
        verbose_name_plural = _("organisations")

    def __str__(self) -> str:
        return self.name


MOST_PATTERNS, LONGEST_PATTERN, MOST_STARS = 50, 200, 10
"""Bounds of name patterns, so that matching thousands of names takes moments whatever somebody writes."""


def _patterns(value: object) -> None:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValidationError(_("Must be a list of name patterns such as fraud-*."))
    if len(value) > MOST_PATTERNS:
        raise ValidationError(_("At most %(most)s patterns are allowed.") % {"most": MOST_PATTERNS})
    for item in value:
        if len(item) > LONGEST_PATTERN or item.count("*") > MOST_STARS:
            raise ValidationError(
                _("A pattern may have at most %(length)s characters and %(stars)s stars.")
                % {"length": LONGEST_PATTERN, "stars": MOST_STARS}
            )


class Project(models.Model):
    """A project in scope. Runs belong to it by tag ``dlemm.project``, else by the names of their experiments."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="projects")
    key = models.CharField(_("key"), max_length=49, validators=[KEY])
    name = models.CharField(_("name"), max_length=200)
    idea_at = models.DateTimeField(_("request accepted"), null=True, blank=True)
    started_at = models.DateTimeField(_("work started"), null=True, blank=True)
    experiments = models.JSONField(_("experiment name patterns"), default=list, blank=True, validators=[_patterns])
    registered_models = models.JSONField(_("model name patterns"), default=list, blank=True, validators=[_patterns])

    class Meta:
        ordering = ["key"]
        constraints = [models.UniqueConstraint(fields=["organisation", "key"], name="project_key_once")]
        verbose_name = _("project")
        verbose_name_plural = _("projects")

    def __str__(self) -> str:
        return self.name

    def as_fact(self) -> dict[str, object]:
        """The project as a row of the fact table ``projects``."""
        return {
            "project": self.key,
            "name": self.name,
            "idea_at": int(self.idea_at.timestamp() * 1000) if self.idea_at else None,
            "started_at": int(self.started_at.timestamp() * 1000) if self.started_at else None,
            "experiments": json.dumps(self.experiments),
            "models": json.dumps(self.registered_models),
        }


class Membership(models.Model):
    """What a person may do in an organisation."""

    class Role(models.TextChoices):
        OWNER = "owner", _("owner")
        LEAD = "lead", _("lead assessor")
        CONTRIBUTOR = "contributor", _("contributor")
        VIEWER = "viewer", _("viewer")

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(_("role"), max_length=20, choices=Role.choices, default=Role.VIEWER)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "user"], name="member_once")]
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")

    def __str__(self) -> str:
        return f"{self.user} – {self.organisation} ({self.role})"


class NameMapping(models.Model):
    """What this organisation calls something the model looks for. A removed one stays as a record of who did it."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="name_mappings")
    place = models.CharField(_("place of our name"), max_length=20, choices=[(place, place) for place in Place])
    ours = models.CharField(_("our name"), max_length=LONGEST_NAME)
    origin = models.CharField(_("place of their name"), max_length=20, choices=[(place, place) for place in Place])
    theirs = models.CharField(_("their name"), max_length=LONGEST_NAME)
    values = models.JSONField(_("values"), default=dict, blank=True)
    created_at = models.DateTimeField(_("added"), auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    removed_at = models.DateTimeField(_("removed"), null=True, blank=True)
    removed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["organisation", "place", "origin", "theirs"],
                condition=models.Q(removed_at__isnull=True),
                name="name_mapped_once",
            )
        ]
        verbose_name = _("mapped name")
        verbose_name_plural = _("mapped names")

    def __str__(self) -> str:
        return f"{self.theirs} → {self.ours}"

    def as_mapped(self) -> Mapped:
        """The mapping as the engine knows it. Raises ``ValueError`` for one that cannot be."""
        place, origin = Place(self.place), Place(self.origin)
        return Mapped(place, self.ours, self.theirs, None if origin is place else origin, dict(self.values))


def names_of(organisation: Organisation) -> Names:
    """The mapped names in force, in the order in which they were added."""
    rows = organisation.name_mappings.filter(removed_at__isnull=True)
    return Names(tuple(row.as_mapped() for row in rows))
