"""What every act relies on in the vision stories: disjoint rows, growing data, declared drift, marked regions."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from integrations.reference.engine import fit, logits
from integrations.reference.ladder.calendar import FIRST_RELEASE, LAST_RELEASE
from integrations.reference.stories import augmentations, find_story, nodules, phantoms
from integrations.reference.stories.base import Story

pytestmark = pytest.mark.torch

VISION = ["digits", "nodules"]


@pytest.fixture(params=VISION)
def story(request: pytest.FixtureRequest) -> Story:
    return find_story(request.param)


def psi(expected: np.ndarray, observed: np.ndarray) -> float:
    """Population stability index over the tenths of the expected values."""
    edges = np.quantile(expected, np.linspace(0, 1, 11)[1:-1])
    shares = [
        np.bincount(np.searchsorted(edges, part), minlength=10) / len(part) + 1e-4 for part in (expected, observed)
    ]
    return float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum())


def test_no_row_has_two_roles(story: Story) -> None:
    parts = [story.training(-11.0), story.validation(), story.test(), story.stream(-20), story.stream(-6)]
    hashes = [set(part.row_hashes()) for part in parts]
    assert sum(map(len, hashes)) == len(set().union(*hashes))


def test_training_data_grow_and_keep_what_they_had(story: Story) -> None:
    first, last = story.training(FIRST_RELEASE - 1), story.training(LAST_RELEASE - 0.4)
    assert len(first) < len(last) / 4
    assert first.row_hashes() == last.row_hashes()[: len(first)]
    assert first.until < last.until


def test_the_same_week_gives_the_same_rows(story: Story) -> None:
    assert story.stream(-9).digest == story.stream(-9).digest != story.stream(-8).digest


def test_declared_weeks_drift_and_the_others_do_not(story: Story) -> None:
    known = story.features(story.training(-11.0).x)
    for week in (-7, -6, -5, -4, -3, -2, -1):
        now = story.features(story.stream(week).x)
        values = [psi(known[name], now[name]) for name in known]
        if week in story.drift_weeks:
            assert sum(value > 0.25 for value in values) >= 3
        else:
            assert max(values) < 0.2


def test_hard_cases_and_every_group_hold_enough_rows_of_every_class(story: Story) -> None:
    test = story.test()
    assert len(test.slices) >= 3
    assert test.slices["hard_cases"].sum() >= 30
    for marks in test.groups.values():
        assert len(set(test.y[marks].tolist())) == story.classes


def test_every_augmentation_keeps_shape_and_range_and_depends_on_its_seed_alone(story: Story) -> None:
    x = torch.from_numpy(story.test().x[:12])
    assert len(story.augmentations) >= 6
    for name in story.augmentations:
        augment = story.augment(name)
        assert augment is not None
        one, again, other = (augment(x, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
        assert one.shape == x.shape, name
        assert one.dtype == x.dtype, name
        assert torch.equal(one, again), name
        assert not torch.equal(one, other), name
        assert not torch.equal(one, x), name
        assert float(one.min()) >= -1e-5, name
        assert float(one.max()) <= 1 + 1e-5, name


def test_no_augmentation_is_none_and_an_unknown_one_is_named(story: Story) -> None:
    assert story.augment("none") is None
    with pytest.raises(ValueError, match="upside_down"):
        story.augment("upside_down")


def test_width_and_every_ablated_factor_change_the_network(story: Story) -> None:
    def made(**factors: object) -> str:
        torch.manual_seed(0)
        return repr(story.build(**factors))

    for factor, value in {**story.ablations, "width": 2.0}.items():
        assert made(**{factor: value}) != made(), factor


def test_an_unknown_stress_is_named_and_the_known_ones_change_every_row(story: Story) -> None:
    before = story.test().row_hashes()
    for stress in story.stresses:
        assert not set(story.stressed(stress).row_hashes()) & set(before)
    with pytest.raises(ValueError, match="hail"):
        story.stressed("hail")


def test_one_transform_serves_training_and_requests(story: Story) -> None:
    assert np.array_equal(story.prepare(story.raw(20)), story.test().x[:20])
    assert story.prepare(story.raw(20)[:0]).shape == (0, *story.shape)


def test_more_data_rank_nodules_better() -> None:
    story = find_story("nodules")
    scores, recipe = [], replace(story.recipe, epochs=8)
    for week in (FIRST_RELEASE, -15.0):
        known, chosen = story.training(week), story.validation()
        fitted = fit(recipe, story.build, known.x, known.y, chosen.x, chosen.y)
        scores.append(story.score(story.test().y, logits(fitted.model, story.test().x)))
    assert 0.6 < scores[0] < scores[1] - 0.02


def test_the_area_under_the_curve_counts_ties_half_and_needs_both_classes() -> None:
    story = find_story("nodules")
    y = np.array([0, 1, 0, 1])
    assert story.score(y, np.array([[0, 1], [0, 2], [0, 1], [0, 1]], np.float32)) == 0.75
    assert np.isnan(story.score(y * 0, np.zeros((4, 2), np.float32)))


def test_the_window_reads_air_tissue_and_padding_in_hounsfield_units() -> None:
    raw = np.full((1, 2, 2, 2), nodules.PADDING_HU, np.float32)
    raw[0, 0, 0, 0], raw[0, 0, 0, 1], raw[0, 1, 1, 1] = -400, 900, nodules.LOW_HU
    assert find_story("nodules").prepare(raw)[0, 0, 0, 0].tolist() == [0.5, 1.0]
    assert find_story("nodules").prepare(raw)[0, 0, 1].max() == 0


def test_a_constant_block_has_features_that_are_numbers(story: Story) -> None:
    flat = np.zeros((2, *story.shape), np.float32)
    assert all(np.isfinite(values).all() for values in story.features(flat).values())


def test_the_reader_marks_every_nodule_and_one_voxel_around_it() -> None:
    found = find_story("nodules").regions()
    assert found is not None
    data, regions = found
    assert len(data) >= 50
    assert set(data.y.tolist()) == {1}
    assert regions.shape == (len(data), *data.x.shape[2:])
    one = np.zeros((1, 5, 5, 5), bool)
    one[0, 2, 2, 2] = True
    assert phantoms.marked_by_reader(one).sum() == 7


def test_phantoms_depend_on_their_seed_and_know_their_nodule() -> None:
    one, again, other = phantoms.draw(40, 1), phantoms.draw(40, 1), phantoms.draw(40, 2)
    assert np.array_equal(one.hu, again.hu)
    assert not np.array_equal(one.hu, other.hu)
    assert np.array_equal(one.nodule.any(axis=(1, 2, 3)), one.y == 1)
    assert np.array_equal(one.diameter_mm > 0, one.y == 1)
    assert not (one.subsolid & (one.y == 0)).any()
    inside = one.hu[one.nodule & ~one.subsolid[:, None, None, None]]
    assert np.median(inside) > -400 > np.median(one.hu)


def test_a_cube_is_put_in_one_of_its_32_ways_and_no_voxel_is_lost() -> None:
    cubes = torch.arange(27.0).view(1, 1, 3, 3, 3).repeat(400, 1, 1, 1, 1)
    turned = augmentations.cube_symmetries()(cubes, torch.Generator().manual_seed(0))
    assert torch.equal(turned.flatten(1).sort(dim=1).values, cubes.flatten(1))
    assert len({tuple(cube.flatten().tolist()) for cube in turned}) == 16  # mirrors and turns of one plane overlap
    assert (turned[:, 0, 1, 1, 1] == 13).all()  # the middle stays


def test_no_header_of_a_real_file_names_a_person_once_it_is_de_identified() -> None:
    found = find_story("nodules").scanned_headers()
    assert set(found) == set(nodules.REAL_FILES)
    assert all(before > 0 and after == 0 for before, after in found.values())
