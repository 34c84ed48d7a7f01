"""A DICOM series in a folder: its slices in order of position, and where they lie."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from mlp_med.errors import ImageError
from mlp_med.imaging.dicom_slice import SliceHeader, read_slice_header
from mlp_med.imaging.volume import Triple, Volume

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
# Slices may be this share of a step off their place before one counts as missing.
MAX_STEP_DEVIATION = 0.05
# Some scanners write positions in tenths of a mm, so that steps of 0.625 mm become 0.6 and 0.7.
ROUNDING_MM = 0.1001
SAME_PLACE_MM = 1e-3
# A shift of slices against one another by less than this is rounding.
MAX_SHIFT_MM = 0.1
AXES_WITHIN = 1e-4


@dataclass(frozen=True, eq=False)
class SeriesHeader:
    """A volume of slices, without its voxels.

    Attributes:
        slices: in order along `direction[:, 2]`.
        size: voxels along the native axes, (x, y, z): in a row, in a column, slices.
        spacing_mm: mm between voxel centres, in the same order.
        origin_mm: physical position (LPS) of the centre of voxel (0, 0, 0).
        direction: float64 [3, 3]; column `a` is the physical direction of native axis `a`.
    """

    slices: tuple[SliceHeader, ...]
    size: tuple[int, int, int]
    spacing_mm: Triple
    origin_mm: Triple
    direction: np.ndarray

    @property
    def uid(self) -> str:
        """Of the series."""
        return self.slices[0].series

    @property
    def modality(self) -> str:
        """The kind of scanner, "CT" say."""
        return self.slices[0].modality

    @property
    def dtype(self) -> str:
        """The smallest of "uint8", "int16" and "float32" that holds all values."""
        low = min(header.value_range[0] for header in self.slices)
        high = max(header.value_range[1] for header in self.slices)
        if all(header.whole_values for header in self.slices):
            for dtype in ("uint8", "int16"):
                if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                    return dtype
        return "float32"


def read_slice_headers(folder: Path) -> list[SliceHeader]:
    """The slices of the one series in a folder, by file name.

    Raises:
        ImageError: none, several series, or a slice that cannot be used (see `read_slice_header`).
    """
    slices = [read_slice_header(path) for path in dicom_files(folder)]
    series = Counter(header.series for header in slices)
    if len(series) != 1:
        counts = " and ".join(f"{number}" for number in series.values())
        found = f"{len(series)} series (of {counts} slices)" if series else "none"
        raise ImageError(
            f"{folder}: expected the slices of one DICOM series, found {found}; keep one series a "
            "folder"
        )
    return slices


def dicom_files(folder: Path) -> list[Path]:
    """The files of a folder that are DICOM by their suffix or by what they begin with, sorted."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return [path for path in files if path.name != "DICOMDIR" and _is_dicom(path)]


def read_series_header(folder: Path) -> SeriesHeader:
    """Reads the headers of a folder's series and checks that its slices make up a volume.

    Raises:
        ImageError: as `read_slice_headers`; or `arrange_slices`.
    """
    return arrange_slices(folder, read_slice_headers(folder))


def arrange_slices(folder: Path, slices: Sequence[SliceHeader]) -> SeriesHeader:
    """The volume that the slices make up, in order of their positions.

    Raises:
        ImageError: one slice only; slices that differ in size, spacing or orientation, or of which
            some alone state how to rescale; a slice missing or there twice; slices shifted against
            one another.
    """
    if len(slices) < 2:
        raise ImageError(
            f"{folder}: expected a series of slices, found {len(slices)}; copy the others there, "
            "or take the folder out"
        )
    first = slices[0]
    for header in slices[1:]:
        _require_alike(first, header)
    _require_rescale_throughout(slices)
    normal = np.cross(first.axes[:, 0], first.axes[:, 1])
    positions = np.array([header.position_mm for header in slices])
    order = np.argsort(positions @ normal, kind="stable")
    ordered, positions = [slices[index] for index in order], positions[order]
    step = _equal_steps(folder, ordered, positions @ normal)
    _require_no_shift(folder, positions, normal)
    x, y, z = positions[0].tolist()
    return SeriesHeader(
        slices=tuple(ordered),
        size=(*first.size, len(ordered)),
        spacing_mm=(*first.spacing_mm, step),
        origin_mm=(x, y, z),
        direction=np.column_stack([first.axes, normal]),
    )


def read_series(header: SeriesHeader, padding_as: float | None = None) -> Volume:
    """Decodes the slices; each one's own rescale slope and intercept are applied (GDCM does so).

    Args:
        header: of the series.
        padding_as: what voxels that hold their slice's PixelPaddingValue become; None leaves them.

    Returns:
        The volume, its voxels in `header.dtype`.

    Raises:
        ImageError: a slice cannot be decoded, or holds values that are not finite.
    """
    columns, rows, depth = header.size
    voxels = np.empty((depth, rows, columns), dtype=header.dtype)
    for plane, of in zip(voxels, header.slices, strict=True):
        pixels = _decode(of)
        if padding_as is not None and of.padding is not None:
            pixels = np.where(pixels == of.padding, padding_as, pixels)
        plane[...] = pixels
    return Volume(voxels, header.spacing_mm, header.origin_mm, header.direction)


def _decode(header: SliceHeader) -> np.ndarray:
    """The rescaled pixels [y, x] of a slice."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(header.path))
    try:
        pixels = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ImageError(
            f"{header.path}: its pixels cannot be decoded: {reason}; copy the file again"
        ) from error
    columns, rows = header.size
    if pixels.size != columns * rows or not np.isfinite(pixels).all():
        raise ImageError(
            f"{header.path}: expected {columns}×{rows} finite values, found shape "
            f"{pixels.shape}; copy the file again"
        )
    return pixels.reshape(rows, columns)


def _is_dicom(path: Path) -> bool:
    if path.suffix.lower() in DICOM_SUFFIXES:
        return not path.name.startswith(".")
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _require_alike(first: SliceHeader, header: SliceHeader) -> None:
    for what, one, other in (
        ("size", first.size, header.size),
        ("spacing", first.spacing_mm, header.spacing_mm),
    ):
        if not np.allclose(one, other, rtol=1e-5):
            raise ImageError(
                f"{header.path}: expected the {what} {one} of the series' first slice, found "
                f"{other}; keep the slices of one reconstruction a folder"
            )
    if not np.allclose(first.axes, header.axes, atol=AXES_WITHIN):
        raise ImageError(
            f"{header.path}: expected the orientation {first.axes.T.tolist()} of the series' first "
            f"slice, found {header.axes.T.tolist()}; take localisers out of the folder"
        )


def _require_rescale_throughout(slices: Sequence[SliceHeader]) -> None:
    """A slice without the rescale of its neighbours would be read a thousand HU beside them."""
    for number, keyword in enumerate(("RescaleSlope", "RescaleIntercept")):
        without = [header for header in slices if header.rescale[number] is None]
        if 0 < len(without) < len(slices):
            raise ImageError(
                f"{without[0].path}: has no {keyword}, as {len(without)} of the {len(slices)} "
                "slices of its series, and the others have one: values of one scale are not to be "
                "told; export the series again"
            )


def _equal_steps(folder: Path, slices: Sequence[SliceHeader], heights: np.ndarray) -> float:
    """The distance of neighbouring slices in mm."""
    steps = np.diff(heights)
    repeated = int(steps.argmin())
    if steps[repeated] < SAME_PLACE_MM:
        one, other = slices[repeated], slices[repeated + 1]
        kind = "the same slice" if one.uid == other.uid else "two slices of one place"
        raise ImageError(
            f"{folder}: {one.path.name} and {other.path.name} are {kind}; keep one of them"
        )
    step = float(np.median(steps))
    if np.abs(steps - step).max() > max(MAX_STEP_DEVIATION * step, ROUNDING_MM):
        worst = int(np.abs(steps - step).argmax())
        raise ImageError(
            f"{folder}: expected slices at equal distances of about {step:g} mm, found "
            f"{steps[worst]:g} mm between {slices[worst].path.name} and "
            f"{slices[worst + 1].path.name}; a slice is missing, or at another spacing"
        )
    return float(steps.mean())


def _require_no_shift(folder: Path, positions: np.ndarray, normal: np.ndarray) -> None:
    offsets = positions - positions[0]
    sideways = offsets - np.outer(offsets @ normal, normal)
    shift = float(np.linalg.norm(sideways, axis=1).max())
    if shift > MAX_SHIFT_MM:
        raise ImageError(
            f"{folder}: the slices are shifted against one another by up to {shift:.1f} mm (a "
            "tilted gantry, or two scans in one series); straighten the series first"
        )
