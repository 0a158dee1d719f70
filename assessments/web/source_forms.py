"""Adding, changing and removing sources in the browser, their files and their tokens; for owners alone.

Every form is drawn from ``kinds``. A secret is never sent back to the browser: a field left empty keeps what is stored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from django.core.signing import BadSignature
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from assessments.evidence import adding, pushed
from assessments.evidence.kinds import KINDS, Form, Kind, Setting
from assessments.evidence.models import Source
from assessments.evidence.telling import reason_sentence
from assessments.organisations.models import Organisation
from assessments.web.access import owned_organisation_of
from assessments.web.source import shown
from integrations.connectors.base import Check, ConfigError

_FORMS = require_http_methods(["GET", "HEAD", "POST"])


@dataclass(frozen=True, slots=True)
class Field:
    """One field as it is drawn; ``value`` is empty for a secret."""

    setting: Setting
    value: str
    fault: str

    @property
    def hidden(self) -> bool:
        """Whether what is typed is not to be seen."""
        return self.setting.form is Form.SECRET and self.setting.name != "username"


@never_cache
@sensitive_post_parameters()
@_FORMS
def add(request: HttpRequest, key: str) -> HttpResponse:
    """Choose a kind, fill its form, check, save."""
    organisation = owned_organisation_of(request, key)
    kind = KINDS.get(request.POST.get("kind") or request.GET.get("kind", ""))
    if kind is None:
        return render(request, "pages/source_kinds.html", {"organisation": organisation, "kinds": KINDS.values()})
    source = Source(organisation=organisation, kind=kind.key, key=request.POST.get("key", "").strip())
    return _edited(request, organisation, source, kind)


@never_cache
@sensitive_post_parameters()
@_FORMS
def edit(request: HttpRequest, key: str, source: str) -> HttpResponse:
    """Change the settings of a source; its key and kind stay."""
    organisation, found = _owned(request, key, source)
    if found.kind not in KINDS:
        raise Http404
    return _edited(request, organisation, found, KINDS[found.kind])


def _edited(request: HttpRequest, organisation: Organisation, source: Source, kind: Kind) -> HttpResponse:
    if request.method != "POST":
        return _form(request, organisation, source, kind, _texts_of(source))
    texts = {one.name: request.POST.get(one.name, "") for one in kind.settings}
    new = source.pk is None
    if new and organisation.sources.filter(key=source.key).exists():
        faults = {"key": gettext("There is a source with this key already.")}
        return _form(request, organisation, source, kind, texts, faults)
    try:
        config, secrets = adding.read_settings(kind, texts)
        adding.prepare(source, config, secrets, forget="forget" in request.POST)
    except adding.SourceRefused as error:
        return _form(request, organisation, source, kind, texts, error.faults)
    if "check" in request.POST:
        return _form(request, organisation, source, kind, texts, check=_checked(source))
    source.save()
    return redirect("source", organisation.key, source.key)


def _checked(source: Source) -> Check:
    if adding.waits(source):
        return Check(False, gettext("This source waits for its file; save it, then upload the file."))
    try:
        return adding.check(source)
    except (ConfigError, BadSignature) as error:
        return Check(False, str(error))


def _texts_of(source: Source) -> dict[str, str]:
    """The settings as they stand in the form; secrets are no part of them."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
        for name, value in source.config.items()
    }


def _form(
    request: HttpRequest,
    organisation: Organisation,
    source: Source,
    kind: Kind,
    texts: Mapping[str, str],
    faults: Mapping[str, str] | None = None,
    check: Check | None = None,
) -> HttpResponse:
    told = dict(faults or {})
    fields = [
        Field(one, "" if one.form is Form.SECRET else texts.get(one.name, ""), told.pop(one.name, ""))
        for one in kind.settings
    ]
    context = {
        "organisation": organisation,
        "source": source,
        "kind": kind,
        "new": source.pk is None,
        "usual": [field for field in fields if not field.setting.rare],
        "rare": [field for field in fields if field.setting.rare],
        "open": any(field.setting.rare and (field.value or field.fault) for field in fields),
        "key_fault": told.pop("key", ""),
        "faults": list(told.values()),
        "has_secret": bool(source.secret) and source.pk is not None,
        "check": check,
        "reason": reason_sentence(check.reason) if check else "",
    }
    return render(request, "pages/source_form.html", context, status=400 if faults else 200)


@require_POST
def check(request: HttpRequest, key: str, source: str) -> HttpResponse:
    """Ask a saved source whether it answers."""
    organisation, found = _owned(request, key, source)
    answer = _checked(found)
    told = gettext("It answers.") if answer.ok else reason_sentence(answer.reason)
    return shown(request, organisation, found, message=told, good=answer.ok)


@_FORMS
def remove(request: HttpRequest, key: str, source: str) -> HttpResponse:
    """Ask once more, then remove the source and what was read from it; results made with it stay."""
    organisation, found = _owned(request, key, source)
    if request.method != "POST":
        return render(request, "pages/source_remove.html", {"organisation": organisation, "source": found})
    found.delete()
    return redirect("sources", organisation.key)


@require_POST
def upload(request: HttpRequest, key: str, source: str) -> HttpResponse:
    """Take a file for a source that reads one."""
    organisation, found = _owned(request, key, source)
    file = request.FILES.get("file")
    try:
        if file is None:
            raise adding.SourceRefused({"file": gettext("Choose a file.")})
        if (file.size or 0) > adding.MOST_UPLOAD:
            raise adding.SourceRefused({"file": gettext("The file is larger than 20 MB.")})
        adding.upload(found, file.read())
    except adding.SourceRefused as error:
        return shown(request, organisation, found, status=400, faults=error.faults)
    return redirect("source", organisation.key, found.key)


@never_cache
@require_POST
def make_token(request: HttpRequest, key: str, source: str) -> HttpResponse:
    """Make a token and show it, this once."""
    organisation, found = _owned(request, key, source)
    if found.kind != pushed.KIND:
        raise Http404
    token = pushed.new_token(found, request.POST.get("label", "").strip()[:100])
    address = request.build_absolute_uri(reverse("api-facts", args=[organisation.key]))
    return shown(request, organisation, found, token=token, address=address)


@require_POST
def revoke_token(request: HttpRequest, key: str, source: str, number: int) -> HttpResponse:
    """Make a token worthless; doing so twice changes nothing."""
    organisation, found = _owned(request, key, source)
    token = get_object_or_404(found.push_tokens, pk=number)
    found.push_tokens.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
    return redirect("source", organisation.key, found.key)


def _owned(request: HttpRequest, key: str, source: str) -> tuple[Organisation, Source]:
    """The organisation and its source, for an owner; for anybody outside neither exists."""
    organisation = owned_organisation_of(request, key)
    return organisation, get_object_or_404(organisation.sources, key=source)
