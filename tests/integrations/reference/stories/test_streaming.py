import numpy as np
import pytest

pytest.importorskip("torch")

from integrations.reference.stories.payment_features import features
from integrations.reference.stories.streaming import FeatureHistory, FeatureStream, as_rows, stream
from integrations.reference.stories.transactions import Payments, Setting, generate

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def payments() -> Payments:
    # Few terminals, so that windows let go of what is past.
    return generate(Setting(customers=250, terminals=12, weeks=12, skimmed_per_day=0.2, stolen_per_day=0.8))


def _fresh(payments: Payments) -> FeatureStream:
    state = FeatureStream()
    state.charge_back(np.flatnonzero(payments.fraud).tolist())
    return state


def test_streamed_features_equal_those_of_the_whole_table_bit_by_bit(payments: Payments) -> None:
    state = _fresh(payments)
    streamed = as_rows(state.take(payment) for payment in stream(payments))
    assert np.array_equal(streamed, features(payments, np.arange(len(payments))))
    kept = sum(len(terminal.paid.at) for terminal in state.terminals.values())
    assert kept < 0.8 * len(payments)  # the state forgets what no window needs


def test_the_naive_way_gives_the_same_rows(payments: Payments) -> None:
    history = FeatureHistory(payments)
    picked = np.random.default_rng(0).integers(0, len(payments), 12)
    naive = as_rows(history.row(next(stream(payments, place, place + 1))) for place in picked)
    assert np.array_equal(naive, features(payments, picked))


def test_a_replay_after_a_crash_counts_every_payment_exactly_once(payments: Payments) -> None:
    state = _fresh(payments)
    rows = [state.take(payment) for payment in stream(payments, 0, 3000)]
    kept = state.snapshot()
    for payment in stream(payments, 3000, 3500):
        state.take(payment)  # this work is lost in the crash
    replayed = [kept.take(payment) for payment in stream(payments, 2500, 4000)]
    assert replayed[:500] == [None] * 500  # seen before the snapshot: not applied again
    whole = as_rows([*rows, *replayed[500:]])
    assert np.array_equal(whole, features(payments, np.arange(4000)))


def test_a_gap_in_the_stream_is_an_error(payments: Payments) -> None:
    state = _fresh(payments)
    state.take(next(stream(payments, 0, 1)))
    with pytest.raises(ValueError, match="some are missing"):
        state.take(next(stream(payments, 2, 3)))
