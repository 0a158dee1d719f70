from dataclasses import replace

import numpy as np
import pytest

from integrations.reference.case import Disturbance, find_case
from integrations.reference.data import Split, Splits, check, class_shares, disturb, load_splits, overlap

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def splits() -> Splits:
    return load_splits(find_case("digits"))


def test_no_image_is_in_two_splits(splits: Splits) -> None:
    parts = (splits.train, splits.validation, splits.test, *splits.windows)
    rows = [row for part in parts for row in part.row_hashes()]
    assert len(rows) == len(set(rows)) == 1797


def test_every_split_holds_every_class_and_has_its_own_digest(splits: Splits) -> None:
    parts = (splits.train, splits.validation, splits.test, *splits.windows)
    assert all(class_shares(part).min() > 0.08 for part in parts)
    assert len({part.digest for part in parts}) == len(parts)


def test_the_same_seed_draws_the_same_splits_and_another_seed_others(splits: Splits) -> None:
    case = find_case("digits")
    assert load_splits(case).train.sha256 == splits.train.sha256
    assert load_splits(replace(case, split_seed=21)).train.sha256 != splits.train.sha256


def test_bundled_data_meet_every_expectation(splits: Splits) -> None:
    report = check(splits)
    assert report.status == "passed"
    assert report.metrics()["dq/expectations_passed"] == len(report.expectations)
    assert report.train_eval_overlap == 0
    assert report.smallest_class_share == pytest.approx(class_shares(splits.train).min())


def _leaking(splits: Splits) -> Splits:
    images = np.concatenate([splits.test.images[:2], splits.train.images])
    labels = np.concatenate([splits.test.labels[:2], splits.train.labels])
    return replace(splits, train=Split("train", images, labels))


def _missing(splits: Splits) -> Splits:
    images = splits.train.images.copy()
    images[0, 0, 3, 3] = np.nan
    return replace(splits, train=Split("train", images, splits.train.labels))


def _too_bright(splits: Splits) -> Splits:
    return replace(splits, test=Split("test", splits.test.images * 16, splits.test.labels))


def _rare_class(splits: Splits) -> Splits:
    kept = np.flatnonzero(splits.train.labels != 3).tolist() + np.flatnonzero(splits.train.labels == 3)[:5].tolist()
    return replace(splits, train=Split("train", splits.train.images[kept], splits.train.labels[kept]))


@pytest.mark.parametrize(
    ("spoil", "expectation"),
    [
        (_leaking, "images shared by training and held-out data"),
        (_missing, "missing values"),
        (_too_bright, "values outside 0 to 1"),
        (_rare_class, "smallest class share"),
    ],
)
def test_spoilt_data_fail_the_expectation_about_it(splits: Splits, spoil, expectation: str) -> None:
    report = check(spoil(splits))
    assert [failed.name for failed in report.failed] == [expectation]
    assert report.status == "failed"
    assert report.metrics()["dq/expectations_failed"] == 1


def test_overlap_counts_images_whatever_their_label(splits: Splits) -> None:
    relabelled = Split("copy", splits.train.images[:3], (splits.train.labels[:3] + 1) % 10)
    assert overlap(splits.train, [relabelled]) == 3


def test_a_disturbed_image_is_moved_dimmed_and_black_where_nothing_was() -> None:
    image = np.zeros((1, 1, 8, 8), dtype=np.float32)
    image[0, 0, 0, 7], image[0, 0, 4, 4] = 1.0, 0.5
    moved = disturb(Split("one", image, np.array([1])), Disturbance(down=1, right=1, brightness=0.5), name="moved")
    assert moved.images[0, 0, 5, 5] == 0.25
    assert moved.images.sum() == 0.25  # the corner has left the frame
    back = disturb(Split("one", image, np.array([1])), Disturbance(down=-2, right=-3), name="back")
    assert back.images[0, 0, 2, 1] == 0.5
