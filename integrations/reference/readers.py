"""Labels by several readers: their votes, how far they agree beyond chance, adjudication, gold items, label errors.

Readers are simulated, and every one states its error rate: it gives the true class, or with that probability another
class drawn evenly. What is measured from their votes is not simulated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from integrations.reference.stories.base import Classes, Flags, Values

Votes = npt.NDArray[np.int64]  # (items, readers)
Counts = npt.NDArray[np.int64]  # (items, classes): how many readers chose each class
Agreement = Callable[[Counts], float]


@dataclass(frozen=True, slots=True)
class Reader:
    """A simulated reader: a role's name, and the probability of choosing a wrong class."""

    name: str
    error_rate: float

    def read(self, truth: Classes, classes: int, generator: np.random.Generator) -> Classes:
        """The reader's classes (n,) for items whose true classes are given."""
        wrong = generator.random(len(truth)) < self.error_rate
        shift = generator.integers(1, classes, size=len(truth))
        return np.where(wrong, (truth + shift) % classes, truth).astype(np.int64)


def vote(truth: Classes, classes: int, readers: Sequence[Reader], *, seed: int) -> Votes:
    """Every reader's class for every item; equal seeds give equal votes."""
    return np.stack(
        [reader.read(truth, classes, np.random.default_rng([seed, n])) for n, reader in enumerate(readers)], 1
    )


def counts_of(votes: Votes, classes: int) -> Counts:
    """Votes per item and class."""
    return np.stack([(votes == number).sum(axis=1) for number in range(classes)], axis=1)


def fleiss(counts: Counts) -> float:
    """Fleiss' kappa (1971) of items that all have the same number of votes; NaN when only one class was ever chosen."""
    readers = int(counts[0].sum())
    observed = float(((counts**2).sum(axis=1) - readers).mean() / (readers * (readers - 1)))
    chance = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    return (observed - chance) / (1 - chance) if chance < 1 else float("nan")


def krippendorff(counts: Counts) -> float:
    """Krippendorff's alpha for nominal classes (2004); items with one vote count for nothing. NaN as for ``fleiss``."""
    sizes = counts.sum(axis=1)
    paired = counts[sizes > 1]
    sizes = sizes[sizes > 1]
    total = int(sizes.sum())
    agreeing = float((((paired**2).sum(axis=1) - sizes) / (sizes - 1)).sum())
    by_class = paired.sum(axis=0).astype(np.float64)
    chance = float((by_class * (by_class - 1)).sum()) / (total - 1)
    return 1 - (total - agreeing) / (total - chance) if chance < total else float("nan")


def interval(agreement: Agreement, counts: Counts, *, seed: int = 0, resamples: int = 300) -> tuple[float, float]:
    """95 % percentile bootstrap interval over items (Efron 1979)."""
    generator = np.random.default_rng(seed)
    drawn = [agreement(counts[generator.integers(0, len(counts), len(counts))]) for _ in range(resamples)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def adjudicated(votes: Votes, classes: int, senior: Classes) -> tuple[Classes, Flags]:
    """The consensus by the written rule, and which items were disputed.

    An absolute majority of the votes decides; without one the class of the senior reader does. Disputed is every item
    on which not all readers agree. The votes themselves stay as they are.
    """
    counts = counts_of(votes, classes)
    majority = counts.max(axis=1) * 2 > votes.shape[1]
    consensus = np.where(majority, counts.argmax(axis=1), senior).astype(np.int64)
    return consensus, counts.max(axis=1) < votes.shape[1]


def accuracies(votes: Votes, gold: Classes) -> Values:
    """Share of gold items that each reader got right, (readers,)."""
    shares: Values = (votes == gold[:, None]).mean(axis=0)
    return shares


def error_limits(errors: int, items: int) -> tuple[float, float]:
    """95 % limits of an error rate by Wilson (1927): low, high."""
    if items < 1:
        raise ValueError("an error rate needs at least one item")
    z2, share = 1.959964**2, errors / items
    middle = (share + z2 / (2 * items)) / (1 + z2 / items)
    half = np.sqrt(z2 * (share * (1 - share) / items + z2 / (4 * items**2))) / (1 + z2 / items)
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def folds(rows: int, parts: int, *, seed: int = 0) -> list[npt.NDArray[np.int64]]:
    """Rows in so many parts, shuffled; each row is in one."""
    return np.array_split(np.random.default_rng(seed).permutation(rows), parts)


def out_of_sample(
    rows: int, classes: int, learn: Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], Values], parts: int = 3
) -> Values:
    """Probabilities (rows, classes), each from a model that has not seen the row.

    ``learn`` takes the numbers of the rows to train on and of those to predict; it gives probabilities of the latter.
    """
    found = np.zeros((rows, classes))
    everything = np.arange(rows)
    for held in folds(rows, parts):
        found[held] = learn(np.setdiff1d(everything, held), held)
    return found


def suspects(labels: Classes, probabilities: Values) -> Flags:
    """Labels that are probably wrong, by confident learning (Northcutt et al. 2021) as cleanlab does it.

    ``probabilities`` (n, classes) must be out of sample.
    """
    from cleanlab.filter import find_label_issues

    issues = find_label_issues(labels=labels, pred_probs=probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
    return np.asarray(issues, dtype=np.bool_)
