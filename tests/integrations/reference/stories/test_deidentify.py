"""De-identification: nothing is left that the scan finds, and nothing else is lost."""

import io
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom")

from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset

from integrations.reference.stories import dicom
from integrations.reference.stories.deidentify import deidentify, scan
from integrations.reference.stories.dicom import UnreadableDicomError


@pytest.fixture
def dataset() -> FileDataset:
    """A real CT header with a made-up patient in every place where one can hide."""
    found = dicom.read(dicom.bundled("CT_small.dcm"))
    found.PatientName, found.PatientID, found.PatientBirthDate = "Doe^Jane", "4711-X", "19610203"
    found.StudyDescription = "Thorax of JANE, seen 12.03.2021"
    found.SeriesDescription = "call +49 30 1234567 or j.d@clinic.example"
    found.ImageComments = "see other report"
    nested = Dataset()
    nested.PatientName, nested.StudyDate = "Doe^Jane", "20210312"
    found.ReferencedStudySequence = [nested]
    return found


@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "examples_overlay.dcm", "rtdose.dcm", "MR_small.dcm"])
def test_real_headers_are_clean_afterwards(name: str) -> None:
    before = dicom.read(dicom.bundled(name))
    assert scan(before)
    assert scan(deidentify(before)) == []


def test_no_trace_of_the_patient_is_left_in_the_file(dataset: FileDataset) -> None:
    file = io.BytesIO()
    deidentify(dataset).save_as(file)
    content = file.getvalue().lower()
    for trace in (b"doe", b"jane", b"4711", b"19610203", b"12.03.2021", b"1234567", b"clinic.example", b"other report"):
        assert trace not in content
    assert scan(dcmread(io.BytesIO(file.getvalue()))) == []


def test_findings_name_the_element_but_not_its_value(dataset: FileDataset) -> None:
    findings = scan(dataset)
    elements = {finding.element for finding in findings}
    assert {
        "PatientName",
        "PatientID",
        "StudyDescription",
        "SeriesDescription",
        "ReferencedStudySequence/StudyDate",
    } <= elements
    assert "Jane" not in repr(findings)


def test_pixels_spacing_and_rescale_stay(dataset: FileDataset) -> None:
    clean = deidentify(dataset)
    assert np.array_equal(clean.pixel_array, dataset.pixel_array)
    assert (clean.PixelSpacing, clean.RescaleIntercept) == (dataset.PixelSpacing, dataset.RescaleIntercept)
    assert clean.StudyDescription == "Thorax of [removed], seen [removed]"
    assert clean.SeriesDescription == "call [removed] or [removed]"
    assert dataset.PatientID == "4711-X"


def test_a_series_stays_together_and_cannot_be_led_back(dataset: FileDataset) -> None:
    one, two = deidentify(dataset, key=b"a"), deidentify(dataset, key=b"a")
    other = deidentify(dataset, key=b"b")
    assert one.SeriesInstanceUID == two.SeriesInstanceUID != other.SeriesInstanceUID
    assert one.SeriesInstanceUID != dataset.SeriesInstanceUID
    assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID


def test_burned_in_text_is_found_and_only_covering_it_helps(dataset: FileDataset) -> None:
    dataset.BurnedInAnnotation = "YES"
    assert [f.element for f in scan(dataset) if "burned" in f.reason] == ["PixelData"]
    with pytest.raises(UnreadableDicomError, match="burned"):
        deidentify(dataset)
    clean = deidentify(dataset, cover=[(0, 10, 0, 60)])
    assert scan(clean) == []
    assert len(np.unique(clean.pixel_array[:10, :60])) == 1
    assert np.array_equal(clean.pixel_array[10:], dataset.pixel_array[10:])


def test_a_compressed_picture_is_covered_too() -> None:
    dataset = dicom.read(dicom.bundled("MR_small_RLE.dcm"))
    clean = deidentify(dataset, cover=[(0, 8, 0, 8)])
    assert len(np.unique(clean.pixel_array[:8, :8])) == 1


def test_a_written_phantom_has_nothing_to_find_but_its_patient_number(tmp_path: Path) -> None:
    file = dicom.write_series(np.zeros((1, 4, 4), np.float32), tmp_path, spacing_mm=1.0)[0]
    assert [finding.element for finding in scan(dicom.read(file))] == ["PatientID"]
