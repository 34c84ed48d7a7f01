"""Renders every crop of a scan at all wanted resolutions, reading the scan once.

Runs in worker processes: imports neither TensorFlow nor anything slow.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from mlp_med.imaging.crop import crop_size, render_crop
from mlp_med.imaging.volume import Volume, read_volume
from tfds_builders.crop_files import write_whole


@dataclass(frozen=True, eq=False)
class RenderJob:
    """One scan, the centres of its crops, and the file that each resolution goes to.

    Attributes:
        path: the .mhd file.
        centres_mm: float64 [k, 3], x, y, z (LPS).
        extent_mm: edge of the field.
        targets: resolution in mm and file, for those that are not there yet.
    """

    path: Path
    centres_mm: np.ndarray
    extent_mm: float
    targets: tuple[tuple[float, Path], ...]


def render_scan(job: RenderJob) -> RenderJob:
    """Writes one file a resolution; each appears whole or not at all.

    Raises:
        ImageError: the scan cannot be used.
        OSError: the files cannot be written.
    """
    volume = read_volume(job.path)
    for spacing_mm, target in job.targets:
        write_whole(target, render_hounsfield(volume, job.centres_mm, job.extent_mm, spacing_mm))
    return job


def render_hounsfield(
    volume: Volume, centres_mm: np.ndarray, extent_mm: float, spacing_mm: float
) -> np.ndarray:
    """Crops in HU, int16 [k, z, y, x].

    One resolution at a time, so that it does not depend on which others are rendered with it; and
    on one thread, since the matrix products are so small that more threads take four times as long.
    """
    size = crop_size(extent_mm, spacing_mm)
    crops = np.empty((len(centres_mm), size, size, size), dtype=np.int16)
    limits = np.iinfo(np.int16)
    with threadpool_limits(1, user_api="blas"):
        for crop, centre in zip(crops, centres_mm, strict=True):
            values = np.rint(render_crop(volume, centre, extent_mm, spacing_mm))
            crop[...] = np.clip(values, limits.min, limits.max)
    return crops
