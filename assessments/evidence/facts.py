"""facts: everything an assessment may look at, from the collections in force on a date.

Takes an organisation and a time; gives the parts of facts, as stored and as frames, and the collections behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from assessments.evidence import store
from assessments.evidence.manifest import Manifest
from assessments.evidence.models import Change, Collection
from assessments.evidence.plan import ms
from assessments.organisations.models import Organisation
from maturity.batches import join
from maturity.facts import TABLES, Part, Statement
from maturity.pack import stem

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class StoredPart:
    """The facts of one collection, with the bytes of its tables as they are stored, by their stem in a pack."""

    part: Part
    content: Mapping[str, bytes]


def collections_in_force(organisation: Organisation, *, until: datetime) -> list[Collection]:
    """For each source the collection its facts come from, in order of the source's key."""
    chosen = [Collection.objects.in_force(source, until=until) for source in organisation.sources.all()]
    return [collection for collection in chosen if collection is not None]


def parts_of(collections: Sequence[Collection]) -> list[StoredPart]:
    """The facts of the collections. Raises ``EvidenceDamaged`` when a file is gone or altered.

    A source that never could be read says nothing about what the others told, so it is left out beside them; alone,
    it says that nobody could look.
    """
    told = [collection for collection in collections if collection.state != Collection.State.FAILED]
    return [_part(collection) for collection in told or collections]


def _part(collection: Collection) -> StoredPart:
    source = collection.source
    content: dict[str, bytes] = {}
    batches = []
    for number, batch in enumerate(Manifest.from_json(collection.manifest).all_batches, start=1):
        stored = {
            table: store.read_bytes(source.organisation_id, entry["sha256"], "parquet")
            for table, entry in batch.items()
        }
        content |= {stem(table, number): bytes_ for table, bytes_ in stored.items()}
        batches.append({table: TABLES[table].from_parquet(bytes_) for table, bytes_ in stored.items()})
    tables = {**join(batches), **_changes(collection)}
    return StoredPart(Part(source.key, Statement.from_json(collection.statement), tables), content)


def _changes(collection: Collection) -> dict[str, pd.DataFrame]:
    """What was seen to change until the collection ended; aliases once more as sightings."""
    rows = list(Change.objects.filter(source=collection.source, before__lte=collection.finished_at))
    times = [(row, ms(row.after) if row.after else None, ms(row.before)) for row in rows]
    return {
        "changes": TABLES["changes"].frame(
            {"entity": row.entity, "id": row.ident, "field": row.field, "key": row.key, "old": row.old, "new": row.new}
            | {"after": after, "before": before}
            for row, after, before in times
        ),
        "alias_sightings": TABLES["alias_sightings"].frame(
            {"name": row.ident, "alias": row.key, "version": row.new, "after": after, "before": before}
            for row, after, before in times
            if row.entity == "alias" and row.new is not None
        ),
    }


def project_table(organisation: Organisation) -> pd.DataFrame:
    """The projects of an organisation as the fact table ``projects``."""
    return TABLES["projects"].frame(project.as_fact() for project in organisation.projects.all())
