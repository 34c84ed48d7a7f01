"""Averages that end a fully convolutional network."""

import keras


class AverageOverCentre(keras.layers.Layer):
    """Mean over the central half of the grid along each axis: [batch, *grid, c] to [batch, c].

    A quarter of the grid, rounded down, is left out on either side, so the mean is taken about the
    very centre, however coarse the grid: of 1, 2 or 3 voxels along an axis all count, of 4 two.
    """

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """The mean, in the dtype of `x`."""
        axes = range(1, len(x.shape) - 1)
        shape = keras.ops.shape(x)
        middle = tuple(slice(shape[axis] // 4, shape[axis] - shape[axis] // 4) for axis in axes)
        return keras.ops.mean(x[(slice(None), *middle)], axis=tuple(axes))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Batch and channels."""
        return input_shape[0], input_shape[-1]
