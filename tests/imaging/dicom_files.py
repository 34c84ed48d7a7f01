"""Writes small DICOM series for tests: random voxels, no one's."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

SERIES = "2.25.1"
SPACING_MM = (0.75, 0.5, 2.0)  # x, y, z


def make_slice(
    stored: np.ndarray,
    *,
    position_mm: Any,
    axes: Any = (1, 0, 0, 0, 1, 0),
    uid: str = "2.25.9",
    series: str = SERIES,
    slope: float = 1,
    intercept: float = -1024,
) -> FileDataset:
    """A CT slice of stored values [y, x], uint16 or int16, to be changed and saved by a test."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, uid
    dataset.Modality, dataset.SeriesInstanceUID = "CT", series
    dataset.StudyInstanceUID = "2.25.2"
    dataset.ImagePositionPatient = [float(value) for value in position_mm]
    dataset.ImageOrientationPatient = [float(value) for value in axes]
    dataset.PixelSpacing = [SPACING_MM[1], SPACING_MM[0]]  # between rows first
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    dataset.PixelData = stored.tobytes()
    return dataset


def random_voxels(depth: int = 5, rows: int = 20, columns: int = 16) -> np.ndarray:
    """Stored values uint16 [z, y, x] of 0 to 2,000."""
    return np.random.default_rng(3).integers(0, 2001, (depth, rows, columns)).astype(np.uint16)


def make_series(stored: np.ndarray, **options: Any) -> list[FileDataset]:
    """Axial slices of `stored` [z, y, x] from feet to head, the first at (−20, −30, −40) mm."""
    return [
        make_slice(
            plane,
            position_mm=(-20, -30, -40 + SPACING_MM[2] * number),
            uid=f"2.25.1{number}",
            **options,
        )
        for number, plane in enumerate(stored)
    ]


def save_series(folder: Path, slices: list[FileDataset]) -> Path:
    """Writes the slices in an order of names that is not that of their positions."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, dataset in enumerate(slices):
        name = f"{(number * 7) % len(slices)}-{number}.dcm"
        dataset.save_as(folder / name, enforce_file_format=True)
    return folder
