"""Whether the watch tells a changed feature from an unchanged one, and its alerts learn from what came of them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from integrations.reference import watching
from integrations.reference.watching import Reading, Rule


@pytest.fixture
def usual():
    return {"age": np.random.default_rng(0).normal(40, 10, 2000), "sum": np.random.default_rng(1).exponential(5, 2000)}


def test_only_the_feature_that_moved_is_said_to_drift(usual) -> None:
    moved = {**usual, "age": usual["age"] + 8}
    found = {one.feature: one for one in watching.findings(usual, moved, {"age": 0.25, "sum": 0.25})}
    assert found["age"].verdict == "drift"
    assert found["age"].statistic > 0.25
    assert found["sum"].verdict == "stable"
    assert found["sum"].statistic == 0.0


def test_a_finding_says_all_that_a_drift_report_asks_of_a_row(usual) -> None:
    row = watching.findings(usual, usual, {"age": 0.25})[0].row()
    assert row == {"feature": "age", "statistic": 0.0, "ks": 0.0, "threshold": 0.25, "verdict": "stable"}


def test_skew_is_measured_in_standard_deviations_of_the_feature() -> None:
    trained = {"x": np.array([0.0, 2.0]), "constant": np.array([3.0, 3.0])}
    served = {"x": np.array([0.0, 3.0]), "constant": np.array([3.0, 3.5])}
    assert watching.skew(trained, served) == {"x": 1.0, "constant": 0.5}


def test_a_feed_with_holes_is_seen() -> None:
    assert watching.missing_share([[1.0, np.nan], [np.inf, 2.0]]) == 0.5
    assert watching.missing_share([[1.0, 2.0]]) == 0.0


def test_a_changed_and_a_removed_dependency_are_counted() -> None:
    pinned = "# made by hand\nnumpy==2.0.0\nScipy==1.1 ; python_version > '3'\ntorch==2.0\nloose>=1\n"
    assert watching.changed_dependencies(pinned, {"numpy": "2.0.0", "scipy": "1.2"}) == 2


def test_windows_hold_every_row_once_in_order() -> None:
    parts = watching.windows(10, 3)
    assert [len(part) for part in parts] == [4, 3, 3]
    assert np.concatenate(parts).tolist() == list(range(10))
    with pytest.raises(ValueError, match="2 rows cannot be cut into 3"):
        watching.windows(2, 3)


def test_a_natural_threshold_lets_the_declared_share_of_unchanged_windows_through(usual) -> None:
    threshold = watching.natural_thresholds(usual, 50, share=0.1)["age"]
    generator = np.random.default_rng(7)
    drawn = [{"age": generator.choice(usual["age"], 50)} for _ in range(400)]
    over = [watching.findings(usual, one, {"age": threshold})[0].verdict == "drift" for one in drawn]
    assert 0.05 < np.mean(over) < 0.16


def _readings(pairs):
    return [Reading("age", -5.0 + place / 10, value, useful) for place, (value, useful) in enumerate(pairs)]


def test_precision_is_the_share_of_alerts_that_called_for_something() -> None:
    raised = watching.alerts(_readings([(0.1, True), (0.3, True), (0.4, False)]), {"age": 0.2})
    assert watching.precision(raised) == 0.5
    with pytest.raises(ValueError, match="no alert"):
        watching.precision([])


def test_recalibration_raises_a_threshold_just_above_the_useless_alerts() -> None:
    past = _readings([(0.9, True), (0.8, True), (0.5, False), (0.4, False), (0.1, False)])
    new = watching.recalibrated(past, {"age": 0.2}, target=0.9)
    assert new["age"] == pytest.approx(0.65)
    assert watching.precision(watching.alerts(past, new)) == 1.0


def test_recalibration_leaves_a_rule_alone_whose_alerts_were_all_useful() -> None:
    past = _readings([(0.9, True), (0.5, True), (0.1, False)])
    assert 0.2 <= watching.recalibrated(past, {"age": 0.2}, target=0.9)["age"] < 0.5


def test_a_rule_that_was_never_useful_alerts_only_beyond_all_it_has_seen() -> None:
    past = _readings([(0.9, False), (0.5, False)])
    new = watching.recalibrated(past, {"age": 0.2}, target=0.9)
    assert watching.alerts(past, new) == []
    assert watching.alerts(_readings([(0.91, False)]), new) != []


def test_a_troubled_week_without_an_alert_is_missed() -> None:
    seen = watching.judged(
        [Reading("age", -3.0, 0.1), Reading("age", -1.5, 0.5), Reading("age", -0.8, 0.1)],
        {-3: True, -2: False, -1: False},
    )
    assert watching.missed(seen, {"age": 0.2}) == [-3]
    assert watching.missed(seen, {"age": 0.2}) != watching.missed(seen, {"age": 0.05})


def test_an_alert_rule_names_threshold_and_owner() -> None:
    assert Rule("drift_age", 0.25, "data-oncall").params() == {
        "alert.drift_age.threshold": "0.25",
        "alert.drift_age.owner": "data-oncall",
    }


@pytest.mark.parametrize(
    ("raised", "decided"),
    [
        ("2026-03-02T00:00", "2026-03-02T09:00"),  # Monday
        ("2026-03-02T09:00", "2026-03-02T09:00"),
        ("2026-03-02T09:01", "2026-03-03T09:00"),
        ("2026-03-06T12:00", "2026-03-09T09:00"),  # Friday noon
    ],
)
def test_the_on_call_round_is_held_on_working_mornings(raised, decided) -> None:
    moment = datetime.fromisoformat(raised).replace(tzinfo=UTC)
    assert watching.next_round(moment) == datetime.fromisoformat(decided).replace(tzinfo=UTC)
