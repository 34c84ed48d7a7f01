"""A rectangular field of a 2D image around a physical centre, rendered at any resolution.

As `imaging.crop` does for volumes: one anti-aliased step from native pixels, and the axes are the
physical x and y whatever the direction of the image. Nothing is known beyond the edge of an image,
so weights there are corrected over the pixels that exist; pixels outside it hold `fill`.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813

from mlp_med.imaging.antialias import LOBES, resampling_weights
from mlp_med.imaging.crop import aligned_axes, crop_size, grid_mm

INSIDE_TOLERANCE = 1e-6  # of a pixel


@dataclass(frozen=True, eq=False)
class Plane:
    """A 2D image: `pixels` [y, x, channels] in the file's own dtype, and where they lie.

    Attributes:
        pixels: [height, width, channels].
        spacing_mm: mm between pixel centres, (x, y).
        origin_mm: physical position of the centre of the first pixel, (x, y).
        direction: float64 [2, 2]; column `a` is the physical direction of native axis `a`.
    """

    pixels: np.ndarray
    spacing_mm: tuple[float, float]
    origin_mm: tuple[float, ...]
    direction: np.ndarray


def render_plane(
    plane: Plane,
    centre_mm: np.ndarray,
    extent_mm: float | tuple[float, float],
    spacing_mm: float,
    fill: float,
) -> np.ndarray:
    """Renders a square, or a rectangle (x, y), of `extent_mm` around `centre_mm` (x, y).

    Returns:
        float32 [height, width, channels] as [y, x, channel], extent / spacing pixels each.

    Raises:
        ValueError: an extent that is not a whole number of pixels.
    """
    extents = extent_mm if isinstance(extent_mm, tuple) else (extent_mm, extent_mm)
    sizes = [crop_size(extent, spacing_mm) for extent in extents]
    axes = aligned_axes(plane.direction)
    if axes is None:
        plane = _straighten(plane, centre_mm, max(extents), spacing_mm, fill)
        axes = aligned_axes(plane.direction)
        assert axes is not None
    native_axes, signs = axes
    centre = np.linalg.solve(plane.direction, centre_mm - np.asarray(plane.origin_mm))
    centre = centre / plane.spacing_mm
    height, width = plane.pixels.shape[:2]
    pixels = plane.pixels if native_axes[0] == 0 else plane.pixels.transpose(1, 0, 2)
    weights, needed, inside = [], [], []
    for axis, sign, size in zip(native_axes, signs, sizes, strict=True):
        native = plane.spacing_mm[axis]
        positions = centre[axis] + sign * grid_mm(size, spacing_mm) / native
        first, matrix, within = _weights(
            positions, max(1.0, spacing_mm / native), (width, height)[axis]
        )
        weights.append(matrix)
        needed.append(slice(first, first + matrix.shape[1]))
        inside.append(within)
    block = pixels[needed[1], needed[0]].astype(np.float32)
    rows = np.tensordot(weights[1], block, axes=1)
    image = np.einsum("xc,ycn->yxn", weights[0], rows, optimize=True)
    image[~(inside[1][:, None] & inside[0][None, :])] = fill
    return image.astype(np.float32)


def _weights(
    positions: np.ndarray, scale: float, num_samples: int
) -> tuple[int, np.ndarray, np.ndarray]:
    """First sample, weights float32 [outputs, samples] and which outputs lie in the image."""
    limit = 0.5 + INSIDE_TOLERANCE
    inside = (positions >= -limit) & (positions <= num_samples - 1 + limit)
    if not inside.any():
        return 0, np.zeros((len(positions), 1), np.float32), inside
    first, some = resampling_weights(positions[inside], scale, num_samples, edge="none")
    weights = np.zeros((len(positions), some.shape[1]), np.float32)
    weights[inside] = some
    return first, weights, inside


def _straighten(
    plane: Plane, centre_mm: np.ndarray, extent_mm: float, spacing_mm: float, fill: float
) -> Plane:
    """The part of an oblique image that a crop needs, interpolated onto x and y.

    As fine as the finest native axis, so that nothing aliases; the low-pass follows.
    """
    native = min(plane.spacing_mm)
    size = int(np.ceil((extent_mm + 2 * LOBES * max(spacing_mm, native)) / native)) + 1
    origin = np.asarray(centre_mm, dtype=np.float64) + grid_mm(size, native)[0]
    resampler = sitk.ResampleImageFilter()
    resampler.SetInterpolator(sitk.sitkBSpline3)
    resampler.SetSize([size] * 2)
    resampler.SetOutputSpacing([native] * 2)
    resampler.SetOutputOrigin(origin.tolist())
    resampler.SetDefaultPixelValue(float(fill))
    channels = []
    for channel in np.moveaxis(plane.pixels, -1, 0):
        image = sitk.GetImageFromArray(np.ascontiguousarray(channel, dtype=np.float32))
        image.SetSpacing(plane.spacing_mm)
        image.SetOrigin([float(value) for value in plane.origin_mm])
        image.SetDirection(plane.direction.ravel().tolist())
        channels.append(sitk.GetArrayFromImage(resampler.Execute(image)))
    pixels = np.stack(channels, axis=-1)
    return Plane(pixels, (native, native), tuple(origin.tolist()), np.eye(2))
