import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_med.errors import StreamingError
from mlp_med.models.convolution import Convolution3D, SpaceToDepth
from mlp_med.models.normalization import FusedBatchNormalization, NoNormalization
from mlp_med.models.presets import preset_arguments
from mlp_med.models.residual import build_model
from mlp_med.models.streaming import StreamedStages, stream
from mlp_med.training.precision import cpu_has_bfloat16
from tests.models.graphs import ancestors

STEM = 2
GRIDS = {2: (20, 14), 3: (12, 8, 10)}
LAST = "stage1_block1_sum"


def residual(spatial_dims, norm="none", blocks_per_stage=2, **changes):
    """With weights of which none is 0, since blocks without normalisation begin as nothing."""
    model = build_model(
        spatial_dims=spatial_dims,
        num_channels=2,
        widths=(4, 6, 8),
        blocks_per_stage=blocks_per_stage,
        norm=norm,
        **changes,
    )
    return randomized(model)


def randomized(model):
    generator = np.random.default_rng(1)
    for weight in model.weights:
        low = 0.5 if "variance" in weight.name else -0.5
        weight.assign(generator.uniform(low, low + 1, weight.shape))
    return model


def images_of(grid, channels=2, batch=2):
    return tf.random.stateless_normal((batch, *grid, channels), seed=(1, 2))


def output_and_gradients(model, images):
    """Of a training step as a graph computes it: the output, and by weight and images."""
    weights = [weight.value for weight in model.trainable_weights]

    @tf.function(autograph=False)
    def step(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            output = model(images, training=True)
            loss = tf.reduce_mean(tf.square(output - 1.0))
        return output, tape.gradient(loss, [*weights, images])

    return step(images)


def assert_the_same(streamed, whole, images):
    output, gradients = output_and_gradients(whole, images)
    our_output, ours = output_and_gradients(streamed, images)
    np.testing.assert_allclose(our_output, output, rtol=1e-5, atol=1e-6)
    names = [*(weight.path for weight in whole.trainable_weights), "images"]
    for name, our, expected in zip(names, ours, gradients, strict=True):
        assert our.dtype == expected.dtype
        assert float(tf.norm(expected)) > 0, name
        assert float(tf.norm(our - expected) / tf.norm(expected)) < 1e-4, name


@settings(deadline=None, max_examples=6)
@given(
    tile_size=st.integers(1, 24),
    blocks=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    recompute=st.booleans(),
)
def test_gradients_in_2d_are_those_of_the_whole_image(tile_size, blocks, recompute):
    model = residual(2, recompute=recompute)
    grid = tuple(STEM * block for block in blocks)
    assert_the_same(stream(model, after=LAST, tile_size=tile_size), model, images_of(grid))


@pytest.mark.parametrize("grid", [(17, 12), (16, 11), (13, 9)])
def test_a_grid_that_blocks_do_not_fill_is_filled_as_without_tiles(grid):
    model = residual(2)
    assert_the_same(stream(model, after=LAST, tile_size=5), model, images_of(grid))


@settings(deadline=None, max_examples=4)
@given(
    tile_size=st.integers(3, 16),
    blocks=st.tuples(*[st.integers(1, 5)] * 3),
    recompute=st.booleans(),
)
def test_gradients_in_3d_are_those_of_the_whole_image(tile_size, blocks, recompute):
    model = residual(3, blocks_per_stage=1, recompute=recompute)
    grid = tuple(STEM * block for block in blocks)
    streamed = stream(model, after="stage1_block0_sum", tile_size=tile_size)
    assert_the_same(streamed, model, images_of(grid))


@settings(deadline=None, max_examples=8)
@given(
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padding=st.sampled_from(["same", "valid"]),
    pool=st.integers(1, 3),
    size=st.integers(16, 29),
    tile_size=st.integers(1, 30),
)
def test_any_strides_paddings_and_dilations(
    kernel, stride, dilation, padding, pool, size, tile_size
):
    inputs = keras.Input((None, None, 2))
    x = keras.layers.Conv2D(3, kernel, strides=stride, padding=padding, activation="relu")(inputs)
    x = keras.layers.Conv2D(3, 2, dilation_rate=dilation, padding="same")(x)
    x = keras.layers.MaxPooling2D(pool, strides=2, padding=padding)(x)
    shortcut = keras.layers.Conv2D(4, 1, strides=stride, padding="same")(x)
    x = keras.layers.LeakyReLU()(x)
    x = keras.layers.Conv2D(4, 3, strides=stride, padding="same")(x)
    x = keras.layers.Add(name="sum")([shortcut, x])
    pooled = keras.layers.GlobalAveragePooling2D()(x)
    model = randomized(keras.Model(inputs, keras.layers.Dense(1)(pooled)))
    streamed = stream(model, after="sum", tile_size=tile_size)
    assert_the_same(streamed, model, images_of((size, size - 3)))


def test_both_breasts_of_an_exam_in_tiles():
    options = {**preset_arguments("residual_small_four_views"), "spatial_dims": 2, "norm": "none"}
    whole, tiled = (
        randomized(build_model(**options, num_channels=4, stream_tile=tile)) for tile in (0, 8)
    )
    for weight, ours in zip(whole.weights, tiled.weights, strict=True):
        np.testing.assert_array_equal(weight, ours)
    assert_the_same(tiled, whole, images_of((26, 20), channels=4))


def test_bfloat16_is_the_same_within_its_rounding():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = residual(3)
        streamed = stream(model, after=LAST, tile_size=6)
    finally:
        keras.config.set_dtype_policy(policy)
    images = images_of(GRIDS[3])
    (_, gradients), (_, ours) = (output_and_gradients(m, images) for m in (model, streamed))
    for our, expected in zip(ours, gradients, strict=True):
        assert our.dtype == expected.dtype == tf.float32
        # Sums of products are rounded to bfloat16 on the way where the processor emulates it.
        tolerance = 5e-2 if cpu_has_bfloat16() else 2e-1
        assert float(tf.norm(our - expected) / tf.norm(expected)) < tolerance


def test_weights_are_shared_and_in_the_same_order():
    model = residual(2)
    streamed = stream(model, after=LAST, tile_size=4)
    for weight, ours in zip(model.weights, streamed.weights, strict=True):
        assert weight is ours
    assert streamed.count_params() == model.count_params()


@pytest.mark.parametrize("batch_norm", [FusedBatchNormalization, keras.layers.BatchNormalization])
def test_batch_statistics_are_refused_unless_frozen(batch_norm):
    inputs = keras.Input((None, None, 2))
    x = keras.layers.Conv2D(3, 3, padding="same")(inputs)
    norm = batch_norm(name="norm")
    x = keras.layers.Conv2D(3, 3, padding="same", name="last")(norm(x))
    model = randomized(keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x)))
    streamed = stream(model, after="last", tile_size=5)
    images = images_of(GRIDS[2])
    with pytest.raises(StreamingError, match="norm normalises by the statistics of a whole batch"):
        streamed(images, training=True)
    scores = (network(images, training=False) for network in (model, streamed))
    np.testing.assert_allclose(*scores, rtol=1e-5, atol=1e-6)
    norm.trainable = False
    assert_the_same(streamed, model, images)


def test_what_needs_more_than_a_window_is_refused():
    with pytest.raises(StreamingError, match=r"GroupNormalization stage0_.* norm 'none'"):
        residual(2, "group", stream_tile=4)


def test_a_connection_past_the_streamed_stages_is_refused():
    with pytest.raises(StreamingError, match="no connection bypasses"):
        stream(residual(2), after="stage1_block0_conv1", tile_size=4)


def test_what_cannot_be_streamed_is_named():
    model = residual(2)
    with pytest.raises(StreamingError, match=r"expected a layer out of .*got 'stage9'"):
        stream(model, after="stage9", tile_size=4)
    with pytest.raises(StreamingError, match="at least one voxel, got 0"):
        stream(model, after=LAST, tile_size=0)
    inputs = keras.Input((None, None, 2))
    again = keras.layers.Conv2D(2, 3, padding="same")
    twice = keras.Model(inputs, again(again(inputs)))
    with pytest.raises(StreamingError, match="used once"):
        StreamedStages(twice, tile_size=4)
    folds = keras.Model(inputs, SpaceToDepth(block=2)(keras.layers.ReLU()(inputs)))
    with pytest.raises(StreamingError, match="blocks of 2 voxels fill, got 9×8"):
        StreamedStages(folds, tile_size=4)(images_of((9, 8)))
    streamed = stream(model, after=LAST, tile_size=4)
    unknown = tf.TensorSpec((1, None, 8, 2))
    with pytest.raises(StreamingError, match="known when traced"):
        tf.function(streamed, autograph=False).get_concrete_function(unknown)
    valid = keras.Model(inputs, keras.layers.Conv2D(2, 5)(inputs))
    with pytest.raises(StreamingError, match="has a window in, got a grid of 4×8"):
        StreamedStages(valid, tile_size=4)(images_of((4, 8)))


def test_a_step_runs_one_loop_at_a_time_and_none_for_the_images():
    options = {**preset_arguments("residual_small_four_views"), "spatial_dims": 2, "norm": "none"}
    model = build_model(**options, num_channels=4, stream_tile=8)

    @tf.function(autograph=False)
    def step(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(images, training=True))
        return tape.gradient(loss, [weight.value for weight in model.trainable_weights])

    graph = step.get_concrete_function(tf.TensorSpec((1, 26, 20, 4))).graph
    operations = graph.get_operations()
    ends = [tensor.op for tensor in graph.outputs] + graph.control_outputs
    run = {before for end in ends for before in ancestors(end)}
    loops = [op for op in operations if "While" in op.type and op in run]
    assert len(loops) == 2 * 4  # forward and backward, four views
    for earlier, later in itertools.pairwise(loops):
        assert earlier in ancestors(later)


STEP_IN_A_FRESH_PROCESS = """
import sys, tensorflow as tf
from mlp_med.models.residual import build_model
from mlp_med.training.memory import peak_memory_bytes
from mlp_med.training.threads import configure_threads
configure_threads(1)
model = build_model(
    spatial_dims=2, num_channels=1, widths=(16, 16, 16), norm="none", stream_tile=int(sys.argv[1])
)
@tf.function(autograph=False)
def step(images):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images, training=True))
    return tape.gradient(loss, [weight.value for weight in model.trainable_weights])
step(tf.zeros((1, 64, 64, 1)))
before = peak_memory_bytes()
step(tf.zeros((1, 1024, 1024, 1)))
print(peak_memory_bytes() - before)
"""


@pytest.mark.slow
def test_peak_memory_falls_with_the_tile():
    peaks = []
    for tile in (0, 512, 192):
        command = [sys.executable, "-c", STEP_IN_A_FRESH_PROCESS, str(tile)]
        finished = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(finished.stdout.split()[-1]))
    whole, large, small = peaks
    assert large < 0.8 * whole
    assert small < 0.5 * whole


def test_a_convolution_inside_its_input_has_the_gradients_of_keras():
    """Where the library's own filter gradient is avoided, and where it is not."""
    for depth, dtype, tolerance in ((6, tf.float32, 1e-5), (4, tf.bfloat16, 2e-2)):
        generator = np.random.default_rng(0)
        inputs = tf.constant(generator.normal(size=(2, depth, 5, 6, 3)), tf.float32)
        kernel = tf.constant(generator.normal(size=(3, 3, 2, 3, 4)), tf.float32)
        results = []
        for convolve in (
            lambda x, k: tf.nn.conv3d(x, k, [1] * 5, "VALID"),
            lambda x, k, d=dtype: Convolution3D.convolve_inside(tf.cast(x, d), tf.cast(k, d)),
        ):
            with tf.GradientTape() as tape:
                tape.watch([inputs, kernel])
                loss = tf.reduce_sum(tf.square(tf.cast(convolve(inputs, kernel), tf.float32)))
            results.append(tape.gradient(loss, [inputs, kernel]))
        for expected, ours in zip(*results, strict=True):
            assert float(tf.norm(ours - expected) / tf.norm(expected)) < tolerance


def test_stages_need_not_begin_at_the_image():
    """Then what comes before them has a gradient too."""
    inputs = keras.Input((24, 16, 1))
    first = keras.layers.Conv2D(4, 3, padding="same", name="first")(inputs)
    between = keras.Input(first.shape[1:])
    x = NoNormalization()(SpaceToDepth(block=2)(between))
    stages = keras.Model(between, keras.layers.Conv2D(3, 3, padding="same")(x))
    mean = keras.layers.GlobalAveragePooling2D()
    whole = randomized(keras.Model(inputs, mean(stages(first))))
    tiled = keras.Model(inputs, mean(StreamedStages(stages, tile_size=6)(first)))
    assert_the_same(tiled, whole, images_of((24, 16), channels=1))
