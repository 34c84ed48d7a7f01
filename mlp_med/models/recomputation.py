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
    """Normalisation and ReLU, then convolutions side by side; keeps nothing but its input.

    The same weights, outputs and gradients as the layers one after the other.

    Args:
        norm: a layer of `mlp_med.models.normalization`, or one with its pooling.
        convolutions: each reads the normalised input.
    """

    def __init__(
        self, norm: keras.layers.Layer, convolutions: Sequence[keras.layers.Layer], **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.norm = norm
        self.convolutions = list(convolutions)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Builds the parts."""
        self.norm.build(input_shape)
        activated = self.norm.compute_output_shape(input_shape)
        for convolution in self.convolutions:
            convolution.build(activated)

    def call(self, inputs: tf.Tensor, training: bool = False) -> list[tf.Tensor]:
        """One output a convolution."""

        def activate(values: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
            return self.norm.normalize(values, training=training)

        def convolve(activated: tf.Tensor) -> list[tf.Tensor]:
            return [convolution(activated) for convolution in self.convolutions]

        if training:
            outputs, moments = _recomputing(activate, convolve)(inputs)
        else:
            activated, moments = activate(inputs)
            outputs = convolve(activated)
        self.norm.record(moments)
        return outputs

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """One shape a convolution."""
        activated = self.norm.compute_output_shape(input_shape)
        return [convolution.compute_output_shape(activated) for convolution in self.convolutions]


Activate = Callable[[tf.Tensor], tuple[tf.Tensor, list[tf.Tensor]]]
Convolve = Callable[[tf.Tensor], list[tf.Tensor]]
Outputs = tuple[list[tf.Tensor], list[tf.Tensor]]


def _recomputing(activate: Activate, convolve: Convolve) -> Callable[[tf.Tensor], Outputs]:
    """One after the other, with a gradient that runs both again; that of the moments is not taken.

    `tf.recompute_grad` would add a zero to the input to make the second run wait for the gradient,
    which costs a pass over memory and a copy; a control dependency does the same for nothing.
    """

    @tf.custom_gradient
    def run(inputs: tf.Tensor) -> tuple[Any, Any]:
        def gradients(
            *upstream: tf.Tensor, variables: Sequence[tf.Variable] = ()
        ) -> tuple[tf.Tensor, list[tf.Tensor]]:
            with tf.GradientTape() as first, tf.control_dependencies(upstream):
                values = tf.identity(inputs)
                first.watch(values)
                activated, _ = activate(values)
            with tf.GradientTape() as second:
                second.watch(activated)
                again = convolve(activated)
            by_activated, *by_filters = second.gradient(
                again, [activated, *variables], output_gradients=list(upstream[: len(again)])
            )
            # Else filter gradients are put off, and what they are computed from lies in memory.
            with tf.control_dependencies([each for each in by_filters if each is not None]):
                by_activated = tf.identity(by_activated)
            by_input, *by_others = first.gradient(
                activated, [values, *variables], output_gradients=by_activated
            )
            # An optimiser may change a variable once its gradient is here: not before its second
            # reading, which the gradient of the input alone may have to wait for.
            with tf.control_dependencies([by_input]):
                delivered = [
                    tf.identity(other if by_filter is None else by_filter)
                    for by_filter, other in zip(by_filters, by_others, strict=True)
                ]
            return by_input, delivered

        activated, moments = activate(inputs)
        return (convolve(activated), moments), gradients

    return run
