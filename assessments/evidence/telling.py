"""Collections in words: the same sentences for pages, commands and reports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from django.utils.translation import gettext as _
from django.utils.translation import override

from assessments.evidence.models import Collection
from maturity.facts import Reading, Statement, StreamReading
from maturity.scorecard import Finding

_REASON = re.compile(r"(?P<key>[a-z_]+): (?P<sentence>.*?\.)(?: \((?P<detail>.*)\))?", re.DOTALL)


def stream_name(stream: str) -> str:
    """The name of a stream in the language of the page."""
    names = {
        "experiments": _("experiments"),
        "runs": _("runs"),
        "registry": _("model registry"),
        "logged_models": _("logged models"),
        "artifacts": _("artifact lists"),
        "registered_models": _("registered models"),
        "model_versions": _("model versions"),
    }
    return names.get(stream.replace(" ", "_"), stream)


def stream_sentence(stream: StreamReading) -> str:
    """What became of one stream."""
    if stream.state is Reading.READ:
        return _("read to the end: %(rows)s facts") % {"rows": stream.rows}
    reason = reason_sentence(stream.reason)
    if stream.state is Reading.NOT_SUPPORTED:
        return _("not offered by this server: %(reason)s") % {"reason": reason}
    return _("could not look: %(reason)s") % {"reason": reason}


def reason_sentence(reason: str) -> str:
    """A connector's reason, ``key: sentence (detail)``, in the language of the page; the detail stays as it is."""
    match = _REASON.fullmatch(reason)
    if match is None:
        return _(reason) if reason else ""
    sentence, detail = _(match["sentence"]), match["detail"]
    if not detail:
        return sentence
    return _("%(sentence)s (%(detail)s).") % {"sentence": sentence.rstrip(".。"), "detail": stream_name(detail)}


def reason_in(reason: str, language: str) -> str:
    """The same in a given language (``en``, ``zh`` or a code that begins so), whatever the page speaks."""
    with override("zh-hans" if language.lower().startswith("zh") else "en"):
        return reason_sentence(reason)


def with_reason_in(finding: Finding, language: str) -> Finding:
    """A finding that tells why a source could not be read in a given language instead of in the connector's words."""
    why = finding.details.get("why")
    if not why:
        return finding
    return replace(finding, details={**finding.details, "why": reason_in(why, language).rstrip(".。")})


def count_names(statement: Statement) -> list[tuple[str, int]]:
    """The counts of a statement that a reader wants, named."""
    names = {
        "experiments": _("experiments visible"),
        "experiments_deleted": _("experiments deleted"),
        "runs": _("runs"),
        "runs_finished": _("runs finished"),
        "runs_failed": _("runs failed"),
        "runs_killed": _("runs killed"),
        "runs_running": _("runs running"),
        "runs_deleted": _("runs deleted"),
        "logged_models": _("logged models"),
        "registered_models": _("registered models"),
        "versions": _("model versions"),
        "requests": _("requests"),
        "retries": _("retries"),
    }
    return [(names[key], statement.counts[key]) for key in names if key in statement.counts]


def note_sentences(statement: Statement) -> list[str]:
    """The remarks of a collection, written ``key:count``, as sentences."""
    sentences = {
        "runs_in_future": _("%(count)s run(s) start later than the server's own clock; they do not count yet."),
        "logged_models_from_tags": _("%(count)s logged model(s) are known from run tags only, as older clients write."),
        "artifacts_not_asked": _("%(count)s artifact list(s) were not asked for, to spare the server."),
        "artifacts_unreadable": _("%(count)s artifact list(s) could not be read."),
        "secrets_over_http": _("The sign-in details travel unencrypted, because the address starts with http."),
    }
    parts = [note.partition(":") for note in statement.notes]
    return [sentences[key] % {"count": count} for key, _colon, count in parts if key in sentences]


def collection_lines(collection: Collection) -> Iterator[str]:
    """A collection in a few lines of text."""
    statement = collection.read_statement()
    if statement is None:
        yield f"{collection.source.key}: {collection.get_state_display()}"
        return
    seconds = (statement.finished_at - statement.started_at) / 1000
    version = f", MLflow {statement.server_version}" if statement.server_version else ""
    yield f"{collection.source.key}: {collection.get_state_display()} ({statement.base_url}{version}, {seconds:.1f} s)"
    for stream in statement.streams:
        yield f"  {stream_name(stream.stream)}: {stream_sentence(stream)}"
    for note in note_sentences(statement):
        yield f"  {note}"
    for name in collection.lost_experiments:
        yield "  " + _("experiment %(name)s was seen before and is gone") % {"name": name}
    for name in collection.lost_models:
        yield "  " + _("registered model %(name)s was seen before and is gone") % {"name": name}
