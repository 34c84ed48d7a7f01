"""Where the lungs lie in a chest CT: well enough to centre a field on them, not to measure them."""

import numpy as np
from scipy import ndimage

from mlp_med.imaging.volume import Volume

AIR_BELOW_HU = -400.0
SAMPLE_MM = 4.0
# Of air inside the body, what is smaller than this share of the largest part is no lung (bowel).
SMALLEST_SHARE = 0.2
# The trachea and a stray voxel do not count.
PERCENTILES = (1.0, 99.0)
LITRES = (0.5, 15.0)


def lung_centre(volume: Volume) -> np.ndarray | None:
    """The middle of the lungs, float64 [3] in mm (x, y, z), LPS; None where there are none.

    Voxels about 4 mm apart are looked at. Air that reaches the left, right, front or back end of
    the scan lies outside the body; of the air inside, the large parts are the lungs. Their middle
    along an axis is that between the 1st and the 99th percentile of their voxels.

    Args:
        volume: values in HU, native axes along those of the patient, in any order.

    Returns:
        None as well where the air inside the body has less than 0.5 or more than 15 litres.
    """
    steps = [max(1, round(SAMPLE_MM / spacing)) for spacing in volume.spacing_mm]
    x, y, z = (slice(step // 2, None, step) for step in steps)
    air = volume.voxels[z, y, x] < AIR_BELOW_HU
    parts, num_parts = ndimage.label(air)
    if num_parts == 0:
        return None
    sizes = np.bincount(parts.ravel(), minlength=num_parts + 1)
    sizes[0] = 0
    sizes[_at_the_sides(parts, volume.direction)] = 0
    voxel_mm3 = float(np.prod(np.multiply(steps, volume.spacing_mm)))
    lungs = sizes >= max(SMALLEST_SHARE * sizes.max(), 1)
    if not LITRES[0] <= sizes[lungs].sum() * voxel_mm3 / 1e6 <= LITRES[1]:
        return None
    indices = np.argwhere(lungs[parts])[:, ::-1] * steps + [step // 2 for step in steps]
    points = (indices * volume.spacing_mm) @ volume.direction.T + volume.origin_mm
    return np.percentile(points, PERCENTILES, axis=0).mean(axis=0)


def _at_the_sides(parts: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """The parts that reach an end of the scan across the patient's long axis."""
    along = int(np.abs(direction[2]).argmax())  # the native axis from feet to head
    faces = []
    for axis in range(3):
        if axis != along:
            planes = np.moveaxis(parts, 2 - axis, 0)
            faces += [planes[0].ravel(), planes[-1].ravel()]
    return np.unique(np.concatenate(faces))
