"""Agreement of readers against textbook values, theory and what stated error rates must give."""

import numpy as np
import pytest

pytest.importorskip("torch")

from integrations.reference import readers
from integrations.reference.readers import Reader

pytestmark = pytest.mark.torch


def panel(rate: float) -> list[Reader]:
    return [Reader(f"reader-{number}", rate) for number in range(3)]


def test_fleiss_kappa_is_that_of_the_example_in_the_literature():
    counts = [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1]]
    counts += [[7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]]
    assert readers.fleiss(np.array(counts)) == pytest.approx(0.210, abs=0.0005)


def test_krippendorffs_alpha_is_that_of_the_example_in_the_literature():
    units = ["aa", "ab", "bb", "bb", "bb", "bb", "bb", "ab", "aa", "bb"]  # nominal, two observers, no missing values
    counts = np.array([[unit.count("a"), unit.count("b")] for unit in units])
    by_hand = 1 - (20 - 1) * 4 / (2 * 6 * 14)  # 1 - (n-1) * observed disagreements / (2 * n_a * n_b)
    assert readers.krippendorff(counts) == pytest.approx(by_hand)


def test_agreement_of_binary_readers_is_what_their_error_rate_implies():
    truth = np.arange(20_000) % 2
    counts = readers.counts_of(readers.vote(truth, 2, panel(0.07), seed=1), 2)
    assert readers.fleiss(counts) == pytest.approx((2 * 0.93 - 1) ** 2, abs=0.02)
    assert readers.krippendorff(counts) == pytest.approx(readers.fleiss(counts), abs=0.01)


def test_the_interval_holds_the_value_and_narrows_with_more_items():
    widths = []
    for items in (100, 1600):
        counts = readers.counts_of(readers.vote(np.arange(items) % 4, 4, panel(0.1), seed=2), 4)
        low, high = readers.interval(readers.fleiss, counts)
        assert low < readers.fleiss(counts) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_everyone_agreeing_on_one_class_gives_no_agreement_beyond_chance():
    assert np.isnan(readers.fleiss(np.array([[3, 0], [3, 0]])))


def test_a_majority_decides_and_the_senior_reader_decides_ties_while_votes_stay():
    votes = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 2]])
    before = votes.copy()
    consensus, disputed = readers.adjudicated(votes, 3, np.array([2, 2, 2]))
    assert consensus.tolist() == [0, 0, 2]
    assert disputed.tolist() == [False, True, True]
    assert (votes == before).all()


def test_gold_items_give_each_readers_accuracy():
    gold = np.zeros(1000, dtype=np.int64)
    people = [Reader("good", 0.0), Reader("bad", 0.3)]
    assert readers.accuracies(readers.vote(gold, 5, people, seed=3), gold) == pytest.approx([1.0, 0.7], abs=0.05)


def test_limits_of_an_error_rate_are_wilsons():
    assert readers.error_limits(0, 100) == pytest.approx((0.0, 0.0370), abs=1e-4)
    assert readers.error_limits(5, 100) == pytest.approx((0.0215, 0.1118), abs=1e-4)
    with pytest.raises(ValueError, match="at least one"):
        readers.error_limits(0, 0)


def test_flipped_labels_are_found_with_models_that_have_not_seen_them():
    draw = np.random.default_rng(0)
    truth = np.arange(600) % 3
    x = draw.normal(size=600) * 0.3 + truth
    labels = truth.copy()
    flipped = draw.choice(600, 40, replace=False)
    labels[flipped] = (labels[flipped] + 1) % 3

    def learn(rows, held):
        centres = np.array([np.median(x[rows][labels[rows] == number]) for number in range(3)])
        closeness = np.exp(-8 * (x[held, None] - centres) ** 2)
        return closeness / closeness.sum(axis=1, keepdims=True)

    found = np.flatnonzero(readers.suspects(labels, readers.out_of_sample(600, 3, learn)))
    hits = len(set(found) & set(flipped))
    assert hits / len(found) > 0.6
    assert hits / 40 > 0.6


def test_every_row_is_held_out_once():
    parts = readers.folds(10, 3)
    assert sorted(np.concatenate(parts).tolist()) == list(range(10))
