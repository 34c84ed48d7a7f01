"""Normalisation by the moments of a batch, through TensorFlow's fused kernels.

Keras' BatchNormalization computes the moments of a 5D tensor op by op. The fused kernels know only
4D, but the statistics are per channel, so that batch and depth can be folded into one axis. The
ReLU is applied to the 4D result, where TensorFlow's graph optimiser fuses it into the kernel.
"""

import functools
from typing import Any

import keras
import tensorflow as tf


def normalize_by(
    inputs: tf.Tensor,
    scale: tf.Tensor,
    offset: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    epsilon: float,
) -> tf.Tensor:
    """Normalises [batch, …, channels] by a mean and a variance [channels] that are given."""
    normalized, *_ = tf.compat.v1.nn.fused_batch_norm(
        _folded(inputs),
        scale,
        offset,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        is_training=False,
    )
    return _unfolded(normalized, inputs)


def normalize_by_batch(
    inputs: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor, *, epsilon: float, relu: bool
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalises [batch, …, channels] by its own moments, then takes the positive part if `relu`.

    TensorFlow's own gradient would keep the kernel's third reserve space, which only cuDNN reads:
    a quarter as many bytes again as the output in bfloat16.

    Returns:
        The result in the dtype of `inputs`, and the mean and the unbiased variance of each channel
        in float32, through which no gradient flows.
    """

    @tf.custom_gradient
    def run(values: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) -> tuple[Any, Any]:
        folded = _folded(values)
        normalized, mean, variance, *reserved = tf.raw_ops.FusedBatchNormV3(
            x=folded,
            scale=scale,
            offset=offset,
            mean=tf.constant([], tf.float32),
            variance=tf.constant([], tf.float32),
            epsilon=epsilon,
            is_training=True,
        )
        result = tf.nn.relu(normalized) if relu else normalized
        reserved[2] = reserved[2] if _reserve_space_is_read() else tf.constant([], tf.float32)

        def gradients(upstream: tf.Tensor, *_: tf.Tensor) -> tuple[tf.Tensor, ...]:
            by_result = _folded(upstream)
            if relu:
                by_result = tf.raw_ops.ReluGrad(gradients=by_result, features=result)
            by_values, by_scale, by_offset, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=by_result,
                x=folded,
                scale=scale,
                reserve_space_1=reserved[0],
                reserve_space_2=reserved[1],
                reserve_space_3=reserved[2],
                epsilon=epsilon,
                is_training=True,
            )
            return _unfolded(by_values, values), by_scale, by_offset

        return (_unfolded(result, values), mean, variance), gradients

    return run(inputs, scale, offset)


@functools.cache
def _reserve_space_is_read() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def _folded(inputs: tf.Tensor) -> tf.Tensor:
    """[batch, …, channels] as 4D: depth goes into the batch."""
    if inputs.shape.rank == 4:
        return inputs
    _, _, *plane = keras.ops.shape(inputs)
    return tf.reshape(inputs, (-1, *plane))


def _unfolded(folded: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    if folded.shape.rank == like.shape.rank:
        return folded
    restored = tf.reshape(folded, tf.shape(like))
    restored.set_shape(like.shape)
    return restored
