"""A network for an exam of four mammograms: L-CC, R-CC, L-MLO, R-MLO as channels."""

import keras
import numpy as np
import pytest

from mlp_med.models.presets import FOUR_VIEWS, preset_arguments
from mlp_med.models.residual import build_model

L_CC, R_CC, L_MLO, R_MLO = range(4)


def four_views(**changes) -> keras.Model:
    arguments = {**preset_arguments("residual_small_four_views"), "spatial_dims": 2}
    return build_model(**{**arguments, "num_channels": 4, **changes})


@pytest.mark.parametrize("preset", sorted(FOUR_VIEWS))
def test_exams_of_any_grid_become_one_logit(preset):
    model = build_model(spatial_dims=2, num_channels=4, **preset_arguments(preset))
    for size in (32, 80):
        logits = model(np.zeros((3, size, size, 4), np.float32))
        assert logits.shape == (3, 1)
        assert logits.dtype == "float32"


@pytest.mark.parametrize("preset", sorted(FOUR_VIEWS))
def test_exams_as_the_dataset_renders_them_at_its_coarsest(preset):
    """325 rows are no whole number of the stem's blocks; what is beyond the field is dark."""
    model = build_model(spatial_dims=2, num_channels=4, **preset_arguments(preset))
    exams = np.random.default_rng(0).random((1, 325, 250, 4), np.float32)
    stride = preset_arguments(preset)["stem_stride"]
    missing = [(0, -size % stride) for size in (325, 250)]
    filled = np.pad(exams, [(0, 0), *missing, (0, 0)])
    np.testing.assert_allclose(model(exams), model(filled), rtol=1e-5, atol=1e-6)


def test_both_breasts_share_a_column_and_the_two_kinds_of_view_do_not():
    rng = np.random.default_rng(0)
    exams = rng.normal(size=(2, 32, 32, 4)).astype(np.float32)
    model = four_views(seed=3)
    features = keras.Model(model.input, model.get_layer("four_views").output)
    whole = np.array(features(exams)).reshape(2, 4, -1)
    exchanged = np.array(features(exams[..., [R_CC, L_CC, R_MLO, L_MLO]])).reshape(2, 4, -1)
    np.testing.assert_allclose(exchanged[:, [1, 0, 3, 2]], whole, rtol=1e-5, atol=1e-6)
    kinds = np.array(features(exams[..., [L_MLO, R_MLO, L_CC, R_CC]])).reshape(2, 4, -1)
    assert not np.allclose(kinds[:, [2, 3, 0, 1]], whole, atol=1e-3)


def test_two_columns_have_twice_the_weights_of_one_network():
    one = build_model(spatial_dims=2, num_channels=1, **preset_arguments("residual_small"))
    dense = 32 + 1
    assert four_views().count_params() - (4 * 32 + 1) == 2 * (one.count_params() - dense)


def test_every_view_counts_and_is_trained():
    model = four_views()
    exams = np.random.default_rng(1).normal(size=(8, 32, 32, 4)).astype(np.float32)
    labels = np.tile([0.0, 1.0], 4)[:, None]
    before = [weight.copy() for weight in model.get_weights()]
    model.compile(keras.optimizers.Adam(1e-2), keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit(exams, labels, batch_size=8, epochs=3, verbose=0)
    moved = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert np.mean(moved) > 0.9
    logit = model(exams)
    for view in range(4):
        other = exams.copy()
        other[..., view] = 0
        assert not np.allclose(model(other), logit, atol=1e-4)


def test_the_same_seed_gives_the_same_weights_and_columns_start_apart():
    one, again = four_views(seed=5), four_views(seed=5)
    for a, b in zip(one.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    cc, mlo = (one.get_layer(f"{kind}_column").get_weights() for kind in ("cc", "mlo"))
    assert any(not np.array_equal(a, b) for a, b in zip(cc, mlo, strict=True))


@pytest.mark.parametrize(("num_views", "num_channels"), [(2, 4), (4, 3), (4, 1)])
def test_views_that_do_not_share_the_channels_are_refused(num_views, num_channels):
    with pytest.raises(ValueError, match="that share the channels"):
        four_views(num_views=num_views, num_channels=num_channels)
