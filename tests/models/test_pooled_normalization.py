"""Normalisation and pooling as one layer: what they make and learn one after the other."""

import numpy as np
import pytest
import tensorflow as tf

from mlp_med.models import pooled_normalization, pooling
from mlp_med.models.normalization import (
    FusedBatchNormalization,
    GroupNormalization,
    NoNormalization,
)
from mlp_med.models.pooled_normalization import PooledNormalization
from mlp_med.models.pooling import MaxPooling2D, MaxPooling3D

NORMS = {
    "batch": FusedBatchNormalization,
    "group": GroupNormalization,
    "none": NoNormalization,
}
SHAPES = {2: (4, 7, 6, 8), 3: (4, 5, 6, 7, 8)}
LARGE = (2, 64, 64, 16)  # where group normalisation calls its kernels example by example
POOLS = {2: MaxPooling2D, 3: MaxPooling3D}


def layers(kind, shape, *, trainable=True):
    """The joined layer, built, with scales of either sign."""
    norm = NORMS[kind](relu=False)
    layer = PooledNormalization(norm, POOLS[len(shape) - 2](2, padding="same"))
    layer.build(shape)
    norm.trainable = trainable
    if norm.scale is not None:
        norm.scale.assign(np.random.default_rng(0).choice([-2.0, -0.5, 0.5, 3.0], shape[-1]))
        norm.offset.assign(np.random.default_rng(1).normal(size=shape[-1]))
    return layer


def learned(run, layer, inputs):
    """Output, and the gradients of it by the input and by the weights."""
    weights = [weight.value for weight in layer.trainable_weights]

    @tf.function(autograph=False)
    def step(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = run(inputs)
            loss = tf.reduce_sum(tf.square(outputs - 1.0))
        return outputs, tape.gradient(loss, [inputs, *weights])

    outputs, gradients = step(inputs)
    return [outputs, *gradients]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES.values(), LARGE])
@pytest.mark.parametrize("kind", NORMS)
def test_it_makes_and_learns_what_the_layers_do_one_after_the_other(kind, shape, training):
    layer = layers(kind, shape)
    inputs = tf.random.stateless_normal(shape, seed=(1, 2))

    def one_by_one(inputs):
        normalized, _ = layer.norm.normalize(inputs, training=training)
        return tf.nn.relu(layer.pool(normalized))

    expected = learned(one_by_one, layer, inputs)
    found = learned(lambda inputs: layer(inputs, training=training), layer, inputs)
    assert layer.compute_output_shape(shape) == found[0].shape
    np.testing.assert_array_equal(found[0], expected[0])
    for ours, theirs in zip(found, expected, strict=True):
        assert np.any(theirs != 0)
        largest = float(tf.reduce_max(tf.abs(theirs)))
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * largest)


def test_training_moves_the_running_statistics_and_frozen_ones_stay():
    inputs = 2.0 + tf.random.stateless_normal(SHAPES[2], seed=(1, 2))
    for trainable in (True, False):
        layer = layers("batch", SHAPES[2], trainable=trainable)
        layer(inputs, training=True)
        assert bool(np.any(layer.norm.running_mean != 0.0)) == trainable


def test_of_two_that_rounding_makes_equal_the_larger_takes_the_gradient():
    """Beside an offset of 300 bfloat16 has no room for what tells the inputs apart."""
    layer = layers("group", (1, 2, 2, 1))
    layer.norm.scale.assign([-0.01])
    layer.norm.offset.assign([300.0])
    inputs = tf.reshape(tf.constant([1.0, 0.75, 0.25, 0.5], tf.bfloat16), (1, 2, 2, 1))
    normalized, _ = layer.norm.normalize(inputs, training=False)
    assert len(np.unique(tf.cast(normalized, tf.float32))) == 1
    calls = []

    def max_pool(values, *args, places):
        with tf.GradientTape() as tape:
            tape.watch(values)
            maxima = pooling.max_pool(values, *args, places=places)
        calls.append(tape.gradient(maxima, values))
        return maxima

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooled_normalization, "max_pool", max_pool)
        layer.normalize(inputs, training=False)
    # the smallest, since the scale is negative
    np.testing.assert_array_equal(tf.reshape(tf.cast(calls[0], tf.float32), -1), [0, 0, 1, 0])


@pytest.mark.parametrize("kind", ["batch", "group"])
def test_no_normalised_tensor_waits_for_the_backward_pass(kind):
    """Between its making and the pooling nothing else reads it."""
    layer = layers(kind, SHAPES[3])

    @tf.function(autograph=False)
    def step(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(layer(inputs, training=True))
        return tape.gradient(loss, inputs)

    operations = step.get_concrete_function(tf.TensorSpec(SHAPES[3])).graph.get_operations()
    (pooled,) = [op for op in operations if op.type == "MaxPool3D"]
    (normalized,) = pooled.inputs
    assert set(readers(normalized)) <= {"MaxPool3D", "Shape"}


def readers(tensor):
    """The kinds of operations that read a tensor, also by another name."""
    for operation in tensor.consumers():
        if operation.type in ("Identity", "IdentityN"):
            index = [name.name for name in operation.inputs].index(tensor.name)
            yield from readers(operation.outputs[index])
        else:
            yield operation.type
