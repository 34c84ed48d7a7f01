"""One projection radiograph in a DICOM file: checked by its header, then its pixels as measured.

GDCM, under SimpleITK, decodes without a word some files that are cut short or whose transfer syntax
is not the one they state; `encapsulated` finds those before. Of the header only the named elements
are ever read, none of which says who the patient is.
"""

import struct
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from pydicom.errors import InvalidDicomError

from mlp_med.errors import ImageError
from mlp_med.imaging.claims import BoundedFile
from mlp_med.imaging.dicom_slice import HEADER_ERRORS, shortly
from mlp_med.imaging.encapsulated import TRANSFER_SYNTAXES, Stored, check_pixel_data
from mlp_med.imaging.plane import Plane
from mlp_med.imaging.rescale import stated_rescale

# By how well they say what a pixel is of the patient: calibrated, at the detector, of a film scan.
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
ELEMENTS = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "LossyImageCompression",
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "ImageLaterality",
    "Laterality",
    "BreastImplantPresent",
    *SPACINGS,
)


@dataclass(frozen=True)
class RadiographHeader:
    """A radiograph without its pixels.

    Attributes:
        path: the file.
        size: (columns, rows).
        spacing_mm: mm between pixel centres along (x, y); None where the file does not say. At the
            detector unless it was calibrated: magnification is not taken out.
        bits_stored: bits of a stored value, 1 to 16.
        bits_decoded: bits that its compressed image is made for; mostly the same.
        signed: whether stored values are two's complement.
        inverted: MONOCHROME1, whose high values are dark.
        padding: the stored values, lowest and highest, of pixels that show nothing; or None.
        slope: of the rescaling from stored values.
        intercept: of the same.
        lossy: whether it once went through lossy compression, as the file says.
        modality: "MG" is a mammogram; "" if not said, as for the next three.
        body_part: as stated, e.g. "BREAST".
        view: ViewPosition, e.g. "CC" or "MLO".
        laterality: "L", "R" or "B".
        implant: BreastImplantPresent is YES.
    """

    path: Path
    size: tuple[int, int]
    spacing_mm: tuple[float, float] | None
    bits_stored: int
    bits_decoded: int
    signed: bool
    inverted: bool
    padding: tuple[int, int] | None
    slope: float
    intercept: float
    lossy: bool
    modality: str
    body_part: str
    view: str
    laterality: str
    implant: bool

    @property
    def stored_range(self) -> tuple[int, int]:
        """The lowest and the highest value that a pixel could store."""
        return _range(self.bits_stored, self.signed)

    @property
    def value_range(self) -> tuple[float, float]:
        """The lowest and the highest value that `read_radiograph` could give."""
        ends = [self.slope * value + self.intercept for value in self.stored_range]
        return min(ends), max(ends)

    @property
    def dtype(self) -> str:
        """Of the pixels: the smallest of uint8, int16, uint16 and float32 that keeps them exact."""
        low, high = self.value_range
        if float(self.slope).is_integer() and float(self.intercept).is_integer():
            for name in ("uint8", "int16", "uint16"):
                if np.iinfo(name).min <= low and high <= np.iinfo(name).max:
                    return name
        return "float32"


@dataclass(frozen=True, eq=False)
class Radiograph:
    """The pixels of a radiograph.

    Attributes:
        pixels: [rows, columns] in `RadiographHeader.dtype`, rescaled, bright where more is in the
            beam's way; padding holds `background`.
        background: the lowest value of a pixel that is no padding: that of air.
    """

    pixels: np.ndarray
    background: float

    def plane(self, spacing_mm: tuple[float, float]) -> Plane:
        """The image in mm: x along rows, y down columns, the origin at the first pixel's centre."""
        return Plane(self.pixels[..., np.newaxis], spacing_mm, (0.0, 0.0), np.eye(2))


def read_radiograph_header(path: Path | str) -> RadiographHeader:
    """Reads and checks all that is known of a radiograph before its pixels are decoded.

    Raises:
        ImageError: missing, no DICOM file, without pixel data, cut short, multi-frame, in colour,
            with a transfer syntax that is not among `TRANSFER_SYNTAXES` or not that of its data.
    """
    path = Path(path)
    try:
        with BoundedFile(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that break a rule of their own
            return _checked(path, file)
    except FileNotFoundError as error:
        raise ImageError(f"{path}: is missing; expected a DICOM file") from error
    except InvalidDicomError as error:
        raise ImageError(f"{path}: is no DICOM file (no DICM after its preamble)") from error
    except (OSError, EOFError, struct.error, NotImplementedError) as error:
        raise ImageError(f"{path}: cannot be read ({error}); copy the file again") from error
    except HEADER_ERRORS as error:
        raise ImageError(
            f"{path}: its header holds a value that cannot be: {shortly(error)}"
        ) from error


def read_radiograph(header: RadiographHeader) -> Radiograph:
    """Decodes a radiograph whose header is known.

    MONOCHROME1 is turned over within the range of its stored values, so that bright is dense in
    every radiograph. Padding, which either kind may store as black or as white, becomes background.

    Raises:
        ImageError: GDCM cannot decode it, or it holds values beyond its bits.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(header.path))
    try:
        values = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ImageError(
            f"{header.path}: GDCM cannot decode its pixels: {reason}; copy the file again"
        ) from error
    columns, rows = header.size
    if values.size != columns * rows:
        raise ImageError(
            f"{header.path}: expected {columns}×{rows} grey pixels, decoded an array of "
            f"{'×'.join(map(str, values.shape))}"
        )
    stored = _stored(header, values.reshape(rows, columns))
    low, high = header.stored_range
    if stored.min() < low or stored.max() > high:
        raise ImageError(
            f"{header.path}: expected stored values of {header.bits_stored} bits ({low} to {high}),"
            f" found {stored.min()} to {stored.max()}; export the file again"
        )
    padded = None
    if header.padding is not None:
        padded = (stored >= header.padding[0]) & (stored <= header.padding[1])
    bright = low + high - stored if header.inverted else stored
    if (header.slope, header.intercept) != (1, 0):
        bright = header.slope * bright + header.intercept
    pixels = bright.astype(header.dtype)
    background = float(pixels.min() if padded is None or padded.all() else pixels[~padded].min())
    if padded is not None:
        pixels[padded] = background
    return Radiograph(pixels, background)


def _stored(header: RadiographHeader, values: np.ndarray) -> np.ndarray:
    """The stored values, int32, of what SimpleITK gives.

    It has rescaled them and turned MONOCHROME1 over; of JPEG 2000 it does so within the bits of the
    compressed image, which may be more than those stored.
    """
    if (header.slope, header.intercept) != (1, 0):
        values = np.rint((values - header.intercept) / header.slope)
    stored = values.astype(np.int32)
    if not header.inverted:
        return stored
    low, high = _range(header.bits_decoded, header.signed)
    return low + high - stored


def _range(bits: int, signed: bool) -> tuple[int, int]:
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def _checked(path: Path, file: BinaryIO) -> RadiographHeader:
    data = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(ELEMENTS))
    syntax = data.file_meta.get("TransferSyntaxUID")
    if syntax not in TRANSFER_SYNTAXES:
        name = "none" if syntax is None else f"{syntax.name} ({syntax})"
        raise ImageError(
            f"{path}: expected one of the transfer syntaxes {', '.join(TRANSFER_SYNTAXES.values())}"
            f", found {name}; convert it without loss, e.g. gdcmconv --raw"
        )
    header, stored = _described(path, data, str(syntax))
    return replace(header, bits_decoded=check_pixel_data(path, file, stored) or header.bits_stored)


def _described(path: Path, data: Any, syntax: str) -> tuple[RadiographHeader, Stored]:
    rows, columns = data.get("Rows"), data.get("Columns")
    if not rows or not columns:
        raise ImageError(f"{path}: holds no image (neither rows nor columns); leave it out")
    if int(data.get("NumberOfFrames") or 1) != 1:
        raise ImageError(
            f"{path}: expected one radiograph, found {data.NumberOfFrames} frames (tomosynthesis "
            "or a cine loop); leave it out, or export its frames"
        )
    kind, samples = data.get("PhotometricInterpretation", ""), data.get("SamplesPerPixel", 1)
    if samples != 1 or kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise ImageError(
            f"{path}: expected grey values (MONOCHROME1 or MONOCHROME2), found {samples} values a "
            f"pixel ({kind or 'unknown'}); convert it, or leave it out"
        )
    allocated, bits = data.get("BitsAllocated"), data.get("BitsStored")
    if allocated not in (8, 16) or bits not in range(1, allocated + 1):
        raise ImageError(
            f"{path}: expected 8 or 16 bits a pixel, found {bits} stored in {allocated} bits; "
            "convert it, or leave it out"
        )
    if data.get("ModalityLUTSequence"):
        raise ImageError(f"{path}: has a modality LUT, which is not read; apply it in an export")
    slope, intercept = stated_rescale(path, data)
    header = RadiographHeader(
        path=path,
        size=(int(columns), int(rows)),
        spacing_mm=_spacing(path, data),
        bits_stored=int(bits),
        bits_decoded=int(bits),
        signed=bool(data.get("PixelRepresentation", 0)),
        inverted=kind == "MONOCHROME1",
        padding=_padding_values(data),
        slope=1.0 if slope is None else slope,
        intercept=intercept or 0.0,
        lossy=data.get("LossyImageCompression") == "01",
        modality=_word(data, "Modality"),
        body_part=_word(data, "BodyPartExamined"),
        view=_word(data, "ViewPosition"),
        laterality=_word(data, "ImageLaterality") or _word(data, "Laterality"),
        implant=_word(data, "BreastImplantPresent") == "YES",
    )
    return header, Stored(syntax, header.size, int(allocated))


def _spacing(path: Path, data: Any) -> tuple[float, float] | None:
    """DICOM gives the distance of rows (y) first."""
    for name in SPACINGS:
        if data.get(name):
            y, x = (float(value) for value in data.get(name))
            if not (np.isfinite([x, y]).all() and min(x, y) > 0):
                raise ImageError(
                    f"{path}: expected a positive {name} in mm, found {x:g} and {y:g}; correct it, "
                    "or leave the image out"
                )
            return x, y
    return None


def _padding_values(data: Any) -> tuple[int, int] | None:
    value = data.get("PixelPaddingValue")
    if value is None:
        return None
    limit = data.get("PixelPaddingRangeLimit")
    ends = [int(value), int(value if limit is None else limit)]
    return min(ends), max(ends)


def _word(data: Any, name: str) -> str:
    return str(data.get(name) or "").strip().upper()
