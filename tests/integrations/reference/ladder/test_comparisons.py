"""Whether before and after are compared as the definition of the delivery metrics has it."""

from __future__ import annotations

import pytest

from integrations.reference.ladder.comparisons import Delivery, compared, fail_rate, periods, ratio_of_medians


def test_the_ratio_of_medians_and_its_interval_are_those_of_the_worked_example() -> None:
    ratio = ratio_of_medians([28, 24, 31, 22, 26, 35, 27, 25], [9, 7, 8, 12, 6, 8, 10, 8])
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((0.3019, 0.2581, 0.38), abs=5e-5)


def test_a_change_that_could_be_chance_has_an_interval_around_one() -> None:
    ratio = ratio_of_medians([26, 14, 30, 12, 22], [20, 11, 25, 9, 18])
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((0.8182, 0.3667, 1.6667), abs=5e-5)


@pytest.mark.parametrize(("before", "after"), [([], [1]), ([1], []), ([0], [1])])
def test_without_lead_times_there_is_nothing_to_compare(before, after) -> None:
    with pytest.raises(ValueError, match="above 0"):
        ratio_of_medians(before, after)


def test_a_new_period_begins_with_the_release_of_the_change() -> None:
    deliveries = [Delivery(at, 1.0) for at in (30, 10, 20, 40)]
    parts = periods(deliveries, [20, 40])
    assert [[one.live_at for one in part] for part in parts] == [[10], [20, 30], [40]]


def test_a_comparison_keeps_both_sides_with_their_failures() -> None:
    before = [Delivery(at, 4.0, failed=at == 1) for at in range(5)]
    after = [Delivery(10 + at, 2.0) for at in range(6)]
    row = compared("first", before, after)
    assert row["ratio"] == row["ratio_low"] == row["ratio_high"] == 0.5
    assert (row["n_before"], row["n_after"], row["closed_at"], row["metric"]) == (5, 6, 15, "lead_time")
    assert (row["fail_before"], row["fail_after"]) == (0.2, 0.0)


def test_the_change_fail_rate_is_the_share_of_failed_deliveries() -> None:
    assert fail_rate([Delivery(1, 1.0, failed=True), Delivery(2, 1.0), Delivery(3, 1.0), Delivery(4, 1.0)]) == 0.25
