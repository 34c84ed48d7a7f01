"""Examples in memory and physical crops at several resolutions, for the tests of this folder."""

import dataclasses

import numpy as np

from mlp_med.pipelines.arrays import Examples
from mlp_med.pipelines.datasets import METASTASIS_PATCHES, DatasetDescription, crop_grid

# Rows of 65 and columns of 50 coarsest pixels: edges that differ, one of them odd.
RECTANGLE = dataclasses.replace(
    METASTASIS_PATCHES,
    name="rectangle",
    unit="mm",
    resolutions=(1.0, 2.0, 4.0),
    field_extent=(260.0, 200.0),
)


def random_examples(
    description: DatasetDescription, resolution: float, num_examples: int, seed: int = 0
) -> Examples:
    """Noise in the dataset's own shape and dtype, half of either class."""
    generator = np.random.default_rng(seed)
    shape = (num_examples, *crop_grid(description, resolution), description.num_channels)
    low, high = description.intensity_window
    dtype = np.uint8 if low == 0 else np.int16
    numbers = np.arange(num_examples)
    return Examples(
        images=generator.integers(int(low), int(high) + 1, size=shape).astype(dtype),
        labels=(numbers % 2).astype(np.int8),
        ids=np.array([f"crop{number:05d}" for number in numbers]),
        patients=np.array([f"patient{number // 3:05d}" for number in numbers]),
    )


def block_mean(crops: np.ndarray, factor: int) -> np.ndarray:
    """Down-samples [batch, *sizes, channels] by averaging blocks of factor voxels an edge."""
    spatial_dims = crops.ndim - 2
    split = [part for size in crops.shape[1:-1] for part in (size // factor, factor)]
    blocks = crops.reshape(len(crops), *split, crops.shape[-1])
    return blocks.mean(axis=tuple(range(2, 2 * spatial_dims + 1, 2)))
