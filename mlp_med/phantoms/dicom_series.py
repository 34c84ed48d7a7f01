"""DICOM CT series as archives deliver them: a file a slice, in no order of their names."""

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

STORED_ZERO_HU = -1024
UPRIGHT, FLIPPED_IN_PLANE = (1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0)


def write_series(
    folder: Path,
    voxels: np.ndarray,
    *,
    names: list[str],
    uids: list[str],
    series_uid: str,
    study_uid: str,
    patient: str,
    description: str,
    origin_mm: tuple[float, float, float],
    spacing_mm: tuple[float, float, float],
    flipped: bool = False,
) -> None:
    """Writes int16 HU `voxels` [z, y, x], of at least −1024, as axial slices from feet to head.

    Args:
        folder: exists.
        voxels: axes along the patient's (LPS).
        names: of the files, one a slice.
        uids: of the slices.
        series_uid: of the series.
        study_uid: of its study.
        patient: stands as name and id.
        description: of the series.
        origin_mm: position of voxels[0, 0, 0].
        spacing_mm: (x, y, z).
        flipped: rows and columns are stored in reverse, and the orientation says so: the same scan.
    """
    x, y, z = origin_mm
    if flipped:
        voxels = voxels[:, ::-1, ::-1]
        x += (voxels.shape[2] - 1) * spacing_mm[0]
        y += (voxels.shape[1] - 1) * spacing_mm[1]
    for number, (name, uid, plane) in enumerate(zip(names, uids, voxels, strict=True)):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = UID(uid)
        dataset = FileDataset(name, {}, file_meta=meta, preamble=b"\0" * 128)
        height = z + number * spacing_mm[2]
        elements: dict[str, object] = {
            "ImageType": ["DERIVED", "SECONDARY", "AXIAL"],
            "SOPClassUID": CTImageStorage,
            "SOPInstanceUID": uid,
            "Modality": "CT",
            "Manufacturer": "mlp_med phantom",
            "SeriesDescription": description,
            "PatientName": patient,
            "PatientID": patient,
            "StudyInstanceUID": study_uid,
            "SeriesInstanceUID": series_uid,
            "InstanceNumber": len(voxels) - number,
            "ImagePositionPatient": [round(value, 4) for value in (x, y, height)],
            "ImageOrientationPatient": list(FLIPPED_IN_PLANE if flipped else UPRIGHT),
            "SliceThickness": spacing_mm[2],
            "PixelSpacing": [spacing_mm[1], spacing_mm[0]],
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "Rows": plane.shape[0],
            "Columns": plane.shape[1],
            "BitsAllocated": 16,
            "BitsStored": 12,
            "HighBit": 11,
            "PixelRepresentation": 0,
            "RescaleIntercept": STORED_ZERO_HU,
            "RescaleSlope": 1,
        }
        for keyword, element in elements.items():
            setattr(dataset, keyword, element)
        dataset.PixelData = (plane - STORED_ZERO_HU).astype("<u2").tobytes()
        dataset.save_as(folder / name, enforce_file_format=True)
