"""Collections in words: the same sentences for pages, commands and reports."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _

from assessments.evidence.models import Collection
from maturity.facts import Reading, StreamReading


def stream_name(stream: str) -> str:
    """The name of a stream in the language of the page."""
    names = {
        "experiments": _("experiments"),
        "runs": _("runs"),
        "registry": _("model registry"),
        "logged_models": _("logged models"),
        "artifacts": _("artifact lists"),
    }
    return names.get(stream, stream)


def stream_sentence(stream: StreamReading) -> str:
    """What became of one stream."""
    if stream.state is Reading.READ:
        return _("read to the end: %(rows)s rows") % {"rows": stream.rows}
    if stream.state is Reading.NOT_SUPPORTED:
        return _("not offered by this server: %(reason)s") % {"reason": stream.reason}
    return _("could not look: %(reason)s") % {"reason": stream.reason}


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
    for name in collection.lost_experiments:
        yield "  " + _("experiment %(name)s was seen before and is gone") % {"name": name}
