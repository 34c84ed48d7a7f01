"""The full training objective against what NumPy says of logistic regression."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlp_med.models.residual import build_model
from mlp_med.training.noise_scale import estimate_noise
from mlp_med.training.objective import SetObjective

NUM, WIDTH = 10, 3


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    return rng.normal(size=(NUM, WIDTH)).astype(np.float32), np.arange(NUM, dtype=np.float32) % 2


def objective_of(images, labels, batch_size):
    """Logistic regression; the last batch is filled up with examples of weight 0."""
    model = keras.Sequential([keras.Input((WIDTH,)), keras.layers.Dense(1, use_bias=False)])
    rows = np.zeros(-(-NUM // batch_size) * batch_size, int)
    rows[:NUM] = np.arange(NUM)
    counts = (np.arange(len(rows)) < NUM).astype(np.float32)
    columns = images[rows], labels[rows], counts
    return SetObjective(model, tf.data.Dataset.from_tensor_slices(columns).batch(batch_size))


@pytest.mark.parametrize("batch_size", [1, 4, 10])
def test_loss_and_gradient_are_means_over_the_set_however_it_is_batched(problem, batch_size):
    images, labels = problem
    weights = np.array([0.5, -1.0, 2.0])
    logits = images @ weights
    loss, gradient = objective_of(images, labels, batch_size)(weights)
    assert loss == pytest.approx(np.mean(np.logaddexp(0, logits) - labels * logits), rel=1e-5)
    expected = images.T @ (1 / (1 + np.exp(-logits)) - labels) / NUM
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_it_keeps_the_weights_it_was_called_with(problem):
    objective = objective_of(*problem, 4)
    before = objective.weights
    objective(before + 1)
    np.testing.assert_allclose(objective.weights, before + 1, rtol=1e-6)


def test_noise_of_its_examples_gradients_is_that_of_logistic_regression(problem):
    images, labels = problem
    objective = objective_of(images, labels, 1)
    objective(np.zeros(WIDTH))
    found = estimate_noise(objective.batch_gradients(), 1)
    each = (0.5 - labels)[:, None] * images
    assert found.noise == pytest.approx(np.trace(np.cov(each.T)), rel=1e-5)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_of_a_network_it_is_a_function_of_the_weights_alone(norm):
    """Its gradient is right, and no batch changes the statistics that it is measured with."""
    rng = np.random.default_rng(2)
    model = build_model(spatial_dims=3, num_channels=1, widths=(4, 8), norm=norm, seed=1)
    images = rng.random((6, 8, 8, 8, 1), np.float32)
    labels = np.array([0, 1, 0, 1, 1, 0], np.float32)
    data = tf.data.Dataset.from_tensor_slices((images, labels, np.ones(6, np.float32)))
    objective, whole = (SetObjective(model, data.batch(size)) for size in (2, 6))
    place = objective.weights + 0.01 * rng.normal(size=len(objective.weights))
    loss, gradient = objective(place)
    assert whole(place)[0] == pytest.approx(loss, rel=1e-5)
    direction = gradient / np.linalg.norm(gradient)
    rise = objective(place + 1e-3 * direction)[0] - objective(place - 1e-3 * direction)[0]
    assert rise / 2e-3 == pytest.approx(np.linalg.norm(gradient), rel=0.05)
    assert objective(place)[0] == loss
