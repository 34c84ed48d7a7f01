"""Renders the four views of exams; runs in worker processes, without TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from mlp_med.errors import ImageError
from mlp_med.imaging.breast import breast_of, thumbnail
from mlp_med.imaging.plane import Plane, render_plane
from mlp_med.imaging.radiograph import RadiographHeader, read_radiograph
from tfds_builders.crop_files import write_whole

FIELD_MM = (260.0, 200.0)  # rows and columns: 2600×2000 pixels of 0.1 mm


@dataclass(frozen=True)
class RenderJob:
    """One exam, and the crop file of each resolution that lacks it.

    Attributes:
        views: L-CC, R-CC, L-MLO, R-MLO.
        targets: resolution in mm, and file.
    """

    views: tuple[RadiographHeader, ...]
    targets: tuple[tuple[float, Path], ...]


def render_exam(job: RenderJob) -> RenderJob:
    """Writes uint16 [rows, columns, 4] a resolution; each file appears whole or not at all.

    Raises:
        ImageError: a view cannot be used.
        OSError: the files cannot be written.
    """
    images = render_views(job.views, [spacing for spacing, _ in job.targets])
    for (_, target), image in zip(job.targets, images, strict=True):
        write_whole(target, image)
    return job


def render_views(
    views: Sequence[RadiographHeader], spacings_mm: Sequence[float]
) -> list[np.ndarray]:
    """For each spacing uint16 [rows, columns, views]; chest walls left, nipples right."""
    columns = [_render_view(header, spacings_mm) for header in views]
    return [np.stack(channels, axis=-1) for channels in zip(*columns, strict=True)]


def _render_view(header: RadiographHeader, spacings_mm: Sequence[float]) -> list[np.ndarray]:
    """uint16 [rows, columns] a spacing: from the chest wall on, at the height of the breast."""
    if header.spacing_mm is None:
        raise ImageError(f"{header.path}: does not say how large a pixel is")
    radiograph = read_radiograph(header)
    plane = radiograph.plane(header.spacing_mm)
    plane, centre = _laid_out(header, plane)
    with threadpool_limits(1, user_api="blas"):  # the products are too small to be shared
        crops = [
            render_plane(plane, centre, FIELD_MM[::-1], spacing, radiograph.background)[..., 0]
            for spacing in spacings_mm
        ]
    return [np.clip(np.rint(crop), 0, 65_535).astype(np.uint16) for crop in crops]


def _laid_out(header: RadiographHeader, plane: Plane) -> tuple[Plane, np.ndarray]:
    """The film mirrored if its chest wall is at the right, and the centre of its field in mm."""
    assert header.spacing_mm is not None
    x_mm, y_mm = header.spacing_mm
    film = thumbnail(plane.pixels[..., 0], y_mm)
    breast = breast_of(film)
    if not breast.any():
        raise ImageError(f"{header.path}: shows no breast, all of it is equally bright")
    columns = breast.sum(axis=0)
    half = len(columns) // 2
    pixels = plane.pixels
    # The side at which the breast leaves the film, whatever the header calls it.
    if columns[-half:].sum() > columns[:half].sum():
        pixels = pixels[:, ::-1]
    rows = np.flatnonzero(breast.any(axis=1))
    middle = (rows[0] + rows[-1] + 1) / 2 * film.step_mm - y_mm / 2
    centre = np.array([FIELD_MM[1] / 2 - x_mm / 2, middle])
    return Plane(pixels, plane.spacing_mm, plane.origin_mm, plane.direction), centre
