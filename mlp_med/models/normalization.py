"""Normalisation layers that end in a ReLU and are fast on tensors of any rank.

Each can do without the ReLU, for where it is cheaper after a max-pooling, with which it commutes.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from mlp_med.models.batch_moments import normalize_by, normalize_by_batch
from mlp_med.models.group_moments import normalize_by_group


class FusedBatchNormalization(keras.layers.Layer):
    """Batch normalisation (Ioffe & Szegedy 2015), then ReLU; statistics span all replicas.

    Input and output: [batch, …, channels] in the compute dtype, two or three axes between.
    Statistics, scale and offset are float32 under any dtype policy, and all are frozen where the
    layer is not trainable, as in Keras' own. While training on one replica
    the moments come from the fused kernel. On several they are those of the global batch, so that
    the number of replicas changes nothing but rounding.

    Args:
        momentum: of the running statistics that are used outside training; low enough that a run of
            a few hundred steps can be evaluated on its way.
        epsilon: added to the variance.
        relu: whether negative values become 0.
    """

    def __init__(
        self, *, momentum: float = 0.97, epsilon: float = 1e-3, relu: bool = True, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon
        self.relu = relu

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Creates scale, offset and the running statistics, one of each a channel."""
        shape = (input_shape[-1],)
        common: dict[str, Any] = {"shape": shape, "dtype": "float32", "autocast": False}
        self.scale = self.add_weight(name="scale", initializer="ones", **common)
        self.offset = self.add_weight(name="offset", initializer="zeros", **common)
        # Every replica computes the same statistics, so the first one's are everyone's.
        running: dict[str, Any] = {
            **common,
            "trainable": False,
            "aggregation": "only_first_replica",
        }
        self.running_mean = self.add_weight(name="running_mean", initializer="zeros", **running)
        self.running_variance = self.add_weight(
            name="running_variance", initializer="ones", **running
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalises `inputs`; with `training` by the batch's moments, which it also records."""
        normalized, moments = self.normalize(inputs, training=training)
        self.record(moments)
        return normalized

    def normalize(self, inputs: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The normalised input, and the moments that are to be recorded; changes no weight."""
        scale, offset = (tf.convert_to_tensor(v.value) for v in (self.scale, self.offset))
        if not (training and self.trainable):
            mean, variance = self.running_mean.value, self.running_variance.value
            normalized = normalize_by(inputs, scale, offset, mean, variance, self.epsilon)
            return (tf.nn.relu(normalized) if self.relu else normalized), []
        if _num_replicas() == 1:
            normalized, *moments = normalize_by_batch(
                inputs, scale, offset, epsilon=self.epsilon, relu=self.relu
            )
            return normalized, moments
        normalized, *moments = _synchronized(inputs, scale, offset, self.epsilon)
        return (tf.nn.relu(normalized) if self.relu else normalized), moments

    def record(self, moments: Sequence[tf.Tensor]) -> None:
        """Moves the running statistics towards a batch's mean and variance, if there are any."""
        running_statistics = (self.running_mean, self.running_variance)
        for running, now in zip(running_statistics, moments, strict=False):
            kept = tf.convert_to_tensor(running.value)
            running.assign(kept + (tf.stop_gradient(now) - kept) * (1.0 - self.momentum))

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"momentum": self.momentum, "epsilon": self.epsilon, "relu": self.relu}
        return {**super().get_config(), **own}


class GroupNormalization(keras.layers.Layer):
    """Group normalisation (Wu & He 2018), then ReLU: moments of one example's group of channels.

    Input and output: [batch, …, channels] in the compute dtype; statistics in float32. Training
    and inference are the same, and no example sees another.

    Args:
        num_groups: channels are dealt out to so many groups; lowered to the largest divisor of
            their number that is not above it.
        epsilon: added to the variance.
        relu: whether negative values become 0.
    """

    def __init__(
        self, *, num_groups: int = 8, epsilon: float = 1e-3, relu: bool = True, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.num_groups = num_groups
        self.epsilon = epsilon
        self.relu = relu

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Creates scale and offset, one of each a channel."""
        num_channels = input_shape[-1]
        common: dict[str, Any] = {"shape": (num_channels,), "dtype": "float32", "autocast": False}
        self.scale = self.add_weight(name="scale", initializer="ones", **common)
        self.offset = self.add_weight(name="offset", initializer="zeros", **common)
        groups = min(self.num_groups, num_channels)
        while num_channels % groups:
            groups -= 1
        self._groups = groups

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Normalises every example of `inputs` by itself."""
        normalized, _ = self.normalize(inputs)
        return normalized

    def normalize(
        self, inputs: tf.Tensor, *, training: bool = False
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The normalised input after ReLU; there is nothing to record."""
        del training
        normalized = normalize_by_group(
            inputs,
            tf.convert_to_tensor(self.scale.value),
            tf.convert_to_tensor(self.offset.value),
            num_groups=self._groups,
            epsilon=self.epsilon,
            relu=self.relu,
        )
        return normalized, []

    def record(self, moments: Sequence[tf.Tensor]) -> None:
        """Does nothing."""

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"num_groups": self.num_groups, "epsilon": self.epsilon, "relu": self.relu}
        return {**super().get_config(), **own}


class NoNormalization(keras.layers.Layer):
    """What stands in the place of a normalisation when there is none: ReLU alone.

    Args:
        relu: whether negative values become 0.
    """

    scale = None

    def __init__(self, *, relu: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.relu = relu

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The positive part."""
        activated, _ = self.normalize(inputs)
        return activated

    def normalize(
        self, inputs: tf.Tensor, *, training: bool = False
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The positive part; there is nothing to record."""
        del training
        return (tf.nn.relu(inputs) if self.relu else inputs), []

    def record(self, moments: Sequence[tf.Tensor]) -> None:
        """Does nothing."""

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "relu": self.relu}


def _num_replicas() -> int:
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context is not None else 1


def _synchronized(
    inputs: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """As `normalize_by_batch`, with the moments of the batches of all replicas together."""
    values = tf.cast(inputs, tf.float32)
    mean, variance, count = _moments_over_replicas(values)
    factor = scale * tf.math.rsqrt(variance + epsilon)
    normalized = values * factor + (offset - mean * factor)
    # The fused kernel reports the unbiased variance.
    unbiased = variance * (count / tf.maximum(count - 1.0, 1.0))
    return tf.cast(normalized, inputs.dtype), mean, unbiased


def _moments_over_replicas(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Mean and variance a channel, and how many values a channel they are of.

    Each replica's moments are taken about its own mean, so that little is lost to cancellation,
    and travel together in one all-reduce, which TensorFlow can differentiate.
    """
    axes = list(range(values.shape.rank - 1))
    count = tf.cast(tf.size(values) // values.shape[-1], tf.float32)
    mean = tf.reduce_mean(values, axes)
    variance = tf.reduce_mean(tf.math.squared_difference(values, mean), axes)
    sums = tf.stack([tf.ones_like(mean), mean, variance + tf.square(mean)]) * count
    context = tf.distribute.get_replica_context()
    count, total, total_square = tf.unstack(context.all_reduce(tf.distribute.ReduceOp.SUM, sums))
    mean = total / count
    return mean, total_square / count - tf.square(mean), count[0]
