"""Labels of tiles follow the crop through its augmentation."""

import dataclasses

import numpy as np
import pytest

from mlp_med.errors import DatasetError
from mlp_med.pipelines.batches import training_batches
from mlp_med.pipelines.datasets import LUNA16_FIELDS, METASTASIS_PATCHES
from mlp_med.pipelines.tile_labels import labels_of_tiles
from tests.pipelines.crops import RECTANGLE, random_examples

# Squares of 16 coarsest pixels, in mm; and rows and columns of different numbers.
SQUARE = dataclasses.replace(
    METASTASIS_PATCHES, name="square", resolutions=(1.0, 4.0), field_extent=64.0
)
OBLONG = dataclasses.replace(RECTANGLE, resolutions=(1.0, 4.0), field_extent=(64.0, 32.0))


def with_lesions(description, num_examples=40):
    """Dark crops, each with a bright voxel where its only lesion is, smaller than the voxel."""
    examples = random_examples(description, description.coarsest, num_examples)
    low, high = description.intensity_window
    images = np.full_like(examples.images, int(low))
    grid = np.array(images.shape[1:-1])
    rng = np.random.default_rng(0)
    # Two voxels off the border, so that no shift takes a lesion out of its crop.
    places = np.stack([rng.integers(2, size - 2, num_examples) for size in grid], axis=1)
    images[(np.arange(num_examples), *places.T)] = int(high)
    centres = (places - (grid - 1) / 2) * description.coarsest
    lesions = np.zeros((num_examples, 3, len(grid) + 1), np.float32)
    lesions[:, 0] = np.column_stack([centres, np.full(num_examples, 1.0)])
    lesions[examples.labels == 0] = 0
    images[examples.labels == 0] = int(low)
    return dataclasses.replace(examples, images=images, lesions_mm=lesions)


@pytest.mark.parametrize("description", [LUNA16_FIELDS, SQUARE, OBLONG], ids=lambda d: d.name)
@pytest.mark.parametrize("augment", [False, True])
def test_the_tile_with_the_lesion_is_the_tile_that_is_bright(description, augment):
    examples = with_lesions(description)
    batches = training_batches(
        examples,
        global_batch_size=20,
        seed=3,
        start=40,
        budget_examples=240,
        resolution=description.coarsest,
        grid=description.coarsest,
        description=description,
        augment=augment,
        tile_split=2,
    )
    seen = 0
    for images, labels, _ in batches.as_numpy_iterator():
        halves = images.max(axis=-1)
        for axis in range(description.spatial_dims):
            size = halves.shape[1 + 2 * axis]
            shape = (*halves.shape[: 1 + 2 * axis], 2, size // 2, *halves.shape[2 + 2 * axis :])
            halves = halves.reshape(shape)
        brightest = halves.max(axis=tuple(range(2, 2 * description.spatial_dims + 1, 2)))
        np.testing.assert_array_equal(labels, (brightest.reshape(len(labels), -1) > 0.5))
        assert labels.dtype == np.float32
        seen += int(labels.sum())
    assert seen == 100  # one tile of every image of label 1: half of the 200


def test_many_crops_are_labelled_as_each_is_alone(monkeypatch):
    examples = with_lesions(LUNA16_FIELDS)
    order = np.arange(40)[::-1]
    at_once = labels_of_tiles(examples, order, None, split=4, description=LUNA16_FIELDS)
    monkeypatch.setattr("mlp_med.pipelines.tile_labels._ROWS_AT_ONCE", 7)
    in_parts = labels_of_tiles(examples, order, None, split=4, description=LUNA16_FIELDS)
    np.testing.assert_array_equal(at_once, in_parts)
    assert at_once.shape == (40, 64)
    np.testing.assert_array_equal(at_once.any(axis=1), examples.labels[order])


def test_a_dataset_without_lesions_says_what_to_do():
    examples = random_examples(METASTASIS_PATCHES, 7.76, 4)
    with pytest.raises(DatasetError, match="metastasis_patches keeps none; take luna16_fields"):
        labels_of_tiles(examples, np.arange(4), None, split=2, description=METASTASIS_PATCHES)
