"""Collections in words: the same sentences for pages, commands and reports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, override

from assessments.evidence.models import Collection
from maturity.facts import Reading, Statement, StreamReading
from maturity.scorecard import Finding

NO_SUCH_STREAM = gettext_noop("This kind of source has no such thing.")  # said by the engine, translated here
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
        "reports": _("reports"),
        "repository": _("repositories"),
        "reviews": _("change requests"),
        "ci": _("continuous integration"),
        "history": _("changes over time"),
        "metric_history": _("metric histories"),
        "traces": _("traces"),
        "evaluations": _("evaluation datasets"),
        "quality": _("data quality results"),
        "data_versions": _("data versions"),
        "lineage": _("data lineage"),
        "service_levels": _("service levels"),
        "incidents": _("incidents"),
        "delivery": _("delivery comparisons"),
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
        "windows": _("windows of time read"),
        "windows_failed": _("windows of time that failed"),
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
        "cards_unread": _("%(count)s model card(s) could not be read."),
        "histories_not_asked": _("%(count)s metric histories were not asked for, to spare the server."),
        "traces_sampled": _("Of %(count)s experiment(s) only the newest traces were looked at one by one."),
        "traces_not_counted": _("Of %(count)s experiment(s) the server does not say how many traces there are."),
        "files_cut": _("There are more files than are listed; the rest was left out."),
        "files_not_looked_into": _("There is more text than is looked into; the rest was not."),
        "sightings_cut": _("There are more places that look like secrets than are kept."),
        "rows_cut": _("There is more tracked data than is listed; the rest was left out."),
        "files_unreadable": _("%(count)s file(s) could not be understood."),
        "files_too_large": _("%(count)s file(s) are larger than the limit and were left out."),
        "files_unknown": _("%(count)s file(s) have no format that is known."),
        "reports_unread": _("%(count)s report(s) could not be read or were not asked for."),
        "reports_not_asked": _("%(count)s report(s) were not asked for; raise the limit of this source."),
        "reports_too_large": _("%(count)s report(s) are larger than the limit and were left out."),
        "files_not_reports": _("%(count)s file(s) beside the reports are no reports in the published format."),
        "files_outside": _("%(count)s file(s) lead out of the folder and were left alone."),
        "report_values_left_out": _("%(count)s value(s) of very large reports were left out."),
        "secrets_over_http": _("The sign-in details travel unencrypted, because the address starts with http."),
        "rows_faulty": _("%(count)s row(s) of the file are faulty and do not count."),
        "row_fault": _("Of the file: %(count)s."),
        "bad_lines": _("%(count)s line(s) are no event that can be read; they do not count."),
        "other_events": _("%(count)s event(s) are not about runs; they do not count."),
        "query_refused": _("The query %(count)s cannot be used."),
        "queries_without_data": _("%(count)s queries have no data in the time asked for."),
    }
    parts = [note.partition(":") for note in statement.notes]
    return [sentences[key] % {"count": count.strip()} for key, _colon, count in parts if key in sentences]


def collection_lines(collection: Collection) -> Iterator[str]:
    """A collection in a few lines of text."""
    statement = collection.read_statement()
    if statement is None:
        yield f"{collection.source.key}: {collection.get_state_display()}"
        return
    seconds = (statement.finished_at - statement.started_at) / 1000
    version = f", {statement.kind} {statement.server_version}" if statement.server_version else ""
    yield f"{collection.source.key}: {collection.get_state_display()} ({statement.base_url}{version}, {seconds:.1f} s)"
    for stream in statement.streams:
        yield f"  {stream_name(stream.stream)}: {stream_sentence(stream)}"
    for note in note_sentences(statement):
        yield f"  {note}"
    for name in collection.lost_experiments:
        yield "  " + _("experiment %(name)s was seen before and is gone") % {"name": name}
    for name in collection.lost_models:
        yield "  " + _("registered model %(name)s was seen before and is gone") % {"name": name}
