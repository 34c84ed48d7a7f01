"""The gradient noise scale of problems whose answer is known."""

import numpy as np
import pytest

from mlp_med.training.noise_scale import GradientNoise, critical_batch, estimate_noise

TRUE_GRADIENT = np.array([0.3, -0.4, 0.0])  # |G|² = 0.25
SDS = np.array([1.0, 2.0, 0.5])  # tr Σ = 5.25
TRUE_SCALE = 21.0


def batches(rng, number, batch_size):
    examples = TRUE_GRADIENT + SDS * rng.normal(size=(number, batch_size, 3))
    return examples.mean(axis=1)


@pytest.mark.parametrize("batch_size", [1, 8, 64])
def test_both_parts_are_unbiased_whatever_the_batch(batch_size):
    rng = np.random.default_rng(0)
    found = [estimate_noise(batches(rng, 20, batch_size), batch_size) for _ in range(2000)]
    for part, truth in (("signal", 0.25), ("noise", 5.25)):
        values = np.array([getattr(each, part) for each in found])
        error = values.std() / len(values) ** 0.5
        assert abs(values.mean() - truth) < 4 * error
    assert critical_batch(found) == pytest.approx(TRUE_SCALE, rel=0.1)


def test_of_single_examples_the_noise_is_the_trace_of_their_sample_covariance():
    gradients = batches(np.random.default_rng(1), 50, 1)
    found = estimate_noise(iter(gradients), 1)
    assert found.noise == pytest.approx(np.trace(np.cov(gradients.T)))
    mean = gradients.mean(axis=0)
    assert found.signal == pytest.approx(mean @ mean - found.noise / 50)


def test_the_parts_are_averaged_before_they_are_divided():
    assert critical_batch([GradientNoise(1.0, 10.0), GradientNoise(3.0, 10.0)]) == 5.0
    assert critical_batch([GradientNoise(-1.0, 10.0)]) is None
    assert critical_batch([]) is None


@pytest.mark.parametrize(("number", "batch_size"), [(0, 4), (1, 4), (3, 0)])
def test_too_little_to_tell_noise_from_signal_is_refused(number, batch_size):
    with pytest.raises(ValueError, match="at least two batches"):
        estimate_noise(np.ones((number, 3)), batch_size)
