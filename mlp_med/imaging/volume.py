"""A CT scan in physical units, read from MetaImage and checked."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from mlp_med.errors import ImageError
from mlp_med.imaging.metaimage import check_compressed_data, parse_metaimage

Triple = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class VolumeHeader:
    """A scan without its voxels.

    Attributes:
        size: voxels along the native axes, in ITK's order (x, y, z).
        spacing_mm: mm between voxel centres along the native axes, (x, y, z).
        origin_mm: physical position (LPS) of the centre of voxel (0, 0, 0).
        direction: float64 [3, 3]; column `a` is the physical direction of native axis `a`.
        data_path: the file that holds the voxels.
    """

    size: tuple[int, int, int]
    spacing_mm: Triple
    origin_mm: Triple
    direction: np.ndarray
    data_path: Path


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan: `voxels` [z, y, x] in the file's own dtype, and where they lie (see VolumeHeader)."""

    voxels: np.ndarray
    spacing_mm: Triple
    origin_mm: Triple
    direction: np.ndarray

    @property
    def size(self) -> tuple[int, int, int]:
        """Voxels along the native axes (x, y, z)."""
        depth, height, width = self.voxels.shape
        return width, height, depth


def read_header(path: Path | str) -> VolumeHeader:
    """Reads where the voxels of a MetaImage lie, without reading them.

    Raises:
        ImageError: the header or its data file is missing or contradicts itself (see
            `parse_metaimage`), or the direction is not a rotation or reflection.
    """
    path = Path(path)
    checked = parse_metaimage(path)
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ImageError(
            f"{path}: SimpleITK cannot read the header: {_last_line(error)}"
        ) from error
    found = (tuple(reader.GetSize()), tuple(reader.GetSpacing()))
    expected = (checked.size, checked.spacing_mm)
    if found != expected:
        raise ImageError(
            f"{path}: the header says size and spacing {expected}, SimpleITK reads {found}; "
            "write the scan again with a current tool"
        )
    direction = np.array(reader.GetDirection(), dtype=np.float64).reshape(3, 3)
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
        raise ImageError(
            f"{path}: expected a TransformMatrix of orthonormal rows, found {direction.T.tolist()}"
        )
    return VolumeHeader(
        size=checked.size,
        spacing_mm=checked.spacing_mm,
        origin_mm=tuple(reader.GetOrigin()),
        direction=direction,
        data_path=checked.data_path,
    )


def read_volume(path: Path | str) -> Volume:
    """Reads a MetaImage: .mhd with .raw or .zraw, any spacing, offset and direction.

    Raises:
        ImageError: as `read_header`; also damaged voxels, or voxels that are not finite.
    """
    path = Path(path)
    header = read_header(path)
    check_compressed_data(path, parse_metaimage(path))
    try:
        voxels = sitk.GetArrayFromImage(_reader(path).Execute())
    except RuntimeError as error:
        raise ImageError(
            f"{path}: SimpleITK cannot read the voxels: {_last_line(error)}"
        ) from error
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        count = int(np.count_nonzero(~np.isfinite(voxels)))
        raise ImageError(
            f"{path}: expected finite voxels, found {count} that are NaN or infinite; "
            "convert the scan again from its original series"
        )
    return Volume(voxels, header.spacing_mm, header.origin_mm, header.direction)


def continuous_index(scan: Volume | VolumeHeader, point_mm: Triple | np.ndarray) -> np.ndarray:
    """The native (x, y, z) index, float64 [3] and not rounded, of a physical point in mm (LPS)."""
    offset = np.asarray(point_mm, dtype=np.float64) - np.asarray(scan.origin_mm)
    return np.linalg.solve(scan.direction, offset) / np.asarray(scan.spacing_mm)


def contains(scan: Volume | VolumeHeader, point_mm: Triple | np.ndarray) -> bool:
    """Whether a physical point lies within a voxel of the scan."""
    index = continuous_index(scan, point_mm)
    return bool(np.all(index >= -0.5) and np.all(index <= np.asarray(scan.size) - 0.5))


def is_finer_than_native(native_spacing_mm: Triple, spacing_mm: float) -> bool:
    """Whether a crop at `spacing_mm` has more voxels than the scan along some axis.

    Such a crop is allowed and holds no more detail than the scan: a 2.5 mm slice holds no 0.625 mm
    detail. Spacings within a thousandth count as equal.
    """
    return max(native_spacing_mm) > spacing_mm * 1.001


def _reader(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("MetaImageIO")
    reader.SetFileName(str(path))
    return reader


def _last_line(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[-1]
