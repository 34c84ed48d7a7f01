"""Crops of a CT in whole Hounsfield units."""

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mlp_med.imaging.crop import crop_size, render_crop
from mlp_med.imaging.volume import Volume


def render_hounsfield(
    volume: Volume, centres_mm: np.ndarray, extent_mm: float, spacing_mm: float
) -> np.ndarray:
    """Crops in HU, int16 [k, z, y, x]; see `render_crop`.

    One resolution at a time, so that it does not depend on which others are rendered with it; and
    on one thread, since the matrix products are so small that more threads take four times as long.

    Args:
        volume: the scan; values in HU.
        centres_mm: float64 [k, 3], (x, y, z) in LPS.
        extent_mm: edge of the cubic field.
        spacing_mm: the resolution; a whole fraction of the extent.
    """
    size = crop_size(extent_mm, spacing_mm)
    crops = np.empty((len(centres_mm), size, size, size), dtype=np.int16)
    limits = np.iinfo(np.int16)
    with threadpool_limits(1, user_api="blas"):
        for crop, centre in zip(crops, centres_mm, strict=True):
            values = np.rint(render_crop(volume, centre, extent_mm, spacing_mm))
            crop[...] = np.clip(values, limits.min, limits.max)
    return crops
