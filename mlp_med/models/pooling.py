"""Maxima whose gradient is the same every time, and averages that end a network."""

from collections.abc import Callable, Sequence
from typing import Literal

import keras
import tensorflow as tf

from mlp_med.models.convolution import on_cpu


def max_pool(
    inputs: tf.Tensor,
    size: Sequence[int],
    strides: Sequence[int],
    padding: Literal["SAME", "VALID"],
    *,
    places: Callable[[], tf.Tensor] | None = None,
) -> tf.Tensor:
    """Maximum over windows of [batch, *grid, channels], whose gradient on a CPU is always the same.

    TensorFlow has two kernels for that gradient. They disagree on where it goes when a window has
    its maximum twice, as in bfloat16 many do, and one takes thirty times as long. In a loop it is
    left to the order of addresses in memory which one runs (TensorFlow 2.21): 4 to 13 % of the
    times that a step was traced gave other weights. In a function of its own, which computes the
    maximum once more, it is always the fast one.

    Args:
        inputs: of any float dtype.
        size: of the windows, one number an axis of the grid.
        strides: likewise.
        padding: of the grid.
        places: gives the backward pass a tensor of the same shape that is largest where `inputs`
            are, which then need not be kept.
    """

    def pool(inputs: tf.Tensor) -> tf.Tensor:
        return tf.nn.max_pool(inputs, size, strides, padding)

    if places is None and not on_cpu():
        return pool(inputs)

    @tf.custom_gradient
    def run(inputs: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            values = inputs if places is None else places()
            return _own_graph(pool, values, upstream)(values, upstream)

        return pool(inputs), gradient

    return run(inputs)


def _own_graph(
    function: Callable[[tf.Tensor], tf.Tensor], inputs: tf.Tensor, upstream: tf.Tensor
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """The function's gradient as a graph that is called, and not put into that which calls it."""

    @tf.function(autograph=False, experimental_attributes={"_noinline": True})
    def gradient(inputs: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function(inputs)
        return tape.gradient(outputs, inputs, upstream)

    specs = (tf.TensorSpec(value.shape, value.dtype) for value in (inputs, upstream))
    return gradient.get_concrete_function(*specs)


class MaxPooling2D(keras.layers.MaxPooling2D):
    """Keras' own, with `max_pool`'s gradient."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Maxima of [batch, height, width, channels]."""
        return max_pool(inputs, self.pool_size, self.strides, self.padding.upper())


class MaxPooling3D(keras.layers.MaxPooling3D):
    """Keras' own, with `max_pool`'s gradient."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Maxima of [batch, depth, height, width, channels]."""
        return max_pool(inputs, self.pool_size, self.strides, self.padding.upper())


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
