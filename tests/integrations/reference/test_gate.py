import math

import pytest

from integrations.reference.gate import Rule, judge

RULES = (Rule("eval/accuracy", at_least=0.9), Rule("size/model_mb", at_most=1.0))


@pytest.mark.parametrize(
    ("metrics", "broken"),
    [
        ({"eval/accuracy": 0.9, "size/model_mb": 1.0}, 0),  # the limits themselves are allowed
        ({"eval/accuracy": 0.8999, "size/model_mb": 1.0}, 1),
        ({"eval/accuracy": 0.95, "size/model_mb": 1.2}, 1),
        ({"eval/accuracy": 0.95}, 1),  # not measured is not passed
        ({"eval/accuracy": math.nan, "size/model_mb": 1.0}, 1),
        ({"eval/accuracy": 0.95, "size/model_mb": math.nan}, 1),
        ({}, 2),
    ],
)
def test_a_gate_passes_only_when_every_rule_holds(metrics: dict[str, float], broken: int) -> None:
    verdict = judge("test-gate/3", RULES, metrics)
    assert len(verdict.broken) == broken
    assert verdict.passed == (broken == 0)
    assert verdict.status == ("failed" if broken else "passed")
    assert verdict.policy == "test-gate/3"


def test_a_verdict_says_which_number_broke_which_limit() -> None:
    verdict = judge("test-gate/3", RULES, {"eval/accuracy": 0.5, "size/model_mb": 0.1})
    assert verdict.broken == ("eval/accuracy is 0.5, below 0.9",)
