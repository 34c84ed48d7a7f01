import keras
import numpy as np
import pytest
import tensorflow as tf

from mlp_med.models import group_moments
from mlp_med.models.normalization import FusedBatchNormalization, GroupNormalization

EPSILON = 1e-3


def plain_norm(inputs, axes, scale, offset):
    mean, variance = tf.nn.moments(inputs, axes, keepdims=True)
    return tf.nn.relu((inputs - mean) * tf.math.rsqrt(variance + EPSILON) * scale + offset)


def plain_group_norm(inputs, groups, scale, offset):
    shape = inputs.shape
    grouped = tf.reshape(inputs, (shape[0], -1, groups, shape[-1] // groups))
    mean, variance = tf.nn.moments(grouped, (1, 3), keepdims=True)
    normalized = tf.reshape((grouped - mean) * tf.math.rsqrt(variance + EPSILON), shape)
    return tf.nn.relu(normalized * scale + offset)


def with_parameters(layer, shape):
    generator = np.random.default_rng(1)
    layer.build(shape)
    layer.scale.assign(generator.uniform(0.5, 2.0, shape[-1]))
    layer.offset.assign(generator.normal(size=shape[-1]))
    return layer


def value_and_gradients(function, inputs, variables):
    upstream = tf.constant(np.random.default_rng(2).normal(size=inputs.shape), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = function(inputs)
        loss = tf.reduce_sum(outputs * upstream)
    return [outputs, *tape.gradient(loss, [inputs, *variables])]


def inputs_of(shape):
    values = np.random.default_rng(3).normal(1.5, 3.0, size=shape)
    return tf.constant(values * np.arange(1, shape[-1] + 1), tf.float32)


def assert_all_close(ours, reference):
    for our, expected in zip(ours, reference, strict=True):
        scale = float(tf.reduce_max(tf.abs(expected)))
        np.testing.assert_allclose(our / scale, expected / scale, atol=2e-6)


@pytest.mark.parametrize("shape", [(3, 4, 5, 6, 7), (5, 6, 4, 3)])
def test_fused_norm_and_its_gradients_equal_the_formula(shape):
    inputs = inputs_of(shape)
    layer = with_parameters(FusedBatchNormalization(epsilon=EPSILON), shape)
    variables = [layer.scale.value, layer.offset.value]
    axes = list(range(len(shape) - 1))
    assert_all_close(
        value_and_gradients(lambda x: layer(x, training=True), inputs, variables),
        value_and_gradients(lambda x: plain_norm(x, axes, *variables), inputs, variables),
    )


@pytest.mark.parametrize("worth_a_call", [0, 2**16])  # example by example, and all at once
@pytest.mark.parametrize("shape", [(3, 4, 5, 6, 8), (5, 6, 4, 12), (2, 1, 3, 16)])
def test_group_norm_and_its_gradients_equal_the_formula(shape, worth_a_call, monkeypatch):
    monkeypatch.setattr(group_moments, "WORTH_A_CALL", worth_a_call)
    inputs = inputs_of(shape)
    layer = with_parameters(GroupNormalization(num_groups=4, epsilon=EPSILON), shape)
    variables = [layer.scale.value, layer.offset.value]
    assert_all_close(
        value_and_gradients(layer, inputs, variables),
        value_and_gradients(lambda x: plain_group_norm(x, 4, *variables), inputs, variables),
    )


def test_group_norm_treats_each_example_by_itself():
    inputs = inputs_of((4, 3, 3, 3, 8))
    layer = with_parameters(GroupNormalization(num_groups=4), inputs.shape)
    np.testing.assert_allclose(layer(inputs)[2:3], layer(inputs[2:3]), rtol=1e-5, atol=1e-6)


def test_group_norm_lowers_its_groups_to_a_divisor_of_the_channels():
    inputs = inputs_of((2, 3, 3, 6))
    eight = with_parameters(GroupNormalization(num_groups=8, epsilon=EPSILON), inputs.shape)
    four = with_parameters(GroupNormalization(num_groups=4, epsilon=EPSILON), inputs.shape)
    np.testing.assert_allclose(
        eight(inputs), plain_group_norm(inputs, 6, eight.scale.value, eight.offset.value), atol=2e-5
    )
    np.testing.assert_allclose(
        four(inputs), plain_group_norm(inputs, 3, four.scale.value, four.offset.value), atol=2e-5
    )


def test_running_statistics_approach_the_moments_and_serve_inference():
    inputs = inputs_of((4, 5, 6, 7, 2))
    layer = with_parameters(FusedBatchNormalization(momentum=0.5, epsilon=EPSILON), inputs.shape)
    for _ in range(30):
        layer(inputs, training=True)
    axes = (0, 1, 2, 3)
    unbiased = np.var(inputs.numpy().astype(np.float64), axis=axes, ddof=1)
    np.testing.assert_allclose(layer.running_mean, np.mean(inputs, axis=axes), rtol=1e-4)
    np.testing.assert_allclose(layer.running_variance, unbiased, rtol=1e-4)
    np.testing.assert_allclose(
        layer(inputs, training=False), layer(inputs, training=True), atol=5e-3
    )


def test_inference_leaves_the_running_statistics_alone():
    inputs = inputs_of((2, 3, 4, 5, 2))
    layer = with_parameters(FusedBatchNormalization(), inputs.shape)
    layer(inputs, training=False)
    assert np.array_equal(layer.running_mean, np.zeros(2))


def test_the_statistics_of_bfloat16_inputs_are_float32():
    inputs = inputs_of((4, 8, 8, 8, 3))
    layer = with_parameters(
        FusedBatchNormalization(momentum=0.99, dtype="mixed_bfloat16"), inputs.shape
    )
    outputs = layer(inputs, training=True)
    assert outputs.dtype == tf.bfloat16
    assert {variable.dtype for variable in layer.variables} == {"float32"}
    moments = tf.nn.moments(tf.cast(tf.cast(inputs, tf.bfloat16), tf.float32), (0, 1, 2, 3))
    # 0.01 of the mean is what one update with momentum 0.99 keeps: bfloat16 has 8 bits.
    np.testing.assert_allclose(layer.running_mean, 0.01 * moments[0], rtol=1e-5)


@pytest.mark.parametrize("kind", [FusedBatchNormalization, GroupNormalization])
def test_a_norm_survives_its_config(kind):
    layer = kind(epsilon=0.5, name="a")
    assert kind.from_config(layer.get_config()).get_config() == layer.get_config()


def test_only_scale_and_offset_are_trained():
    layer = with_parameters(FusedBatchNormalization(), (2, 3, 4, 5, 2))
    assert [weight.name for weight in layer.trainable_variables] == ["scale", "offset"]
    assert isinstance(layer, keras.layers.Layer)
