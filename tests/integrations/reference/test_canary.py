import math

import numpy as np
import pytest

from integrations.reference.canary import ALPHA, brier, decide, detectable, evidence

RANDOM = np.random.default_rng(7)


def _answers(error: float, requests: int) -> np.ndarray:
    return (RANDOM.random(requests) < error).astype(np.float64)


def test_a_candidate_that_is_no_worse_is_hardly_ever_rolled_back() -> None:
    decisions = [decide(_answers(0.05, 1000), _answers(0.05, 1000)).decision for _ in range(200)]

    assert decisions.count("rollback") <= 200 * ALPHA * 3
    assert decisions.count("promote") >= 150


def test_a_candidate_worse_by_the_margin_is_hardly_ever_promoted() -> None:
    decisions = [decide(_answers(0.05, 1000), _answers(0.10, 1000)).decision for _ in range(200)]

    assert decisions.count("promote") <= 200 * ALPHA * 3
    assert decisions.count("rollback") >= 150


def test_looking_later_does_not_take_back_a_decision() -> None:
    champion, candidate = _answers(0.02, 3000), _answers(0.2, 3000)
    early = decide(champion[:800], candidate[:800])
    late = decide(champion, candidate)

    assert early.decision == "rollback"
    assert (late.decision, late.requests) == (early.decision, early.requests)


def test_too_few_requests_leave_it_undecided() -> None:
    verdict = decide(np.zeros(20), np.zeros(20))

    assert (verdict.decision, verdict.requests) == ("undecided", 20)
    assert verdict.metrics()["rollout/promoted"] == 0


def test_the_order_of_the_two_matters() -> None:
    better, worse = np.zeros(400), np.ones(400) * 0.5

    assert decide(better, worse).decision == "rollback"
    assert decide(worse, better).decision == "promote"


@pytest.mark.parametrize("losses", [np.array([]), np.array([1.5]), np.array([math.nan])])
def test_losses_outside_of_nought_to_one_are_refused(losses: np.ndarray) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        decide(losses, losses)


def test_more_requests_detect_a_smaller_rise() -> None:
    assert detectable(2000, 0.03) < detectable(200, 0.03) < 0.3
    assert detectable(3, 0.03) == math.inf


def test_the_loss_of_a_sure_answer_is_nought_or_one() -> None:
    probabilities = np.array([[1.0, 0.0], [0.5, 0.5]], np.float32)

    assert brier(probabilities, np.array([0, 0])).tolist() == [0.0, 0.25]
    assert brier(probabilities, np.array([1, 1])).tolist() == [1.0, 0.25]


def test_the_decision_falls_at_the_first_request_at_which_the_evidence_reaches_the_bound() -> None:
    champion, candidate = _answers(0.02, 3000), _answers(0.2, 3000)
    verdict = decide(champion, candidate)
    worse, safe = evidence(champion, candidate)
    assert worse[verdict.requests - 1] >= 1 / ALPHA
    assert max(worse[: verdict.requests - 1].max(), safe[: verdict.requests - 1].max()) < 1 / ALPHA
