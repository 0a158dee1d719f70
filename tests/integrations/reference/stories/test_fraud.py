from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from integrations.reference.engine import fit, logits  # noqa: E402 -- needs torch
from integrations.reference.stories.fraud import STORY, TEST_WEEKS, Fraud, auc  # noqa: E402
from integrations.reference.stories.payment_features import FEATURES, features, scaled  # noqa: E402
from integrations.reference.stories.transactions import (  # noqa: E402
    DAY,
    FIRST_WEEK,
    WEEK,
    Setting,
    generate,
    second_of,
)

pytestmark = pytest.mark.torch

SMALL = Setting(customers=300, terminals=60, weeks=12, skimmed_per_day=0.4, stolen_per_day=0.8)


@pytest.fixture(scope="module")
def story() -> Fraud:
    return STORY


def test_the_same_setting_gives_the_same_payments_and_another_seed_others() -> None:
    one, again, other = generate(SMALL), generate(SMALL), generate(replace(SMALL, seed=1))
    assert np.array_equal(one.cents, again.cents)
    assert len(other) != len(one) or not np.array_equal(other.cents, one.cents)
    assert (np.diff(one.at) >= 0).all()
    assert set(np.unique(one.scenario)) == {0, 1, 2, 3}


def test_a_feature_does_not_change_when_the_future_does() -> None:
    payments = generate(SMALL)
    half = len(payments) // 2
    rows = np.arange(0, half, 7)
    cut = replace(
        payments,
        **{
            name: getattr(payments, name)[:half]
            for name in ("at", "customer", "terminal", "cents", "distance_km", "scenario")
        },
    )
    assert np.array_equal(features(payments, rows), features(cut, rows))


def test_fraud_of_the_last_seven_days_is_not_known_yet() -> None:
    payments = generate(SMALL)
    rows = np.flatnonzero(payments.at > 60 * DAY)
    now = int(payments.at[rows[0]])
    hidden = payments.scenario.copy()
    hidden[payments.at >= now - 7 * DAY] = 0
    known, blind = features(payments, rows[:1]), features(replace(payments, scenario=hidden), rows[:1])
    assert np.array_equal(known, blind)
    everything = features(payments, rows)
    assert everything[:, FEATURES.index("terminal_risk_7d")].max() > 0


def test_customer_windows_count_what_a_plain_loop_counts() -> None:
    payments = generate(SMALL)
    row = len(payments) - 10
    now, who = payments.at[row], payments.customer[row]
    before = np.arange(len(payments)) < row
    mine = before & (payments.customer == who) & (payments.at >= now - 7 * DAY)
    found = dict(zip(FEATURES, features(payments, np.array([row]))[0], strict=True))
    assert found["customer_count_7d"] == mine.sum()
    assert found["customer_mean_eur_7d"] == pytest.approx(payments.cents[mine].mean() / 100 if mine.any() else 0)


def test_training_knows_only_payments_whose_chargebacks_had_a_week_to_come(story: Fraud) -> None:
    training = story.training(-15.0)
    assert training.until == -16.0
    known = story.sample
    last = known.payments.at[known.rows][(known.part == 0) & (known.week < -16.0)].max()
    assert last < second_of(-15.0) - WEEK
    assert second_of(FIRST_WEEK) == 0


def test_the_test_set_shares_no_row_with_training_validation_or_traffic(story: Fraud) -> None:
    test = set(story.test().row_hashes())
    assert len(test) == len(story.test())
    others = (story.training(-24.0), story.training(-11.4), story.training(-5.0), story.validation())
    streams = [story.stream(week) for week in range(-12, -7)]
    for data in (*others, *streams):
        assert not test & set(data.row_hashes())
    assert not set(story.validation().row_hashes()) & set(story.training(-11.4).row_hashes())
    assert TEST_WEEKS[0] >= story.training(-11.4).until


def test_slices_and_groups_hold_both_classes(story: Fraud) -> None:
    test = story.test()
    assert len(test.slices) >= 3
    assert test.slices["hard_cases"].sum() >= 30
    for marks in (*test.slices.values(), *test.groups.values()):
        assert set(test.y[marks]) == {0, 1}


def test_every_week_of_traffic_has_enough_fraud_to_measure_ranking(story: Fraud) -> None:
    for week in range(-25, 0):
        traffic = story.stream(week)
        assert len(traffic) >= 200
        assert traffic.y.sum() >= 100


def test_inputs_drift_in_the_declared_weeks_and_in_no_other(story: Fraud) -> None:
    from integrations.reference.monitor import drift

    reference = story.features(story.training(-11.4).x)
    for week in range(-11, 0):
        changes = drift(reference, story.features(story.stream(week).x))
        furthest = max(change.psi for change in changes.values())
        assert furthest > 0.25 if week in story.drift_weeks else furthest < 0.15, (week, furthest)


def test_serving_prepares_rows_as_training_does(story: Fraud) -> None:
    rows = 50
    assert np.array_equal(story.prepare(story.raw(rows)), story.test().x[:rows])
    assert np.abs(scaled(np.full((1, len(FEATURES)), 1e9))).max() <= 6


def test_a_later_training_ranks_the_present_better_than_an_early_one(story: Fraud) -> None:
    validation, test, found = story.validation(), story.test(), []
    for week in (-23.4, -11.4):
        data = story.training(week)
        network = fit(story.recipe, story.build, data.x, data.y, validation.x, validation.y).model
        found.append(story.score(test.y, logits(network, test.x)))
    assert found[1] > found[0] + 0.1
    assert found[1] > 0.85


def test_the_area_under_the_curve_counts_pairs() -> None:
    y, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.4, 0.9])
    assert auc(y, scores) == pytest.approx(3.5 / 4)
    assert np.isnan(auc(np.zeros(3, dtype=np.int64), np.zeros(3)))


def test_each_stress_changes_inputs_and_nothing_else(story: Fraud) -> None:
    for stress in story.stresses:
        data = story.stressed(stress)
        assert np.array_equal(data.y, story.test().y)
        assert not np.array_equal(data.x, story.test().x)
