"""The projects of an organisation: which experiments and models belong to them, and what belongs to none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from assessments.evidence.inventory import Inventory, inventory
from assessments.evidence.scope import Share, scope
from assessments.organisations.models import LONGEST_PATTERN, MOST_PATTERNS, Organisation, Project
from assessments.web.access import is_owner, organisation_of, owned_organisation_of

SHOWN = ":200"
_LONGEST_LIST = MOST_PATTERNS * (LONGEST_PATTERN + 2)


class Patterns(forms.CharField):
    """Name patterns, one a line."""

    def __init__(self, **options: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 3, "spellcheck": "false"})
        super().__init__(required=False, max_length=_LONGEST_LIST, widget=widget, **options)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        text: str = super().clean(value)
        return list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))


if TYPE_CHECKING:
    _Form = forms.ModelForm[Project]
else:
    _Form = forms.ModelForm  # it has no parameters at run time


class ProjectForm(_Form):
    """A project as an owner writes it. The key of a project that exists stays, because evidence names it."""

    experiments = Patterns(label=gettext_lazy("Experiments by name, one pattern a line"))
    registered_models = Patterns(label=gettext_lazy("Registered models by name, one pattern a line"))

    class Meta:
        model = Project
        fields = ("key", "name", "experiments", "registered_models", "idea_at", "started_at")
        labels = {
            "key": gettext_lazy("Key (small letters, digits, hyphens)"),
            "name": gettext_lazy("Name"),
            "idea_at": gettext_lazy("Request accepted on (UTC)"),
            "started_at": gettext_lazy("Work started on (UTC)"),
        }
        widgets = {
            name: forms.DateTimeInput(format="%Y-%m-%d", attrs={"type": "date"}) for name in ("idea_at", "started_at")
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk:
            del self.fields["key"]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("idea_at") and data.get("started_at") and data["started_at"] < data["idea_at"]:
            self.add_error("started_at", _("Work cannot start before the request was accepted."))
        taken = Project.objects.filter(organisation=self.instance.organisation, key=data.get("key"))
        if "key" in self.fields and taken.exists():
            self.add_error("key", _("There is a project with this key already."))
        return data


def page(request: HttpRequest, key: str) -> HttpResponse:
    """All projects with what belongs to them now."""
    organisation = organisation_of(request, key)
    found, read = inventory(organisation)
    context: dict[str, object] = {"organisation": organisation, "inventory": found, "read": read, "shown": SHOWN}
    context |= {"scope": scope(organisation.projects.all(), found or Inventory(0))}
    return render(request, "pages/projects.html", context | {"may_edit": is_owner(request, organisation)})


@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, key: str, project: str = "") -> HttpResponse:
    """Add a project, or change one."""
    organisation = owned_organisation_of(request, key)
    known = get_object_or_404(Project, organisation=organisation, key=project) if project else None
    form = ProjectForm(request.POST or None, instance=known or Project(organisation=organisation))
    valid = form.is_bound and form.is_valid()
    if valid and "preview" not in request.POST and _kept(form):
        return redirect("projects", organisation.key)
    context: dict[str, object] = {"organisation": organisation, "form": form, "project": known, "shown": SHOWN}
    if valid or known:
        context |= _preview(organisation, form.instance)
    return render(request, "pages/project.html", context, status=422 if form.is_bound and form.errors else 200)


def preview(request: HttpRequest, key: str, project: str = "") -> HttpResponse:
    """What the project would get as it stands in the form, as a fragment of a page."""
    organisation = owned_organisation_of(request, key)
    known = get_object_or_404(Project, organisation=organisation, key=project) if project else None
    form = ProjectForm(request.GET, instance=known or Project(organisation=organisation))
    context: dict[str, object] = {"organisation": organisation, "form": form, "shown": SHOWN}
    form.is_valid()
    faulty = form.errors.keys() & {"experiments", "registered_models"}
    if not faulty:
        context |= _preview(organisation, _drafted(form))
    return render(request, "partials/project_preview.html", context)


def _drafted(form: ProjectForm) -> Project:
    """The project as far as it has been written; one without a key yet comes last."""
    project: Project = form.instance
    project.key = form.cleaned_data.get("key") or project.key or "~"
    for name in ("experiments", "registered_models"):
        setattr(project, name, form.cleaned_data.get(name, []))
    return project


def _preview(organisation: Organisation, draft: Project) -> dict[str, object]:
    """The share of a project that is not saved, among the others as they are."""
    found, _read = inventory(organisation)
    others = organisation.projects.exclude(key=draft.key).exclude(pk=draft.pk)
    sorted_out = scope([*others, draft], found or Inventory(0))
    mine: Share = next(share for share in sorted_out.shares if share.project is draft)
    return {"inventory": found, "share": mine, "scope": sorted_out}


def _kept(form: ProjectForm) -> bool:
    """Save; False when somebody else took the key at the same moment, which the form then says."""
    try:
        with transaction.atomic():
            form.save()
    except IntegrityError:
        form.add_error(None, _("There is a project with this key already."))
        return False
    return True
