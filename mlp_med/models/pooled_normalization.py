"""Normalisation, max-pooling and ReLU as one layer, which keeps no normalised tensor.

The gradient of a maximum asks where the largest value of each window lies. A normalisation is a
rising line in each channel, or a falling one where its scale is negative, so that its input answers
that too. Its own gradient needs the input anyhow: what it makes, the largest tensor that a halving
stage has, can be given back at once.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from mlp_med.models.normalization import NoNormalization
from mlp_med.models.pooling import max_pool


class PooledNormalization(keras.layers.Layer):
    """The normalisation of [batch, *grid, channels], its maxima, and of these the positive part.

    The outputs of the layers one after the other, and their gradients. Only where rounding makes
    two values of a window equal may another of them take the gradient: the one whose input is
    larger.

    Args:
        norm: a layer of `mlp_med.models.normalization`, without ReLU, with which maxima commute.
        pool: a layer of `mlp_med.models.pooling`.
    """

    def __init__(self, norm: keras.layers.Layer, pool: keras.layers.Layer, **kwargs: Any):
        super().__init__(**kwargs)
        self.norm = norm
        self.pool = pool

    @property
    def parts(self) -> tuple[keras.layers.Layer, ...]:
        """Layers that one after the other give the same: normalisation, pooling, ReLU."""
        return self.norm, self.pool, NoNormalization(name=f"{self.pool.name}_relu")

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Builds the normalisation."""
        self.norm.build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Pools `inputs`; with `training` the normalisation records their moments."""
        activated, moments = self.normalize(inputs, training=training)
        self.record(moments)
        return activated

    def normalize(self, inputs: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The normalised and pooled input, and what is to be recorded; changes no weight."""
        normalized, moments = self.norm.normalize(inputs, training=training)
        # Read here: by the backward pass an optimiser may have changed it.
        scale = None if self.norm.scale is None else tf.convert_to_tensor(self.norm.scale.value)
        maxima = max_pool(
            normalized,
            self.pool.pool_size,
            self.pool.strides,
            self.pool.padding.upper(),
            places=lambda: _rising(inputs, scale),
        )
        return tf.nn.relu(maxima), moments

    def record(self, moments: Sequence[tf.Tensor]) -> None:
        """As the normalisation does."""
        self.norm.record(moments)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """The pooled grid."""
        return self.pool.compute_output_shape(input_shape)


def _rising(inputs: tf.Tensor, scale: tf.Tensor | None) -> tf.Tensor:
    """The inputs, those of channels whose normalisation falls with them turned over."""
    if scale is None:
        return inputs

    def turned() -> tf.Tensor:
        return inputs * tf.cast(tf.where(scale < 0, -1.0, 1.0), inputs.dtype)

    # Hardly ever is a scale negative; where none is, nothing is to be copied.
    return tf.cond(tf.reduce_all(scale >= 0), lambda: inputs, turned)
