"""Renders every crop of a scan at all wanted resolutions, reading the scan once.

Runs in worker processes: imports neither TensorFlow nor anything slow.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlp_med.imaging.hounsfield import render_hounsfield
from mlp_med.imaging.volume import read_volume
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
