import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp_med.imaging.antialias import resampling_weights

scales = st.floats(1, 12)
phases = st.floats(-3, 3)


@given(scales, phases, st.floats(0.1, 9))
def test_a_ramp_stays_a_ramp(scale: float, phase: float, step: float):
    positions = 60 + phase + step * np.arange(8)
    first, weights = resampling_weights(positions, scale, 200)
    samples = first + np.arange(weights.shape[1])
    np.testing.assert_allclose(weights @ (3 * samples + 7), 3 * positions + 7, atol=1e-9)


@given(scales, st.integers(4, 40))
def test_a_ramp_stays_a_ramp_up_to_the_edge_where_nothing_lies_beyond(scale: float, size: int):
    positions = np.linspace(0, size - 1, 7)
    first, weights = resampling_weights(positions, scale, size, edge="none")
    samples = first + np.arange(weights.shape[1])
    np.testing.assert_allclose(weights @ samples, positions, atol=1e-8)


def amplitude(cycles_per_output: float, ratio: float) -> float:
    """Amplitude of a unit wave after `ratio`-fold reduction, whatever its phase."""
    positions = 100 + ratio * np.arange(40) + 0.3
    first, weights = resampling_weights(positions, ratio, 1000)
    samples = first + np.arange(weights.shape[1])
    wave = np.exp(2j * np.pi * cycles_per_output / ratio * samples)
    return float(np.abs(weights @ wave).max())


@pytest.mark.parametrize("ratio", [2.0, 3.57, 8.0])
def test_waves_above_the_coarse_nyquist_limit_vanish_and_those_below_stay(ratio: float):
    above = [amplitude(cycles, ratio) for cycles in np.linspace(0.7, ratio / 2, 30)]
    assert max(above) < 0.02
    below = [amplitude(cycles, ratio) for cycles in np.linspace(0.0, 0.3, 10)]
    assert min(below) > 0.97
    assert max(below) < 1.02


def test_at_its_own_sampling_nothing_changes():
    first, weights = resampling_weights(np.arange(5.0), 1.0, 5)
    assert first == 0
    np.testing.assert_allclose(weights, np.eye(5), atol=1e-12)


def test_outside_the_samples_there_are_no_columns():
    _, weights = resampling_weights(np.array([-50.0, -40.0]), 2.0, 20)
    assert weights.shape == (2, 0)


@pytest.mark.parametrize(("scale", "edge"), [(0.5, "none"), (1.0, "mirror")])
def test_a_senseless_request_is_refused(scale: float, edge: str):
    with pytest.raises(ValueError, match="expected"):
        resampling_weights(np.arange(3.0), scale, 9, edge=edge)
