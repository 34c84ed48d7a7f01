import keras
import numpy as np
import pytest
import tensorflow as tf

from mlp_med.errors import TrainingError
from mlp_med.models.residual import build_model
from mlp_med.training.predict import make_scorer
from mlp_med.training.tiles import (
    BAG_RULE,
    POOLING_RULES,
    best_rule,
    cut_tile,
    tile_gradients,
    tile_logits,
)

SHAPES = {2: (3, 12, 16, 1), 3: (3, 8, 12, 8, 1)}
SPLIT = 2


def network(spatial_dims):
    model = build_model(spatial_dims=spatial_dims, num_channels=1, widths=(3, 4), norm="group")
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(generator.normal(0, 0.5, weight.shape))
    return model


def images_of(spatial_dims):
    return tf.random.stateless_normal(SHAPES[spatial_dims], seed=(1, 2))


def tiles_of(images):
    """All tiles of a batch by NumPy's slices, in the order of their numbers."""
    grid = images.shape[1:-1]
    places = np.ndindex(*[SPLIT] * len(grid))
    edges = [size // SPLIT for size in grid]
    cuts = [
        tuple(slice(p * e, (p + 1) * e) for p, e in zip(place, edges, strict=True))
        for place in places
    ]
    return [images[(slice(None), *cut)] for cut in cuts]


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_tiles_are_the_image_cut_up(spatial_dims):
    images = images_of(spatial_dims)
    for number, expected in enumerate(tiles_of(images)):
        np.testing.assert_array_equal(cut_tile(images, tf.constant(number), SPLIT), expected)


@pytest.mark.parametrize("tile_labels", ["image", "bag", "lesion"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_gradients_are_those_of_all_tiles_at_once(spatial_dims, tile_labels):
    model, images = network(spatial_dims), images_of(spatial_dims)
    labels, weights = tf.constant([0.0, 1.0, 1.0]), tf.constant([0.5, 0.25, 0.0])
    variables = [weight.value for weight in model.trainable_weights]
    with tf.GradientTape() as tape:
        logits = tf.concat([model(tile, training=True) for tile in tiles_of(images)], axis=1)
        if tile_labels == "bag":
            pooled = tf.math.log(tf.reduce_mean(tf.exp(logits), axis=1))
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, pooled)
        else:
            if tile_labels == "image":
                of_tiles = tf.repeat(labels[:, tf.newaxis], logits.shape[1], axis=1)
            else:  # of their own, all kinds of them
                number = SPLIT**spatial_dims
                of_tiles = tf.cast(
                    tf.reshape(tf.range(3 * number), (3, number)) % 3 == 0, "float32"
                )
                labels = of_tiles
            losses = tf.nn.sigmoid_cross_entropy_with_logits(of_tiles, logits)
            losses = tf.reduce_mean(losses, axis=1)
        loss = tf.reduce_sum(losses * weights)
    expected = tape.gradient(loss, variables)
    step = tf.function(
        lambda: tile_gradients(
            model, variables, images, labels, weights, split=SPLIT, tile_labels=tile_labels
        ),
        autograph=False,
    )
    our_loss, ours = step()
    np.testing.assert_allclose(our_loss, loss, rtol=1e-5)
    for our, gradient in zip(ours, expected, strict=True):
        assert float(tf.norm(gradient)) > 0
        assert float(tf.norm(our - gradient) / tf.norm(gradient)) < 1e-4
    np.testing.assert_allclose(
        tile_logits(model, images, SPLIT, training=False), logits, rtol=1e-4, atol=1e-5
    )


def test_a_scorer_gives_the_logits_of_tiles():
    model, images = network(2), images_of(2)
    batches = [(images, tf.zeros(3), tf.constant([1.0, 1.0, 0.0]))]
    logits = make_scorer(model, split=SPLIT)(batches)
    assert logits.shape == (2, 4)
    np.testing.assert_allclose(
        logits[:, 3], np.ravel(model(tiles_of(images)[3]))[:2], rtol=1e-4, atol=1e-5
    )


def test_the_rule_that_tells_the_images_apart_is_chosen():
    calm = np.array([[0.0, 0.0, 0.0], [0.2, 0.2, 0.2]])
    wild = np.array([[-9.0, -9.0, 3.0], [-9.0, -9.0, 4.0]])
    logits, lesion = np.concatenate([calm, wild]), np.array([0, 0, 1, 1])
    assert best_rule(logits, lesion) == BAG_RULE  # the smooth maximum comes before the maximum
    assert best_rule(logits, 1 - lesion) == "mean"
    assert best_rule(logits, np.zeros(4, int)) == "mean"  # no AUC at all: the first
    for rule in POOLING_RULES.values():
        np.testing.assert_allclose(rule(np.full((2, 8), 1.5)), 1.5)


def test_a_grid_that_tiles_do_not_divide_is_refused():
    with pytest.raises(TrainingError, match=r"3 tiles an axis divide, got \[12, 16\]"):
        cut_tile(images_of(2), tf.constant(0), 3)


def test_a_step_holds_one_tile_at_a_time():
    """No operation of the network sees more than a tile."""
    inputs = keras.Input((None, None, 1))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(pooled))
    seen = []
    convolution = model.layers[1]
    call = convolution.call
    convolution.call = lambda values: seen.append(values.shape) or call(values)
    variables = [weight.value for weight in model.trainable_weights]
    tile_gradients(
        model,
        variables,
        images_of(2),
        tf.ones(3),
        tf.ones(3),
        split=SPLIT,
        tile_labels="bag",
    )
    assert len(seen) == 2 * SPLIT**2
    assert set(seen) == {tf.TensorShape((3, 6, 8, 1))}
