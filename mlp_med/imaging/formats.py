"""Any 2D or 3D image that SimpleITK reads: its header in physical units, then its pixels.

A DICOM series is a folder, a single slice is 2D. PNG, TIFF, JPEG and BMP know no mm: what they say
of dots per inch is about paper, so their spacing is None here and has to be stated by the user.
"""

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import SimpleITK as sitk  # noqa: N813

from mlp_med.errors import ImageError
from mlp_med.imaging.claims import require_beside, require_plausible_size
from mlp_med.imaging.dicom_series import (
    SeriesHeader,
    arrange_slices,
    read_series,
    read_series_header,
    read_slice_headers,
)
from mlp_med.imaging.metaimage import (
    MetaHeader,
    check_compressed_data,
    check_metaimage_header,
    parse_metaimage,
)
from mlp_med.imaging.nifti import check_nifti_data
from mlp_med.imaging.nrrd import check_nrrd_header, is_nrrd
from mlp_med.imaging.plane import Plane
from mlp_med.imaging.volume import Volume

FORMATS_WITHOUT_MM = ("PNGImageIO", "TIFFImageIO", "JPEGImageIO", "BMPImageIO")
# Any of these gives a DICOM image its mm: PixelSpacing, ImagerPixelSpacing, NominalScanned….
DICOM_SPACING_KEYS = ("0028|0030", "0018|1164", "0018|2010")
METAIMAGE_SUFFIXES = (".mhd", ".mha")
BYTE, SHORT, FLOAT = "uint8", "int16", "float32"
DTYPES = {
    sitk.sitkUInt8: BYTE,
    sitk.sitkVectorUInt8: BYTE,
    sitk.sitkInt8: SHORT,
    sitk.sitkInt16: SHORT,
    sitk.sitkUInt16: FLOAT,
    sitk.sitkInt32: FLOAT,
    sitk.sitkUInt32: FLOAT,
    sitk.sitkInt64: FLOAT,
    sitk.sitkUInt64: FLOAT,
    sitk.sitkFloat32: FLOAT,
    sitk.sitkFloat64: FLOAT,
}
BYTES = {
    **dict.fromkeys((sitk.sitkUInt8, sitk.sitkVectorUInt8, sitk.sitkInt8), 1),
    **dict.fromkeys((sitk.sitkInt16, sitk.sitkUInt16), 2),
    **dict.fromkeys((sitk.sitkInt32, sitk.sitkUInt32, sitk.sitkFloat32), 4),
}


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """An image without its pixels.

    Attributes:
        path: the file, or the folder of a DICOM series.
        size: pixels along the native axes, (x, y) or (x, y, z); its length is 2 or 3.
        spacing_mm: mm between pixel centres, in the same order; None where the format has none.
        origin_mm: physical position (LPS) of the centre of the first pixel.
        direction: float64 [dims, dims]; column `a` is the physical direction of native axis `a`.
        num_channels: 1 for grey values, 3 for RGB.
        dtype: the smallest of "uint8", "int16" and "float32" that holds its values.
        placed: False for a single slice that lies across x and y, so that no centre fits it.
    """

    path: Path
    size: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None
    origin_mm: tuple[float, ...]
    direction: np.ndarray
    num_channels: int
    dtype: str
    placed: bool = True

    @property
    def spatial_dims(self) -> int:
        """2 or 3."""
        return len(self.size)

    def with_spacing(self, spacing_mm: float) -> Self:
        """The same header with a stated spacing, equal along every axis."""
        return replace(self, spacing_mm=(float(spacing_mm),) * self.spatial_dims)


def read_image_header(path: Path | str) -> ImageHeader:
    """Reads where the pixels of an image lie, without reading them.

    Raises:
        ImageError: the file is missing, not an image, neither 2D nor 3D, neither grey nor RGB, or
            contradicts itself.
    """
    path = Path(path)
    if path.is_dir():
        slices = read_slice_headers(path)
        if len(slices) > 1:
            return _series_image(path, arrange_slices(path, slices))
        path = slices[0].path
    if not path.is_file():
        raise ImageError(f"{path}: is missing; expected an image file or a folder of DICOM slices")
    reader = _open(path)
    if _is_volume_of_metaimage(path, reader):
        parse_metaimage(path)
    return _header(path, reader)


def read_image(header: ImageHeader) -> Volume | Plane:
    """Reads an image whose header is known; its spacing is the header's.

    Raises:
        ImageError: damaged, cut short, or values that are not finite.
    """
    path, spacing = header.path, header.spacing_mm
    if spacing is None:
        raise ImageError(f"{path}: its format knows no mm; state the spacing of its pixels")
    if path.is_dir():
        if header.spatial_dims == 3:
            return read_series(read_series_header(path))
        path = read_slice_headers(path)[0].path
    try:
        reader = _open(path)
        _check_data(path, reader)
        pixels = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise ImageError(
            f"{path}: SimpleITK cannot read its pixels: {_last_line(error)}; copy the file again"
        ) from error
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        count = int(np.count_nonzero(~np.isfinite(pixels)))
        raise ImageError(f"{path}: expected finite values, found {count} that are NaN or infinite")
    if header.spatial_dims == 3:
        x, y, z = spacing
        return Volume(pixels, (x, y, z), _triple(header.origin_mm), header.direction)
    if header.num_channels == 1:
        pixels = pixels.reshape(*pixels.shape[-2:], 1)
    return Plane(pixels, (spacing[0], spacing[1]), header.origin_mm[:2], header.direction)


def image_files(path: Path) -> list[Path]:
    """Every file that an image consists of, as its header names them; none where it is missing."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    files = [path] if path.is_file() else []
    if not files:
        return []
    if path.suffix.lower() in (".mhd", ".nhdr"):
        head = path.read_bytes()[:65_536].decode("latin-1")
        for line in head.splitlines():
            name, _, value = line.replace(":", "=", 1).partition("=")
            if name.strip().lower() in ("elementdatafile", "data file", "datafile"):
                with suppress(ImageError):  # told when it is read
                    data = require_beside(path, value.strip())
                    files += [data] if data.is_file() else []
    if path.suffix.lower() == ".hdr":
        files += [file for file in (path.with_suffix(".img"),) if file.is_file()]
    return files


def _series_image(path: Path, series: SeriesHeader) -> ImageHeader:
    return ImageHeader(
        path=path,
        size=series.size,
        spacing_mm=series.spacing_mm,
        origin_mm=series.origin_mm,
        direction=series.direction,
        num_channels=1,
        dtype=series.dtype,
    )


def _header(path: Path, reader: Any) -> ImageHeader:
    size, spacing = tuple(reader.GetSize()), tuple(reader.GetSpacing())
    origin = tuple(reader.GetOrigin())
    dims = len(size)
    if dims not in (2, 3):
        raise ImageError(f"{path}: expected a 2D or 3D image, found {dims}D; export one volume")
    direction = np.array(reader.GetDirection(), dtype=np.float64).reshape(dims, dims)
    dtype = DTYPES.get(reader.GetPixelID())
    num_channels = int(reader.GetNumberOfComponents())
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    flat = dims == 3 and size[2] == 1
    is_volume = dims == 3 and not flat
    if dtype is None or num_channels not in ((1,) if is_volume else (1, 3)):
        raise ImageError(
            f"{path}: expected {'grey values' if is_volume else 'grey values or 8-bit RGB'}, found "
            f"{num_channels} values a pixel ({kind}); save it without transparency, as "
            f"{'one scalar volume' if is_volume else 'grey or RGB'}"
        )
    if not np.allclose(direction.T @ direction, np.eye(dims), atol=1e-3):
        raise ImageError(f"{path}: expected orthonormal directions, found {direction.tolist()}")
    if not all(np.isfinite(spacing)) or min(spacing) <= 0:
        raise ImageError(f"{path}: expected positive spacings in mm, found {spacing}")
    placed = True
    if flat:  # one slice
        size, spacing, origin = size[:2], spacing[:2], origin[:2]
        plane = direction[:2, :2]
        placed = bool(np.allclose(plane.T @ plane, np.eye(2), atol=1e-3))
        direction = plane if placed else np.eye(2)
    known = _says_mm(path, reader)
    return ImageHeader(
        path=path,
        size=size,
        spacing_mm=spacing if known else None,
        origin_mm=origin if known else (0.0,) * len(size),
        direction=direction if known else np.eye(len(size)),
        num_channels=num_channels,
        dtype=dtype,
        placed=placed,
    )


def _says_mm(path: Path, reader: Any) -> bool:
    kind = _format(path, reader)
    if kind == "GDCMImageIO":
        return any(reader.HasMetaDataKey(key) for key in DICOM_SPACING_KEYS)
    return kind not in FORMATS_WITHOUT_MM


def _format(path: Path, reader: Any) -> str:
    return sitk.ImageFileReader.GetImageIOFromFileName(reader.GetFileName())


def _open(path: Path) -> Any:
    _check_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except (RuntimeError, UnicodeDecodeError) as error:
        raise ImageError(
            f"{path}: SimpleITK cannot read it as an image: {_last_line(error)}"
        ) from error
    values = math.prod(reader.GetSize()) * reader.GetNumberOfComponents()
    claimed = values * BYTES.get(reader.GetPixelID(), 8)
    require_plausible_size(path, claimed, sum(file.stat().st_size for file in image_files(path)))
    return reader


def _check_header(path: Path) -> None:
    """Where a spoilt header would end the process, not only the reading."""
    if path.suffix.lower() in METAIMAGE_SUFFIXES:
        check_metaimage_header(path)
    if is_nrrd(path):
        check_nrrd_header(path)


def _is_volume_of_metaimage(path: Path, reader: Any) -> bool:
    return path.suffix.lower() in METAIMAGE_SUFFIXES and reader.GetDimension() == 3


def _check_data(path: Path, reader: Any) -> None:
    """What SimpleITK reads without a word although it is cut short or damaged."""
    if _is_volume_of_metaimage(path, reader):
        header: MetaHeader = parse_metaimage(path)
        check_compressed_data(path, header)
    if _format(path, reader) == "NiftiImageIO":
        check_nifti_data(path)


def _triple(values: tuple[float, ...]) -> tuple[float, float, float]:
    return values[0], values[1], values[2]


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
