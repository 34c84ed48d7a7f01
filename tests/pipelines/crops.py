"""Examples in memory and physical crops at several resolutions, for the tests of this folder."""

import numpy as np

from mlp_med.pipelines.arrays import Examples
from mlp_med.pipelines.datasets import DatasetDescription, voxels_per_edge


def random_examples(
    description: DatasetDescription, resolution: float, num_examples: int, seed: int = 0
) -> Examples:
    """Noise in the dataset's own shape and dtype, half of either class."""
    generator = np.random.default_rng(seed)
    size = voxels_per_edge(description, resolution)
    shape = (num_examples, *[size] * description.spatial_dims, description.num_channels)
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
    """Down-samples [batch, n, …, n, channels] by averaging blocks of factor voxels an edge."""
    spatial_dims = crops.ndim - 2
    size = crops.shape[1] // factor
    blocks = crops.reshape(len(crops), *[size, factor] * spatial_dims, crops.shape[-1])
    return blocks.mean(axis=tuple(range(2, 2 * spatial_dims + 1, 2)))
