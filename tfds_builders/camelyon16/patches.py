"""The patches of one slide: where their centres lie and what their labels are, in µm.

One rule for both classes: the slide is covered by a grid of fields that do not overlap, a field is
a candidate if at least half of it is tissue, and what lies in the central square alone decides the
label, as in Liu et al. 2017 (arXiv 1703.02442), whose square of 128 pixels of 0.243 µm this is.
Which candidates are taken is a matter of a hash of slide and centre. Nothing depends on the
resolutions that are rendered.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mlp_med.evidence.lesions import Lesions, find_lesions
from mlp_med.imaging.slide import SlideHeader, opened, read_overview
from tfds_builders.camelyon16.annotations import Outline, tumour_masks
from tfds_builders.camelyon16.tissue import tissue_mask
from tfds_builders.hashing import digest_of

FIELD_UM = 62.208  # 256, 128, 64 and 32 pixels of 0.243, 0.486, 0.972 and 1.944 µm
CENTRE_UM = 31.104  # 128 pixels of 0.243 µm
MASK_UM = 7.776  # 32 pixels of 0.243 µm: 8 to a field, 4 to its central square
TISSUE_SHARE = 0.5
ID_CHARACTERS = 16  # of the 32 of a digest
CELLS = round(FIELD_UM / MASK_UM)
RIM = (CELLS - round(CENTRE_UM / MASK_UM)) // 2


@dataclass(frozen=True, order=True)
class Patch:
    """A field of a slide.

    Attributes:
        id: of the example.
        x_um: of its centre, from the slide's upper left corner.
        y_um: of its centre.
        label: 1 if its central square holds annotated tumour.
        diameter_mm: longest diameter of the lesion in its central square; 0 for label 0.
    """

    id: str
    x_um: float
    y_um: float
    label: int
    diameter_mm: float


def patches_of_slide(
    header: SlideHeader,
    slide_id: str,
    outlines: Sequence[Outline],
    *,
    exhaustive: bool,
    most_per_class: int,
) -> list[Patch]:
    """Finds the tissue of a slide and chooses its patches.

    Args:
        header: of the slide.
        slide_id: its id.
        outlines: its annotations; none of a slide without metastasis.
        exhaustive: whether there is no tumour outside the outlines; if there may be, no patch of
            label 0 is taken.
        most_per_class: patches of each label at most.

    Returns:
        Ordered by id.

    Raises:
        ImageError: the slide cannot be read.
    """
    with opened(header.path) as slide:
        tissue = tissue_mask(read_overview(slide, header, MASK_UM))
    tumour, unknown = tumour_masks(list(outlines), header.pixel_um, tissue.shape, MASK_UM)
    lesions = find_lesions(tumour, MASK_UM)
    labels = (0, 1) if exhaustive else (1,)
    ranked = sorted(_candidates(slide_id, tissue, tumour, unknown, lesions))
    chosen: list[Patch] = []
    for label in labels:
        chosen += [patch for _, patch in ranked if patch.label == label][:most_per_class]
    return sorted(chosen, key=lambda patch: patch.id)


def patch_id(slide_id: str, x_um: float, y_um: float) -> str:
    """An id that depends on the slide and the centre (to 1 nm) only."""
    return _digest(slide_id, x_um, y_um)[:ID_CHARACTERS]


def _candidates(
    slide_id: str, tissue: np.ndarray, tumour: np.ndarray, unknown: np.ndarray, lesions: Lesions
) -> Iterator[tuple[str, Patch]]:
    """Fields that are tissue and whose label is known, each with the hash that ranks it."""
    share = _by_field(tissue).mean(axis=(2, 3))
    of_tumour, of_unknown = (_by_field(mask)[..., RIM:-RIM, RIM:-RIM] for mask in (tumour, unknown))
    labels = of_tumour.any(axis=(2, 3))
    wanted = (share >= TISSUE_SHARE) & ~of_unknown.any(axis=(2, 3))
    for row, column in np.argwhere(wanted).tolist():
        x_um, y_um = (column + 0.5) * FIELD_UM, (row + 0.5) * FIELD_UM
        diameter_um = 0.0
        if labels[row, column]:
            centre = tuple(slice(n * CELLS + RIM, (n + 1) * CELLS - RIM) for n in (row, column))
            diameter_um = lesions.largest_diameter_um(tumour, centre)
        digest = _digest(slide_id, x_um, y_um)
        label = int(labels[row, column])
        yield (
            digest[ID_CHARACTERS:],
            Patch(digest[:ID_CHARACTERS], x_um, y_um, label, diameter_um / 1000),
        )


def _by_field(mask: np.ndarray) -> np.ndarray:
    """View [rows, columns, CELLS, CELLS] of a mask, one item a field; a rest is left out."""
    rows, columns = mask.shape[0] // CELLS, mask.shape[1] // CELLS
    whole = mask[: rows * CELLS, : columns * CELLS]
    return whole.reshape(rows, CELLS, columns, CELLS).swapaxes(1, 2)


def _digest(slide_id: str, x_um: float, y_um: float) -> str:
    return digest_of([f"{slide_id} {x_um:.3f} {y_um:.3f}"])
