"""Several optimiser steps as one graph: forward, backward, sum over replicas, update."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from mlp_med.training.adam import Adam
from mlp_med.training.schedule import WarmupCosine
from mlp_med.training.tiles import TileLabels, tile_gradients

Batch = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


@dataclass(frozen=True)
class TrainingSteps:
    """The compiled steps; called with a number of them, they return their mean loss.

    Attributes:
        run: takes the next so many optimiser steps.
        optimizer_variables: all that the optimiser knows between two steps.
    """

    run: Callable[[int], float]
    optimizer_variables: Sequence[tf.Variable]

    def __call__(self, count: int) -> float:
        """Takes the next `count` optimiser steps and returns their mean loss."""
        return self.run(count)


def compile_training_steps(
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    iterator: tf.distribute.DistributedIterator | tf.data.Iterator,
    *,
    num_steps: int,
    global_batch_size: int,
    learning_rate: float,
    weight_decay: float,
    warmup_fraction: float,
    accumulation_steps: int,
    moment_window_batch: int = 0,
    split: int = 1,
    tile_labels: TileLabels = "image",
) -> TrainingSteps:
    """A function that takes the next so many optimiser steps and returns their mean loss.

    The steps run in a loop inside the graph: between them Python does nothing and nothing is
    copied off the device.
    """
    variables = [variable.value for variable in model.trainable_variables]
    with strategy.scope():
        schedule = WarmupCosine(learning_rate, num_steps, warmup_fraction)
        window_scale = global_batch_size / (moment_window_batch or global_batch_size)
        optimizer = Adam(variables, schedule, weight_decay, window_scale)

    def gradients(batch: Batch) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """This replica's part of the global mean loss, and its gradients."""
        images, labels, weights = batch
        if split > 1:
            shares = weights / global_batch_size
            return tile_gradients(
                model, variables, images, labels, shares, split=split, tile_labels=tile_labels
            )
        with tf.GradientTape() as tape:
            losses = cross_entropy(labels, model(images, training=True))
            loss = tf.reduce_sum(losses * weights) / global_batch_size
        return loss, tape.gradient(loss, variables)

    def sum_over_replicas(values: tf.Tensor) -> tf.Tensor:
        return strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)

    def step_at_once() -> tf.Tensor:
        def replica_step(batch: Batch) -> tf.Tensor:
            loss, partial = gradients(batch)
            optimizer.apply(partial)  # sums the partial gradients over the replicas
            return loss

        return sum_over_replicas(strategy.run(replica_step, args=(iterator.get_next(),)))

    if accumulation_steps == 1:
        step = step_at_once
    else:
        step = _accumulating_step(
            strategy, iterator, variables, gradients, optimizer, accumulation_steps
        )

    @tf.function(autograph=False)
    def run_steps(count: tf.Tensor) -> tf.Tensor:
        _, total = tf.while_loop(
            lambda done, total: done < count,
            lambda done, total: (done + 1, total + step()),
            (tf.constant(0), tf.constant(0.0)),
            parallel_iterations=1,
        )
        return total / tf.cast(count, tf.float32)

    traced = run_steps.get_concrete_function(tf.TensorSpec((), tf.int32))
    return TrainingSteps(lambda count: float(traced(tf.constant(count))), optimizer.state)


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Of each example, float32 [batch].

    Args:
        labels: float32 [batch], from 0.
        logits: [batch, 1], the log odds of label 1, or [batch, num_classes] of a softmax.
    """
    if logits.shape[-1] == 1:
        of_label_1 = tf.cast(tf.reshape(logits, (-1,)), tf.float32)
        return tf.nn.sigmoid_cross_entropy_with_logits(labels, of_label_1)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.cast(labels, tf.int32), tf.cast(logits, tf.float32)
    )


def _accumulating_step(
    strategy: tf.distribute.Strategy,
    iterator: tf.distribute.DistributedIterator | tf.data.Iterator,
    variables: list[tf.Variable],
    gradients: Callable[[Batch], tuple[tf.Tensor, list[tf.Tensor]]],
    optimizer: Adam,
    accumulation_steps: int,
) -> Callable[[], tf.Tensor]:
    """An optimiser step whose gradients are summed over micro-batches, one after the other."""
    with strategy.scope():
        # ON_READ: every replica sums its own part, and they meet only when the step is taken.
        sums = [
            tf.Variable(
                tf.zeros(variable.shape, variable.dtype),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )
            for variable in variables
        ]

    def add(batch: Batch) -> tf.Tensor:
        loss, partial = gradients(batch)
        for total, gradient in zip(sums, partial, strict=True):
            total.assign_add(gradient)
        return loss

    def apply() -> None:
        optimizer.apply([tf.identity(total) for total in sums])
        for total in sums:
            total.assign(tf.zeros_like(total))

    def micro_step() -> tf.Tensor:
        losses = strategy.run(add, args=(iterator.get_next(),))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    def step() -> tf.Tensor:
        _, total = tf.while_loop(
            lambda done, total: done < accumulation_steps,
            lambda done, total: (done + 1, total + micro_step()),
            (tf.constant(0), tf.constant(0.0)),
            parallel_iterations=1,
        )
        with tf.control_dependencies([total]):
            strategy.run(apply)
        return total

    return step
