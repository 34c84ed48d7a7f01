"""One DICOM slice: its header read and checked, its pixels only as far as that takes no decoding.

GDCM, which decodes the pixels later, reads many a spoilt file without a word; what it would pass
over is found here and in `encapsulated`: pixels that are cut short, or not encoded as the transfer
syntax says.
"""

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.uid import UID

from mlp_med.errors import ImageError
from mlp_med.imaging.claims import BoundedFile
from mlp_med.imaging.encapsulated import TRANSFER_SYNTAXES, Stored, check_pixel_data
from mlp_med.imaging.rescale import stated_rescale

KEYWORDS = (
    "Modality",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "PixelPaddingValue",
    "RescaleSlope",
    "RescaleIntercept",
)
TAGS: list[Any] = [tag_for_keyword(keyword) for keyword in KEYWORDS]
PIXEL_DATA = 0x7FE00010
# What pydicom, or Python, raises of an element that is not what its VR says.
HEADER_ERRORS = (
    *(ValueError, TypeError, AttributeError, LookupError, ArithmeticError),
    BytesLengthException,
)
# Decoded by GDCM as well, but not looked into beforehand: big endian, JPEG with loss, JPEG-LS.
NOT_LOOKED_INTO = (
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
)


@dataclass(frozen=True, eq=False)
class SliceHeader:
    """A slice without its pixels. Nothing in it names a patient.

    Attributes:
        path: the file.
        uid: of the slice (SOP instance).
        series: uid of its series.
        modality: "CT", say; "" where the file has none.
        size: pixels, (columns, rows).
        spacing_mm: between pixel centres, along a row and along a column, (x, y).
        position_mm: of the centre of the first pixel (LPS), (x, y, z).
        axes: float64 [3, 2]; the physical directions of a row and of a column.
        rescale: its RescaleSlope and RescaleIntercept, each None where the file states none.
        value_range: lowest and highest value that its stored bits can mean, after rescaling.
        whole_values: whether rescaling makes whole numbers of whole numbers.
        padding: the value, after rescaling, of pixels that are no measurement; None if it has none.
    """

    path: Path
    uid: str
    series: str
    modality: str
    size: tuple[int, int]
    spacing_mm: tuple[float, float]
    position_mm: tuple[float, float, float]
    axes: np.ndarray
    rescale: tuple[float | None, float | None]
    value_range: tuple[float, float]
    whole_values: bool
    padding: float | None


def read_slice_header(path: Path) -> SliceHeader:
    """Reads and checks one slice, decoding no pixel.

    Raises:
        ImageError: no DICOM file; no image, or one of several frames or colours; no position,
            orientation or spacing; a rescale of no meaning; pixels absent, cut short, or in another
            encoding than the transfer syntax says.
    """
    try:
        with BoundedFile(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of it is told as an error
            dataset, has_pixels = _wanted_elements(file)
            if not has_pixels:
                raise ImageError(
                    f"{path}: has no pixel data: a report, or a slice that was cut short before "
                    "it; copy the file again, or take it out of the folder"
                )
            _check_kind(path, dataset)
            _check_pixels(path, file, dataset)
            return _header(path, dataset)
    except (InvalidDicomError, OSError, EOFError, struct.error, NotImplementedError) as error:
        raise ImageError(
            f"{path}: cannot be read as DICOM ({error}); copy the file again"
        ) from error
    except HEADER_ERRORS as error:
        raise ImageError(
            f"{path}: its DICOM header holds a value that is none: {shortly(error)}; copy the file "
            "again, or take its series out"
        ) from error


def shortly(error: Exception) -> str:
    """What an error of a header says, without the bytes of it: a neighbour's may name a patient."""
    return str(error).partition(" Instead received")[0]


def _wanted_elements(file: BinaryIO) -> tuple[Dataset, bool]:
    """The wanted elements and whether pixel data follow, at which the file then stands."""
    found: list[int] = []

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        found.extend([tag] if tag == PIXEL_DATA else [])
        return tag >= PIXEL_DATA

    return read_partial(file, stop_when=at_pixels, specific_tags=TAGS), bool(found)


def _check_kind(path: Path, dataset: Dataset) -> None:
    num_frames = int(dataset.get("NumberOfFrames") or 1)
    if num_frames != 1:
        raise ImageError(
            f"{path}: expected one slice a file, found {num_frames} frames: multi-frame DICOM is "
            "not read; convert it to one file a slice"
        )
    samples = int(dataset.get("SamplesPerPixel") or 1)
    photometric = str(dataset.get("PhotometricInterpretation") or "MONOCHROME2")
    if samples != 1 or photometric != "MONOCHROME2":
        raise ImageError(
            f"{path}: expected slices of grey values (MONOCHROME2), found {samples} values a pixel "
            f"({photometric}); take screenshots out of the folder, or convert the series"
        )
    for keyword, meaning in (
        ("Rows", "size"),
        ("Columns", "size"),
        ("BitsAllocated", "pixel format"),
        ("SeriesInstanceUID", "series"),
        ("ImagePositionPatient", "position"),
        ("ImageOrientationPatient", "orientation"),
        ("PixelSpacing", "spacing"),
    ):
        if dataset.get(keyword) in (None, ""):
            raise ImageError(
                f"{path}: has no {meaning} ({keyword} is missing): it cannot be placed in a "
                "volume; take it out of the folder, or export the series again"
            )


def _check_pixels(path: Path, file: BinaryIO, dataset: Dataset) -> None:
    """Whether the pixels are there, and encoded as the file says."""
    syntax = UID(str(getattr(dataset.file_meta, "TransferSyntaxUID", "")))
    if syntax in TRANSFER_SYNTAXES:
        size = (int(dataset.Columns), int(dataset.Rows))
        check_pixel_data(path, file, Stored(str(syntax), size, int(dataset.BitsAllocated)))
    elif syntax not in NOT_LOOKED_INTO:
        raise ImageError(
            f"{path}: its transfer syntax ({syntax.name or 'none is stated'}) is not read; "
            f"expected {', '.join(TRANSFER_SYNTAXES.values())}, big endian, JPEG or JPEG-LS. "
            "Convert the series, e.g. gdcmconv --raw"
        )


def _header(path: Path, dataset: Dataset) -> SliceHeader:
    position = _numbers(path, dataset, "ImagePositionPatient", 3)
    axes = np.array(_numbers(path, dataset, "ImageOrientationPatient", 6)).reshape(2, 3).T
    if not np.allclose(axes.T @ axes, np.eye(2), atol=1e-3):
        raise ImageError(
            f"{path}: expected a row and a column at right angles, found the directions "
            f"{axes.T.tolist()}; correct ImageOrientationPatient, or export the series again"
        )
    between_rows, between_columns = _numbers(path, dataset, "PixelSpacing", 2)
    if min(between_rows, between_columns) <= 0:
        raise ImageError(
            f"{path}: expected a positive spacing of pixels in mm, found {between_columns:g} × "
            f"{between_rows:g}; correct PixelSpacing, or export the series again"
        )
    rescale = stated_rescale(path, dataset)
    slope, intercept = rescale[0] or 1.0, rescale[1] or 0.0
    padding = _padding(dataset)
    return SliceHeader(
        path=path,
        uid=str(dataset.get("SOPInstanceUID") or ""),
        series=str(dataset.SeriesInstanceUID),
        modality=str(dataset.get("Modality") or ""),
        size=(int(dataset.Columns), int(dataset.Rows)),
        spacing_mm=(between_columns, between_rows),
        position_mm=(position[0], position[1], position[2]),
        axes=axes,
        rescale=rescale,
        value_range=_value_range(dataset, slope, intercept),
        whole_values=slope.is_integer() and intercept.is_integer(),
        padding=None if padding is None else padding * slope + intercept,
    )


def _padding(dataset: Dataset) -> int | None:
    """The stored value of padding pixels; some scanners write a signed one as unsigned."""
    value = dataset.get("PixelPaddingValue")
    if value in (None, ""):
        return None
    modulus = 2 ** int(dataset.BitsAllocated)
    stored = int(value) % modulus
    is_negative = dataset.get("PixelRepresentation") and stored >= modulus // 2
    return stored - modulus if is_negative else stored


def _value_range(dataset: Dataset, slope: float, intercept: float) -> tuple[float, float]:
    bits = int(dataset.get("BitsStored") or dataset.BitsAllocated)
    low = -(2 ** (bits - 1)) if dataset.get("PixelRepresentation") else 0
    ends = [low * slope + intercept, (low + 2**bits - 1) * slope + intercept]
    return min(ends), max(ends)


def _numbers(path: Path, dataset: Dataset, keyword: str, count: int) -> list[float]:
    values = dataset[keyword].value
    numbers = [float(value) for value in (values if hasattr(values, "__len__") else [values])]
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ImageError(
            f"{path}: expected {count} finite numbers as {keyword}, found {numbers}; correct them, "
            "or export the series again"
        )
    return numbers
