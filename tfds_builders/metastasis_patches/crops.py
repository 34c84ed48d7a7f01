"""Renders patches at all wanted resolutions, reading each file once; runs in worker processes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from mlp_med.imaging.image import read_patch, render_image
from tfds_builders.crop_files import write_whole


@dataclass(frozen=True)
class RenderJob:
    """Some patches, and the file that each resolution of them goes to.

    Attributes:
        paths: the patches.
        size: pixels along an edge.
        targets: native pixels an output pixel, and file, for those that are not there yet.
    """

    paths: tuple[Path, ...]
    size: int
    targets: tuple[tuple[int, Path], ...]


def render_patches(job: RenderJob) -> RenderJob:
    """Writes uint8 [num, height, width, 3] a resolution; each appears whole or not at all.

    Raises:
        ImageError: a patch cannot be used.
        OSError: the files cannot be written.
    """
    patches = [read_patch(path, job.size) for path in job.paths]
    with threadpool_limits(1, user_api="blas"):  # the matrix products are too small to be shared
        for factor, target in job.targets:
            write_whole(target, np.stack([render_image(pixels, factor) for pixels in patches]))
    return job
