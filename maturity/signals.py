"""Signals: what in the facts looks like gaming or like an accident, counted and named.

Takes the model, the facts and ``as_of``; gives ``Signal`` values in a fixed order. A signal judges nobody and changes
no result: what must not count is left out by the populations already (copies, bursts, runs that trained nothing, runs
with impossible times). It says where a person should look. Ids are those of the facts.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import pandas as pd

from maturity.backfill import tags_of
from maturity.facts import ORIGIN_TAG, Facts
from maturity.keyed import DAY, present
from maturity.populations import Populations
from maturity.schema import Model
from maturity.world import source_of

CROWD = 10
"""So many runs at one moment are a crowd; so many texts make it worth asking whether they differ."""
_SLACK = 300_000  # ms by which clocks of a client and a server may differ
_FEW_BITS = 0.5
_DIGEST_TAG = re.compile(r"dlemm\.(?!(?:.*\.)?(?:container|image|code|model|environment|env|config)\.)(?:.*\.)?digest")
_COMMITS = ("mlflow.source.git.commit", "dlemm.git.commit")


class SignalKind(StrEnum):
    """What was noticed."""

    COPIED_RUNS = "copied_runs"
    REPEATED_RUNS = "repeated_runs"
    TRIVIAL_RUNS = "trivial_runs"
    LONE_RUN = "lone_run"
    UNKNOWN_DIGEST = "unknown_digest"
    STARTS_IN_FUTURE = "starts_in_future"
    ENDS_BEFORE_START = "ends_before_start"
    OLDER_THAN_EXPERIMENT = "older_than_experiment"
    SAME_MOMENT = "same_moment"
    REFERENCE_RUNS = "reference_runs"
    BACK_FILLED_TAGS = "back_filled_tags"
    DELETED_RUNS = "deleted_runs"
    ONE_SEED = "one_seed"
    ONE_COMMIT = "one_commit"
    ONE_DESCRIPTION = "one_description"


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing noticed: the ids it concerns, sorted, how many there are, and further numbers by name."""

    kind: SignalKind
    ids: tuple[str, ...]
    n: int
    detail: Mapping[str, float] = field(default_factory=dict)


def signals(model: Model, facts: Facts, as_of: int, *, reference_left_out: int = 0) -> tuple[Signal, ...]:
    """Every signal that has something to say, in the order of ``SignalKind``.

    ``as_of`` is in ms. ``reference_left_out``: reference runs that assembling left out already.
    """
    world = Populations(model, facts, as_of)
    found = [
        *_equal_runs(world),
        *_lone(world),
        *_digests(world),
        *_clocks(world),
        *_left_out(world, reference_left_out),
        *_one_value(world),
    ]
    order = list(SignalKind)
    return tuple(sorted((one for one in found if one.n), key=lambda one: order.index(one.kind)))


def _signal(kind: SignalKind, ids: Iterable[str], **detail: float) -> Signal:
    known = tuple(sorted(set(ids)))
    return Signal(kind, known, len(known), detail)


def _equal_runs(world: Populations) -> list[Signal]:
    status, start = world.run_fields["status"], world.run_fields["start_at"]
    copied, repeated = world.copied, world.repeated
    trivial = (
        run for run, at in start.items() if status.get(run) == "FINISHED" and world.in_window(at) and world.trivial(run)
    )
    return [
        _signal(SignalKind.COPIED_RUNS, copied, originals=len(set(copied.values()))),
        _signal(SignalKind.REPEATED_RUNS, repeated, bursts=len(set(repeated.values()))),
        _signal(SignalKind.TRIVIAL_RUNS, trivial),
    ]


def _lone(world: Populations) -> list[Signal]:
    """Training runs that are the only one of their project, or of the whole organisation."""
    projects = [str(key) for key in world.facts["projects"]["project"]]
    alone = [found[0] for scope in (None, *projects) if len(found := world.members("TRAIN", scope)) == 1]
    return [_signal(SignalKind.LONE_RUN, alone, scopes=len(alone))]


def _digests(world: Populations) -> list[Signal]:
    """Runs and versions with a tag that names a digest which no dataset input has."""
    known = {str(row["digest"]).strip() for row in world.input_rows.values() if present(row["digest"])}
    found = []
    for table, owner in (("run_tags", "run"), ("version_tags", "version")):
        frame = world.facts[table]
        keys = frame["key"].astype("object").map(lambda key: bool(_DIGEST_TAG.fullmatch(str(key))))
        rows = frame[keys.astype(bool)]
        claimed = zip(rows[owner], rows["value"], strict=True)
        found += [str(key) for key, value in claimed if present(value) and value.strip() not in known]
    return [_signal(SignalKind.UNKNOWN_DIGEST, found)]


def _clocks(world: Populations) -> list[Signal]:
    """Runs whose times cannot be, or that began at the very same millisecond as many others."""
    frame = world.facts["runs"]
    frame = frame[(frame["lifecycle"] == "active") & frame["start_at"].notna()]
    starts = {str(run): int(at) for run, at in zip(frame["run"], frame["start_at"], strict=True)}
    read = {source: statement.finished_at for source, statement in world.facts.statements.items()}
    future = (
        run for run, at in starts.items() if at > min(world.as_of, read.get(source_of(run), world.as_of)) + _SLACK
    )
    crowds = [runs for runs in _by_moment(starts).values() if len(runs) >= CROWD]
    return [
        _signal(SignalKind.STARTS_IN_FUTURE, future),
        _signal(SignalKind.ENDS_BEFORE_START, frame.loc[(frame["end_at"] < frame["start_at"]).fillna(False), "run"]),
        _signal(SignalKind.OLDER_THAN_EXPERIMENT, _too_old(world.facts, frame)),
        _signal(SignalKind.SAME_MOMENT, (run for runs in crowds for run in runs), moments=len(crowds)),
    ]


def _by_moment(starts: Mapping[str, int]) -> Mapping[tuple[str, int], list[str]]:
    """Runs by source and start; midnight is left out, because some sources know the day only."""
    found: dict[tuple[str, int], list[str]] = defaultdict(list)
    for run, at in starts.items():
        if at % DAY:
            found[source_of(run), at].append(run)
    return found


def _too_old(facts: Facts, runs: pd.DataFrame) -> Iterable[str]:
    """Runs that started more than a day before their experiment existed."""
    experiments = facts["experiments"]
    pairs = zip(experiments["experiment"], experiments["created_at"], strict=True)
    created = {experiment: int(at) for experiment, at in pairs if present(at)}
    for run, experiment, at in zip(runs["run"], runs["experiment"], runs["start_at"], strict=True):
        if experiment in created and at < created[experiment] - DAY:
            yield str(run)


def _left_out(world: Populations, reference_left_out: int) -> list[Signal]:
    tags = world.facts["run_tags"]
    reference = tags.loc[(tags["key"] == ORIGIN_TAG) & (tags["value"] == "reference"), "run"]
    used = frozenset().union(*(tags_of(i.measure) for i in world.model.indicators.values() if i.measure))
    late = {run: keys & used for run, keys in world.late_tags.items() if keys & used}
    kept = _signal(SignalKind.REFERENCE_RUNS, reference)
    return [
        Signal(kept.kind, kept.ids, kept.n + reference_left_out, {"left_out": reference_left_out}),
        _signal(SignalKind.BACK_FILLED_TAGS, late, tags=sum(len(keys) for keys in late.values())),
        _deleted(world),
    ]


def _deleted(world: Populations) -> Signal:
    """Runs of the window that were deleted, or that an earlier reading saw and a later one did not."""
    runs, changes = world.facts["runs"], world.facts["changes"]
    window = runs[runs["start_at"].map(lambda at: present(at) and world.in_window(int(at))).astype(bool)]
    gone = changes[(changes["entity"] == "run") & (changes["field"] == "existence") & changes["new"].isna()]
    gone = gone[~gone["id"].isin(runs["run"])]  # what was out of sight for a while is there again
    gone = gone[(gone["before"] >= world.since).fillna(False) & (gone["before"] <= world.as_of).fillna(False)]
    ids = {*window.loc[window["lifecycle"] == "deleted", "run"], *gone["id"]}
    seen = {*window["run"], *gone["id"]}
    return _signal(SignalKind.DELETED_RUNS, ids, of=len(seen), share=len(ids) / len(seen) if seen else 0.0)


def _one_value(world: Populations) -> list[Signal]:
    """Seeds, commits and descriptions that are the same nearly everywhere: an entropy below half a bit.

    C. E. Shannon, Bell Syst. Tech. J. 27 (1948): H = −Σ p·log₂ p over the shares p of the different texts.
    """
    runs = frozenset(world.members("TRAIN"))
    commits = {**world.run_tags.of(_COMMITS[1]), **world.run_tags.of(_COMMITS[0])}
    texts = world.version_fields["description"]
    values: Mapping[SignalKind, Mapping[str, str]] = {
        SignalKind.ONE_SEED: {run: seed for run, seed in world.run_params.of("seed").items() if run in runs},
        SignalKind.ONE_COMMIT: {run: commit for run, commit in commits.items() if run in runs},
        SignalKind.ONE_DESCRIPTION: {version: text for version, text in texts.items() if present(text)},
    }
    return [
        _signal(kind, found, bits=round(entropy(found.values()), 3), distinct=len(set(found.values())))
        for kind, found in values.items()
        if len(found) >= CROWD and entropy(found.values()) < _FEW_BITS
    ]


def entropy(texts: Iterable[str]) -> float:
    """Entropy of texts in bits: 0 when all are the same."""
    counts = Counter(texts)
    n = sum(counts.values())
    return -math.fsum(k / n * math.log2(k / n) for k in counts.values()) if len(counts) > 1 else 0.0
