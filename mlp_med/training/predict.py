"""Logits and probabilities of every example of a split."""

from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

from mlp_med.training.tiles import tile_logits

Batches = Iterable[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]
Scorer = Callable[[Batches], np.ndarray]


def make_scorer(model: keras.Model, *, split: int = 1) -> Scorer:
    """A function from batches to logits that is traced once and sees the model's later weights.

    The function takes an iterable of (image float32 [batch, *grid, channels], label, weight
    [batch]) and returns logits float32, in order, without the examples of weight 0: [num_examples]
    of a model with one logit, else [num_examples, num_classes]. A last batch that is smaller than
    the first is padded for the model, so that one static shape is all it ever sees. With `split`
    tiles along each axis the logits are those of every image's tiles, [num_examples, tiles]; the
    model then has one logit.
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def score(images: tf.Tensor) -> tf.Tensor:
        if split > 1:
            return tile_logits(model, images, split, training=False)
        logits = model(images, training=False)
        logits = tf.reshape(logits, (-1,)) if logits.shape[-1] == 1 else logits
        return tf.cast(logits, tf.float32)

    def score_all(batches: Batches) -> np.ndarray:
        parts: list[np.ndarray] = []
        batch_size = 0
        for images, _, weights in batches:
            num_images = int(images.shape[0])
            batch_size = batch_size or num_images
            logits = score(_padded(images, batch_size)).numpy()[:num_images]
            parts.append(logits[np.asarray(weights) > 0])
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    return score_all


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Probability of label 1, or of each class, float32 like `logits`, without overflow.

    Args:
        logits: [num_examples], or [num_examples, num_classes].
    """
    of = tf.constant(logits, tf.float32)
    return (tf.math.sigmoid(of) if logits.ndim == 1 else tf.nn.softmax(of)).numpy()


def _padded(images: tf.Tensor, batch_size: int) -> tf.Tensor:
    missing = batch_size - int(images.shape[0])
    if missing <= 0:
        return images
    return tf.pad(images, [[0, missing]] + [[0, 0]] * (images.shape.rank - 1))
