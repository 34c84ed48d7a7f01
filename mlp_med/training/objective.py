"""The mean loss over a whole set of examples as a function of the network's flat weights."""

from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

Batches = Iterable[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]


class SetObjective:
    """Sigmoid cross-entropy over a set, and its gradient, at any weights.

    Normalisations use the statistics that they recorded while training ("inference mode"), so that
    examples do not depend on each other and the objective is a function of the weights alone.
    Calling it leaves the model with the weights it was called with.

    Args:
        model: from images to logits [batch, 1], of float32: small differences of the loss matter.
        batches: of (image, label, weight), the same at every pass; examples of weight 0 do not
            count.
    """

    def __init__(self, model: keras.Model, batches: Batches):
        self._variables = [variable.value for variable in model.trainable_variables]
        self._batches = batches
        self._sum_of_batch = _compiled(model, self._variables)

    @property
    def weights(self) -> np.ndarray:
        """The model's trainable weights, float64 [num_weights]."""
        return np.concatenate([v.numpy().ravel() for v in self._variables]).astype(np.float64)

    def __call__(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean loss and its gradient, float64 [num_weights]."""
        self._assign(weights)
        loss, number, gradient = 0.0, 0.0, np.zeros(len(weights))
        for images, labels, counts in self._batches:
            batch_loss, batch_gradient = self._sum_of_batch(images, labels, counts)
            loss += float(batch_loss)
            gradient += batch_gradient.numpy()
            number += float(tf.reduce_sum(counts))
        return loss / number, gradient / number

    def batch_gradients(self) -> Iterator[np.ndarray]:
        """The mean gradient of each batch at the model's weights, [num_weights]."""
        for images, labels, counts in self._batches:
            gradient = self._sum_of_batch(images, labels, counts)[1].numpy()
            yield gradient / float(tf.reduce_sum(counts))

    def _assign(self, weights: np.ndarray) -> None:
        ends = np.cumsum([int(tf.size(variable)) for variable in self._variables])
        for variable, part in zip(self._variables, np.split(weights, ends[:-1]), strict=True):
            variable.assign(part.reshape(variable.shape).astype(np.float32))


def _compiled(
    model: keras.Model, variables: list[tf.Variable]
) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """Summed loss and flat gradient of one batch."""

    @tf.function(autograph=False, reduce_retracing=True)
    def sum_of_batch(
        images: tf.Tensor, labels: tf.Tensor, counts: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = tf.reshape(model(images, training=False), (-1,))
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, tf.cast(logits, tf.float32))
            loss = tf.reduce_sum(losses * counts)
        parts = tape.gradient(loss, variables)
        return loss, tf.concat([tf.reshape(part, (-1,)) for part in parts], 0)

    return sum_of_batch
