"""A DICOM series in a folder: its slices in order, and where they lie."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from mlp_med.errors import ImageError

POSITION = "0020|0032"
# Slices may be this share of a step off their place before one counts as missing.
MAX_STEP_DEVIATION = 0.05


def series_names(folder: Path) -> list[str]:
    """The files of the one series in a folder, in the order of their positions.

    Raises:
        ImageError: no series, or several.
    """
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if len(series) != 1:
        raise ImageError(
            f"{folder}: expected the slices of one DICOM series, found "
            f"{'none' if not series else f'{len(series)} series'}; keep one series a folder"
        )
    return list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0]))


def series_geometry(
    folder: Path, names: Sequence[str]
) -> tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]:
    """Size, spacing and origin of the volume that the slices make up.

    Raises:
        ImageError: a slice is unreadable, of another size or spacing, without a position, missing,
            or there twice.
    """
    positions, first = [], None
    for name in names:
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(name)
        try:
            reader.ReadImageInformation()
            positions.append([float(v) for v in reader.GetMetaData(POSITION).split("\\")])
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise ImageError(f"{name}: no readable slice with a position: {reason}") from error
        plane = (tuple(reader.GetSize()[:2]), tuple(reader.GetSpacing()[:2]))
        first = first or (plane, np.array(reader.GetDirection()).reshape(3, 3)[:, 2])
        if plane != first[0]:
            raise ImageError(
                f"{name}: expected size and spacing {first[0]} of the series' first slice, "
                f"found {plane}"
            )
    assert first is not None
    (size, spacing), normal = first
    steps = np.abs(np.diff(np.array(positions) @ normal))
    step = float(np.median(steps))
    if step <= 0 or np.abs(steps - step).max() > MAX_STEP_DEVIATION * step:
        worst = int(np.abs(steps - step).argmax())
        raise ImageError(
            f"{folder}: expected slices at equal distances, found {steps.min():g} to "
            f"{steps.max():g} mm (first between {Path(names[worst]).name} and "
            f"{Path(names[worst + 1]).name}); a slice is missing, or there twice"
        )
    x, y, z = positions[0]
    return (*size, len(names)), (*spacing, float(steps.mean())), (x, y, z)


def read_series(names: Sequence[str]) -> np.ndarray:
    """Voxels [z, y, x] of the slices in order; RuntimeError where SimpleITK cannot."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(list(names))
    return sitk.GetArrayFromImage(reader.Execute())
