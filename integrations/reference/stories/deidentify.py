"""De-identification of DICOM headers: what names a person is found, counted and taken out before anything is trained.

The rules follow the basic profile of DICOM PS3.15 annex E as far as CT and MR headers need it: names, numbers, dates,
places and people go; unique identifiers become others that cannot be led back; private elements and drawn overlays go;
in free text, names, numbers, dates, telephone numbers and mail addresses are blacked out. Text that is burned into the
picture cannot be seen in a header: it is reported until the caller says which rectangles to cover.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from integrations.reference.stories.dicom import UnreadableDicomError, guarded

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

SCANNER_VERSION = "1"
Rectangle = tuple[int, int, int, int]
"""Rows from, to, columns from, to (the ends left out)."""

_KEY = secrets.token_bytes(32)  # new in every process, so nobody can lead an identifier back
_OVERLAY = 0x6000  # groups 6000 to 60FE hold overlays
_DATES = ("DA", "DT", "TM")
_TEXTS = ("LO", "LT", "SH", "ST", "UC", "UT")
_KEPT_UIDS = ("SOPClassUID", "ReferencedSOPClassUID", "TransferSyntaxUID", "MediaStorageSOPClassUID")
_MARKS = ("PatientIdentityRemoved", "DeidentificationMethod")
_GONE = frozenset(
    (
        "AccessionNumber",
        "AdditionalPatientHistory",
        "AdmissionID",
        "Allergies",
        "BranchOfService",
        "CountryOfResidence",
        "CurrentPatientLocation",
        "DeviceSerialNumber",
        "EthnicGroup",
        "FillerOrderNumberImagingServiceRequest",
        "ImageComments",
        "InstitutionAddress",
        "InstitutionalDepartmentName",
        "InstitutionName",
        "InsurancePlanIdentification",
        "IssuerOfPatientID",
        "MedicalAlerts",
        "MedicalRecordLocator",
        "MilitaryRank",
        "Occupation",
        "OtherPatientIDs",
        "OtherPatientIDsSequence",
        "PatientAddress",
        "PatientComments",
        "PatientID",
        "PatientInsurancePlanCodeSequence",
        "PatientInstitutionResidence",
        "PatientReligiousPreference",
        "PatientTelephoneNumbers",
        "PatientTransportArrangements",
        "PerformedProcedureStepID",
        "PerformedStationName",
        "PersonAddress",
        "PersonTelephoneNumbers",
        "PlacerOrderNumberImagingServiceRequest",
        "RegionOfResidence",
        "RequestAttributesSequence",
        "RequestedProcedureID",
        "RequestingService",
        "ScheduledStationName",
        "SpecialNeeds",
        "StationName",
        "StudyID",
        "VisitComments",
    )
)
_EMPTIED = frozenset(("PatientID", "AccessionNumber", "StudyID"))  # files must have these, if only empty
_PATTERNS = {
    "mail address": re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+"),
    "date": re.compile(r"\b(?:\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}[./-]\d{1,2}[./-]\d{1,2})\b"),
    "telephone number": re.compile(r"(?<!\w)\+?\d[\d ()/-]{6,}\d(?!\w)"),
}
_COVERED = "[removed]"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that may name a person. Its value is not repeated here."""

    element: str  # keyword or tag, with the sequences it lies in
    reason: str


def scan(dataset: Dataset) -> list[Finding]:
    """Everything in the header that may name a person; an empty list when it is clean."""
    with guarded("the header is damaged"):
        findings = list(_findings(dataset, _words(dataset), ""))
        if str(dataset.get("BurnedInAnnotation", "")).upper() == "YES":
            findings.append(Finding("PixelData", "text is burned into the picture"))
        return findings


def deidentify(dataset: Dataset, *, key: bytes = _KEY, cover: Iterable[Rectangle] = ()) -> Dataset:
    """A copy without what ``scan`` finds. Equal identifiers stay equal under the same ``key``.

    ``cover`` are the rectangles of burned-in text, set to the value of the first pixel. Raises ``UnreadableDicomError``
    when the header says that text is burned in and no rectangle is given, or when the pixel data are cut off.
    """
    with guarded("the header is damaged"):
        return _deidentified(copy.deepcopy(dataset), key, list(cover))


def _deidentified(clean: Dataset, key: bytes, rectangles: list[Rectangle]) -> Dataset:
    if rectangles:
        _cover(clean, rectangles)
    elif str(clean.get("BurnedInAnnotation", "")).upper() == "YES":
        raise UnreadableDicomError("text is burned into the picture; say which rectangles to cover")
    _clean(clean, _words(clean), key)
    meta = getattr(clean, "file_meta", {})
    if "MediaStorageSOPInstanceUID" in meta:
        meta.MediaStorageSOPInstanceUID = clean.get("SOPInstanceUID")
    if "SourceApplicationEntityTitle" in meta:
        del meta.SourceApplicationEntityTitle
    clean.PatientIdentityRemoved = "YES"
    clean.DeidentificationMethod = f"reference de-identification {SCANNER_VERSION}, after PS3.15 annex E"
    return clean


def _words(dataset: Dataset) -> frozenset[str]:
    """Words of the names and numbers of people in the header, to look for in its free text."""
    people = [str(element.value) for element in dataset.iterall() if element.VR == "PN" and element.value]
    people += [str(dataset.get(keyword) or "") for keyword in ("PatientID", "AccessionNumber")]
    words = (word.lower() for text in people for word in re.split(r"[\W_]+", text))
    return frozenset(word for word in words if len(word) > 2)


def _reason(element: DataElement, words: frozenset[str]) -> str:
    """Why an element may name a person; empty when it does not."""
    keyword, text = element.keyword, str(element.value if element.value is not None else "")
    if element.tag.is_private:
        return "private element"
    if element.tag.group & 0xFF01 == _OVERLAY:
        return "drawn overlay"
    if keyword in _MARKS or not text or (element.VR == "SQ" and not element.value):
        return ""
    if keyword in _GONE:
        return "names a person, a place or a case"
    if element.VR == "PN" or element.VR in _DATES:
        return "name of a person" if element.VR == "PN" else "date or time"
    if element.VR == "UI" and keyword not in _KEPT_UIDS and not text.startswith("2.25."):
        return "identifier that can be led back"
    return _in_text(text, words) if element.VR in _TEXTS else ""


def _in_text(text: str, words: frozenset[str]) -> str:
    if words & set(re.split(r"[\W_]+", text.lower())):
        return "name or number of a person in free text"
    for name, pattern in _PATTERNS.items():
        if pattern.search(text):
            return f"{name} in free text"
    return ""


def _findings(dataset: Dataset, words: frozenset[str], place: str) -> Iterator[Finding]:
    for element in dataset:
        reason = _reason(element, words)
        name = place + (element.keyword or str(element.tag))
        if reason:
            yield Finding(name, reason)
        elif element.VR == "SQ":
            for item in element.value:
                yield from _findings(item, words, f"{name}/")


def _clean(dataset: Dataset, words: frozenset[str], key: bytes) -> None:
    """Take out what there is a reason to, in place, sequences included."""
    for element in list(dataset):
        reason = _reason(element, words)
        if not reason:
            for item in element.value if element.VR == "SQ" else ():
                _clean(item, words, key)
        elif element.tag.is_private or element.tag.group & 0xFF01 == _OVERLAY:
            del dataset[element.tag]
        elif element.VR == "UI":
            many = element.value if element.VM > 1 else [element.value]
            others = [_other(str(uid), key) for uid in many]
            element.value = others if element.VM > 1 else others[0]
        elif element.keyword in _EMPTIED or element.VR == "PN" or element.VR in _DATES:
            element.value = None
        elif element.keyword in _GONE:
            del dataset[element.tag]
        else:
            element.value = _blacked_out(element.value, words)


def _other(uid: str, key: bytes) -> str:
    """An identifier under 2.25. that only the key leads to."""
    digest = hmac.new(key, uid.encode(), hashlib.sha256).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def _blacked_out(value: Any, words: frozenset[str]) -> Any:
    if not isinstance(value, str):
        return [_blacked_out(part, words) for part in value]
    for pattern in _PATTERNS.values():
        value = pattern.sub(_COVERED, value)
    for word in sorted(words, key=len, reverse=True):
        value = re.sub(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", _COVERED, value, flags=re.IGNORECASE)
    return value


def _cover(dataset: Dataset, rectangles: Iterable[Rectangle]) -> None:
    """Cover rectangles of uncompressed single-sample pixel data, every frame."""
    import numpy as np

    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        dataset.decompress()
    with guarded("the pixel data cannot be decoded"):
        pixels = np.array(dataset.pixel_array)
    frames = pixels[None] if pixels.ndim == 2 else pixels
    for top, bottom, left, right in rectangles:
        frames[:, top:bottom, left:right] = frames[0, 0, 0]
    dataset.PixelData = pixels.tobytes()
    dataset.BurnedInAnnotation = "NO"
