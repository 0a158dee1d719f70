from pathlib import Path

import numpy as np
import pytest

from integrations.reference.canary import decide
from integrations.reference.lifecycle import load_lifecycle

POLICY = load_lifecycle()


def test_a_candidate_found_safe_is_promoted() -> None:
    assert POLICY.action(decide(np.full(500, 0.1), np.zeros(500))) == "promote"


def test_a_candidate_found_worse_is_rolled_back() -> None:
    assert POLICY.action(decide(np.zeros(500), np.full(500, 0.6))) == "rollback"


@pytest.mark.parametrize(("loss", "action"), [(0.04, "promote"), (0.5, "rollback")])
def test_an_undecided_test_promotes_only_what_lost_little_more(loss: float, action: str) -> None:
    verdict = decide(np.zeros(4), np.full(4, loss))

    assert verdict.decision == "undecided"
    assert POLICY.action(verdict) == action


def test_a_decision_names_policy_version_and_rule() -> None:
    assert POLICY.rule("promote") == f"lifecycle/{POLICY.version}:promote"


def test_a_policy_without_a_rule_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("id: lifecycle\nversion: 1\npromote: {decisions: [promote], delta_at_most: 0.1}\n")
    with pytest.raises(KeyError):
        load_lifecycle(file)
