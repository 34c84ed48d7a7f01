"""Normalisation of each example by the moments of its groups of channels.

Op by op this is a dozen passes over memory, in float32. TensorFlow's fused batch normalisation does
the same sums in one pass, but over a whole batch. Asked for one example at a time it gives the
moments of each channel, those of a group follow from them, and a second call applies them. Its
gradient likewise gives the two sums over positions that the group's gradient is made of.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

# Values of an example from which on its own kernel calls are quicker than whole-batch operations.
WORTH_A_CALL = 2**16
EPSILON = 1e-4  # of the kernels where they only scale; any will do


def normalize_by_group(
    inputs: tf.Tensor,
    scale: tf.Tensor,
    offset: tf.Tensor,
    *,
    num_groups: int,
    epsilon: float,
    relu: bool,
) -> tf.Tensor:
    """Normalises [batch, …, channels] (Wu & He 2018), then takes the positive part if `relu`.

    Args:
        inputs: of any float dtype, which the result has too.
        scale: float32 [channels].
        offset: float32 [channels].
        num_groups: divides the channels, of which neighbours make up a group.
        epsilon: added to the variance.
        relu: whether negative values become 0.
    """
    shape = inputs.shape
    is_large = shape.is_fully_defined() and shape.num_elements() >= WORTH_A_CALL * shape[0]
    normalize = _example_by_example if is_large else _at_once
    return normalize(inputs, scale, offset, num_groups=num_groups, epsilon=epsilon, relu=relu)


def _at_once(
    inputs: tf.Tensor,
    scale: tf.Tensor,
    offset: tf.Tensor,
    *,
    num_groups: int,
    epsilon: float,
    relu: bool,
) -> tf.Tensor:
    shape = tf.shape(inputs)
    positions = tf.cast(tf.reshape(inputs, (shape[0], -1, inputs.shape[-1])), tf.float32)
    mean = _over_groups(tf.reduce_mean(positions, axis=1), num_groups)
    deviations = tf.math.squared_difference(positions, mean[:, tf.newaxis])
    variance = _over_groups(tf.reduce_mean(deviations, axis=1), num_groups)
    factor = scale * tf.math.rsqrt(variance + epsilon)
    shift = offset - mean * factor
    normalized = positions * factor[:, tf.newaxis] + shift[:, tf.newaxis]
    result = tf.cast(normalized, inputs.dtype)
    result = tf.reshape(tf.nn.relu(result) if relu else result, shape)
    result.set_shape(inputs.shape)
    return result


def _example_by_example(
    inputs: tf.Tensor,
    scale: tf.Tensor,
    offset: tf.Tensor,
    *,
    num_groups: int,
    epsilon: float,
    relu: bool,
) -> tf.Tensor:
    batch, *grid, channels = inputs.shape
    rows = (batch, 1, -1, grid[-1], channels)  # each example 4D, as the kernels want it
    num_positions = tf.TensorShape(grid).num_elements()

    @tf.custom_gradient
    def run(values: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) -> tuple[Any, Any]:
        examples = tf.unstack(values)
        means, variances = _moments(examples, num_positions)
        mean = _over_groups(means, num_groups)
        # The law of total variance, about the group's mean so that nothing cancels.
        variance = _over_groups(variances + tf.math.squared_difference(means, mean), num_groups)
        inverse = tf.math.rsqrt(variance + epsilon)
        factor = scale * inverse
        result = tf.stack(_scaled(examples, factor, offset - mean * factor))
        result = tf.nn.relu(result) if relu else result

        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            if relu:
                upstream = tf.raw_ops.ReluGrad(gradients=upstream, features=result)
            by_value, sums_with_value, sums = _sums(tf.unstack(upstream), examples, factor)
            sums_with_normalized = inverse * (sums_with_value - mean * sums)
            slope = _over_groups(scale * sums_with_normalized, num_groups) / num_positions
            level = _over_groups(scale * sums, num_groups) / num_positions
            slope *= -tf.square(inverse)
            corrections = _scaled(examples, slope, -inverse * level - mean * slope)
            by_values = [a + b for a, b in zip(by_value, corrections, strict=True)]
            by_scale = tf.reduce_sum(sums_with_normalized, axis=0)
            return tf.stack(by_values), by_scale, tf.reduce_sum(sums, axis=0)

        return result, gradients

    return tf.reshape(run(tf.reshape(inputs, rows), scale, offset), inputs.shape)


def _over_groups(per_channel: tf.Tensor, num_groups: int) -> tf.Tensor:
    """Each channel's value [batch, channels] replaced by the mean over its group."""
    channels = per_channel.shape[-1]
    grouped = tf.reshape(per_channel, (-1, num_groups, channels // num_groups))
    mean = tf.reduce_mean(grouped, axis=-1, keepdims=True)
    return tf.reshape(mean + tf.zeros_like(grouped), (-1, channels))


def _moments(examples: Sequence[tf.Tensor], num_positions: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance [batch, channels] float32 of each example's channels."""
    ones = tf.ones(examples[0].shape[-1])
    none = tf.constant([], tf.float32)
    outputs = [
        tf.raw_ops.FusedBatchNormV3(
            x=example, scale=ones, offset=0 * ones, mean=none, variance=none, is_training=True
        )
        for example in examples
    ]
    unbiased = tf.stack([output.batch_variance for output in outputs])
    means = tf.stack([output.batch_mean for output in outputs])
    return means, unbiased * ((num_positions - 1) / num_positions)


def _scaled(
    examples: Sequence[tf.Tensor], factors: tf.Tensor, shifts: tf.Tensor
) -> list[tf.Tensor]:
    """Example · factor + shift, by channel; in one pass and in the example's dtype."""
    ones = tf.ones(examples[0].shape[-1])
    return [
        tf.raw_ops.FusedBatchNormV3(
            x=example,
            scale=factors[index],
            offset=shifts[index],
            mean=0 * ones,
            variance=(1 - EPSILON) * ones,
            epsilon=EPSILON,
            is_training=False,
        ).y
        for index, example in enumerate(examples)
    ]


def _sums(
    upstream: Sequence[tf.Tensor], examples: Sequence[tf.Tensor], factors: tf.Tensor
) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
    """Upstream · factor, and the sums [batch, channels] of upstream · example and of upstream."""
    ones = tf.ones(examples[0].shape[-1])
    outputs = [
        tf.raw_ops.FusedBatchNormGradV3(
            y_backprop=gradient,
            x=example,
            scale=factors[index],
            reserve_space_1=0 * ones,
            reserve_space_2=(1 - EPSILON) * ones,
            reserve_space_3=tf.constant([], tf.float32),
            epsilon=EPSILON,
            is_training=False,
        )
        for index, (gradient, example) in enumerate(zip(upstream, examples, strict=True))
    ]
    by_value = [output.x_backprop for output in outputs]
    with_value = tf.stack([output.scale_backprop for output in outputs])
    return by_value, with_value, tf.stack([output.offset_backprop for output in outputs])
