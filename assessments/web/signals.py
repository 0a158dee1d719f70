"""Signals: what in an organisation's own facts looks like an accident or a trick, and what was done about each."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext, gettext_noop

from assessments.ratings.results import Result, ShownSignal, latest
from assessments.web.access import organisation_of
from assessments.web.capability import Cited

_LEFT_OUT, _COUNTS = "left_out", "counts"
KINDS: dict[str, tuple[str, str, str]] = {
    "copied_runs": (
        gettext_noop("Copied runs"),
        gettext_noop("The same run under other ids. It counts once; the copies listed here do not."),
        _LEFT_OUT,
    ),
    "repeated_runs": (
        gettext_noop("Repeated runs"),
        gettext_noop("Twenty or more equal runs of one day. They count as one; those listed here do not."),
        _LEFT_OUT,
    ),
    "trivial_runs": (
        gettext_noop("Runs that did nothing"),
        gettext_noop("They ended within a second and left neither a metric nor a model. They are no training runs."),
        _LEFT_OUT,
    ),
    "lone_run": (
        gettext_noop("Only one training run"),
        gettext_noop("A project, or the whole organisation, has this one training run. Most indicators need more."),
        _COUNTS,
    ),
    "unknown_digest": (
        gettext_noop("Digests of no known dataset"),
        gettext_noop("A tag names a digest that no dataset input has. A tag does not stand for the dataset."),
        _COUNTS,
    ),
    "starts_in_future": (
        gettext_noop("Runs that start in the future"),
        gettext_noop("They start later than the server was read or the assessment was made. They do not count yet."),
        _LEFT_OUT,
    ),
    "ends_before_start": (
        gettext_noop("Runs that end before they start"),
        gettext_noop("Their times cannot be. They do not count."),
        _LEFT_OUT,
    ),
    "older_than_experiment": (
        gettext_noop("Runs older than their experiment"),
        gettext_noop("They were probably imported. They count; look at a few."),
        _COUNTS,
    ),
    "same_moment": (
        gettext_noop("Many runs at one moment"),
        gettext_noop("Ten or more runs start in the same millisecond. They count; look at a few."),
        _COUNTS,
    ),
    "reference_runs": (
        gettext_noop("Reference runs"),
        gettext_noop("Runs of the bundled demonstration. They count only in a demonstration."),
        _LEFT_OUT,
    ),
    "back_filled_tags": (
        gettext_noop("Tags added afterwards"),
        gettext_noop("Tags that an earlier reading after the run's end still lacked. They count."),
        _COUNTS,
    ),
    "deleted_runs": (
        gettext_noop("Deleted runs"),
        gettext_noop("Runs that were deleted or vanished between two readings. They do not count, for or against."),
        _LEFT_OUT,
    ),
    "one_seed": (
        gettext_noop("One seed"),
        gettext_noop("Nearly all runs have the same seed. They count; it shows less than it seems to."),
        _COUNTS,
    ),
    "one_commit": (
        gettext_noop("One commit"),
        gettext_noop("Nearly all runs name the same commit. They count; it shows less than it seems to."),
        _COUNTS,
    ),
    "one_description": (
        gettext_noop("One description"),
        gettext_noop("Nearly all versions have the same description. They count; it shows less than it seems to."),
        _COUNTS,
    ),
}
"""Kind of signal → its name, what was done about it, and whether the facts count."""


@dataclass(frozen=True, slots=True)
class SignalCard:
    """One signal as it is shown."""

    name: str
    sentence: str
    left_out: bool
    n: int
    share: int | None
    ids: tuple[Cited, ...]


def page(request: HttpRequest, key: str) -> HttpResponse:
    """The signals of the newest result."""
    organisation = organisation_of(request, key)
    result = latest(organisation)
    kept = result.signals if result else None
    cards = [_card(result, signal) for signal in kept or ()] if result else []
    context = {"organisation": organisation, "result": result, "looked": kept is not None, "cards": cards}
    return render(request, "pages/signals.html", context)


def _card(result: Result, signal: ShownSignal) -> SignalCard:
    name, sentence, effect = KINDS.get(signal.kind, (signal.kind, "", _COUNTS))
    share = signal.detail.get("share")
    return SignalCard(
        name=gettext(name),
        sentence=gettext(sentence) if sentence else "",
        left_out=effect == _LEFT_OUT and signal.detail.get("left_out") != 0,  # in a demonstration none is
        n=signal.n,
        share=None if share is None else round(100 * share),
        ids=tuple(_cited(result, one) for one in signal.ids),
    )


def _cited(result: Result, fact: str) -> Cited:
    bare = fact.partition(":")[2]
    unit = "version" if fact not in result.assessment.summary["signal_experiments"] and "/" in bare else "run"
    return Cited(bare, result.signal_link(unit, fact))
