"""Training on an image as tiles, one after the other: the memory of one tile a micro-batch.

Unlike `mlp_med.models.streaming` this changes what is learned: a tile is an image of its own, is
padded at its own borders and sees nothing of its neighbours. It has the label of the whole image
("image"), or its own, whether it holds part of a drawn lesion ("lesion"), or none, and the image is
a bag whose logit is pooled from its tiles' ("bag").
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import keras
import numpy as np
import tensorflow as tf
from scipy.special import logsumexp

from mlp_med.errors import TrainingError
from mlp_med.training.evaluation import evaluate_logits

TileLabels = Literal["image", "bag", "lesion"]
# From tiles' logits [num_images, tiles] to the image's, by name. A bag is trained with the second,
# the smooth maximum of Pinheiro & Collobert 2015 (arXiv 1411.6228, r = 1).
BAG_RULE = "log-mean-exp"
POOLING_RULES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda logits: logits.mean(axis=1),
    BAG_RULE: lambda logits: logsumexp(logits, axis=1) - np.log(logits.shape[1]),
    "max": lambda logits: logits.max(axis=1),
}


def best_rule(logits: np.ndarray, labels: np.ndarray) -> str:
    """The pooling rule of the highest AUC on these images, the first of equals.

    Args:
        logits: of their tiles, [num_images, tiles].
        labels: 0 or 1 [num_images].
    """
    aucs = {name: evaluate_logits(rule(logits), labels).auc for name, rule in POOLING_RULES.items()}
    return max(aucs, key=lambda name: np.nan_to_num(aucs[name], nan=-1.0))


def cut_tile(images: tf.Tensor, tile: tf.Tensor, split: int) -> tf.Tensor:
    """One tile of every image.

    Args:
        images: [batch, *grid, channels], of a known grid.
        tile: which, int32; the last axis' neighbours follow each other.
        split: tiles along each axis.

    Raises:
        TrainingError: the grid is not a multiple of `split`.
    """
    grid = list(images.shape[1:-1])
    if any(size % split for size in grid):
        raise TrainingError(
            "bad_split", f"expected a grid that {split} tiles an axis divide, got {grid}"
        )
    edges = [size // split for size in grid]
    place = tf.unravel_index(tile, [split] * len(grid)) * edges
    cut = tf.slice(images, tf.concat([[0], place, [0]], 0), [-1, *edges, -1])
    cut.set_shape((images.shape[0], *edges, images.shape[-1]))
    return cut


def tile_logits(model: keras.Model, images: tf.Tensor, split: int, *, training: bool) -> tf.Tensor:
    """The logits of all tiles [batch, tiles] float32; nothing is kept for a backward pass."""
    count = split ** (images.shape.rank - 2)

    def add(tile: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        logits = model(cut_tile(images, tile, split), training=training)
        return tile + 1, found.write(tile, tf.cast(tf.reshape(logits, (-1,)), tf.float32))

    shape = (images.shape[0],)
    _, found = tf.while_loop(
        lambda tile, _: tile < count,
        add,
        (tf.constant(0), tf.TensorArray(tf.float32, count, element_shape=shape)),
        parallel_iterations=1,
    )
    return tf.transpose(found.stack())


def tile_gradients(
    model: keras.Model,
    variables: Sequence[tf.Variable],
    images: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    *,
    split: int,
    tile_labels: TileLabels,
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """The weighted sum of the images' losses, and its gradients, one tile in memory at a time.

    An image's loss is the mean of its tiles', each with the image's label or its own, or that of
    the bag.

    Args:
        model: from tiles to logits [batch, 1].
        variables: to differentiate by.
        images: [batch, *grid, channels].
        labels: 0 or 1, float32 [batch]; of every tile, [batch, tiles], with labels of lesions.
        weights: of the images, float32 [batch].
        split: tiles along each axis.
        tile_labels: see the module.
    """
    count = split ** (images.shape.rank - 2)
    seeds, bag_loss = None, tf.constant(0.0)
    if tile_labels == "bag":
        bag_loss, seeds = _bag(tile_logits(model, images, split, training=True), labels, weights)

    def add(tile: tf.Tensor, total: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            logits = model(cut_tile(images, tile, split), training=True)
            logits = tf.cast(tf.reshape(logits, (-1,)), tf.float32)
            of_tile = labels[:, tile] if tile_labels == "lesion" else labels
            losses = tf.nn.sigmoid_cross_entropy_with_logits(of_tile, logits)
            loss = tf.reduce_sum(losses * weights) / count
        target, upstream = (loss, None) if seeds is None else (logits, seeds[:, tile])
        partial = tape.gradient(target, variables, output_gradients=upstream)
        added = [so_far + part for so_far, part in zip(sums, partial, strict=True)]
        return tile + 1, total + loss, *added

    zeros = [tf.zeros(variable.shape, variable.dtype) for variable in variables]
    _, mean_loss, *sums = tf.while_loop(
        lambda tile, *_: tile < count,
        add,
        (tf.constant(0), tf.constant(0.0), *zeros),
        parallel_iterations=1,
    )
    return (mean_loss if seeds is None else bag_loss), sums


def _bag(logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The bags' loss, and its gradient by their tiles' logits [batch, tiles]."""
    with tf.GradientTape() as tape:
        tape.watch(logits)
        number = tf.cast(tf.shape(logits)[1], tf.float32)
        pooled = tf.reduce_logsumexp(logits, axis=1) - tf.math.log(number)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, pooled)
        loss = tf.reduce_sum(losses * weights)
    return loss, tape.gradient(loss, logits)
