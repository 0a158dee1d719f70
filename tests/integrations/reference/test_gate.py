import math

import pytest

from integrations.reference.case import all_cases
from integrations.reference.gate import Policy, Rule, ServiceLevel, judge, load_policy

POLICY = Policy(
    id="test-gate",
    version=3,
    release=(Rule("eval/accuracy", at_least=0.9), Rule("size/model_mb", at_most=1.0)),
    challenger=(Rule("eval/delta_vs_champion_ci_low", at_least=0.0),),
    parity_tolerance=1e-4,
    service_level=ServiceLevel(latency_p95_ms=100.0, error_rate=0.01, availability=0.99),
    drift_psi=0.25,
    accuracy_drop=0.05,
)


@pytest.mark.parametrize(
    ("metrics", "challenger", "broken"),
    [
        ({"eval/accuracy": 0.9, "size/model_mb": 1.0}, False, 0),  # the limits themselves are allowed
        ({"eval/accuracy": 0.8999, "size/model_mb": 1.0}, False, 1),
        ({"eval/accuracy": 0.95, "size/model_mb": 1.2}, False, 1),
        ({"eval/accuracy": 0.95}, False, 1),  # not measured is not passed
        ({"eval/accuracy": math.nan, "size/model_mb": 1.0}, False, 1),
        ({"eval/accuracy": 0.95, "size/model_mb": math.nan}, False, 1),
        ({}, False, 2),
        ({"eval/accuracy": 0.95, "size/model_mb": 0.5}, True, 1),
        ({"eval/accuracy": 0.95, "size/model_mb": 0.5, "eval/delta_vs_champion_ci_low": 0.01}, True, 0),
        ({"eval/accuracy": 0.95, "size/model_mb": 0.5, "eval/delta_vs_champion_ci_low": -0.01}, True, 1),
    ],
)
def test_a_gate_passes_only_when_every_rule_holds(metrics: dict[str, float], challenger: bool, broken: int) -> None:
    verdict = judge(POLICY, metrics, challenger=challenger)
    assert len(verdict.broken) == broken
    assert verdict.passed == (broken == 0)
    assert verdict.status == ("failed" if broken else "passed")
    assert verdict.policy == "test-gate/3"


def test_a_verdict_says_which_number_broke_which_limit() -> None:
    assert judge(POLICY, {"eval/accuracy": 0.5, "size/model_mb": 0.1}).broken == ("eval/accuracy is 0.5, below 0.9",)


def test_every_case_has_a_readable_policy_with_rules_for_both_gates() -> None:
    for case in all_cases():
        policy = load_policy(case.policy_file)
        assert policy.release
        assert policy.challenger
        assert all((rule.at_least is None) != (rule.at_most is None) for rule in policy.release + policy.challenger)
