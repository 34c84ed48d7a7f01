import keras
import numpy as np
import pytest
import tensorflow as tf

from mlp_med.models import convolution
from mlp_med.models.convolution import Convolution3D, SpaceToDepth
from tests.models.graphs import ancestors

DTYPES = ("float32", "mixed_bfloat16")


@pytest.fixture(params=["with AVX-512", "without"])
def _any_processor(request, monkeypatch):
    flags = {"avx2", "avx512f"} if request.param == "with AVX-512" else {"avx2"}
    monkeypatch.setattr(convolution, "processor_flags", lambda: frozenset(flags))


@pytest.mark.usefixtures("_any_processor")
@pytest.mark.parametrize(
    "shape", [(2, 5, 6, 7, 3), (3, 1, 1, 1, 2), (1, 4, 4, 4, 1), (1, 2, 4, 4, 1)]
)
@pytest.mark.parametrize("kernel_size", [1, 2, 3, (3, 1, 5), (9, 1, 1)])
def test_gradients_equal_those_of_keras(shape, kernel_size):
    generator = np.random.default_rng(0)
    inputs = tf.constant(generator.normal(size=shape), tf.float32)
    upstream = tf.constant(generator.normal(size=(*shape[:-1], 4)), tf.float32)
    ours = Convolution3D(4, kernel_size, padding="same")
    reference = keras.layers.Conv3D(4, kernel_size, padding="same")
    ours.build(shape)
    reference.build(shape)
    reference.set_weights(ours.get_weights())
    results = []
    for layer in (ours, reference):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
            loss = tf.reduce_sum(outputs * upstream)
        targets = [inputs, layer.kernel.value, layer.bias.value]
        results.append([outputs, *tape.gradient(loss, targets)])
    for our, expected in zip(*results, strict=True):
        np.testing.assert_allclose(our, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("_any_processor")
def test_gradients_are_the_same_where_the_grid_is_not_known_beforehand():
    layer = Convolution3D(2, 3, padding="same")
    layer.build((None, None, None, None, 1))
    kernel = layer.kernel.value

    def gradient(inputs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(inputs)))
        return tape.gradient(loss, kernel)

    spec = tf.TensorSpec((None, None, None, None, 1), tf.float32)
    inputs = tf.random.stateless_normal((2, 4, 5, 6, 1), seed=(1, 2))
    unknown = tf.function(gradient, input_signature=[spec], autograph=False)
    np.testing.assert_allclose(unknown(inputs), gradient(inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_bfloat16_gradients_are_those_of_float32_within_its_rounding(depth, kernel_size):
    """TensorFlow's own filter gradient is not, where the grid is two voxels deep."""
    shape = (4, depth, 2, 4, 8)
    generator = np.random.default_rng(0)
    inputs, upstream = (tf.constant(generator.normal(size=shape), tf.float32) for _ in range(2))
    layers = [Convolution3D(8, kernel_size, padding="same", dtype=d) for d in DTYPES]
    results = []
    for layer in layers:
        layer.build(shape)
        layer.set_weights(layers[0].get_weights())
        variable = tf.Variable(tf.cast(inputs, layer.compute_dtype))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(layer(variable), tf.float32) * upstream)
        results.append(tape.gradient(loss, [variable, layer.kernel.value]))
    for expected, ours in zip(*results, strict=True):
        distance = tf.norm(expected - tf.cast(ours, tf.float32)) / tf.norm(expected)
        assert distance < 0.02  # 0.011 where the processor emulates bfloat16


def test_no_plane_of_the_inputs_is_copied_before_their_gradient_is_wanted(monkeypatch):
    """A copy that depends on the inputs alone is made in the forward pass and kept for a step."""
    monkeypatch.setattr(convolution, "processor_flags", lambda: frozenset({"avx2"}))
    layer = Convolution3D(2, 3, padding="same")
    layer.build((None, None, None, None, 1))
    kernel = layer.kernel.value

    @tf.function(autograph=False)
    def gradient(inputs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(inputs)))
        return tape.gradient(loss, kernel)

    graph = gradient.get_concrete_function(tf.TensorSpec((2, 4, 4, 4, 1))).graph
    (placeholder,) = [
        op for op in graph.get_operations() if op.type == "Placeholder" and op.name == "inputs"
    ]
    copies = [
        op
        for op in graph.get_operations()
        if op.type == "StridedSlice" and op.inputs[0].op is placeholder
    ]
    before = [[op.type for op in ancestors(copy)] for copy in copies]
    # Of the three depth taps the middle one takes all planes and copies none. The other two wait
    # for the gradient, which comes after the convolution, and for the taps before them, so that
    # only one tap's planes lie in memory.
    assert all("Conv3D" in kinds for kinds in before)
    assert [kinds.count("Conv2DBackpropFilter") for kinds in before] == [0, 2]


def test_space_to_depth_in_2d_is_tensorflow_s():
    inputs = tf.random.stateless_normal((2, 6, 9, 3), seed=(1, 2))
    ours = SpaceToDepth(block=3)(inputs)
    np.testing.assert_array_equal(ours, tf.nn.space_to_depth(inputs, 3))


def test_space_to_depth_in_3d_keeps_each_block_together():
    inputs = tf.reshape(tf.range(2 * 4 * 6 * 8, dtype=tf.float32), (2, 4, 6, 8, 1))
    folded = SpaceToDepth(block=2)(inputs).numpy()
    assert folded.shape == (2, 2, 3, 4, 8)
    np.testing.assert_array_equal(folded[1, 1, 2, 0], inputs.numpy()[1, 2:4, 4:6, 0:2, 0].ravel())


@pytest.mark.parametrize("shape", [(2, 7, 5, 3), (1, 4, 5, 6, 1), (1, 1, 1, 1)])
@pytest.mark.parametrize("block", [2, 4])
def test_zeros_fill_up_the_last_blocks_of_a_grid(shape, block):
    inputs = tf.random.stateless_normal(shape, seed=(1, 2))
    layer = SpaceToDepth(block=block)
    missing = [(0, -size % block) for size in shape[1:-1]]
    filled = tf.pad(inputs, [(0, 0), *missing, (0, 0)])
    folded = layer(inputs)
    np.testing.assert_array_equal(folded, layer(filled))
    assert folded.shape == layer.compute_output_shape(shape)
    spec = tf.TensorSpec([None] * (len(shape) - 1) + [shape[-1]])
    unknown = tf.function(layer.call, input_signature=[spec], autograph=False)
    np.testing.assert_array_equal(unknown(inputs), folded)
