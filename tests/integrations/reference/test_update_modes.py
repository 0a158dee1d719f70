import numpy as np
import pytest

pytest.importorskip("torch")

from integrations.reference.stories.fraud import Fraud
from integrations.reference.stories.transactions import Setting
from integrations.reference.update_modes import MODES, Week, compare, false_positives

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def rows() -> list[Week]:
    story = Fraud(Setting(customers=2000, terminals=400, skimmed_per_day=0.5, stolen_per_day=2.0))
    return compare(story, weeks=range(-22, -9), every=4)


def test_every_mode_is_judged_on_the_same_weeks(rows: list[Week]) -> None:
    weeks = {mode: [(row.week, row.rows) for row in rows if row.mode == mode] for mode in MODES}
    assert all(found == weeks["static"] for found in weeks.values())
    assert [week for week, _ in weeks["static"]] == list(range(-22, -9))


def test_all_modes_begin_with_the_same_model(rows: list[Week]) -> None:
    assert len({row.metric for row in rows if row.week in (-22,)}) == 1
    assert {row.updates for row in rows if row.mode == "static"} == {0}
    assert max(row.updates for row in rows if row.mode == "sliding") == 3


def test_the_window_of_full_updates_grows_and_that_of_sliding_ones_does_not(rows: list[Week]) -> None:
    days = {mode: [row.window_days for row in rows if row.mode == mode] for mode in ("full", "sliding")}
    assert set(days["sliding"]) == {28}
    assert days["full"] == sorted(days["full"])
    assert days["full"][-1] > 28


def test_an_adapting_model_raises_fewer_false_alarms_than_a_static_one(rows: list[Week]) -> None:
    late = {mode: sum(row.false_positives for row in rows if row.mode == mode and row.week > -16) for mode in MODES}
    assert late["sliding"] < 0.58 * late["static"]


def test_false_positives_are_counted_at_the_score_that_reaches_the_recall() -> None:
    y = np.array([1, 1, 1, 1, 0, 0, 0])
    answer = np.stack([np.zeros(7), np.array([9, 8, 5, 1, 8.5, 5, 2])], axis=1).astype(np.float32)
    assert false_positives(y, answer, 0.5) == 1  # two of four positives score 8 or more
    assert false_positives(y, answer, 0.75) == 2
    assert false_positives(y, answer, 1.0) == 3


def test_an_unknown_mode_is_an_error() -> None:
    with pytest.raises(ValueError, match="no update mode"):
        compare(Fraud(), modes=("static", "magic"))
