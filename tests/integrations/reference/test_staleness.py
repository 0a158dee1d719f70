"""Whether loss and lead of a frozen model by age, and the limit drawn from them, are what the observations say."""

from __future__ import annotations

import pytest

from integrations.reference import staleness
from integrations.reference.staleness import Band, Interval, Point

pytestmark = pytest.mark.torch


def _bands(*lows: float, weeks: int = 4) -> list[Band]:
    lead = [Interval(low + 0.1, low, low + 0.2) for low in lows]
    return [Band(28 * place, 28 * place + 28, 0.0, one, weeks) for place, one in enumerate(lead)]


def test_a_model_is_held_against_its_own_first_weeks_and_against_the_baseline() -> None:
    quality = {1.0: (0.9, 0.5), 8.0: (0.9, 0.5), 15.0: (0.8, 0.5), 22.0: (0.8, 0.5), 90.0: (0.75, 0.6)}
    found = {point.age_days: point for point in staleness.points(quality)}
    assert found[90.0].loss == pytest.approx(0.1)
    assert found[90.0].lead == pytest.approx(0.15)
    assert found[1.0].loss == pytest.approx(-0.05)


def test_one_age_tells_nothing() -> None:
    assert staleness.points({3.0: (0.9, 0.5)}) == []


def test_points_are_averaged_within_a_band_of_ages() -> None:
    found = staleness.bands([Point(3, 0.0, 0.3), Point(27.9, 0.02, 0.1), Point(28, 0.1, 0.1), Point(90, 0.3, 0.1)])
    assert [(band.from_days, band.weeks) for band in found] == [(0, 2), (28, 1), (84, 1)]
    assert found[0].loss == pytest.approx(0.01)
    assert found[0].lead.mean == pytest.approx(0.2)
    assert found[0].lead.low == pytest.approx(0.1)


def test_the_limit_is_the_last_band_in_unbroken_order_with_a_lead_for_certain() -> None:
    assert staleness.limit_days(_bands(0.1, 0.01, -0.05, 0.2)) == 56
    assert staleness.limit_days(_bands(-0.01)) == 0
    assert staleness.limit_days([]) == 0


def test_a_gap_between_bands_ends_the_limit() -> None:
    first, _, third = _bands(0.1, 0.1, 0.1)
    assert staleness.limit_days([first, third]) == 28


def test_a_band_with_too_few_weeks_carries_no_limit() -> None:
    assert staleness.limit_days([*_bands(0.1), *_bands(0.1, 0.1, weeks=2)[1:]]) == 28
