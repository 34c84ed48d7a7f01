"""Sharpness of minima whose sharpness is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_med.training.sharpness import (
    EPSILONS,
    NUM_DIRECTIONS,
    adaptive_sharpness,
    keskar_sharpness,
    measure_sharpness,
    random_directions,
)


def quadratic(curvatures, minimum, floor):
    def objective(place):
        away = place - minimum
        return floor + 0.5 * float(curvatures @ away**2), curvatures * away

    return objective


@given(seed=st.integers(0, 100), floor=st.floats(0, 3), epsilon=st.sampled_from(EPSILONS))
@settings(max_examples=15, deadline=None)
def test_phi_of_a_quadratic_is_its_value_in_a_corner_of_the_box(seed, floor, epsilon):
    rng = np.random.default_rng(seed)
    curvatures, minimum = rng.lognormal(0, 1.5, 300), rng.normal(size=300)
    half_widths = epsilon * (np.abs(minimum) + 1)
    expected = 100 * 0.5 * float(curvatures @ half_widths**2) / (1 + floor)
    found = keskar_sharpness(quadratic(curvatures, minimum, floor), minimum, epsilon, seed=seed)
    assert found == pytest.approx(expected, rel=1e-6)


def test_phi_in_a_subspace_of_orthogonal_directions():
    rng = np.random.default_rng(0)
    minimum = rng.normal(size=400)
    directions = 3 * np.linalg.qr(rng.normal(size=(400, 20)))[0]
    coordinates = directions.T @ minimum / 9  # A⁺x, as AᵀA is 9
    half_widths = 1e-3 * (np.abs(coordinates) + 1)
    expected = 100 * 0.5 * 9 * float(half_widths @ half_widths) / (1 + 0.25)
    objective = quadratic(np.ones(400), minimum, 0.25)
    found = keskar_sharpness(objective, minimum, 1e-3, directions=directions, seed=0)
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_subspace_has_100_directions_and_no_more_than_there_are_weights():
    assert random_directions(500, seed=0).shape == (500, NUM_DIRECTIONS)
    assert random_directions(30, seed=0).shape == (30, 30)
    np.testing.assert_array_equal(random_directions(30, seed=4), random_directions(30, seed=4))
    assert random_directions(500, seed=0).std() == pytest.approx(1, abs=0.02)


def relu_network(images, labels):
    """Two layers without biases; flat weights of 3×4 and 4."""

    def objective(weights):
        first, second = weights[:12].reshape(3, 4), weights[12:]
        hidden = np.maximum(images @ first, 0)
        error = hidden @ second - labels
        back = np.outer(error, second) * (hidden > 0)
        gradient = np.concatenate([(images.T @ back).ravel(), hidden.T @ error])
        return 0.5 * float(error @ error) / len(labels), gradient / len(labels)

    return objective


def test_rescaled_layers_that_compute_the_same_change_phi_and_not_the_adaptive_one():
    """Dinh et al.: of one function, minima as sharp as one likes."""
    rng = np.random.default_rng(1)
    images, labels = rng.normal(size=(50, 3)), rng.normal(size=50)
    objective, weights = relu_network(images, labels), rng.normal(size=16)
    rescaled = np.concatenate([8 * weights[:12], weights[12:] / 8])
    assert objective(rescaled)[0] == pytest.approx(objective(weights)[0])
    phi = [keskar_sharpness(objective, w, 1e-3, seed=0) for w in (weights, rescaled)]
    assert phi[1] > 1.5 * phi[0]
    adaptive = [adaptive_sharpness(objective, w, 1e-2, seed=0) for w in (weights, rescaled)]
    assert adaptive[1] == pytest.approx(adaptive[0], rel=1e-9)
    assert adaptive[0] > 0


def test_where_the_loss_is_flat_nothing_is_sharp():
    flat = measure_sharpness(lambda place: (0.3, np.zeros(5)), np.ones(5), seed=0)
    assert {*flat.full.values(), *flat.subspace.values(), flat.adaptive} == {0.0}
    assert flat.loss == 0.3


def test_a_measurement_holds_every_published_setting_and_passes_the_data_a_hundred_times():
    calls = []
    objective = quadratic(np.ones(200), np.zeros(200), 0.0)

    def counted(place):
        calls.append(place)
        return objective(place)

    found = measure_sharpness(counted, np.zeros(200), seed=0)
    assert set(found.full) == set(found.subspace) == {1e-3, 5e-4}
    assert found.full[1e-3] == pytest.approx(4 * found.full[5e-4], rel=0.01)
    assert found.adaptive == 0.0  # no weight that could be moved in proportion
    assert len(calls) < 150
