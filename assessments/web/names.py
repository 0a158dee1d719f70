"""The names of an organisation: what the model looks for, what is there, and what stands for what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django import forms
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from assessments.evidence.inventory import Inventory, inventory
from assessments.organisations.models import NameMapping, Organisation, names_of
from assessments.web.access import is_owner, organisation_of, owned_organisation_of
from maturity.name_proposals import Held, propose
from maturity.names import LONGEST_NAME, MOST, Mapped, Names, Place
from maturity.schema import load_model
from maturity.wanted_names import Wanted, place_for, vocabulary

PLACES = {
    Place.TAG: gettext_lazy("tag of a run"),
    Place.PARAM: gettext_lazy("parameter"),
    Place.METRIC: gettext_lazy("metric"),
    Place.VERSION_TAG: gettext_lazy("tag of a model version"),
    Place.MODEL_TAG: gettext_lazy("tag of a registered model"),
    Place.EXPERIMENT_TAG: gettext_lazy("tag of an experiment"),
}
MOST_VALUES = 50


class MappingForm(forms.Form):
    """A mapping as somebody writes it: where their name stands, their name, ours, and values as ``theirs = ours``."""

    origin = forms.ChoiceField(choices=[(place.value, name) for place, name in PLACES.items()])
    theirs = forms.CharField(max_length=LONGEST_NAME)
    ours = forms.CharField(max_length=LONGEST_NAME)
    values = forms.CharField(required=False, max_length=20_000)

    def clean_values(self) -> dict[str, str]:
        lines = [line for line in self.cleaned_data["values"].splitlines() if line.strip()]
        pairs = [[part.strip() for part in line.rpartition("=")] for line in lines]
        if len(pairs) > MOST_VALUES or not all(theirs and ours for theirs, _sign, ours in pairs):
            raise forms.ValidationError(
                _("Write at most %(most)s values, one a line, as: theirs = ours.") % {"most": MOST_VALUES}
            )
        return {theirs: ours for theirs, _sign, ours in pairs}

    def clean(self) -> dict[str, object]:
        data = super().clean() or {}
        if not self.errors:
            data["mapped"] = _mapped(Place(data["origin"]), data["theirs"], data["ours"], data["values"])
        return data


def _mapped(origin: Place, theirs: str, ours: str, values: dict[str, str]) -> Mapped:
    """The mapping. Raises ``ValidationError`` that says what is wrong in the reader's words."""
    place = place_for(vocabulary(load_model()), ours, origin)
    if place is None:
        raise forms.ValidationError(
            _("The model does not look for “%(name)s” where your name stands (%(place)s).")
            % {"name": ours, "place": PLACES[origin]}
        )
    try:
        return Mapped(place, ours, theirs, None if origin is place else origin, values)
    except ValueError as error:
        raise forms.ValidationError(_("These two names cannot stand for one another.")) from error


@dataclass(frozen=True, slots=True)
class WantedRow:
    """One name the model looks for: by how many things it is held, at its nearest place, and what stands for it."""

    wanted: Wanted
    places: str
    found: int
    mapped: tuple[NameMapping, ...]


@dataclass(frozen=True, slots=True)
class MappingRow:
    """A mapping in force, with its place in words and how many things have their name and lack ours."""

    mapping: NameMapping
    origin: str
    explains: int
    held: int


def page(request: HttpRequest, key: str) -> HttpResponse:
    """The page."""
    organisation = organisation_of(request, key)
    return render(request, "pages/names.html", _context(request, organisation, MappingForm()))


@require_POST
def add(request: HttpRequest, key: str) -> HttpResponse:
    """Add a mapping, or show the page again with what is wrong with it."""
    organisation = owned_organisation_of(request, key)
    form = MappingForm(request.POST)
    if form.is_valid():
        if "count" in request.POST:  # for those without scripts
            counted = _counted(inventory(organisation)[0], form.cleaned_data["mapped"])
            return render(request, "pages/names.html", _context(request, organisation, form) | counted)
        if fault := _keep(request, organisation, form.cleaned_data["mapped"]):
            form.add_error(None, fault)
        else:
            return redirect("names", organisation.key)
    return render(request, "pages/names.html", _context(request, organisation, form), status=422)


@require_POST
def remove(request: HttpRequest, key: str, number: int) -> HttpResponse:
    """Take a mapping out of force; who did it, and when, is kept."""
    organisation = owned_organisation_of(request, key)
    mapping = get_object_or_404(NameMapping, organisation=organisation, pk=number)
    mine = NameMapping.objects.filter(pk=mapping.pk, removed_at__isnull=True)
    mine.update(removed_at=timezone.now(), removed_by_id=request.user.pk)
    return redirect("names", organisation.key)


def count(request: HttpRequest, key: str) -> HttpResponse:
    """How much a mapping would explain, as a fragment of a page."""
    organisation = organisation_of(request, key)
    form = MappingForm(request.GET)
    context: dict[str, object] = {"form": form}
    if form.is_valid():
        context |= _counted(inventory(organisation)[0], form.cleaned_data["mapped"])
    return render(request, "partials/name_count.html", context)


def _counted(found: Inventory | None, row: Mapped) -> dict[str, object]:
    held = found.held if found else Held()
    name = held.of(row.source, row.theirs)
    return {"counted": found is not None, "explains": held.explained(row), "held": name.owners, "name": name}


def _keep(request: HttpRequest, organisation: Organisation, row: Mapped) -> str:
    """Save a mapping; gives what hinders it."""
    if organisation.name_mappings.filter(removed_at__isnull=True).count() >= MOST:
        return _("There are %(most)s mapped names already; remove one first.") % {"most": MOST}
    try:
        with transaction.atomic():
            NameMapping.objects.create(
                organisation=organisation,
                place=row.place.value,
                ours=row.ours,
                origin=row.source.value,
                theirs=row.theirs,
                values=dict(row.values),
                created_by_id=request.user.pk,
            )
    except IntegrityError:
        return _("“%(name)s” stands for a name already; remove that first.") % {"name": row.theirs}
    return ""


def _context(request: HttpRequest, organisation: Organisation, form: MappingForm) -> dict[str, object]:
    found, read = inventory(organisation)
    held = found.held if found else Held()
    wanted = vocabulary(load_model())
    mappings = list(organisation.name_mappings.filter(removed_at__isnull=True).select_related("created_by"))
    names = names_of(organisation)
    last = organisation.assessments.first()
    return {
        "organisation": organisation,
        "form": form,
        "inventory": found,
        "read": read,
        "may_edit": is_owner(request, organisation),
        "proposals": [
            (one, PLACES[one.mapped.source], "\n".join(f"{a} = {b}" for a, b in one.mapped.values.items()))
            for one in propose(wanted, held, names)
        ],
        "mappings": _mapping_rows(mappings, names, held),
        "kinds": _kinds(wanted, held, mappings),
        "held_names": sorted({name for place in held.names.values() for name in place})[:2000],
        "wanted_names": sorted({one.name for one in wanted if not one.pattern}),
        "not_yet_used": last is not None and _changed_since(organisation, last.created_at),
    }


def _changed_since(organisation: Organisation, moment: datetime) -> bool:
    """Whether a name was added or removed after a moment."""
    return organisation.name_mappings.filter(Q(created_at__gt=moment) | Q(removed_at__gt=moment)).exists()


def _mapping_rows(mappings: Iterable[NameMapping], names: Names, held: Held) -> list[MappingRow]:
    pairs = zip(mappings, names.rows, strict=True)
    return [
        MappingRow(one, str(PLACES[row.source]), held.explained(row), held.of(row.source, row.theirs).owners)
        for one, row in pairs
    ]


def _kinds(wanted: Iterable[Wanted], held: Held, mappings: list[NameMapping]) -> list[tuple[str, list[WantedRow], int]]:
    """The names by kind, each kind with the number of those that nobody holds."""
    titles = {"tag": _("Tags"), "param": _("Parameters"), "metric": _("Metrics")}
    rows: dict[str, list[WantedRow]] = {kind: [] for kind in titles}
    for one in wanted:
        if one.name != "**":
            rows[one.places[0].value if one.places[0].value in rows else "tag"].append(_wanted_row(one, held, mappings))
    return [(titles[kind], found, sum(not row.found for row in found)) for kind, found in rows.items()]


def _wanted_row(one: Wanted, held: Held, mappings: list[NameMapping]) -> WantedRow:
    mine = tuple(row for row in mappings if row.ours == one.name and Place(row.place) in one.places)
    found = sum(
        known.owners for place in one.places for name, known in held.names.get(place, {}).items() if one.matches(name)
    )
    return WantedRow(one, ", ".join(str(PLACES[place]) for place in one.places), found, mine)
