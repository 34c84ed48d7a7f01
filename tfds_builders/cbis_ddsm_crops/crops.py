"""Renders the lesions of one view of a breast, and what they are set against.

Runs in worker processes: imports neither TensorFlow nor anything slow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from mlp_med.imaging.breast import thumbnail
from mlp_med.imaging.plane import Plane, render_plane
from mlp_med.imaging.radiograph import RadiographHeader, read_radiograph
from tfds_builders.cbis_ddsm_crops.background import FIELD_MM, Places
from tfds_builders.crop_files import write_whole

# Neither the tables nor the files say what a pixel is. Two of DDSM's four scanners, the Howtek 960
# and the Howtek MultiRad850, have 43.5 µm; the DBA M2100 has 42 µm, the Lumisys 200 50 µm.
PIXEL_MM = 0.0435
# Columns of a file of facts, float32: centre and equivalent diameter of the lesion, centre of its
# background. NaN where there is none.
FACTS = ("x", "y", "diameter_mm", "background_x", "background_y")


@dataclass(frozen=True)
class LesionFiles:
    """A lesion: its id, the film that shows it, and its mask in that film."""

    id: str
    film: RadiographHeader
    mask: RadiographHeader


@dataclass(frozen=True)
class RenderJob:
    """All lesions of one view of a breast, and where their crops go.

    Attributes:
        lesions: in the order of the crops. Several films may show the view: the release holds it
            once for its masses and once for its calcifications.
        others: masks of lesions of the breast that are no examples.
        with_background: whether each lesion is set against a crop without one.
        targets: resolution in mm and crop file; the facts go to `facts_path` of it.
    """

    lesions: tuple[LesionFiles, ...]
    others: tuple[RadiographHeader, ...]
    with_background: bool
    targets: tuple[tuple[float, Path], ...]


def facts_path(crop_file: Path) -> Path:
    """The file of facts beside a crop file."""
    return crop_file.with_suffix(".facts.npy")


def render_view(job: RenderJob) -> RenderJob:
    """Writes uint16 [lesions, 1 or 2, n, n, 1] a resolution: the lesion, then its background.

    Raises:
        ImageError: a film or a mask cannot be used.
        OSError: the files cannot be written.
    """
    spacings = [spacing for spacing, _ in job.targets]
    facts, crops = render_lesions(job.lesions, job.others, job.with_background, spacings)
    for (_, target), images in zip(job.targets, crops, strict=True):
        write_whole(facts_path(target), facts)
        write_whole(target, images)  # the last: where it is, all is
    return job


def render_lesions(
    lesions: Sequence[LesionFiles],
    others: Sequence[RadiographHeader],
    with_background: bool,
    spacings_mm: Sequence[float],
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Facts float32 [lesions, len(FACTS)], and for each spacing uint16 [lesions, 1 or 2, n, n, 1].

    What has no facts (an empty mask, no place for a background) is black.
    """
    masks = {lesion.mask: _read_mask(lesion.mask) for lesion in lesions}
    masks |= {header: _read_mask(header) for header in others}
    facts = np.full((len(lesions), len(FACTS)), np.nan, np.float32)
    sizes = [round(FIELD_MM / spacing) for spacing in spacings_mm]
    kinds = 2 if with_background else 1
    crops = [np.zeros((len(lesions), kinds, size, size, 1), np.uint16) for size in sizes]
    for film in dict.fromkeys(lesion.film for lesion in lesions):
        radiograph = read_radiograph(film)
        plane = radiograph.plane((PIXEL_MM, PIXEL_MM))
        shown = [index for index, lesion in enumerate(lesions) if lesion.film == film]
        for index in shown:
            facts[index, :3] = measure(masks[lesions[index].mask])
        if with_background:
            alike = [mask for header, mask in masks.items() if header.size == film.size]
            names = [lesions[index].id for index in shown]
            facts[shown, 3:] = _backgrounds(plane, alike, names, facts[shown])
        for index in shown:
            for kind in range(kinds):
                centre = facts[index, :2] if kind == 0 else facts[index, 3:]
                if np.isfinite(centre).all():
                    rendered = _render(plane, centre, spacings_mm, radiograph.background)
                    for images, crop in zip(crops, rendered, strict=True):
                        images[index, kind] = crop
    return facts, crops


def _read_mask(header: RadiographHeader) -> np.ndarray:
    mask = read_radiograph(header).pixels
    return mask > mask.max() / 2


def measure(mask: np.ndarray) -> np.ndarray:
    """Centroid (x, y) in mm and diameter in mm of the circle of the same area; NaN if empty.

    Args:
        mask: bool [rows, columns] in the film's pixels.
    """
    area = np.count_nonzero(mask)
    if area in (0, mask.size):
        return np.full(3, np.nan)
    y, x = (
        float(np.dot(np.arange(length), mask.sum(axis=axis)) / area)
        for length, axis in zip(mask.shape, (1, 0), strict=True)
    )
    return np.array([x * PIXEL_MM, y * PIXEL_MM, 2 * np.sqrt(area / np.pi) * PIXEL_MM])


def _backgrounds(
    plane: Plane, masks: Sequence[np.ndarray], names: Sequence[str], facts: np.ndarray
) -> np.ndarray:
    """Centres [lesions, 2] in mm; NaN where there is no place, or no lesion."""
    film = thumbnail(plane.pixels[..., 0], PIXEL_MM)
    lesions = np.zeros(film.pixels.shape, bool)
    for mask in masks:
        lesions |= thumbnail(mask, PIXEL_MM).pixels > 0
    places = Places(film, lesions)
    found = np.full((len(names), 2), np.nan)
    for row, (name, fact) in enumerate(zip(names, facts, strict=True)):
        if np.isfinite(fact[:2]).all():
            centre = places.like(fact[:2], name)
            if centre is not None:
                found[row] = centre
    return found


def _render(
    plane: Plane, centre_mm: np.ndarray, spacings_mm: Sequence[float], background: float
) -> list[np.ndarray]:
    """uint16 [n, n, 1] for each spacing. On one thread: the products are too small to be shared."""
    with threadpool_limits(1, user_api="blas"):
        crops = [render_plane(plane, centre_mm, FIELD_MM, s, background) for s in spacings_mm]
    return [np.clip(np.rint(crop), 0, 65_535).astype(np.uint16) for crop in crops]
