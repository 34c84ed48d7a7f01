"""Chooses the patches of a slide and renders them at all wanted resolutions; in worker processes.

Imports neither TensorFlow nor anything slow.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from mlp_med.imaging.slide import opened, read_field, render_field
from tfds_builders.camelyon16.patches import FIELD_UM, Patch, patches_of_slide
from tfds_builders.camelyon16.slides import Slide
from tfds_builders.crop_files import write_whole

COARSEST_UM = 1.944  # what is read for a patch does not depend on which resolutions are rendered


@dataclass(frozen=True, eq=False)
class RenderJob:
    """One slide, and the files that each resolution of its patches goes to.

    Attributes:
        slide: its header and outlines.
        patches_per_slide: of each label, at most.
        targets: resolution in µm, file of the patches' pixels; `listing` of it is written last.
    """

    slide: Slide
    patches_per_slide: int
    targets: tuple[tuple[float, Path], ...]


def render_slide(job: RenderJob) -> list[Patch]:
    """Writes uint8 [num, n, n, 3] and the list of patches, each whole or not at all.

    Raises:
        ImageError: the slide cannot be used.
        OSError: the files cannot be written.
    """
    patches = choose(job.slide, job.patches_per_slide)
    resolutions = [resolution for resolution, _ in job.targets]
    rendered = render_patches(job.slide, patches, resolutions)
    for (_, target), images in zip(job.targets, rendered, strict=True):
        if patches:  # an array without elements cannot be mapped into memory
            write_whole(target, images)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
        _write_listing(target, patches)
    return patches


def choose(slide: Slide, patches_per_slide: int) -> list[Patch]:
    """The patches of a slide, ordered by id; reads its overview."""
    return patches_of_slide(
        slide.header,
        slide.id,
        slide.outlines,
        exhaustive=slide.exhaustive,
        most_per_class=patches_per_slide,
    )


def render_patches(
    slide: Slide, patches: list[Patch], resolutions_um: list[float]
) -> list[np.ndarray]:
    """The patches at each resolution, uint8 [num, n, n, 3]; each is read once, from level 0."""
    sizes = [round(FIELD_UM / resolution) for resolution in resolutions_um]
    images = [np.empty((len(patches), size, size, 3), np.uint8) for size in sizes]
    with opened(slide.header.path) as file, threadpool_limits(1, user_api="blas"):
        for number, patch in enumerate(patches):
            centre = (patch.x_um, patch.y_um)
            field = read_field(file, slide.header, centre, FIELD_UM, COARSEST_UM)
            for resolution, of_resolution in zip(resolutions_um, images, strict=True):
                of_resolution[number] = render_field(field, centre, FIELD_UM, resolution)
    return images


def listing(target: Path) -> Path:
    """Where the patches of a file of pixels are listed; it is there when both are whole."""
    return target.with_suffix(".json")


def read_listing(target: Path) -> list[Patch]:
    """The patches whose pixels are in `target`, in that order."""
    return [Patch(**patch) for patch in json.loads(listing(target).read_text())]


def _write_listing(target: Path, patches: list[Patch]) -> None:
    path = listing(target)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps([asdict(patch) for patch in patches]))
    unfinished.replace(path)
