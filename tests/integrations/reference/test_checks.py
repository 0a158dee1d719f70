"""Data held to expectations: what a good batch passes and a bad one does not."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pandera")

from integrations.reference import checks
from tests.integrations.reference.tiny import Tiny, points

pytestmark = pytest.mark.torch

STORY = Tiny()


@pytest.fixture(scope="module")
def expectations() -> checks.Expectations:
    return checks.learn(STORY, STORY.training(-24))


def failed(expectations, data, held_out=()) -> set[str]:
    return {one.name for one in checks.check(STORY, expectations, data, held_out).failed}


def test_later_batches_of_the_same_source_pass(expectations):
    checked = checks.check(STORY, expectations, STORY.training(-12), (STORY.validation(), STORY.test()))
    checks.gate(checked)
    assert (checked.status, checked.overlap, checked.failed) == ("passed", 0, ())
    assert checked.passed == len(checked.outcomes) == 11


def test_a_missing_value_an_unknown_class_and_a_shifted_feature_are_each_named(expectations):
    data = STORY.training(-20)
    holed, moved, named = data.x.copy(), data.x.copy(), data.y.copy()
    holed[0, 1], named[3] = np.nan, 9
    moved[:, 2] += 100
    assert "missing values" in failed(expectations, replace(data, x=holed))
    assert failed(expectations, replace(data, x=moved)) == {"rows with c out of range"}
    assert failed(expectations, replace(data, y=named)) == {"unknown classes"}


def test_a_class_that_has_vanished_is_a_failure(expectations):
    data = STORY.training(-20)
    assert failed(expectations, data.take(data.y == 1)) >= {"share of the rarest class"}


def test_rows_shared_with_held_out_data_are_counted(expectations):
    data = STORY.training(-20)
    shared = data.take(np.arange(7), "leaked")
    assert checks.overlap(data, (STORY.test(), shared)) == 7
    assert failed(expectations, data, (shared,)) == {"rows shared with held-out data"}


def test_copies_of_rows_are_counted_and_limited(expectations):
    data = STORY.training(-20)
    doubled = data.take(np.concatenate([np.arange(len(data)), np.arange(60)]))
    assert checks.duplicates(doubled) == 60
    assert failed(expectations, doubled) == {"share of copied rows"}


def test_the_gate_names_what_stopped_a_batch(expectations):
    checked = checks.check(STORY, expectations, checks.bad_batch(STORY.training(-20)))
    with pytest.raises(checks.BadBatchError, match="missing values: 1, expected 0"):
        checks.gate(checked)


def test_the_self_test_tells_whether_the_bad_batch_was_stopped(expectations):
    good = checks.self_test(STORY, expectations, STORY.training(-20))
    assert (good["bad_batch_injected"], good["status"]) == (True, "blocked")


def test_a_profile_counts_missing_values_ranges_and_classes():
    data = STORY.training(-24)
    found = checks.profile(STORY, data)
    assert (found["rows"], found["missing"], found["duplicates"]) == (200, 0, 0)
    assert found["class_balance"] == {"0": 0.5, "1": 0.5}
    assert found["ranges"]["a"]["low"] == pytest.approx(data.x[:, 0].min())


def test_the_version_of_expectations_changes_with_their_content(expectations):
    assert expectations.version == checks.learn(STORY, STORY.training(-24)).version
    assert expectations.version != checks.learn(STORY, STORY.training(-12)).version


def test_the_smallest_group_falls_back_to_slices_and_to_everything():
    data = points("some", 80, 1)
    assert checks.smallest_group(data) == 0.5
    without = replace(data, groups={}, slices={"few": np.arange(80) < 8})
    assert checks.smallest_group(without) == pytest.approx(0.1)
    assert checks.smallest_group(replace(without, slices={})) == 1.0
