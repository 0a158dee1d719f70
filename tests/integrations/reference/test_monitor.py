import numpy as np
import pytest

from integrations.reference.monitor import (
    drift,
    drift_metrics,
    kolmogorov_smirnov,
    population_stability_index,
)

RANDOM = np.random.default_rng(4)
NORMAL = RANDOM.normal(size=800)


def test_a_population_does_not_drift_from_itself() -> None:
    assert population_stability_index(NORMAL, NORMAL) == 0.0
    assert kolmogorov_smirnov(NORMAL, NORMAL) == 0.0


@pytest.mark.parametrize(("move", "low", "high"), [(0.0, 0.0, 0.1), (0.3, 0.03, 0.25), (1.0, 0.5, 2.0)])
def test_the_index_grows_with_the_move(move: float, low: float, high: float) -> None:
    assert low <= population_stability_index(NORMAL, RANDOM.normal(size=400) + move) <= high


def test_an_emptied_bin_gives_a_large_and_finite_index() -> None:
    assert 4 < population_stability_index(NORMAL, NORMAL + 100) < 10


def test_a_constant_feature_is_no_drift_until_it_changes() -> None:
    assert population_stability_index(np.zeros(50), np.zeros(30)) == 0.0
    assert population_stability_index(np.zeros(50), -np.ones(30)) > 1


def test_the_index_follows_its_formula_by_hand() -> None:
    reference, current = [1, 2, 3, 4], [1, 1, 1, 4]  # one edge at the median 2.5: shares 2/4, 2/4 and 3/4, 1/4
    expected = 0.25 * np.log(0.75 / 0.5) + (-0.25) * np.log(0.25 / 0.5)
    assert population_stability_index(reference, current, bins=2) == pytest.approx(expected)


def test_the_statistic_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    other = RANDOM.normal(0.4, 1.3, size=333)
    assert kolmogorov_smirnov(NORMAL, other) == pytest.approx(stats.ks_2samp(NORMAL, other).statistic)


def test_the_largest_index_of_all_features_is_told_beside_each() -> None:
    same, other = {"a": NORMAL, "b": NORMAL}, {"a": NORMAL, "b": NORMAL + 1}
    metrics = drift_metrics(drift(same, other))
    assert metrics["drift/a"] == 0.0
    assert metrics["drift/max"] == metrics["drift/b"] > 0.5
    assert metrics["drift/b/ks"] > 0.3
