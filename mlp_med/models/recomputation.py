"""Less memory for a little time: activations that the backward pass computes again.

After a convolution, normalisation and ReLU need their input for their gradient and the next
convolution needs their output for its own: two tensors of the same size. The second follows from
the first in one pass over memory, so that only the first need be kept (as the in-place activated
batch normalisation of Rota Bulò et al. 2018 does by inverting the activation, which a ReLU does
not allow; here the normalisation is done again).
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf


class RecomputedConvolutions(keras.layers.Layer):
    """Normalisation, ReLU, pooling, then convolutions side by side; keeps nothing but its input.

    The same weights, outputs and gradients as the layers one after the other.

    Args:
        norm: a layer of `mlp_med.models.normalization`.
        convolutions: each reads the normalised and pooled input.
        pool: between norm and convolutions, or None.
    """

    def __init__(
        self,
        norm: keras.layers.Layer,
        convolutions: Sequence[keras.layers.Layer],
        *,
        pool: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.norm = norm
        self.convolutions = list(convolutions)
        self.pool = pool

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Builds the parts."""
        self.norm.build(input_shape)
        pooled = self._pooled_shape(input_shape)
        for convolution in self.convolutions:
            convolution.build(pooled)

    def call(self, inputs: tf.Tensor, training: bool = False) -> list[tf.Tensor]:
        """One output a convolution."""

        def branch(values: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
            activated, moments = self.norm.normalize(values, training=training)
            if self.pool is not None:
                activated = tf.nn.relu(self.pool(activated))
            return [convolve(activated) for convolve in self.convolutions], moments

        outputs, moments = _recomputing(branch)(inputs) if training else branch(inputs)
        self.norm.record(moments)
        return outputs

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """One shape a convolution."""
        pooled = self._pooled_shape(input_shape)
        return [convolution.compute_output_shape(pooled) for convolution in self.convolutions]

    def _pooled_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return input_shape if self.pool is None else self.pool.compute_output_shape(input_shape)


Branch = Callable[[tf.Tensor], tuple[list[tf.Tensor], list[tf.Tensor]]]


def _recomputing(branch: Branch) -> Branch:
    """`branch` with a gradient that runs it again; its second outputs are not differentiated.

    `tf.recompute_grad` would add a zero to the input to make the second run wait for the gradient,
    which costs a pass over memory and a copy; a control dependency does the same for nothing.
    """

    @tf.custom_gradient
    def run(inputs: tf.Tensor) -> tuple[Any, Any]:
        def gradients(
            *upstream: tf.Tensor, variables: Sequence[tf.Variable] = ()
        ) -> tuple[tf.Tensor, list[tf.Tensor]]:
            with tf.GradientTape() as tape, tf.control_dependencies(upstream):
                values = tf.identity(inputs)
                tape.watch(values)
                again, _ = branch(values)
            by_input, *by_variables = tape.gradient(
                again, [values, *variables], output_gradients=list(upstream[: len(again)])
            )
            # An optimiser may change a variable once its gradient is here: not before its second
            # reading, which the gradient of the input alone may have to wait for.
            with tf.control_dependencies([by_input]):
                delivered = [tf.identity(gradient) for gradient in by_variables]
            # Else filter gradients are put off, and what was computed for them lies in memory.
            with tf.control_dependencies(by_variables):
                return tf.identity(by_input), delivered

        return branch(inputs), gradients

    return run
