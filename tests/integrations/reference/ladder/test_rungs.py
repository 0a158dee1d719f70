"""Which practices are done at a step, and when things happen."""

import pytest

from integrations.reference.ladder.calendar import LAST_RELEASE, WEEKS, Calendar, iso, release_weeks
from integrations.reference.ladder.rungs import STEPS, Rungs, level_of
from maturity.schema import load_model

NOW = 1_795_500_000_000  # a Tuesday


def test_the_level_of_a_practice_is_the_middle_number_of_its_id():
    assert all(level_of(practice.id) == practice.level for practice in load_model().practices.values())


@pytest.mark.parametrize("wrong", ["DG1", "DG1.6.1", "DG1.2.1/1", "dg1.2.1", ""])
def test_what_is_no_practice_is_refused(wrong):
    with pytest.raises(ValueError, match="no practice"):
        level_of(wrong)


def test_a_step_does_its_level_and_all_below_but_not_the_broken_rung():
    rungs = Rungs.to(3, ["DG2.3.1"])
    assert "DG2.1.1" in rungs
    assert "DG2.3.2" in rungs
    assert "DG2.3.1" not in rungs
    assert "DG2.4.1" not in rungs


def test_there_are_five_steps_and_no_other():
    assert STEPS == (1, 2, 3, 4, 5)
    with pytest.raises(ValueError, match="no step 6"):
        Rungs.to(6)


def test_the_calendar_ends_with_the_last_monday_and_never_after_now():
    calendar = Calendar(NOW)
    assert calendar.end.weekday() == 0
    assert 0 <= NOW / 1000 - calendar.end.timestamp() < 7 * 86_400
    assert calendar.at(5) == NOW
    assert calendar.text(-1) == iso(calendar.at(-1))


@pytest.mark.parametrize("weekday", range(7))
def test_the_whole_calendar_lies_in_the_window_of_the_model_even_if_collected_a_day_later(weekday):
    window, day = load_model().parameters.window_days, 86_400_000
    now = NOW + weekday * day
    assert now + day - Calendar(now).at(-WEEKS) < window * day


def test_every_step_releases_in_weeks_of_the_highest_and_last_in_the_same():
    for step in STEPS:
        assert set(release_weeks(step)) <= set(release_weeks(STEPS[-1]))
        assert release_weeks(step)[-1] == LAST_RELEASE


def test_projects_take_turns_by_the_minute():
    assert Calendar(NOW, turn=2).at(-3) - Calendar(NOW).at(-3) == 2 * 60_000
