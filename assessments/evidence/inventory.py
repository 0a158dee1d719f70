"""inventory: a small summary of what a source holds, for pages that must not read the facts themselves.

Takes a source; keeps one JSON file beside its evidence: which names of tags, parameters and metrics stand there, its
experiments and its registered models. It can be made again from the evidence at any time. Names are counted on the
newest runs only, so that a source with millions of runs costs no more than one with thousands; the page says so.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from assessments.evidence import manifest as holding
from assessments.evidence import store
from assessments.evidence.models import Collection, Source
from assessments.organisations.models import Organisation
from maturity import canonical
from maturity.batches import GROUP_OF
from maturity.facts import PROJECT_TAG
from maturity.name_proposals import Held, held_names, merged
from maturity.names import TABLES_OF, Place
from maturity.schema import load_model
from maturity.wanted_names import vocabulary

if TYPE_CHECKING:
    import pyarrow as pa

COUNTED_RUNS, MOST_LISTED = 10_000, 5_000
_OF_RUNS = (Place.TAG, Place.PARAM, Place.METRIC)
_log = logging.getLogger(__name__)
Rows = list[tuple[str, str, object]]


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment as it stands at its source; ``tagged``: project that its runs name by tag → runs counted."""

    source: str
    id: str
    name: str
    lifecycle: str
    runs: int
    tagged: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A registered model; ``tagged``: project that it or its versions name by tag → how many do."""

    source: str
    name: str
    versions: int
    tagged: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inventory:
    """What one source holds, or several together. ``runs`` of all, ``counted`` of those looked at for names.

    ``left_out``: experiments and models beyond the first ``MOST_LISTED``.
    """

    collection: int
    held: Held = field(default_factory=Held)
    experiments: tuple[Experiment, ...] = ()
    models: tuple[RegisteredModel, ...] = ()
    runs: int = 0
    counted: int = 0
    left_out: int = 0


def keep_inventory(source: Source) -> None:
    """Summarise the collection in force, unless that is done already. A fault here never harms a collection."""
    try:
        collection = Collection.objects.in_force(source, until=timezone.now())
        known = _read(source)
        if collection is not None and (known is None or known.collection != collection.pk):
            _write(source, inventory_of(collection))
    except Exception:  # the summary is a convenience, and it is made again next time
        _log.exception("the inventory of %s could not be made", source)


def inventory_of(collection: Collection) -> Inventory:
    """The summary of a collection. Raises ``EvidenceDamaged``."""
    source = collection.source
    held = holding.Held(source.organisation_id, holding.Manifest.from_json(collection.manifest))
    runs = held.owners(GROUP_OF["runs"])
    newest = runs.sort_by([("start_at", "descending"), ("run", "ascending")]) if len(runs) else runs
    newest = newest.slice(0, COUNTED_RUNS)
    rows = {place: _rows_of_runs(source, held, newest, TABLES_OF[place][0][0]) for place in _OF_RUNS}
    rows |= {place: _rows(held, *TABLES_OF[place][0][:2]) for place in Place if place not in _OF_RUNS}
    experiments, models = _experiments(source, held, runs, newest, rows), _models(source, held, rows)
    return Inventory(
        collection.pk,
        held_names(rows, vocabulary(load_model())),
        experiments[:MOST_LISTED],
        models[:MOST_LISTED],
        len(runs),
        len(newest),
        max(0, len(experiments) - MOST_LISTED) + max(0, len(models) - MOST_LISTED),
    )


def inventory(organisation: Organisation) -> tuple[Inventory | None, datetime | None]:
    """What all sources hold together, and when the oldest of it was read; None before anything was collected."""
    found = {source: kept for source in organisation.sources.all() if (kept := _read(source)) is not None}
    if not found:
        return None, None
    times = Collection.objects.filter(pk__in=[one.collection for one in found.values()])
    read = min((one.finished_at for one in times if one.finished_at), default=None)
    parts = list(found.values())
    return (
        Inventory(
            0,
            merged(one.held for one in parts),
            tuple(row for one in parts for row in one.experiments),
            tuple(row for one in parts for row in one.models),
            sum(one.runs for one in parts),
            sum(one.counted for one in parts),
            sum(one.left_out for one in parts),
        ),
        read,
    )


def _rows(held: holding.Held, table: str, owner: str) -> Rows:
    rows = held.rows(table)[: 50 * COUNTED_RUNS]
    return [(row[owner], row["key"], row["value"]) for row in rows]


def _rows_of_runs(source: Source, held: holding.Held, runs: pa.Table, table: str) -> Rows:
    return [row for piece in _pieces(source, held, runs, table) for row in piece]


def _pieces(source: Source, held: holding.Held, runs: pa.Table, table: str) -> Iterator[Rows]:
    """The rows of these runs as last read, batch by batch, a piece of a file at a time."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for number, batch in enumerate(held.manifest.all_batches):
        if table in batch and len(runs):
            wanted = runs.filter(pc.equal(runs["batch"], number))["run"].combine_chunks()
            path = store.path_of(source.organisation_id, batch[table]["sha256"])
            for piece in pq.ParquetFile(path).iter_batches(columns=["run", "key", "value"]) if len(wanted) else ():
                mine = piece.filter(pc.is_in(piece["run"], wanted))
                yield list(zip(*(mine[name].to_pylist() for name in ("run", "key", "value")), strict=True))


def _experiments(
    source: Source, held: holding.Held, runs: pa.Table, newest: pa.Table, rows: Mapping[Place, Rows]
) -> tuple[Experiment, ...]:
    counts = Counter(runs["experiment"].to_pylist()) if len(runs) else Counter()
    of_run = dict(zip(newest["run"].to_pylist(), newest["experiment"].to_pylist(), strict=True)) if len(newest) else {}
    tagged: dict[str, Counter[str]] = {}
    for run, key, value in rows[Place.TAG]:
        if key == PROJECT_TAG and run in of_run:
            tagged.setdefault(of_run[run], Counter())[str(value).strip()] += 1
    found = [
        Experiment(
            source.key,
            row["experiment"],
            row["name"] or "",
            row["lifecycle"] or "",
            counts[row["experiment"]],
            dict(tagged.get(row["experiment"], {})),
        )
        for row in held.rows("experiments")
    ]
    return tuple(sorted(found, key=lambda one: (one.name, one.id)))


def _models(source: Source, held: holding.Held, rows: Mapping[Place, Rows]) -> tuple[RegisteredModel, ...]:
    versions = {row["version"]: row["name"] for row in held.rows("model_versions")}
    counts = Counter(versions.values())
    tagged: dict[str, Counter[str]] = {}
    named = [(versions.get(owner), key, value) for owner, key, value in rows[Place.VERSION_TAG]]
    for name, key, value in [*rows[Place.MODEL_TAG], *named]:
        if key == PROJECT_TAG and name:
            tagged.setdefault(name, Counter())[str(value).strip()] += 1
    names = sorted({*(row["name"] for row in held.rows("registered_models")), *counts})
    return tuple(RegisteredModel(source.key, name, counts[name], dict(tagged.get(name, {}))) for name in names)


def _path(source: Source) -> Path:
    return store.folder(source.organisation_id) / f"inventory-{source.pk}.json"


def _write(source: Source, found: Inventory) -> None:
    path = _path(source)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f"staging-{secrets.token_hex(8)}")
    staged.write_bytes(canonical.to_bytes(canonical.encode(found)))
    os.replace(staged, path)


def _read(source: Source) -> Inventory | None:
    """The kept summary; None when there is none, or it was written by another version of the program."""
    try:
        data: Any = json.loads(_path(source).read_bytes())
        return canonical.decode(Inventory, data)
    except (OSError, ValueError, RecursionError):
        return None
