import keras
import numpy as np
import pytest
import tensorflow as tf

from mlp_med.errors import StudyError
from mlp_med.models.pooling import AverageOverCentre
from mlp_med.models.presets import PRESETS, preset_arguments
from mlp_med.models.residual import build_model

TINY = {"spatial_dims": 3, "num_channels": 1, "widths": (4, 6), "stem_stride": 2}


@pytest.fixture(autouse=True)
def _keep_policy():
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize(("spatial_dims", "num_channels"), [(2, 1), (2, 3), (3, 1)])
def test_presets_have_at_most_a_million_parameters(preset, spatial_dims, num_channels):
    model = build_model(
        spatial_dims=spatial_dims, num_channels=num_channels, **preset_arguments(preset)
    )
    assert 10_000 < model.count_params() <= 1_000_000


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize(
    ("spatial_dims", "grids"),
    [
        (3, [(8, 8, 8), (16, 16, 16), (32, 32, 32), (12, 8, 10)]),
        (2, [(12, 12), (24, 24), (96, 96)]),
    ],
)
def test_the_same_weights_take_any_grid(preset, spatial_dims, grids):
    model = build_model(spatial_dims=spatial_dims, num_channels=1, **preset_arguments(preset))
    for grid in grids:
        logits = model(tf.random.stateless_normal((2, *grid, 1), seed=(1, 2)), training=True)
        assert logits.shape == (2, 1)
        assert np.isfinite(logits).all()


def test_a_seed_decides_every_weight_and_no_global_generator_does():
    keras.utils.set_random_seed(1)
    first = build_model(**TINY, seed=5).get_weights()
    keras.utils.set_random_seed(2)
    again = build_model(**TINY, seed=5).get_weights()
    other = build_model(**TINY, seed=6).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    kernels = [(a, b) for a, b in zip(first, other, strict=True) if a.ndim > 1]
    assert all(not np.array_equal(a, b) for a, b in kernels)


def test_layers_of_the_same_shape_begin_with_different_weights():
    model = build_model(**TINY | {"widths": (4, 4)}, blocks_per_stage=2)
    kernels = [w for w in model.get_weights() if w.shape == (3, 3, 3, 4, 4)]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels) > 4


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_every_weight_of_every_norm_gets_a_gradient(norm):
    model = build_model(**TINY, norm=norm)
    inputs = tf.random.stateless_normal((4, 8, 8, 8, 1), seed=(1, 2))
    for variable in model.trainable_variables:  # a block that begins as nothing passes none back
        if not np.any(variable.numpy()):
            variable.assign(np.full(variable.shape, 0.1))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(inputs, training=True) - 1.0))
    variables = [variable.value for variable in model.trainable_variables]
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(loss, variables), strict=True
    ):
        assert gradient is not None, variable.path
        assert np.any(gradient != 0), variable.path


def receptive_field(model, grid):
    """Voxels along the first axis that the centre of the last grid before pooling depends on."""
    last = next(layer for layer in reversed(model.layers) if layer.name == "final_norm")
    features = keras.Model(model.inputs, last.output)
    inputs = tf.random.stateless_uniform((1, *grid, 1), seed=(1, 2)) + 1.0
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = features(inputs, training=False)
        centre = tuple(size // 2 for size in outputs.shape[1:-1])
        loss = tf.reduce_sum(outputs[(0, *centre)])
    reached = np.any(tape.gradient(loss, inputs).numpy()[0, ..., 0] != 0, axis=1)
    return int(np.ptp(np.flatnonzero(reached))) + 1


def test_an_extra_stage_doubles_the_receptive_field_in_voxels():
    arguments = {"spatial_dims": 2, "num_channels": 1, "widths": (4, 6)}
    fields = [
        receptive_field(build_model(**arguments, num_extra_stages=extra, seed=3), (256, 256))
        for extra in (0, 1, 2)
    ]
    assert fields[1] / fields[0] == pytest.approx(2.0, abs=0.4)
    assert fields[2] / fields[1] == pytest.approx(2.0, abs=0.4)


@pytest.mark.parametrize(("stem_kernel", "num_seen"), [(1, 1), (3, 27)])
def test_a_block_is_seen_by_as_many_outputs_of_the_stem_as_its_kernel_has_taps(
    stem_kernel, num_seen
):
    model = build_model(**TINY | {"stem_stride": 4}, stem_kernel=stem_kernel, seed=1)
    stem = keras.Model(model.inputs, model.get_layer("stem").output)
    inputs = np.random.default_rng(0).normal(size=(1, 12, 12, 12, 1)).astype(np.float32)
    brighter = inputs.copy()
    brighter[0, 5, 6, 7] += 1
    changed = np.any(stem(brighter).numpy() != stem(inputs).numpy(), axis=-1)
    assert changed.sum() == num_seen


def test_under_mixed_precision_weights_and_logits_stay_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = build_model(**TINY)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    logits = model(tf.zeros((2, 8, 8, 8, 1)))
    assert logits.dtype == tf.float32
    assert model.get_layer("stem").compute_dtype == "bfloat16"


def test_mixed_precision_is_close_to_float32():
    inputs = tf.random.stateless_normal((4, 16, 16, 16, 1), seed=(1, 2))
    exact = build_model(**TINY, seed=1)(inputs, training=True)
    keras.config.set_dtype_policy("mixed_bfloat16")
    mixed = build_model(**TINY, seed=1)(inputs, training=True)
    np.testing.assert_allclose(mixed, exact, atol=0.1)
    assert not np.array_equal(mixed, exact)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"spatial_dims": 4}, "spatial_dims 2 or 3, got 4"),
        ({"widths": ()}, "one positive width"),
        ({"blocks_per_stage": 0}, "at least one block"),
        ({"num_extra_stages": -1}, "extra stages"),
        ({"stem_stride": 0}, "blocks of at least one voxel"),
        ({"stem_kernel": 0}, "convolution of at least one block"),
        ({"norm": "layer"}, "'batch', 'group' or 'none', got 'layer'"),
    ],
)
def test_wrong_arguments_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        build_model(**(TINY | wrong))


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(StudyError, match="residual_small"):
        preset_arguments("resnet50")


def test_the_centre_is_what_a_centred_network_sees_far_from_the_border():
    """A change in a corner moves the mean over all of the grid, not that over its centre."""
    keras.config.set_dtype_policy("float32")
    image = np.random.default_rng(0).normal(size=(1, 64, 64, 1)).astype(np.float32)
    changed = image.copy()
    changed[:, :4, :4] += 1
    shifts = {}
    for pooling in ("all", "centre"):
        model = build_model(
            spatial_dims=2, num_channels=1, widths=(4,), pooling=pooling, norm="none", seed=1
        )
        shifts[pooling] = float(np.abs(model(image) - model(changed)).max())
    assert shifts["centre"] == 0 < shifts["all"]


@pytest.mark.parametrize(("size", "kept"), [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (8, 4)])
def test_the_central_half_lies_about_the_centre(size, kept):
    grid = np.zeros((1, size, size, 1), np.float32)
    first = (size - kept) // 2
    grid[:, first : first + kept, first : first + kept] = 1
    assert float(AverageOverCentre()(grid)[0, 0]) == pytest.approx(1)
    assert float(AverageOverCentre()(1 - grid)[0, 0]) == pytest.approx(0)


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match="'middle'"):
        build_model(**TINY, pooling="middle")
