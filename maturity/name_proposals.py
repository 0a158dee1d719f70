"""name_proposals: which of their names probably is one of ours, and how much that would explain.

Takes the names that the model looks for and the names that a server really holds; gives proposals, the one that
explains most first. A name is recognised by words that people use for the same thing (``SYNONYMS``) and by equal words;
nothing is learned, and the same input always gives the same list. ``held_names`` counts; it takes plain rows.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from maturity.names import LONGEST_NAME, Mapped, Names, Place, compatible
from maturity.wanted_names import Wanted

MOST_NAMES, MOST_SAMPLES, MOST_PROPOSALS = 2000, 6, 40
_LONGEST_SAMPLE = 60
_ALIKE = 0.75

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "seed": ("random seed", "random state", "rng seed", "lr seed", "global seed", "manual seed", "seed value"),
    "mlflow.source.git.commit": (
        "git sha", "git commit", "git hash", "commit", "commit sha", "commit hash", "commit id", "git rev",
        "git revision", "code version", "revision",
    ),
    "mlflow.source.git.dirty": ("git dirty", "dirty", "uncommitted changes", "git is dirty"),
    "dlemm.stage": ("stage", "run type", "job type", "phase", "run kind", "purpose"),
    "dlemm.project": ("project", "project name", "team project", "use case"),
    "dlemm.model_version": ("model version", "evaluated model", "evaluated version"),
    "dlemm.primary_metric": ("primary metric", "main metric", "target metric", "objective metric", "key metric"),
    "dlemm.role": ("role", "experiment role"),
    "dlemm.deployed_at": ("deployed at", "deployment time", "deployment date", "released at", "release date"),
    "dlemm.retired_at": ("retired at", "decommissioned at", "retirement date", "end of life"),
    "dlemm.approved_by": ("approved by", "approver", "reviewed by", "reviewer", "signed off by"),
    "dlemm.reproduces": ("reproduces", "reproduction of", "rerun of", "replicates"),
    "dlemm.rolled_back_at": ("rolled back at", "rollback time", "rollback date"),
    "dlemm.trigger": ("trigger", "triggered by", "trigger type", "trigger reason"),
    "dlemm.pipeline": ("pipeline", "pipeline name", "workflow", "dag", "dag id"),
    "dlemm.hpo.engine": ("hpo engine", "tuner", "sampler", "search algorithm", "optuna sampler"),
    "dlemm.perf.hardware": ("hardware", "instance type", "machine type", "gpu type", "gpu model"),
    "dlemm.failure_reason": ("failure reason", "error", "error message", "exception", "failed because"),
    "mlflow.note.content": ("description", "note", "notes", "comment"),
    "budget": ("gpu hours budget", "compute budget", "max steps", "max trials"),
    "device": ("accelerator", "compute device", "hardware device"),
    "model_family": ("architecture", "arch", "model type", "model arch", "model name", "backbone"),
    "augmentation": ("augmentations", "data augmentation", "aug", "transforms"),
    "opt.amp": ("amp", "mixed precision", "fp16", "precision"),
    "opt.grad_accum_steps": ("gradient accumulation steps", "grad accum", "accumulate grad batches"),
    "model/param_count": ("param count", "parameters", "num params", "n params", "num parameters", "total params"),
    "model/flops": ("flops", "gflops"),
    "size/model_mb": ("model size mb", "model size", "size mb"),
    "perf/latency_p50_ms": ("latency p50", "latency ms p50", "p50 latency", "median latency ms"),
    "perf/latency_p95_ms": ("latency p95", "latency ms p95", "p95 latency", "inference latency p95"),
    "perf/throughput_rps": ("throughput", "rps", "requests per second", "qps"),
    "train/throughput_samples_per_s": ("samples per second", "train samples per second", "samples per s", "throughput"),
    "train/peak_memory_mb": ("peak memory", "peak memory mb", "max memory mb", "gpu memory peak"),
    "train/energy_kwh": ("energy kwh", "energy consumed", "energy"),
    "cost/gpu_hours": ("gpu hours", "gpu time hours"),
    "cost/amount": ("cost", "cost usd", "cost eur", "training cost"),
    "label/kappa": ("kappa", "cohen kappa", "cohens kappa"),
    "label/alpha": ("krippendorff alpha", "krippendorffs alpha"),
    "privacy/dp_epsilon": ("epsilon", "dp epsilon", "privacy epsilon"),
    "drill/rollback_minutes": ("rollback minutes", "rollback time minutes"),
}  # fmt: skip
"""One of our names → words by which others call the same thing."""
VALUE_SYNONYMS: Mapping[str, Mapping[str, str]] = {
    "dlemm.stage": {
        "training": "train", "fit": "train", "evaluation": "evaluate", "eval": "evaluate", "test": "evaluate",
        "testing": "evaluate", "monitoring": "monitor", "retraining": "retrain", "re-train": "retrain",
    },
    "dlemm.role": {"base": "baseline", "reference": "baseline", "ctrl": "control"},
}  # fmt: skip
"""One of our names → their value → ours."""
_QUIET = frozenset({"dlemm", "mlflow"})  # a family of names, no word of its own
_NOT_PROPOSED = frozenset({"mlflow.parentRunId", "mlflow.user"})  # ids and accounts: a mistake there would be silent


@dataclass(frozen=True, slots=True)
class HeldName:
    """A name as it is held: by how many things, their most frequent values, and how many of them have ours as well.

    ``beside``: ``place:name`` of a name the model looks for → things that hold both.
    """

    owners: int
    samples: tuple[str, ...] = ()
    beside: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Held:
    """Every name that is held: place → things counted, and place → name → what is known of it."""

    counted: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[str, Mapping[str, HeldName]] = field(default_factory=dict)

    def of(self, place: Place, name: str) -> HeldName:
        return self.names.get(place, {}).get(name, HeldName(0))

    def explained(self, row: Mapped) -> int:
        """How many things have their name and lack ours: what the mapping would explain."""
        held = self.of(row.source, row.theirs)
        return held.owners - held.beside.get(f"{row.place}:{row.ours}", 0)


@dataclass(frozen=True, slots=True)
class Proposal:
    """One mapping that is proposed: it explains ``explains`` of the ``lacking`` things that lack our name."""

    mapped: Mapped
    explains: int
    lacking: int
    samples: tuple[str, ...]
    score: int


def held_names(rows: Mapping[Place, Iterable[tuple[str, str, object]]], wanted: Sequence[Wanted]) -> Held:
    """Count names from rows (owner, name, value) per place; at most ``MOST_NAMES`` names a place, the frequent first.

    The rows of tags and of parameters of runs must name the same owners.
    """
    ours = {(place, one.name) for one in wanted if not one.pattern for place in one.places}
    owners: dict[Place, set[str]] = {place: set() for place in rows}
    by_name: dict[tuple[Place, str], set[str]] = defaultdict(set)
    values: dict[tuple[Place, str], Counter[str]] = defaultdict(Counter)
    for place, found in rows.items():
        for owner, name, value in found:
            if owner and name and len(name) <= LONGEST_NAME and value is not None and str(value).strip():
                owners[place].add(owner)
                by_name[place, name].add(owner)
                _sample(values[place, name], str(value).strip()[:_LONGEST_SAMPLE])
    names: dict[str, dict[str, HeldName]] = {}
    for place in rows:
        own = sorted((key for key in by_name if key[0] is place), key=lambda key: (-len(by_name[key]), key[1]))
        names[place.value] = {
            key[1]: HeldName(len(by_name[key]), _most(values[key]), _beside(key, by_name, ours))
            for key in own[:MOST_NAMES]
        }
    return Held({place.value: len(found) for place, found in owners.items()}, names)


def _sample(values: Counter[str], text: str) -> None:
    """Count a value; a name with very many values is known by the first of them."""
    if text in values or len(values) < 200:
        values[text] += 1


def _most(values: Counter[str]) -> tuple[str, ...]:
    return tuple(text for text, _ in sorted(values.items(), key=lambda row: (-row[1], row[0]))[:MOST_SAMPLES])


def _beside(
    key: tuple[Place, str], by_name: Mapping[tuple[Place, str], set[str]], ours: set[tuple[Place, str]]
) -> dict[str, int]:
    if key in ours:
        return {}
    both = {
        f"{place}:{name}": len(by_name[key] & by_name[place, name])
        for place, name in sorted(ours)
        if (place, name) in by_name and compatible(key[0], place)
    }
    return {name: count for name, count in both.items() if count}


def merged(parts: Iterable[Held]) -> Held:
    """What several sources hold, together."""
    counted: Counter[str] = Counter()
    names: dict[str, dict[str, HeldName]] = defaultdict(dict)
    for part in parts:
        counted.update(part.counted)
        for place, found in part.names.items():
            for name, held in found.items():
                known = names[place].get(name, HeldName(0))
                beside = dict(Counter(known.beside) + Counter(held.beside))
                samples = tuple(dict.fromkeys((*known.samples, *held.samples)))[:MOST_SAMPLES]
                names[place][name] = HeldName(known.owners + held.owners, samples, beside)
    return Held(dict(counted), dict(names))


def propose(wanted: Sequence[Wanted], held: Held, names: Names | None = None) -> tuple[Proposal, ...]:
    """The mappings that seem right and would explain something, the one that explains most first.

    ``names``: mappings that are there already; neither their names nor what they explain is proposed again.
    """
    taken = {(row.source, row.theirs) for row in (names or Names()).rows}
    ours = _Index([one for one in wanted if not one.pattern and one.name not in _NOT_PROPOSED])
    known = {(place, one.name) for one in wanted for place in one.places}
    found = []
    for place in Place:
        for theirs in sorted(held.names.get(place, {})):
            if (place, theirs) not in known | taken and not theirs.startswith(("dlemm.", "mlflow.")):
                found += _best(place, theirs, ours, held)
    return tuple(sorted(found, key=_order)[:MOST_PROPOSALS])


def _order(one: Proposal) -> tuple[object, ...]:
    return -one.explains, -one.score, one.mapped.place, one.mapped.ours, one.mapped.source, one.mapped.theirs


def _best(place: Place, theirs: str, ours: _Index, held: Held) -> list[Proposal]:
    """The best proposal for one of their names, when there is one that explains anything."""
    found = []
    for score, one in ours.scores(theirs):
        target = next((where for where in one.places if compatible(place, where)), None)
        if target is not None and (proposal := _proposal(place, theirs, one, target, held, score)):
            # A name in the same place is the likelier one; so is the name that more indicators use.
            found.append((-score, target is not place, -len(one.indicators), one.name, proposal))
    return [min(found, key=lambda row: row[:4])[4]] if found else []


def _proposal(place: Place, theirs: str, one: Wanted, target: Place, held: Held, score: int) -> Proposal | None:
    name = held.of(place, theirs)
    row = Mapped(target, one.name, theirs, None if place is target else place, _values(one, name.samples, target))
    explains = held.explained(row)
    lacking = held.counted.get(target, 0) - held.of(target, one.name).owners
    return Proposal(row, explains, max(lacking, explains), name.samples, score) if explains > 0 else None


def _values(one: Wanted, samples: Sequence[str], place: Place) -> dict[str, str]:
    """Their values in our words, where they are recognised and differ."""
    if place is Place.METRIC:
        return {}
    known = {**{text.casefold(): text for text in one.values}, **VALUE_SYNONYMS.get(one.name, {})}
    pairs = ((text, known.get(text.casefold())) for text in samples)
    return {text: ours for text, ours in pairs if ours is not None and ours != text}


class _Index:
    """The names of ours by the words they are known by, so that thousands of names are recognised in moments."""

    def __init__(self, ours: Sequence[Wanted]) -> None:
        self.by_words: dict[tuple[str, ...], list[Wanted]] = defaultdict(list)
        self.by_word: dict[str, dict[str, tuple[Wanted, tuple[str, ...]]]] = defaultdict(dict)
        for one in ours:
            own = _words(one.name)
            for words in {own, *(_words(text) for text in SYNONYMS.get(one.name, ()))}:
                self.by_words[words].append(one)
            for word in own:
                self.by_word[word][f"{one.places[0]} {one.name}"] = (one, own)

    def scores(self, name: str) -> list[tuple[int, Wanted]]:
        """Ours that a name may mean, each with 1–100: how sure it is."""
        words = _words(name)
        if found := self.by_words.get(words):
            return [(100, one) for one in found]
        for start in range(1, len(words)):  # model__random_state: what the name ends with says what it is
            known = self.by_words.get(words[start:], ())
            if found := [one for one in known if len(words) - start > 1 or one.name == "seed"]:
                return [(95, one) for one in found]
        alike = {key: row for word in words for key, row in self.by_word.get(word, {}).items()}
        return [(score, one) for _, (one, own) in sorted(alike.items()) if (score := _alike(words, own))]


def _alike(words: tuple[str, ...], own: tuple[str, ...]) -> int:
    shared = len(set(words) & set(own)) / len(set(words) | set(own))
    if (shared + 1) / 2 < _ALIKE:
        return 0
    mean = (shared + SequenceMatcher(None, " ".join(words), " ".join(own)).ratio()) / 2
    return int(80 * mean) if mean >= _ALIKE else 0


def _words(name: str) -> tuple[str, ...]:
    """The words of a name in small letters: ``lrSeed``, ``lr_seed`` and ``lr.seed`` are the same two."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name[:LONGEST_NAME])
    return tuple(word for part in parts if (word := part.lower()) not in _QUIET)
