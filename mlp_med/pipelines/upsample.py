"""The information control: a coarse crop on the fine grid, with no more detail than it had."""

import numpy as np
import tensorflow as tf


def upsampling_matrix(size: int, target: int) -> np.ndarray:
    """Linear interpolation along one axis, aligned at voxel *centres*, as a matrix.

    Both grids cover the same extent, so voxel centres lie at (i + ½)/size of it. Beyond the
    outermost centres the outermost value is repeated. For a whole factor target/size each input
    voxel has the same total weight, so that the mean over the field is kept exactly.

    Returns:
        float32 [target, size]; rows sum to 1.

    Raises:
        ValueError: the target is not a whole multiple of the size.
    """
    if size < 1 or target < size or target % size:
        raise ValueError(f"expected a multiple of {size} voxels to upsample to, got {target}")
    centres = np.clip((np.arange(target) + 0.5) * size / target - 0.5, 0, size - 1)
    distances = np.abs(centres[:, None] - np.arange(size)[None, :])
    return np.maximum(1.0 - distances, 0.0).astype(np.float32)


def upsample(crops: tf.Tensor, grid: tuple[int, ...]) -> tf.Tensor:
    """Brings crops float32 [batch, *sizes, channels] to [batch, *grid, channels].

    One small matrix product an axis, and no transposition. A grid of their own size returns the
    crops unchanged.
    """
    batch, *sizes, channels = crops.shape
    if tuple(sizes) == grid:
        return crops
    # The last axis first, while there is least to multiply; its voxels hold their channels.
    weights = upsampling_matrix(sizes[-1], grid[-1])
    crops = tf.reshape(crops, [-1, sizes[-1] * channels])
    crops = tf.matmul(crops, np.kron(weights, np.eye(channels, dtype=np.float32)).T)
    row_length = grid[-1] * channels
    for size, target in zip(sizes[-2::-1], grid[-2::-1], strict=True):
        weights = upsampling_matrix(size, target)
        crops = tf.matmul(weights, tf.reshape(crops, [-1, size, row_length]))
        row_length *= target
    return tf.reshape(crops, [batch, *grid, channels])
