"""Which tiles of a field hold part of a lesion, where a lesion is a ball.

Annotations of nodules give a centre and a diameter. A lesion has part in a box if the distance of
its centre to the box is less than its radius, so that the parts of a lesion make up the lesion and
a tile without any is free of it. A lesion is cut where more than one tile holds part of it.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np


def parts_in_tiles(lesions_mm: np.ndarray, split: int, extents_mm: Sequence[float]) -> np.ndarray:
    """Which tiles hold part of which lesion.

    Args:
        lesions_mm: [..., num_dims + 1]: the centre along each axis of the array, from the centre of
            the field, and the diameter; a diameter of 0 is no lesion.
        split: tiles along each axis; 1 for the whole field.
        extents_mm: edges of the field, one an axis of the array.

    Returns:
        Bool [..., split ** num_dims], the last axis' neighbouring tiles one after the other.
    """
    centres, radii = lesions_mm[..., :-1], lesions_mm[..., -1] / 2
    squares = []
    for axis, extent in enumerate(extents_mm):
        edges = np.linspace(-extent / 2, extent / 2, split + 1)
        place = centres[..., axis, None]
        # How far below its low or above its high border: not both, and neither within.
        squares.append(np.maximum(np.maximum(edges[:-1] - place, place - edges[1:]), 0.0) ** 2)
    tiles = np.array(list(product(range(split), repeat=len(extents_mm))))
    distances = np.sum([of[..., tiles[:, axis]] for axis, of in enumerate(squares)], axis=0)
    return np.less(distances, radii[..., None] ** 2)


def tiles_with_lesion(
    lesions_mm: np.ndarray, split: int, extents_mm: Sequence[float]
) -> np.ndarray:
    """Which tiles hold part of any lesion: bool [..., split ** num_dims].

    Args:
        lesions_mm: [..., num_lesions, num_dims + 1], see `parts_in_tiles`.
        split: tiles along each axis.
        extents_mm: edges of the field.
    """
    return np.asarray(parts_in_tiles(lesions_mm, split, extents_mm).any(axis=-2))


def holds_uncut_lesion(
    lesions_mm: np.ndarray, split: int, extents_mm: Sequence[float]
) -> np.ndarray:
    """Whether a lesion centred in the field lies in one tile alone, cut by no border of tiles.

    Args:
        lesions_mm: [..., num_lesions, num_dims + 1], see `parts_in_tiles`.
        split: tiles along each axis.
        extents_mm: edges of the field.

    Returns:
        Bool [...].
    """
    is_centred = (np.abs(lesions_mm[..., :-1]) <= np.asarray(extents_mm) / 2).all(axis=-1)
    is_whole = parts_in_tiles(lesions_mm, split, extents_mm).sum(axis=-1) == 1
    return np.asarray((is_centred & is_whole).any(axis=-1))


def count_lesions(lesions_mm: np.ndarray) -> int:
    """How many there are, over all fields."""
    return int((lesions_mm[..., -1] > 0).sum())
