"""Maxima of blocks: the gradient is one and the same, however the step was compiled."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlp_med.models.pooling import MaxPooling2D, MaxPooling3D
from mlp_med.training.precision import cpu_has_bfloat16

LAYERS = {2: MaxPooling2D, 3: MaxPooling3D}
KERAS_LAYERS = {2: keras.layers.MaxPooling2D, 3: keras.layers.MaxPooling3D}


def gradient_of(layer, inputs, upstream):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs)
    return tape.gradient(outputs, inputs, upstream)


def in_a_loop(layer, inputs, upstream):
    @tf.function(autograph=False)
    def run(inputs, upstream):
        return tf.while_loop(
            lambda done, found: done < 2,
            lambda done, found: (done + 1, gradient_of(layer, inputs, upstream)),
            (tf.constant(0), tf.zeros_like(inputs)),
        )[1]

    return run(inputs, upstream)


def many_ties(spatial_dims, dtype, size=5):
    generator = np.random.default_rng(0)
    shape = (2, *[size] * spatial_dims, 3)
    inputs = tf.constant(generator.integers(0, 2, shape), dtype)
    upstream = generator.integers(1, 9, (2, *[-(-size // 2)] * spatial_dims, 3))
    return inputs, tf.constant(upstream, dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_ties_give_the_gradient_to_one_voxel_in_a_loop_and_outside(spatial_dims, dtype):
    if dtype == "bfloat16" and not cpu_has_bfloat16():
        pytest.skip("emulated bfloat16, in which nothing trains, gives it to every one of a tie")
    layer = LAYERS[spatial_dims](2, padding="same", dtype=dtype)
    inputs, upstream = many_ties(spatial_dims, dtype)
    at_once = gradient_of(layer, inputs, upstream)
    np.testing.assert_array_equal(at_once, in_a_loop(layer, inputs, upstream))
    # All of it arrives, each window's at a single voxel and that one of its largest.
    assert tf.reduce_sum(at_once) == tf.reduce_sum(upstream)
    assert np.count_nonzero(at_once) == upstream.shape.num_elements()
    ones = tf.nn.max_pool(inputs, 2, 2, "SAME")
    taken = np.asarray(at_once != 0) & np.asarray(inputs == 0)
    assert taken.sum() == np.count_nonzero(np.asarray(ones) == 0)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_it_is_keras_pooling_where_no_two_are_equal(spatial_dims):
    shape = (2, *[6] * spatial_dims, 3)
    inputs = tf.constant(np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape))
    inputs = tf.cast(inputs, tf.float32)
    ours = LAYERS[spatial_dims](2, padding="same")
    keras_own = KERAS_LAYERS[spatial_dims](2, padding="same")
    np.testing.assert_array_equal(ours(inputs), keras_own(inputs))
    upstream = tf.cast(tf.range(tf.size(ours(inputs))), tf.float32)
    upstream = tf.reshape(upstream, ours(inputs).shape)
    np.testing.assert_array_equal(
        gradient_of(ours, inputs, upstream), gradient_of(keras_own, inputs, upstream)
    )
