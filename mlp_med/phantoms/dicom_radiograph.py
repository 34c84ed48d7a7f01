"""Writes drawn radiographs as DICOM files: explicit little endian, whole or absent."""

import hashlib
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage


def drawn_uid(*parts: object) -> str:
    """A UID (2.25.…, of a UUID) that is a function of its parts alone."""
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def write_radiograph(path: Path, pixels: np.ndarray, **elements: object) -> None:
    """Writes one grey image.

    Args:
        path: the file; its folders are made.
        pixels: uint8 or uint16 [rows, columns].
        **elements: by DICOM keyword; SOPInstanceUID, StudyInstanceUID and SeriesInstanceUID at
            least.
    """
    bits = 8 * pixels.dtype.itemsize
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = SecondaryCaptureImageStorage
    data.ConversionType = "WSD"  # workstation: neither scanned nor measured
    data.BurnedInAnnotation = "NO"
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit, data.PixelRepresentation = bits - 1, 0
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    data.PixelData = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<")).tobytes()
    data["PixelData"].VR = "OB" if bits == 8 else "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        data.save_as(unfinished, enforce_file_format=True)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
