"""Labels of tiles from the lesions that someone has drawn, moved as augmentation moves the crop."""

import numpy as np

from mlp_med.errors import DatasetError
from mlp_med.imaging.lesion_tiles import tiles_with_lesion
from mlp_med.pipelines.arrays import Examples
from mlp_med.pipelines.augment import Draws
from mlp_med.pipelines.datasets import DatasetDescription

_ROWS_AT_ONCE = 4096


def labels_of_tiles(
    examples: Examples,
    indices: np.ndarray,
    draws: Draws | None,
    *,
    split: int,
    description: DatasetDescription,
) -> np.ndarray:
    """Whether each tile of each crop holds part of a lesion.

    Args:
        examples: with their lesions.
        indices: of the crops, int64 [num].
        draws: how each is moved, [num]; None where none is.
        split: tiles along each axis.
        description: of the dataset.

    Returns:
        uint8 [num, split ** spatial_dims], in the order of `mlp_med.training.tiles.cut_tile`.

    Raises:
        DatasetError: the dataset keeps no lesions.
    """
    lesions = require_lesions(examples, description.name)
    used = max(1, int((lesions[..., -1] > 0).sum(axis=1).max()))  # lesions come first, then zeros
    found = np.empty((len(indices), split**description.spatial_dims), np.uint8)
    for start in range(0, len(indices), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        here = lesions[indices[rows], :used]
        if draws is not None:
            moves = Draws(draws.exchange[rows], draws.flips[rows], draws.shifts[rows])
            here = moved(here, moves, description)
        found[rows] = tiles_with_lesion(here, split, description.extents)
    return found


def require_lesions(examples: Examples, dataset: str) -> np.ndarray:
    """The examples' lesions.

    Raises:
        DatasetError: the dataset keeps none.
    """
    if examples.lesions_mm is None:
        raise DatasetError(
            f"tile labels from drawn lesions need a dataset that keeps their annotations, and "
            f"{dataset} keeps none; take luna16_fields, or train tiles with the image's label "
            "or as a bag"
        )
    return examples.lesions_mm


def moved(lesions_mm: np.ndarray, draws: Draws, description: DatasetDescription) -> np.ndarray:
    """The lesions where `mlp_med.pipelines.augment.transform_crops` puts them.

    Args:
        lesions_mm: [num, num_lesions, spatial_dims + 1].
        draws: [num].
        description: of the dataset.
    """
    centres = lesions_mm[..., :-1].copy()
    if description.extents[-2] == description.extents[-1]:
        swapped = centres[..., [*range(description.spatial_dims - 2), -1, -2]]
        centres = np.where(draws.exchange[:, None, None], swapped, centres)
    centres = np.where(draws.flips[:, None, :], -centres, centres)
    centres += draws.shifts[:, None, :] * description.coarsest
    return np.concatenate([centres, lesions_mm[..., -1:]], axis=-1)
