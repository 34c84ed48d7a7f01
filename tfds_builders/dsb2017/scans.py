"""The CT of a patient: its headers read and checked, no voxel decoded."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlp_med.errors import ImageError
from mlp_med.imaging.crop import aligned_axes
from mlp_med.imaging.dicom_series import SeriesHeader, read_series_header
from mlp_med.imaging.volume import Triple

SPACING_RANGE_MM = (0.2, 10.0)
LARGEST_HU = 1e6  # of 16 bits, beyond any that a scanner scales them to


@dataclass(frozen=True)
class Scan:
    """A series whose slices make up a volume.

    Attributes:
        series: its uid.
        num_slices: files.
        spacing_mm: along the native axes.
        height_mm: from the first voxel to the last along the patient.
    """

    series: str
    num_slices: int
    spacing_mm: Triple
    height_mm: float


def read_scan(folder: Path) -> Scan | str:
    """Looks at one patient's folder; what is wrong with it, in words, if it cannot be used.

    Runs in worker processes, from which an answer comes back more easily than an error.
    """
    try:
        header = read_ct_header(folder)
    except ImageError as error:
        return str(error)
    extents = np.abs(header.direction) @ np.multiply(header.size, header.spacing_mm)
    return Scan(header.uid, header.size[2], header.spacing_mm, float(extents[2]))


def read_ct_header(folder: Path) -> SeriesHeader:
    """The header of a CT whose axes are the patient's, in whatever order and direction.

    Raises:
        ImageError: as `read_series_header`; or no CT, oblique, or of spacings or values that no
            chest CT has.
    """
    header = read_series_header(folder)
    if header.modality != "CT":
        raise ImageError(
            f"{folder}: expected a CT, found the modality {header.modality!r}; "
            "take the patient out of the tables, or put the CT there"
        )
    if aligned_axes(header.direction) is None:
        raise ImageError(
            f"{folder}: expected slices along the patient's axes, found the directions "
            f"{np.round(header.direction.T, 4).tolist()}; resample the oblique series first"
        )
    low, high = SPACING_RANGE_MM
    if not low <= min(header.spacing_mm) <= max(header.spacing_mm) <= high:
        found = " × ".join(f"{spacing:g}" for spacing in header.spacing_mm)
        raise ImageError(
            f"{folder}: expected voxels of {low:g} to {high:g} mm along every axis, found {found} "
            "mm; correct PixelSpacing or the positions, or take the patient out of the tables"
        )
    largest = max(abs(end) for of in header.slices for end in of.value_range)
    if largest > LARGEST_HU:
        raise ImageError(
            f"{folder}: expected Hounsfield units, found a rescale to values of up to {largest:g}; "
            "correct RescaleSlope and RescaleIntercept, or take the patient out of the tables"
        )
    return header
