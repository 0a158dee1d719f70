import time

import numpy as np
import pytest

pytestmark = pytest.mark.torch
pytest.importorskip("torch")

from integrations.reference import latency  # noqa: E402

X = np.zeros((10, 3), np.float32)


def test_a_slower_model_is_measured_as_slower() -> None:
    def slow(rows: np.ndarray) -> np.ndarray:
        time.sleep(0.004)
        return rows

    quick = latency.measure(lambda rows: rows, X, requests=20, seconds=0.01)
    seen = latency.measure(slow, X, requests=20, seconds=0.01)

    assert 4 <= seen.latency_p50_ms <= seen.latency_p95_ms
    assert quick.latency_p50_ms < seen.latency_p50_ms
    assert seen.throughput_rps <= latency.BATCH / 0.004
    assert seen.metrics()["perf/requests"] == 20


def test_nothing_to_ask_for_is_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        latency.measure(lambda rows: rows, X[:0])


def test_a_target_names_its_threads() -> None:
    assert latency.hardware(1).endswith("1 thread")
    assert latency.hardware(2).endswith("2 threads")
