"""facts: everything an assessment may look at, from the collections in force on a date.

Takes an organisation and a time; gives the assembled fact tables and the collections they come from.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from assessments.evidence import store
from assessments.evidence.models import AliasSighting, Collection
from assessments.organisations.models import Organisation
from maturity.assembly import assemble
from maturity.facts import TABLES, Facts, Part, Statement

if TYPE_CHECKING:
    import pandas as pd


def collections_in_force(organisation: Organisation, *, until: datetime) -> list[Collection]:
    """For each source the collection its facts come from, in order of the source's key."""
    chosen = [Collection.objects.in_force(source, until=until) for source in organisation.sources.all()]
    return [collection for collection in chosen if collection is not None]


def part_of(collection: Collection) -> Part:
    """The facts of one collection. Raises ``EvidenceDamaged`` when a file is gone or altered."""
    source = collection.source
    tables = {
        table: store.read_table(source.organisation_id, table, entry["sha256"])
        for table, entry in collection.manifest.items()
    }
    return Part(
        source.key, Statement.from_json(collection.statement), {**tables, "alias_sightings": _sightings(collection)}
    )


def _sightings(collection: Collection) -> pd.DataFrame:
    rows = AliasSighting.objects.filter(source=collection.source, before__lte=collection.finished_at)
    return TABLES["alias_sightings"].frame(
        {
            "name": row.model,
            "alias": row.alias,
            "version": row.version,
            "after": _ms(row.after) if row.after else None,
            "before": _ms(row.before),
        }
        for row in rows
    )


def project_table(organisation: Organisation) -> pd.DataFrame:
    """The projects of an organisation as the fact table ``projects``."""
    return TABLES["projects"].frame(project.as_fact() for project in organisation.projects.all())


def facts_of(organisation: Organisation, *, until: datetime) -> tuple[Facts, list[Part], list[Collection]]:
    """The assembled facts, the parts they were made of (for a pack), and the collections behind them."""
    collections = collections_in_force(organisation, until=until)
    parts = [part_of(collection) for collection in collections]
    facts = assemble(parts, project_table(organisation), include_reference=organisation.demo)
    return facts, parts, collections


def _ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)
