import numpy as np
import tensorflow as tf

from mlp_med.models.residual import build_model
from mlp_med.training.predict import make_scorer, probabilities


def model_and_images(num_images):
    model = build_model(spatial_dims=2, num_channels=1, widths=(4,), stem_stride=1)
    images = tf.random.stateless_normal((num_images, 6, 6, 1), seed=(1, 2))
    return model, images


def batches(images, weights, batch_size):
    return tf.data.Dataset.from_tensor_slices((images, weights, weights)).batch(batch_size)


def test_every_example_is_scored_once_in_order_whatever_the_batch():
    model, images = model_and_images(11)
    expected = model(images).numpy()[:, 0]
    for batch_size in (4, 11, 20):
        logits = make_scorer(model)(batches(images, np.ones(11, np.float32), batch_size))
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-6)


def test_examples_of_weight_zero_are_left_out():
    model, images = model_and_images(8)
    weights = np.array([1, 1, 0, 1, 1, 1, 0, 0], np.float32)
    logits = make_scorer(model)(batches(images, weights, 3))
    expected = model(images).numpy()[weights > 0, 0]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-6)


def test_a_scorer_sees_weights_that_are_set_later():
    model, images = model_and_images(4)
    score = make_scorer(model)
    data = batches(images, np.ones(4, np.float32), 4)
    before = score(data)
    model.get_layer("logit").bias.assign([3.0])
    np.testing.assert_allclose(score(data), before + 3.0, rtol=1e-5)


def test_no_batches_are_no_logits():
    model, _ = model_and_images(4)
    assert make_scorer(model)([]).shape == (0,)


def test_probabilities_do_not_overflow():
    values = probabilities(np.array([-1000.0, 0.0, 1000.0], np.float32))
    np.testing.assert_array_equal(values, np.array([0.0, 0.5, 1.0], np.float32))
    assert values.dtype == np.float32


def test_of_three_classes_each_example_has_a_score_a_class():
    model = build_model(spatial_dims=2, num_channels=1, num_classes=3, widths=(4,), stem_stride=1)
    images = tf.random.stateless_normal((11, 6, 6, 1), seed=(1, 2))
    weights = np.array([1] * 9 + [0, 1], np.float32)
    logits = make_scorer(model)(batches(images, weights, 4))
    np.testing.assert_allclose(logits, model(images).numpy()[weights > 0], rtol=1e-4, atol=1e-6)
    scores = probabilities(logits)
    assert scores.shape == (10, 3)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    assert (scores.argmax(axis=1) == logits.argmax(axis=1)).all()
