"""Tiny drawn DICOM files in every transfer syntax that is read."""

from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID, ImplicitVRLittleEndian, RLELossless

from mlp_med.phantoms.dicom_radiograph import write_radiograph
from mlp_med.phantoms.dicom_series import write_series

GDCM = {"JPEG": "1.2.840.10008.1.2.4.70", "JPEG2000": "1.2.840.10008.1.2.4.90"}
RADIOGRAPH_SYNTAXES = ("explicit", "implicit", "RLE", *GDCM)
SERIES_SYNTAXES = RADIOGRAPH_SYNTAXES


def write_one(path: Path, syntax: str) -> Path:
    """A radiograph of 12 × 10 pixels of 16 bits."""
    pixels = np.random.default_rng(0).integers(0, 4096, (12, 10)).astype(np.uint16)
    write_radiograph(
        path,
        pixels,
        SOPInstanceUID="2.25.1",
        StudyInstanceUID="2.25.2",
        SeriesInstanceUID="2.25.3",
        Modality="MG",
        PixelSpacing=[0.1, 0.1],
        ViewPosition="CC",
        PixelPaddingValue=0,
    )
    encode(path, syntax)
    return path


def write_some(folder: Path, syntax: str) -> list[Path]:
    """A series of four slices of 12 × 10."""
    folder.mkdir()
    names = [f"{number}.dcm" for number in range(4)]
    write_series(
        folder,
        np.random.default_rng(1).integers(-1000, 400, (4, 12, 10)).astype(np.int16),
        names=names,
        uids=[f"2.25.1{number}" for number in range(4)],
        series_uid="2.25.3",
        study_uid="2.25.2",
        patient="phantom",
        description="phantom",
        origin_mm=(-5.0, -6.0, -7.0),
        spacing_mm=(0.7, 0.7, 2.5),
    )
    for name in names:
        encode(folder / name, syntax)
    return [folder / name for name in names]


def encode(path: Path, syntax: str) -> None:
    """Turns an explicit file into one of another transfer syntax."""
    data = pydicom.dcmread(path)
    if syntax == "implicit":
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    elif syntax == "RLE":
        data.compress(RLELossless, generate_instance_uid=False)
    elif syntax in GDCM:
        data.PixelData = encapsulate([_by_gdcm(path, data.pixel_array, syntax)])
        data["PixelData"].VR = "OB"
        data.file_meta.TransferSyntaxUID = UID(GDCM[syntax])
    data.save_as(path, enforce_file_format=True)


def _by_gdcm(path: Path, pixels: np.ndarray, syntax: str) -> bytes:
    compressed = path.with_suffix(".compressed")
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor(syntax)
    writer.SetFileName(str(compressed))
    writer.Execute(sitk.GetImageFromArray(pixels))
    written = pydicom.dcmread(compressed)
    compressed.unlink()
    return next(generate_frames(written.PixelData, number_of_frames=1))
