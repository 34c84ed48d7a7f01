import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_med.pipelines.upsample import upsample, upsampling_matrix


@settings(deadline=None)
@given(size=st.integers(1, 12), factor=st.integers(1, 8))
def test_constants_and_the_mean_are_kept(size, factor):
    matrix = upsampling_matrix(size, size * factor)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(matrix.sum(axis=0), factor, rtol=1e-5)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_ramp_stays_linear_between_the_outermost_centres(factor):
    size = 8
    z, y, x = np.meshgrid(*[(np.arange(size) + 0.5) * factor] * 3, indexing="ij")
    ramp = (0.3 * z - 0.2 * y + 0.1 * x)[None, ..., None].astype(np.float32)
    fine = upsample(tf.constant(ramp), (size * factor,) * 3).numpy()[0, ..., 0]
    z, y, x = np.meshgrid(*[np.arange(size * factor) + 0.5] * 3, indexing="ij")
    margin = factor // 2
    inside = (slice(margin, -margin),) * 3
    expected = 0.3 * z - 0.2 * y + 0.1 * x
    np.testing.assert_allclose(fine[inside], expected[inside], atol=1e-4)


def test_the_mean_of_a_volume_is_kept():
    crops = np.random.default_rng(0).random((2, 4, 4, 4, 1), dtype=np.float32)
    fine = upsample(tf.constant(crops), (16,) * 3).numpy()
    assert fine.shape == (2, 16, 16, 16, 1)
    np.testing.assert_allclose(fine.mean(axis=(1, 2, 3)), crops.mean(axis=(1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_images_agree_with_bilinear_resizing(factor):
    crops = np.random.default_rng(0).random((3, 13, 10, 3), dtype=np.float32)
    grid = (13 * factor, 10 * factor)
    expected = tf.image.resize(crops, grid, method="bilinear")
    np.testing.assert_allclose(upsample(tf.constant(crops), grid), expected, atol=1e-6)


def test_the_native_grid_changes_nothing():
    crops = tf.random.stateless_uniform([2, 4, 4, 1], seed=[0, 1])
    assert upsample(crops, (4, 4)) is crops


@pytest.mark.parametrize("target", [4, 12, 0])
def test_a_target_that_is_no_multiple_is_refused(target):
    with pytest.raises(ValueError, match=f"multiple of 8 voxels to upsample to, got {target}"):
        upsampling_matrix(8, target)
