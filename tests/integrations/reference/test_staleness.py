"""Whether the loss of a frozen model by age, and the limit drawn from it, are what the observations say."""

from __future__ import annotations

import pytest

from integrations.reference import staleness
from integrations.reference.staleness import Band, Point

pytestmark = pytest.mark.torch


def _bands(*losses, weeks=4):
    return [Band(28 * place, 28 * place + 28, loss, loss, loss, weeks) for place, loss in enumerate(losses)]


def test_a_model_is_held_against_its_own_first_weeks() -> None:
    quality = {1.0: 0.9, 8.0: 0.9, 15.0: 0.8, 22.0: 0.8, 90.0: 0.75}
    losses = {point.age_days: point.loss for point in staleness.points(quality)}
    assert losses[90.0] == pytest.approx(0.1)
    assert losses[1.0] == pytest.approx(-0.05)


def test_one_age_tells_nothing() -> None:
    assert staleness.points({3.0: 0.9}) == []


def test_losses_are_averaged_within_a_band_of_ages() -> None:
    found = staleness.bands([Point(3, 0.0), Point(27.9, 0.02), Point(28, 0.1), Point(90, 0.3)])
    assert [(band.from_days, band.weeks) for band in found] == [(0, 2), (28, 1), (84, 1)]
    assert found[0].loss == pytest.approx(0.01)
    assert found[0].low <= found[0].loss <= found[0].high


def test_the_limit_is_the_last_band_in_unbroken_order_that_is_good_enough() -> None:
    assert staleness.limit_days(_bands(0.0, 0.01, 0.05, 0.0), tolerance=0.02) == 56
    assert staleness.limit_days(_bands(0.05), tolerance=0.02) == 0
    assert staleness.limit_days([], tolerance=0.02) == 0


def test_a_gap_between_bands_ends_the_limit() -> None:
    first, _, third = _bands(0.0, 0.0, 0.0)
    assert staleness.limit_days([first, third], tolerance=0.02) == 28


def test_a_band_with_too_few_weeks_carries_no_limit() -> None:
    assert staleness.limit_days([*_bands(0.0), *_bands(0.0, 0.0, weeks=2)[1:]], tolerance=0.02) == 28
