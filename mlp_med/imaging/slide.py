"""Whole slides (pyramidal TIFF, SVS, …), read through OpenSlide; fields of them rendered in µm.

A field is always rendered from level 0, in one anti-aliased step, whatever its resolution: the
coarser levels of a pyramid were made by a vendor's converter with a filter that nobody states, and
compressed once more. They serve overviews alone. Nothing here needs OpenSlide before it is called:
it comes with the extra `slides`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from mlp_med.errors import ImageError
from mlp_med.imaging.antialias import LOBES
from mlp_med.imaging.plane import Plane, render_plane
from mlp_med.imaging.tiff import check_tiff

if TYPE_CHECKING:
    from openslide import OpenSlide

TIFF_SUFFIXES = (".tif", ".tiff", ".svs")
UM_PER_MM = 1000.0
WHITE = 255.0  # of glass without tissue, and of what lies outside a slide
# No objective resolves 0.05 µm, and at 5 µm nuclei are gone: the unit must be another one.
PLAUSIBLE_UM = (0.05, 5.0)
BLOCK_PIXELS = 4096  # of a level, along the edge of what an overview holds in memory


@dataclass(frozen=True)
class SlideHeader:
    """What a slide's file says of itself.

    Attributes:
        path: the file.
        size: (width, height) of level 0 in pixels.
        pixel_um: edge of a pixel of level 0 along x and y, in µm.
        num_levels: of the pyramid, at least 1.
        vendor: as OpenSlide names the format.
    """

    path: Path
    size: tuple[int, int]
    pixel_um: tuple[float, float]
    num_levels: int
    vendor: str

    @property
    def extent_um(self) -> tuple[float, float]:
        """Width and height of the slide in µm."""
        return self.size[0] * self.pixel_um[0], self.size[1] * self.pixel_um[1]


def require_openslide() -> ModuleType:
    """The module that reads slides.

    Raises:
        ImageError: it is not installed.
    """
    try:
        import openslide
    except (ImportError, OSError) as error:  # OSError: the package without the library
        raise ImageError(
            "slides are read by OpenSlide, which is not installed here; it comes with the extra "
            "'slides': pip install 'mlp-med[slides]', or make install-test in a checkout"
        ) from error
    return openslide


@contextmanager
def opened(path: Path) -> "Iterator[OpenSlide]":
    """Opens a slide, and says of any failure in it what file it is and what to do.

    Raises:
        ImageError: OpenSlide is not installed; the file is missing, no slide, or damaged.
    """
    openslide = require_openslide()
    if not path.is_file():
        raise ImageError(f"{path}: is missing; copy the slide again")
    if path.suffix.lower() in TIFF_SUFFIXES:
        check_tiff(path)
    try:
        with openslide.OpenSlide(path) as slide:
            yield slide
    except openslide.OpenSlideUnsupportedFormatError as error:
        raise ImageError(
            f"{path}: is no slide that OpenSlide reads (tiled pyramidal TIFF, SVS, NDPI, …)"
        ) from error
    except openslide.OpenSlideError as error:
        raise ImageError(f"{path}: is damaged ({error}); copy the slide again") from error


def read_header(path: Path) -> SlideHeader:
    """Reads size, pixel size and levels; no pixels.

    Raises:
        ImageError: as of `opened`; or the file does not state the size of its pixels, or a size
            that no microscope has.
    """
    with opened(path) as slide:
        properties = dict(slide.properties)
        size, num_levels = slide.dimensions, slide.level_count
    x_um, y_um = (_pixel_um(path, properties.get(f"openslide.mpp-{axis}")) for axis in "xy")
    return SlideHeader(path, size, (x_um, y_um), num_levels, properties.get("openslide.vendor", ""))


def _pixel_um(path: Path, stated: str | None) -> float:
    if stated is None:
        raise ImageError(
            f"{path}: does not state the size of its pixels (openslide.mpp-x and -y), so nothing "
            "in it can be placed in µm; convert it again with its resolution"
        )
    value = _number(stated)
    low, high = PLAUSIBLE_UM
    if not low <= value <= high:
        raise ImageError(
            f"{path}: states pixels of {value:g} µm, expected {low:g} to {high:g} µm; convert it "
            "again with the scanner's resolution"
        )
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def read_field(
    slide: "OpenSlide",
    header: SlideHeader,
    centre_um: tuple[float, float],
    extent_um: float,
    coarsest_um: float,
) -> Plane:
    """Reads the pixels of level 0 that a field needs at any resolution up to `coarsest_um`.

    Args:
        slide: opened.
        header: of that slide.
        centre_um: (x, y) from the slide's upper left corner.
        extent_um: edge of the field.
        coarsest_um: the coarsest resolution to render; reads no more than its kernel reaches.

    Returns:
        RGB uint8 [y, x, 3], the whole slide's part where the field lies beyond its edge; a pixel
        that the file lacks is white.
    """
    start, stop = [], []
    for axis in range(2):
        native = header.pixel_um[axis]
        reach = extent_um / 2 + LOBES * max(coarsest_um, native)
        start.append(max(int(np.floor((centre_um[axis] - reach) / native)), 0))
        stop.append(min(int(np.ceil((centre_um[axis] + reach) / native)), header.size[axis]))
    if min(stop[0] - start[0], stop[1] - start[1]) <= 0:
        raise ValueError(f"expected a field in the slide, found its centre at {centre_um} µm")
    pixels = _read_rgb(slide, (start[0], start[1]), 0, (stop[0] - start[0], stop[1] - start[1]))
    x_um, y_um = header.pixel_um
    return Plane(
        pixels=pixels,
        spacing_mm=(x_um / UM_PER_MM, y_um / UM_PER_MM),
        origin_mm=((start[0] + 0.5) * x_um / UM_PER_MM, (start[1] + 0.5) * y_um / UM_PER_MM),
        direction=np.eye(2),
    )


def render_field(
    field: Plane, centre_um: tuple[float, float], extent_um: float, resolution_um: float
) -> np.ndarray:
    """Renders a field that was read for it: uint8 [n, n, 3], n = extent / resolution, rounded."""
    values = render_plane(
        field,
        np.asarray(centre_um) / UM_PER_MM,
        extent_um / UM_PER_MM,
        resolution_um / UM_PER_MM,
        fill=WHITE,
    )
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def read_overview(slide: "OpenSlide", header: SlideHeader, pixel_um: float) -> np.ndarray:
    """The whole slide at a coarse resolution: means over the pixels of the coarsest fitting level.

    That is the coarsest whose pixels are at most `pixel_um`, so level 0 in a slide of one level,
    which takes minutes where a pyramid takes a second. Borders are those of the nearest level
    pixel: for masks, not for crops.

    Returns:
        RGB uint8 [h, w, 3]; pixel (i, j) covers (j, i) · `pixel_um` to (j + 1, i + 1) · `pixel_um`.
        A last column or row that the slide fills by less than half is left out.
    """
    finest = min(header.pixel_um)
    fitting = [n for n, d in enumerate(slide.level_downsamples) if finest * d <= pixel_um * 1.01]
    level = fitting[-1] if fitting else 0
    width, height = slide.level_dimensions[level]
    columns = _borders(header.extent_um[0], width, pixel_um)
    rows = _borders(header.extent_um[1], height, pixel_um)
    overview = np.zeros((len(rows) - 1, len(columns) - 1, 3), np.uint8)
    step = max(int(BLOCK_PIXELS / max(columns[-1] / (len(columns) - 1), 1)), 1)
    for top in range(0, len(overview), step):
        for left in range(0, overview.shape[1], step):
            y, x = rows[top : top + step + 1], columns[left : left + step + 1]
            corner = _in_level_0(slide, level, header, (x[0], y[0]))
            size = (int(max(x[-1], x[-2] + 1) - x[0]), int(max(y[-1], y[-2] + 1) - y[0]))
            block = _read_rgb(slide, corner, level, size).astype(np.uint32)
            sums = np.add.reduceat(block, y[:-1] - y[0], axis=0)
            sums = np.add.reduceat(sums, x[:-1] - x[0], axis=1)
            areas = np.maximum(np.diff(y), 1)[:, None, None] * np.maximum(np.diff(x), 1)[:, None]
            overview[top : top + step, left : left + step] = np.rint(sums / areas)
    return overview


def _borders(extent_um: float, num_level_pixels: int, pixel_um: float) -> np.ndarray:
    """Level pixel at which each overview pixel begins, and where the last one ends.

    A level is often a pixel narrower than its factor says; an overview pixel that finds itself
    without one of its own repeats a neighbour.
    """
    number = max(round(extent_um / pixel_um), 1)
    borders = np.rint(np.arange(number + 1) * (pixel_um / extent_um * num_level_pixels))
    borders[:-1] = np.minimum(borders[:-1], num_level_pixels - 1)
    borders[-1] = min(borders[-1], num_level_pixels)
    return borders.astype(np.int64)


def _in_level_0(
    slide: "OpenSlide", level: int, header: SlideHeader, corner: tuple[int, int]
) -> tuple[int, int]:
    size = slide.level_dimensions[level]
    x, y = (
        round(c * whole / part) for c, whole, part in zip(corner, header.size, size, strict=True)
    )
    return x, y


def _read_rgb(
    slide: "OpenSlide", corner: tuple[int, int], level: int, size: tuple[int, int]
) -> np.ndarray:
    """RGB uint8 [height, width, 3] from `corner` of level 0; what the file lacks is white."""
    rgba = np.asarray(slide.read_region(corner, level, size))
    # Half transparent is what a border between two pixels of a level runs through: it has a colour.
    return np.where(rgba[..., 3:] > 0, rgba[..., :3], np.uint8(WHITE))
