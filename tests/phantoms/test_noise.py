from itertools import pairwise

import numpy as np
import pytest

from mlp_med.phantoms.noise import NEIGHBOUR_SHARE, PEAK_FREQUENCY, SliceNoise, noise_block


@pytest.mark.parametrize("kernel", PEAK_FREQUENCY)
def test_power_peaks_where_the_kernel_says(kernel):
    block = noise_block(kernel)
    assert block.std() == pytest.approx(1, abs=1e-3)
    assert abs(block.mean()) < 0.02
    power = (np.abs(np.fft.fft2(block)) ** 2).mean(axis=0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(512), np.fft.fftfreq(512)))
    rings = [power[np.abs(frequency - f) < 0.01].mean() for f in np.arange(0.02, 0.5, 0.02)]
    assert np.arange(0.02, 0.5, 0.02)[np.argmax(rings)] == pytest.approx(
        PEAK_FREQUENCY[kernel], abs=0.03
    )
    assert rings[0] < 0.1 * max(rings)  # band-limited: little at low frequencies


def test_neighbouring_slices_share_some_noise_and_others_none():
    noise = SliceNoise(np.random.default_rng(5), "smooth", 512)
    slices = [noise.next_slice().ravel() for _ in range(12)]
    next_to = [np.corrcoef(a, b)[0, 1] for a, b in pairwise(slices)]
    apart = [np.corrcoef(a, b)[0, 1] for a, b in zip(slices, slices[2:], strict=False)]
    expected = NEIGHBOUR_SHARE / (1 + NEIGHBOUR_SHARE**2)
    np.testing.assert_allclose(next_to, expected, atol=0.03)
    np.testing.assert_allclose(apart, 0, atol=0.03)
    np.testing.assert_allclose([s.std() for s in slices], 1, atol=0.03)


def test_a_slice_is_no_larger_than_the_block():
    with pytest.raises(ValueError, match="512"):
        SliceNoise(np.random.default_rng(0), "smooth", 600)
