"""MetaImage files as LUNA16 has them: a text header beside raw voxels."""

from pathlib import Path

import numpy as np

FLIPPED_IN_PLANE = (-1, 0, 0, 0, -1, 0, 0, 0, 1)
UPRIGHT = (1, 0, 0, 0, 1, 0, 0, 0, 1)


def write_metaimage(
    header_path: Path,
    voxels: np.ndarray,
    *,
    origin_mm: tuple[float, float, float],
    spacing_mm: tuple[float, float, float],
    flipped: bool = False,
) -> None:
    """Writes int16 `voxels` [z, y, x] as .mhd and .raw; the header appears last.

    `origin_mm` is the position of voxels[0, 0, 0]. With `flipped`, rows and columns are stored in
    reverse under a direction matrix that says so, as some scanners do: the same scan.
    """
    matrix, corner = UPRIGHT, list(origin_mm)
    if flipped:
        matrix = FLIPPED_IN_PLANE
        voxels = voxels[:, ::-1, ::-1]
        for axis in range(2):
            corner[axis] += (voxels.shape[2 - axis] - 1) * spacing_mm[axis]
    raw_path = header_path.with_suffix(".raw")
    header = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": " ".join(map(str, matrix)),
        "Offset": " ".join(map(repr, corner)),
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": " ".join(map(repr, spacing_mm)),
        "DimSize": " ".join(map(str, voxels.shape[::-1])),
        "ElementType": "MET_SHORT",
        "ElementDataFile": raw_path.name,
    }
    text = "".join(f"{key} = {value}\n" for key, value in header.items())
    unfinished_raw = raw_path.with_name(raw_path.name + ".unfinished")
    unfinished_header = header_path.with_name(header_path.name + ".unfinished")
    try:
        np.ascontiguousarray(voxels, "<i2").tofile(unfinished_raw)
        unfinished_header.write_text(text)
        unfinished_raw.replace(raw_path)
        unfinished_header.replace(header_path)
    finally:
        unfinished_raw.unlink(missing_ok=True)
        unfinished_header.unlink(missing_ok=True)
