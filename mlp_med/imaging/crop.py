"""A cubic field of a scan around a physical centre, rendered at any resolution.

Each crop is one anti-aliased step from the native scan, never from another crop. Its axes are the
patient's (LPS), whatever the direction of the scan, and what lies outside the scan is air.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import SimpleITK as sitk  # noqa: N813

from mlp_med.imaging.antialias import LOBES, resampling_weights
from mlp_med.imaging.volume import Triple, Volume, continuous_index

AIR_HU = -1000.0
# Scanners write −2000 or −3024 where the reconstructed circle ends: no attenuation, so air as well.
PADDING_BELOW_HU = -1500.0
# How far a direction may lean before it counts as oblique. The centre is exact in either case; at
# the corner of a 40 mm field this is 0.02 mm.
ALIGNED_WITHIN = 1e-3
# Voxels of air about an oblique block, in which the B-spline's boundary condition dies away.
SPLINE_MARGIN = 8


def render_crop(
    volume: Volume,
    centre_mm: Triple | np.ndarray,
    extent_mm: float,
    spacing_mm: float,
    fill: float = AIR_HU,
    padding_below: float | None = PADDING_BELOW_HU,
) -> np.ndarray:
    """Renders a cube of `extent_mm` around `centre_mm` at one resolution; see `render_crops`."""
    return render_crops(volume, centre_mm, extent_mm, [spacing_mm], fill, padding_below)[0]


def render_crops(
    volume: Volume,
    centre_mm: Triple | np.ndarray,
    extent_mm: float,
    spacings_mm: Sequence[float],
    fill: float = AIR_HU,
    padding_below: float | None = PADDING_BELOW_HU,
) -> list[np.ndarray]:
    """Renders the same cube at several resolutions, each in one step from the native scan.

    Args:
        volume: the scan; values in HU.
        centre_mm: physical centre of the cube, (x, y, z) in LPS.
        extent_mm: edge of the cube.
        spacings_mm: the resolutions, mm a voxel; each a whole fraction of the extent.
        fill: value of what lies outside the scan.
        padding_below: voxels below this are no measurement and become `fill`; None where all are.

    Returns:
        For each resolution float32 [n, n, n] as [z, y, x], n = extent / spacing; voxel i of an axis
        has its centre at centre + (i − (n − 1) / 2) · spacing.

    Raises:
        ValueError: an extent that is not a whole number of voxels, or a centre that is not finite.
    """
    if not np.isfinite(np.asarray(centre_mm, dtype=np.float64)).all():
        raise ValueError(f"expected a finite centre in mm, found {centre_mm}")
    sizes = [crop_size(extent_mm, spacing) for spacing in spacings_mm]
    coarsest_mm = max(spacings_mm)
    if aligned_axes(volume.direction) is None:
        volume = _straighten(volume, centre_mm, extent_mm, coarsest_mm, fill, padding_below)
    block, start = _cut(volume, centre_mm, extent_mm, coarsest_mm, fill, padding_below)
    centre = continuous_index(volume, centre_mm) - start
    return [
        _render(volume, block, centre, size, spacing) + np.float32(fill)
        for size, spacing in zip(sizes, spacings_mm, strict=True)
    ]


def crop_size(extent_mm: float, spacing_mm: float) -> int:
    """Voxels along an edge of a crop.

    Raises:
        ValueError: the extent is not a whole, positive number of voxels.
    """
    size = round(extent_mm / spacing_mm) if spacing_mm > 0 and extent_mm > 0 else 0
    if size < 1 or abs(size * spacing_mm - extent_mm) > 1e-6:
        raise ValueError(
            "expected an extent of a whole number of voxels, "
            f"found {extent_mm} mm at {spacing_mm} mm"
        )
    return size


def grid_mm(size: int, spacing_mm: float) -> np.ndarray:
    """Voxel centres along an axis, in mm from the centre of the crop."""
    return (np.arange(size) - (size - 1) / 2) * spacing_mm


def aligned_axes(direction: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """For each physical axis the native axis along it and its sign; None for an oblique image.

    Args:
        direction: float64 [3, 3] or [2, 2].
    """
    nearest = np.round(direction)
    if np.abs(direction - nearest).max() > ALIGNED_WITHIN:
        return None
    native_axes = np.abs(nearest).argmax(axis=1)
    return native_axes, nearest[np.arange(len(nearest)), native_axes]


def _cut(
    volume: Volume,
    centre_mm: Triple | np.ndarray,
    extent_mm: float,
    coarsest_mm: float,
    fill: float,
    padding_below: float | None,
    margin: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Copies the voxels that any of the crops needs, as float32 above `fill`.

    Returns:
        The block [z, y, x] and the native index (x, y, z) of its first voxel. It ends where the
        scan ends, but for `margin` voxels of `fill`.
    """
    corners = np.array(list(product((-extent_mm / 2, extent_mm / 2), repeat=3))) + centre_mm
    indices = np.array([continuous_index(volume, corner) for corner in corners])
    reach = LOBES * np.maximum(coarsest_mm / np.asarray(volume.spacing_mm), 1) + margin
    size = np.asarray(volume.size)
    start = np.clip(np.floor(indices.min(axis=0) - reach), 0, size).astype(int)
    stop = np.clip(np.ceil(indices.max(axis=0) + reach) + 1, start, size).astype(int)
    x, y, z = (slice(low, high) for low, high in zip(start, stop, strict=True))
    block = volume.voxels[z, y, x].astype(np.float32)
    if padding_below is not None:
        block[block < padding_below] = fill
    block -= np.float32(fill)  # what the scan lacks is then zero, and needs no voxels
    return (np.pad(block, margin), start - margin) if margin else (block, start)


def _render(
    volume: Volume, block: np.ndarray, centre: np.ndarray, size: int, spacing_mm: float
) -> np.ndarray:
    """One matrix product an axis; flips and permutations are in the matrices.

    `centre` is the centre of the crop as native index (x, y, z) of the block.
    """
    aligned = aligned_axes(volume.direction)
    assert aligned is not None
    native_axes, signs = aligned
    block = block.transpose(2 - native_axes[::-1])  # [z, y, x] of the patient
    matrices: list[np.ndarray] = []
    needed: list[slice] = []
    for physical_axis, (axis, sign) in enumerate(zip(native_axes, signs, strict=True)):
        native = volume.spacing_mm[axis]
        first, weights = resampling_weights(
            centre[axis] + sign * grid_mm(size, spacing_mm) / native,
            scale=max(1.0, spacing_mm / native),
            num_samples=block.shape[2 - physical_axis],
        )
        matrices.append(weights.astype(np.float32))
        needed.append(slice(first, first + weights.shape[1]))
    along_x, along_y, along_z = matrices
    block = np.ascontiguousarray(block[needed[2], needed[1], needed[0]])
    # x and y first: they shrink, while thick slices grow along z.
    return np.tensordot(along_z, along_y @ (block @ along_x.T), axes=1)


def _straighten(
    volume: Volume,
    centre_mm: Triple | np.ndarray,
    extent_mm: float,
    coarsest_mm: float,
    fill: float,
    padding_below: float | None,
) -> Volume:
    """The part of an oblique scan that the crops need, interpolated onto the patient's axes.

    The new grid is as fine as the finest native axis, so no detail is lost and nothing aliases;
    the low-pass follows along the crop's own axes, as for every other scan. A low-pass along the
    oblique axes would let waves of up to √2 times the Nyquist limit through.
    """
    block, start = _cut(
        volume, centre_mm, extent_mm, coarsest_mm, fill, padding_below, margin=SPLINE_MARGIN
    )
    image = sitk.GetImageFromArray(block)
    image.SetSpacing(volume.spacing_mm)
    image.SetDirection(volume.direction.ravel().tolist())
    corner = volume.direction @ (start * volume.spacing_mm) + volume.origin_mm
    image.SetOrigin(corner.tolist())
    spacing_mm = min(volume.spacing_mm)
    size = int(np.ceil((extent_mm + 2 * LOBES * max(coarsest_mm, spacing_mm)) / spacing_mm)) + 1
    origin = np.asarray(centre_mm, dtype=np.float64) + grid_mm(size, spacing_mm)[0]
    resampler = sitk.ResampleImageFilter()
    resampler.SetInterpolator(sitk.sitkBSpline3)
    resampler.SetSize([size] * 3)
    resampler.SetOutputSpacing([spacing_mm] * 3)
    resampler.SetOutputOrigin(origin.tolist())
    voxels = sitk.GetArrayFromImage(resampler.Execute(image)) + np.float32(fill)
    x, y, z = origin.tolist()
    return Volume(voxels, (spacing_mm,) * 3, (x, y, z), np.eye(3))
