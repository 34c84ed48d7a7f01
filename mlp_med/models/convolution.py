"""Convolutions that are fast on a CPU too, with the weights of Keras' own."""

import functools
from typing import Any, Literal

import keras
import tensorflow as tf

from mlp_med.processor import processor_flags


class Convolution3D(keras.layers.Conv3D):
    """Keras' Conv3D at stride 1, whose filter gradient is right and fast on any CPU.

    Without AVX-512 oneDNN computes a 3D filter gradient in float32 at a third of the speed of the
    forward pass, but the 2D one nearly at full speed. With it the one in bfloat16 is wrong where
    the grid is two voxels deep: it reads memory that nobody has written (TensorFlow 2.21). The
    filter's every depth tap is a 2D convolution over all depths of all examples, so there the
    gradient is computed as that. Elsewhere this is Conv3D.
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Convolves [batch, depth, height, width, channels], padding to the same grid."""
        if _is_to_be_avoided(inputs):
            return _convolve(inputs, tf.convert_to_tensor(kernel), "SAME")
        return super().convolution_op(inputs, kernel)

    @staticmethod
    def convolve_inside(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Convolves without any padding: the grid shrinks by the kernel's extent less one."""
        if _is_to_be_avoided(inputs):
            return _convolve(inputs, kernel, "VALID")
        return tf.nn.conv3d(inputs, kernel, [1] * 5, "VALID")


def _is_to_be_avoided(inputs: tf.Tensor) -> bool:
    """Whether the library's filter gradient is slow or wrong here."""
    return on_cpu() and (_is_slow(inputs) or _is_wrong(inputs))


@functools.cache
def on_cpu() -> bool:
    """Whether TensorFlow has no GPU to compute on."""
    return not tf.config.list_physical_devices("GPU")


def _is_slow(inputs: tf.Tensor) -> bool:
    return inputs.dtype == tf.float32 and "avx512f" not in processor_flags()


def _is_wrong(inputs: tf.Tensor) -> bool:
    return inputs.dtype == tf.bfloat16 and inputs.shape[1] in (2, None)


def _convolve(inputs: tf.Tensor, kernel: tf.Tensor, padding: Literal["SAME", "VALID"]) -> tf.Tensor:
    @tf.custom_gradient
    def run(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            by_inputs = tf.raw_ops.Conv3DBackpropInputV2(
                input_sizes=tf.shape(inputs),
                filter=kernel,
                out_backprop=upstream,
                strides=[1] * 5,
                padding=padding,
            )
            return by_inputs, _filter_gradient(inputs, kernel.shape, upstream, padding)

        return tf.nn.conv3d(inputs, kernel, [1] * 5, padding), gradients

    return run(inputs, kernel)


def _filter_gradient(
    inputs: tf.Tensor, kernel_shape: tf.TensorShape, upstream: tf.Tensor, padding: str
) -> tf.Tensor:
    """Gradient [depth taps, height taps, width taps, in, out] of a stride-1 convolution."""
    depth_taps = kernel_shape[0]
    padded = (depth_taps - 1) // 2 if padding == "SAME" else 0
    shape, upstream_shape = keras.ops.shape(inputs), keras.ops.shape(upstream)
    by_tap: list[tf.Tensor] = []
    for tap in range(depth_taps):
        # This tap takes output plane d from input plane d + offset; beyond the grid it saw zeros.
        offset = tap - padded
        ahead, behind = max(offset, 0), max(-offset, 0)
        # Planes of the inputs could be copied as soon as there are inputs, and would then lie in
        # memory for the whole step: so not before the gradient is here and the last tap is done.
        with tf.control_dependencies(by_tap[-1:] or [upstream]):
            count = _at_most(shape[1] - ahead, upstream_shape[1] - behind)
            by_tap.append(
                tf.raw_ops.Conv2DBackpropFilter(
                    input=_planes(inputs, ahead, count, shape),
                    filter_sizes=kernel_shape[1:],
                    out_backprop=_planes(upstream, behind, count, upstream_shape),
                    strides=[1] * 4,
                    padding=padding,
                )
            )
    return tf.stack(by_tap)


def _at_most(*sizes: Any) -> Any:
    """The least of sizes, and nothing where one is negative: a number if all of them are."""
    if any(tf.is_tensor(size) for size in sizes):
        return tf.maximum(tf.minimum(*sizes), 0)
    return max(min(sizes), 0)


def _planes(volume: tf.Tensor, start: int, count: Any, shape: tuple[Any, ...]) -> tf.Tensor:
    """So many planes of every example from `start` on, as a batch of 2D images."""
    is_whole = not tf.is_tensor(count) and count == shape[1]
    planes = volume if is_whole else volume[:, start : start + count]
    return tf.reshape(planes, [-1, *shape[2:]])


class SpaceToDepth(keras.layers.Layer):
    """Folds cubes (squares) of voxels into channels; the grid shrinks by the block's edge.

    Zeros fill up the last block along an axis, as they do at the border of a convolution: 0.8 mm
    pixels make a mammogram of 260 mm 325 pixels high.

    Args:
        block: voxels along an edge.
    """

    def __init__(self, *, block: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.block = block

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Folds [batch, *grid, channels]."""
        inputs = self.filled(inputs)
        batch, *sizes, channels = keras.ops.shape(inputs)
        rank = len(sizes)
        grid = [size // self.block for size in sizes]
        split = [part for size in grid for part in (size, self.block)]
        blocks = tf.reshape(inputs, [batch, *split, channels])
        order = [0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1]
        folded = tf.transpose(blocks, order)
        return tf.reshape(folded, [batch, *grid, channels * self.block**rank])

    def filled(self, inputs: tf.Tensor) -> tf.Tensor:
        """The inputs with zeros that complete the last blocks; themselves where none is missing."""
        missing = [-size % self.block for size in keras.ops.shape(inputs)[1:-1]]
        if not any(tf.is_tensor(number) or number for number in missing):
            return inputs
        return tf.pad(inputs, [[0, 0], *([0, number] for number in missing), [0, 0]])

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """[batch, *grid / block (rounded up), channels · block^rank]."""
        grid = [None if size is None else -(-size // self.block) for size in input_shape[1:-1]]
        channels = input_shape[-1] * self.block ** len(grid)
        return (input_shape[0], *grid, channels)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "block": self.block}
