"""DICOM: the loader that all vision stories share, from files to values with a unit; and phantoms written as files.

Takes one file, or the files of one series; gives a ``Volume``. CT values are Hounsfield units (HU) by the rescale of
the file or its modality table, never by the smallest and greatest value; padding outside the field of view is marked; a
MONOCHROME1 picture is turned so that greater is brighter. Whatever is wrong with a file ends in one
``UnreadableDicomError`` that names the file and the reason.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from integrations.reference.errors import PipelineError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

LOADER_VERSION = "1"
AIR_HU = -1024.0
"""The value that padding gets in a CT."""
_NEVER_HU = -1500.0  # nothing measured lies below it; undeclared padding does
_CT, _EXPLICIT_LITTLE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"  # SOP class and transfer syntax


class UnreadableDicomError(PipelineError):
    """A file is no DICOM picture that the loader takes: cut off, damaged, or of another kind."""


@dataclass(frozen=True, slots=True)
class Contract:
    """What every volume of the loader is; tests hold the loader to it."""

    modality: str
    type: str
    axes: tuple[str, ...]
    unit: str
    spacing_unit: str
    padding: float | None  # value of voxels that are not valid; None: the least valid value
    loader_version: str = LOADER_VERSION


CONTRACTS = {
    "CT": Contract("CT", "float32", ("slice", "row", "column"), "HU", "mm", AIR_HU),
    "other": Contract("other", "float32", ("slice", "row", "column"), "arbitrary", "mm", None),
}


@dataclass(frozen=True)
class Volume:
    """Slices in order. ``values`` and ``valid`` (slices, rows, columns); ``spacing_mm`` of slices, rows and columns,
    0 where the file gives none."""

    values: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]  # False: padding
    spacing_mm: tuple[float, float, float]
    modality: str
    unit: str

    @property
    def contract(self) -> Contract:
        return CONTRACTS["CT" if self.unit == "HU" else "other"]


def windowed(volume: Volume, low: float, high: float) -> npt.NDArray[np.float32]:
    """The values within a window as 0 to 1; padding is 0. Raises ``ValueError`` unless ``low`` is below ``high``."""
    if not low < high:
        raise ValueError(f"a window goes from low to high, not from {low:g} to {high:g}")
    share = np.clip((volume.values - low) / (high - low), 0, 1)
    return np.where(volume.valid, share, 0).astype(np.float32)


def bundled(name: str) -> Path:
    """A file that pydicom ships, such as CT_small.dcm; nothing is downloaded."""
    from pydicom.data import get_testdata_file

    found = get_testdata_file(name, download=False)
    if not isinstance(found, str):
        raise UnreadableDicomError(f"pydicom ships no file {name}")
    return Path(found)


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Whatever pydicom raises inside becomes ``UnreadableDicomError("<what>: <reason>")``; its warnings are not shown.

    Elements are parsed when they are first looked at, so a damaged one may raise anything anywhere.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except PipelineError:
        raise
    except Exception as error:  # the parser and the decoders raise many types on damaged files
        raise UnreadableDicomError(f"{what}: {_reason(error)}") from error


def read(file: Path) -> FileDataset:
    """Header and pixel data of one file, not decoded yet."""
    import pydicom

    with guarded(f"{file.name} is no readable DICOM file"):
        try:
            dataset = pydicom.dcmread(file)
        except OSError as error:
            raise UnreadableDicomError(f"{file.name} cannot be read: {error.strerror or error}") from error
        if "PixelData" not in dataset:
            raise UnreadableDicomError(f"{file.name} holds no picture, or is cut off before it")
        return dataset


def load(file: Path) -> Volume:
    """One file with one or several frames."""
    dataset = read(file)
    with guarded(f"{file.name} is damaged"):
        return _volume(dataset, file.name)


def _volume(dataset: Dataset, name: str) -> Volume:
    stored = _stored(dataset, name)
    modality = str(dataset.get("Modality", ""))
    values = np.stack([_physical(dataset, frame, number, name) for number, frame in enumerate(stored)])
    valid = ~_padding(dataset, stored)
    if modality == "CT":
        valid &= values >= _NEVER_HU
        values[~valid] = AIR_HU
    elif valid.any():
        values[~valid] = values[valid].min()
    places = [_place(dataset, number) for number in range(len(stored))]
    order = np.argsort(places, kind="stable") if len(places) > 1 and None not in places else np.arange(len(stored))
    unit = "HU" if modality == "CT" else "arbitrary"
    return Volume(values[order], valid[order], _spacing(dataset), modality, unit)


def load_series(files: Path | Iterable[Path]) -> Volume:
    """The single-frame files of one series (or a folder of them), ordered by their place in the patient.

    Raises ``UnreadableDicomError`` for mixed series, differing sizes, two slices at one place and missing slices.
    """
    paths = sorted(files.iterdir()) if isinstance(files, Path) else list(files)
    if not paths:
        raise UnreadableDicomError("the series has no files")
    headers, slices = [read(path) for path in paths], [load(path) for path in paths]
    with guarded("the series is damaged"):
        return _ordered(paths, headers, slices)


def _ordered(paths: list[Path], headers: list[FileDataset], slices: list[Volume]) -> Volume:
    first = headers[0]
    for path, header, part in zip(paths, headers, slices, strict=True):
        if header.get("SeriesInstanceUID") != first.get("SeriesInstanceUID"):
            raise UnreadableDicomError(f"{path.name} belongs to another series than {paths[0].name}")
        if part.values.shape != (1, *slices[0].values.shape[1:]):
            raise UnreadableDicomError(f"{path.name} has another size than {paths[0].name}")
    places = [_place(header, 0) for header in headers]
    placed = None not in places
    if not placed:
        places = [float(header.get("InstanceNumber") or 0) for header in headers]
    order = np.argsort(np.asarray(places))
    step = _step(np.asarray(places, np.float64)[order], [paths[place].name for place in order])
    thickness, *plane = slices[0].spacing_mm
    spacing = (step if placed and step else thickness, plane[0], plane[1])
    values, valid = (np.concatenate([getattr(slices[place], part) for place in order]) for part in ("values", "valid"))
    return Volume(values, valid, spacing, slices[0].modality, slices[0].unit)


def _step(places: npt.NDArray[np.float64], names: list[str]) -> float:
    """Distance of the slices, 0 for a single one."""
    steps = np.diff(places)
    if not len(steps):
        return 0.0
    usual = float(np.median(steps))
    for number, step in enumerate(steps):
        if step <= 1e-3:
            raise UnreadableDicomError(f"{names[number]} and {names[number + 1]} are slices of the same place")
        if abs(step - usual) > 0.1 * usual:
            raise UnreadableDicomError(f"slices are missing between {names[number]} and {names[number + 1]}")
    return usual


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{text[:200]} ({type(error).__name__})" if text else type(error).__name__


def _stored(dataset: Dataset, name: str) -> npt.NDArray[Any]:
    """Decoded stored values (frames, rows, columns)."""
    if dataset.get("PhotometricInterpretation", "MONOCHROME2") not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnreadableDicomError(f"{name} is a colour picture; the loader takes grey ones")
    with guarded(f"the pixel data of {name} cannot be decoded"):
        stored = np.asarray(dataset.pixel_array)
    return stored[None] if stored.ndim == 2 else stored


def _group(dataset: Dataset, sequence: str, frame: int) -> Dataset:
    """The functional group of a frame in a multi-frame file, shared or its own; the dataset itself otherwise."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    for groups in (own[frame : frame + 1], shared[:1]):
        for group in groups:
            if sequence in group and group[sequence].value:
                found: Dataset = group[sequence].value[0]
                return found
    return dataset


def _physical(dataset: Dataset, stored: npt.NDArray[Any], frame: int, name: str) -> npt.NDArray[np.float32]:
    """Stored values (rows, columns) to physical ones by the rescale or modality table that the file gives."""
    from pydicom.pixels import apply_modality_lut

    group = _group(dataset, "PixelValueTransformationSequence", frame)
    rescaled = group.get("RescaleSlope") is not None and group.get("RescaleIntercept") is not None
    if dataset.get("Modality") == "CT" and not rescaled and "ModalityLUTSequence" not in dataset:
        raise UnreadableDicomError(f"{name} is a CT without rescale, so its values have no unit")
    values = np.asarray(apply_modality_lut(stored, group), dtype=np.float32)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1" and dataset.get("Modality") != "CT":
        values = values.max() + values.min() - values
    if not np.isfinite(values).all():
        raise UnreadableDicomError(f"{name} rescales to values that are no numbers")
    return values


def _padding(dataset: Dataset, stored: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where stored values are the padding that the header declares."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, np.bool_)
    limit = dataset.get("PixelPaddingRangeLimit", value)
    return np.asarray((stored >= min(value, limit)) & (stored <= max(value, limit)))


def _place(dataset: Dataset, frame: int) -> float | None:
    """Place of a slice along the normal of its plane in mm; None when the file does not say."""
    position = _group(dataset, "PlanePositionSequence", frame).get("ImagePositionPatient")
    plane = _group(dataset, "PlaneOrientationSequence", frame).get("ImageOrientationPatient")
    if not position or not plane:
        return None
    across, down = np.asarray(plane[:3], np.float64), np.asarray(plane[3:], np.float64)
    return float(np.cross(across, down) @ np.asarray(position, np.float64))


def _spacing(dataset: Dataset) -> tuple[float, float, float]:
    measures = _group(dataset, "PixelMeasuresSequence", 0)
    rows, columns = measures.get("PixelSpacing") or (0, 0)
    slices = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 0
    return float(slices), float(rows), float(columns)


def write_series(
    hu: npt.NDArray[np.float32], folder: Path, *, spacing_mm: float, header: dict[str, Any] | None = None
) -> list[Path]:
    """Write a volume (slices, rows, columns) of whole HU as one CT file a slice; ``header`` adds or replaces elements.

    Files are named so that their alphabetical order is not that of the slices: readers must look inside.
    """
    from pydicom.uid import generate_uid

    series, study = generate_uid(prefix=None), generate_uid(prefix=None)  # 2.25., from random numbers
    files = []
    for number, plane in enumerate(hu):
        dataset = _slice(plane, number, spacing_mm)
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series, study
        for key, value in (header or {}).items():
            setattr(dataset, key, value)
        files.append(folder / f"{str(dataset.SOPInstanceUID)[-12:]}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    return files


def _slice(plane: npt.NDArray[np.float32], number: int, spacing_mm: float) -> Dataset:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(_EXPLICIT_LITTLE)
    dataset.SOPClassUID, dataset.SOPInstanceUID = UID(_CT), generate_uid(prefix=None)
    dataset.Modality, dataset.PatientName, dataset.PatientID = "CT", "", "PHANTOM"
    dataset.InstanceNumber = number + 1
    dataset.ImagePositionPatient = [0, 0, number * spacing_mm]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [spacing_mm, spacing_mm], spacing_mm
    dataset.Rows, dataset.Columns = plane.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = AIR_HU, 1, "HU"
    dataset.PixelData = np.round(plane - AIR_HU).astype("<i2").tobytes()
    return dataset
