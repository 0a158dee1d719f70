"""The DICOM loader and its contract, on pydicom's own files, on phantoms written as files, and on broken ones."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom")
pytest.importorskip("scipy")

from pydicom.dataset import Dataset

from integrations.reference.errors import PipelineError
from integrations.reference.stories import dicom, phantoms
from integrations.reference.stories.dicom import UnreadableDicomError


@pytest.fixture
def block() -> np.ndarray:
    return phantoms.draw(1, 7).hu[0]


def changed(name: str, folder: Path, **elements: object) -> Path:
    """A copy of a bundled file with other elements; None deletes one."""
    dataset = dicom.read(dicom.bundled(name))
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    file = folder / f"changed-{name}"
    dataset.save_as(file)
    return file


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "693_J2KI.dcm", "rtdose.dcm", "MR_small_RLE.dcm"])
def test_the_loader_keeps_its_contract_on_type_shape_and_unit(name: str) -> None:
    volume = dicom.load(dicom.bundled(name))
    contract = volume.contract
    assert volume.values.dtype == np.dtype(contract.type)
    assert volume.values.ndim == len(contract.axes)
    assert volume.valid.shape == volume.values.shape
    assert volume.unit == contract.unit == ("HU" if volume.modality == "CT" else "arbitrary")
    assert np.isfinite(volume.values).all()
    if contract.padding is not None:
        assert (volume.values[~volume.valid] == contract.padding).all()


def test_ct_values_are_rescaled_to_hounsfield_units() -> None:
    stored = dicom.read(dicom.bundled("CT_small.dcm")).pixel_array
    assert np.array_equal(dicom.load(dicom.bundled("CT_small.dcm")).values[0], stored.astype(np.float32) - 1024)


def test_padding_outside_the_field_of_view_does_not_eat_the_window() -> None:
    volume = dicom.load(dicom.bundled("693_J2KI.dcm"))
    brain = dicom.windowed(volume, 0, 80)
    assert (~volume.valid).sum() > 10_000
    assert brain[~volume.valid].max() == 0
    assert len(np.unique(brain)) > 60  # scaled by smallest and greatest value there are four


def test_declared_padding_is_marked(tmp_path: Path) -> None:
    dataset = dicom.read(dicom.bundled("CT_small.dcm"))
    value = int(np.median(dataset.pixel_array))
    file = changed("CT_small.dcm", tmp_path, PixelPaddingValue=value)
    assert np.array_equal(dicom.load(file).valid[0], dataset.pixel_array != value)


def test_monochrome1_is_turned_so_that_greater_is_brighter(tmp_path: Path) -> None:
    usual = dicom.load(dicom.bundled("MR_small.dcm")).values
    turned = dicom.load(changed("MR_small.dcm", tmp_path, PhotometricInterpretation="MONOCHROME1")).values
    assert np.array_equal(turned, usual.max() + usual.min() - usual)


def test_several_frames_become_slices() -> None:
    assert dicom.load(dicom.bundled("rtdose.dcm")).values.shape == (15, 10, 10)


def test_frames_of_an_enhanced_file_are_ordered_and_rescaled_one_by_one(tmp_path: Path) -> None:
    def group(place: float, intercept: int) -> Dataset:
        position, rescale, frame = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, place]
        rescale.RescaleIntercept, rescale.RescaleSlope, rescale.RescaleType = intercept, 1, "HU"
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [position], [rescale]
        return frame

    dataset = dicom.read(dicom.bundled("CT_small.dcm"))
    pixels = dataset.pixel_array
    dataset.NumberOfFrames, dataset.PixelData = 2, pixels.tobytes() * 2
    dataset.PerFrameFunctionalGroupsSequence = [group(9.0, -1000), group(4.0, -500)]
    dataset.save_as(tmp_path / "enhanced.dcm")
    values = dicom.load(tmp_path / "enhanced.dcm").values
    assert np.array_equal(values, np.stack([pixels - 500.0, pixels - 1000.0]).astype(np.float32))


def test_a_constant_picture_gives_numbers(tmp_path: Path) -> None:
    zeros = np.zeros((128, 128), "<i2").tobytes()
    volume = dicom.load(changed("CT_small.dcm", tmp_path, PixelData=zeros))
    assert np.unique(dicom.windowed(volume, -1200, 200)).tolist() == [np.float32(176 / 1400)]


def test_a_phantom_written_as_a_series_comes_back_as_it_was(tmp_path: Path, block: np.ndarray) -> None:
    files = dicom.write_series(block, tmp_path, spacing_mm=1.5)
    assert [dicom.load(file).values.shape for file in files[:1]] == [(1, 16, 16)]
    volume = dicom.load_series(reversed(files))
    assert np.array_equal(volume.values, block)
    assert volume.valid.all()
    assert volume.spacing_mm == (1.5, 1.5, 1.5)


def test_a_missing_slice_is_named(tmp_path: Path, block: np.ndarray) -> None:
    files = dicom.write_series(block, tmp_path, spacing_mm=1.5)
    with pytest.raises(UnreadableDicomError, match=f"missing between {files[6].name} and {files[8].name}"):
        dicom.load_series([file for number, file in enumerate(files) if number != 7])


def test_a_slice_of_another_series_is_named(tmp_path: Path, block: np.ndarray) -> None:
    files = dicom.write_series(block, tmp_path, spacing_mm=1.5)
    stranger = dicom.write_series(block, tmp_path, spacing_mm=1.5)[3]
    with pytest.raises(UnreadableDicomError, match=f"{stranger.name} belongs to another series"):
        dicom.load_series([*files, stranger])


def test_the_same_slice_twice_is_an_error(tmp_path: Path, block: np.ndarray) -> None:
    files = dicom.write_series(block, tmp_path, spacing_mm=1.5)
    with pytest.raises(UnreadableDicomError, match="same place"):
        dicom.load_series([*files, files[0]])


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDicomError, match="no files"):
        dicom.load_series(tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MR_truncated.dcm", "less than expected"),
        ("badVR.dcm", "cannot be decoded"),
        ("JPEG2000-embedded-sequence-delimiter.dcm", "cannot be decoded"),
        ("meta_missing_tsyntax.dcm", "Transfer Syntax"),
        ("nested_priv_SQ.dcm", "Bits Allocated"),
        ("rtplan.dcm", "no picture"),
        ("no_meta.dcm", "no readable DICOM"),
        ("examples_rgb_color.dcm", "colour"),
        ("examples_palette.dcm", "colour"),
    ],
)
def test_a_damaged_file_ends_in_one_sentence_that_names_it(name: str, reason: str) -> None:
    with pytest.raises(PipelineError, match=reason) as caught:
        dicom.load(dicom.bundled(name))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, share: float) -> None:
    content = dicom.bundled("CT_small.dcm").read_bytes()[:-140]  # trailing padding is no loss
    (tmp_path / "cut.dcm").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UnreadableDicomError, match=r"cut\.dcm"):
        dicom.load(tmp_path / "cut.dcm")


def test_random_damage_never_ends_in_a_traceback(tmp_path: Path) -> None:
    content, rng = bytearray(dicom.bundled("CT_small.dcm").read_bytes()), np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, 6000, 20):
            damaged[place] = int(rng.integers(0, 256))
        (tmp_path / "damaged.dcm").write_bytes(damaged)
        with contextlib.suppress(UnreadableDicomError):  # anything else fails the test
            dicom.load(tmp_path / "damaged.dcm")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDicomError, match=r"gone\.dcm cannot be read: No such file"):
        dicom.load(tmp_path / "gone.dcm")


def test_a_ct_without_rescale_has_no_unit(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDicomError, match="no unit"):
        dicom.load(changed("CT_small.dcm", tmp_path, RescaleSlope=None, RescaleIntercept=None))
