"""Renders the crops of some images at all wanted resolutions, reading each image once.

Runs in worker processes: imports neither TensorFlow nor anything slow.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from mlp_med.imaging.crop import AIR_HU, PADDING_BELOW_HU, crop_size, render_crop
from mlp_med.imaging.formats import ImageHeader, read_image
from mlp_med.imaging.plane import Plane, render_plane
from mlp_med.imaging.volume import Volume
from tfds_builders.crop_files import write_whole

# Only CT has values as low as that: what lies outside such a scan is air.
CT_BELOW = -900.0


@dataclass(frozen=True, eq=False)
class ImageCrops:
    """An image and the centres of its crops, float64 [k, dims]."""

    header: ImageHeader
    centres_mm: np.ndarray


@dataclass(frozen=True, eq=False)
class RenderJob:
    """Some images whose crops go to one file a resolution.

    Attributes:
        images: in the order of the crops in the files.
        field_mm: edge of the field.
        dtype: of the stored crops.
        fill: value outside an image; None for the image's own background.
        targets: resolution in mm and file, for those that are not there yet.
    """

    images: tuple[ImageCrops, ...]
    field_mm: float
    dtype: str
    fill: float | None
    targets: tuple[tuple[float, Path], ...]

    @property
    def num_crops(self) -> int:
        """How many crops each file holds."""
        return sum(len(image.centres_mm) for image in self.images)


def render_images(job: RenderJob) -> RenderJob:
    """Writes [num, n, …, n, channels] a resolution; each file appears whole or not at all.

    Raises:
        ImageError: an image cannot be used.
        OSError: the files cannot be written.
    """
    files: dict[float, list[np.ndarray]] = {spacing: [] for spacing, _ in job.targets}
    with one_thread():
        for some in job.images:
            image = read_image(some.header)
            for spacing, crops in files.items():
                crops += list(
                    render(image, some.centres_mm, job.field_mm, spacing, job.dtype, job.fill)
                )
    for spacing, target in job.targets:
        write_whole(target, np.stack(files[spacing]))
    return job


def one_thread() -> AbstractContextManager[object]:
    """Around many crops: their matrix products are so small that more threads take longer.

    To begin it takes as long as a small crop, so it is not begun for each.
    """
    return threadpool_limits(1, user_api="blas")


def render(
    image: Volume | Plane,
    centres_mm: np.ndarray,
    field_mm: float,
    spacing_mm: float,
    dtype: str,
    fill: float | None,
) -> Iterator[np.ndarray]:
    """Crops [n, …, n, channels] in `dtype`, rounded and clipped where that is an integer."""
    background, padding_below = _background(image, fill)
    for centre in centres_mm:
        if isinstance(image, Volume):
            crop = render_crop(image, centre, field_mm, spacing_mm, background, padding_below)[
                ..., np.newaxis
            ]
        else:
            crop = render_plane(image, centre, field_mm, spacing_mm, background)
        yield _as_dtype(crop, dtype)


def crop_bytes(field_mm: float, spacing_mm: float, dims: int, num_channels: int, dtype: str) -> int:
    """Bytes of one crop."""
    return crop_size(field_mm, spacing_mm) ** dims * num_channels * np.dtype(dtype).itemsize


def _background(image: Volume | Plane, fill: float | None) -> tuple[float, float | None]:
    """What lies outside an image, and below which value its voxels are no measurement."""
    if fill is not None:
        return float(fill), None
    if isinstance(image, Plane):
        return (0.0 if image.pixels.shape[-1] == 3 else float(image.pixels.min())), None
    lowest = float(image.voxels.min())
    return (AIR_HU, PADDING_BELOW_HU) if lowest <= CT_BELOW else (lowest, None)


def _as_dtype(crop: np.ndarray, dtype: str) -> np.ndarray:
    if np.dtype(dtype).kind == "f":
        return crop.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(crop), limits.min, limits.max).astype(dtype)
