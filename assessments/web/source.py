"""One source: its completeness statement in full, what it contributes, what is held since when, and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.translation import gettext

from assessments.evidence.adding import waits
from assessments.evidence.kinds import KINDS
from assessments.evidence.manifest import Manifest
from assessments.evidence.models import Change, Collection, Source
from assessments.evidence.telling import count_names, note_sentences
from assessments.organisations.models import Organisation
from assessments.ratings.results import Result, latest
from assessments.web.access import is_owner, organisation_of
from maturity.contributions import Need, SourceUse, contributions
from maturity.schema import Model, Text

SHOWN_CHANGES = 50
_SHOWN_TEXT = 300


@dataclass(frozen=True, slots=True)
class Holding:
    """What is held of a source: starts of runs from, until, and when the parts were last verified."""

    since: datetime | None
    until: datetime | None
    oldest: datetime
    newest: datetime
    parts: int


@dataclass(frozen=True, slots=True)
class FedPractice:
    """A practice, its capability, and the checks of it that are fed with what came of them."""

    id: str
    name: Text
    capability: str
    checks: tuple[tuple[str, str], ...]


def page(request: HttpRequest, key: str, source: str) -> HttpResponse:
    """Everything known of one source; 404 for another organisation's."""
    organisation = organisation_of(request, key)
    return shown(request, organisation, get_object_or_404(organisation.sources, key=source))


def shown(
    request: HttpRequest, organisation: Organisation, found: Source, *, status: int = 200, **more: object
) -> HttpResponse:
    """The page of a source, with what a form has to say beside it."""
    last = found.collections.exclude(state=Collection.State.RUNNING).first()
    statement = last.read_statement() if last else None
    used = Collection.objects.in_force(found, until=timezone.now())
    context: dict[str, object] = {
        "organisation": organisation,
        "source": found,
        "kind": KINDS.get(found.kind),
        "last": last,
        "used": used,
        "statement": statement,
        "seconds": (statement.finished_at - statement.started_at) / 1000 if statement else 0.0,
        "counts": count_names(statement) if statement else [],
        "notes": note_sentences(statement) if statement else [],
        "holding": _holding(used) if used else None,
        "changes": found.changes.count(),
        "is_owner": is_owner(request, organisation),
        "waits": found.kind in KINDS and waits(found),
        "tokens": found.push_tokens.all() if found.kind == "push" else (),
    }
    return render(
        request, "pages/source.html", {**context, **_contribution(organisation, found), **more}, status=status
    )


def _holding(collection: Collection) -> Holding | None:
    coverage = Manifest.from_json(collection.manifest).coverage
    if not coverage:
        return None
    lows = [part.low for part in coverage]
    highs = [part.high for part in coverage]
    return Holding(
        since=None if None in lows else _time(min(low for low in lows if low is not None)),
        until=None if None in highs else _time(max(high for high in highs if high is not None)),
        oldest=_time(min(part.read_at for part in coverage)),
        newest=_time(max(part.read_at for part in coverage)),
        parts=len(coverage),
    )


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, tz=UTC)


def _contribution(organisation: Organisation, source: Source) -> dict[str, object]:
    """What the source fed in the newest result; nothing before it was part of one."""
    result = latest(organisation)
    if result is None or source.key not in result.statements:
        return {"use": None}
    every = contributions(result.model, result.statements)
    use = next(one for one in every.sources if one.source == source.key)
    return {"use": use, **use_context(result, use)}


def use_context(result: Result, use: SourceUse) -> dict[str, object]:
    """The practices that a source feeds, and how many of its checks were met."""
    return {
        "practices": fed_practices(result.model, use.feeds, result),
        "met": sum(1 for need in use.feeds if result.outcomes.get(need.check) == "met"),
        "more": fed_practices(result.model, use.would_feed, result),
    }


def fed_practices(model: Model, needs: Sequence[Need], result: Result) -> list[FedPractice]:
    """Checks by practice, with the outcome of each."""
    by_practice: dict[str, list[tuple[str, str]]] = {}
    for need in needs:
        named = need.indicator or need.check
        by_practice.setdefault(need.practice, []).append((named, result.outcomes.get(need.check, "")))
    return [
        FedPractice(key, model.practices[key].name, model.practices[key].capability, tuple(checks))
        for key, checks in by_practice.items()
    ]


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One change, in words."""

    change: Change
    what: str
    old: str | None
    new: str | None


def changes(request: HttpRequest, key: str, source: str) -> HttpResponse:
    """What was seen to change at a source, newest first."""
    organisation = organisation_of(request, key)
    found = get_object_or_404(organisation.sources, key=source)
    rows: QuerySet[Change] = found.changes.order_by("-before", "-pk")
    kind, text = request.GET.get("kind", ""), request.GET.get("q", "").strip()[:200].replace("\0", "")
    if kind in entity_names():
        rows = rows.filter(entity=kind)
    if text:
        rows = rows.filter(ident__icontains=text) | rows.filter(key__icontains=text)
    shown: Page[Change] = Paginator(rows, SHOWN_CHANGES).get_page(request.GET.get("page"))
    words = {name: value for name, value in (("kind", kind), ("q", text)) if value}
    context = {
        "organisation": organisation,
        "source": found,
        "shown": shown,
        "rows": [_row(change) for change in shown],
        "kinds": list(entity_names().items()),
        "chosen": kind,
        "text": text,
        "before": urlencode({**words, "page": shown.previous_page_number()}) if shown.has_previous() else "",
        "after": urlencode({**words, "page": shown.next_page_number()}) if shown.has_next() else "",
    }
    return render(request, "pages/changes.html", context)


def _row(change: Change) -> ChangeRow:
    return ChangeRow(change, entity_names().get(change.entity, change.entity), _short(change.old), _short(change.new))


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= _SHOWN_TEXT else f"{text[:_SHOWN_TEXT]}…"


def entity_names() -> dict[str, str]:
    """What can change, in the language of the page."""
    return {
        "run": gettext("run"),
        "experiment": gettext("experiment"),
        "registered_model": gettext("registered model"),
        "model_version": gettext("model version"),
        "alias": gettext("alias"),
    }
