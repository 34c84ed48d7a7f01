"""The first stages of a network tile by tile: less memory, the whole image's gradient.

Most of what a training step keeps are activations of the first stages, at the finest grids. Here
these stages run on one tile of their output after the other, each with the halo of input that it
needs, and keep nothing; the backward pass runs each tile again and adds up its gradients. The loss
depends on the tiles through the assembled output alone, so that this sum is the gradient of the
whole image, to rounding (Pinckaers, van Ginneken & Litjens 2020, Streaming convolutional neural
networks for end-to-end learning with multi-megapixel images, IEEE TPAMI, doi
10.1109/TPAMI.2020.3019563; there the convolutions' gradients are cut to the tile, here the halos
are computed again). Layers are padded at the borders of the image and nowhere else.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from mlp_med.errors import StreamingError
from mlp_med.models.convolution import SpaceToDepth
from mlp_med.models.stage_parts import IMAGE, Part, parts_of
from mlp_med.models.tiling import ReadRows, TilePlan, plan_tiles

Weights = Sequence[tf.Tensor]
Rows = list[tf.Tensor]  # of a tile in its plan's table, each [axis of the tensor]
IN_OUTPUT, IN_IMAGE = slice(0, 2), slice(2, 4)
LOOPS = "mlp_med_loops_over_tiles"


def stream(model: keras.Model, *, after: str, tile_size: int) -> keras.Model:
    """The same network, whose layers up to `after` run tile by tile.

    Args:
        model: functional, of one input.
        after: name of the last layer of the streamed stages; the others depend on its output alone.
        tile_size: see `StreamedStages`.

    Returns:
        A model with the same weights, shared with `model` and in the same order.

    Raises:
        StreamingError: there is no such layer, others bypass it, or see `StreamedStages`.
    """
    known = [layer.name for layer in model.layers]
    if after not in known:
        raise StreamingError(f"expected a layer out of {known}, got {after!r}")
    last = model.get_layer(after).output
    stages = StreamedStages(keras.Model(model.inputs, last), tile_size=tile_size, name="streamed")
    try:
        others = keras.Model(last, model.outputs[0], name="others")
    except ValueError as error:
        raise StreamingError(
            f"expected all that follows {after} to depend on its output alone; choose a layer that "
            "no connection bypasses, such as the sum that ends a residual block"
        ) from error
    inputs = keras.Input(model.inputs[0].shape[1:], name=model.inputs[0].name)
    return keras.Model(inputs, others(stages(inputs)), name=model.name)


class StreamedStages(keras.layers.Layer):
    """Stages that run tile by tile, forward and backward, and keep nothing but their input.

    Input [batch, *grid, channels], of a grid that is known when the graph is traced; output and
    gradients are those of the stages on the whole of it, to rounding.

    Args:
        stages: functional, of one input and one output; convolutions, max-pooling, sums and
            activations. Batch normalisation only where its statistics are frozen (the layer is not
            trainable) or outside training.
        tile_size: edge of a tile in positions of the input; any number (see `plan_tiles`).

    Raises:
        StreamingError: a layer needs more than a window of its input.
    """

    def __init__(self, stages: keras.Model, *, tile_size: int, **kwargs: Any):
        super().__init__(**kwargs)
        if tile_size < 1:
            raise StreamingError(f"expected tiles of at least one voxel, got {tile_size}")
        self.stages = stages
        self.tile_size = tile_size
        self._parts = parts_of(stages)
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The stages' output for [batch, *grid, channels].

        Raises:
            StreamingError: the grid is not known, is too small for the stages, or a batch would
                have to be normalised by its own statistics.
        """
        if training:
            self._require_no_batch_statistics()
        if not inputs.shape[1:-1].is_fully_defined():
            raise StreamingError(
                f"expected a grid that is known when traced, got {inputs.shape[1:-1]}"
            )
        inputs = self._filled(inputs)
        size = inputs.shape[1:-1]
        plan = plan_tiles(self._parts, list(size), self.tile_size)
        weights = [tf.convert_to_tensor(weight.value) for weight in self._weights()]
        return _streamed(self._parts, plan, self.stages.output.shape[-1], inputs, weights)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """That of the stages."""
        return self.stages.compute_output_shape(input_shape)

    def _weights(self) -> list[keras.Variable]:
        return [weight for part in self._parts for weight in part.layer.weights]

    def _filled(self, inputs: tf.Tensor) -> tf.Tensor:
        """The images with what a stem that folds blocks would add to each; tiles are of these."""
        first = self._parts[0].layer
        return first.filled(inputs) if isinstance(first, SpaceToDepth) else inputs

    def _require_no_batch_statistics(self) -> None:
        named = [part.layer.name for part in self._parts if part.has_batch_statistics]
        if named:
            raise StreamingError(
                f"{named[0]} normalises by the statistics of a whole batch, which no tile has: "
                "build the network with norm 'none', or freeze the statistics (trainable = False)"
            )


@dataclass(frozen=True)
class _Tiles:
    """The stages on the tiles of one batch of images.

    Attributes:
        parts: of the stages.
        plan: of the tiles.
        images: [batch, *grid, channels].
        weights: of all parts, in their order.
    """

    parts: Sequence[Part]
    plan: TilePlan
    images: tf.Tensor
    weights: Sequence[tf.Tensor]

    def run(self, rows: Rows, crop: tf.Tensor) -> tf.Tensor:
        """The stages' output at one tile, from the crop of the images that it needs."""
        waiting = list(self.weights)
        values = {IMAGE: crop}
        for index, part in enumerate(self.parts):
            inputs = []
            for number, source in enumerate(part.sources):
                given = tf.cast(values[source], part.layer.compute_dtype)
                reads = self.plan.reads[index, number]
                inputs.append(_read(given, rows, reads, part.padding))
            own = [waiting.pop(0) for _ in part.layer.weights]
            values[part.output] = part.run(inputs, own)
        return values[self.parts[-1].output]

    def one_by_one(
        self, body: Callable[..., list[tf.Tensor]], start: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Runs `body` on each tile's rows and on what the last tile has left."""
        table = self.plan.table

        def at(tile: tf.Tensor, *so_far: tf.Tensor) -> tuple[tf.Tensor, ...]:
            rows = tf.unstack(tf.gather(table, tile), num=table.shape[1])
            return tile + 1, *body(rows, *so_far)

        _, *results = tf.while_loop(
            lambda tile, *_: tile < len(table), at, (tf.constant(0), *start), parallel_iterations=1
        )
        return results


def _streamed(
    parts: Sequence[Part], plan: TilePlan, num_channels: int, images: tf.Tensor, weights: Weights
) -> tf.Tensor:
    """The assembled output, with a gradient that runs the tiles again."""

    @tf.custom_gradient
    def run(images: tf.Tensor, *weights: tf.Tensor) -> tuple[tf.Tensor, Any]:
        tiles = _Tiles(parts, plan, images, weights)
        shape = (tf.shape(images)[0], *plan.output_size, num_channels)
        whole = tf.zeros(shape, parts[-1].layer.compute_dtype)

        def compute(rows: Rows, whole: tf.Tensor) -> list[tf.Tensor]:
            return [_paste(whole, tiles.run(rows, _cut(images, *rows[IN_IMAGE])), rows[IN_OUTPUT])]

        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            by_weights = _gradients_of_weights(tiles, upstream)
            # A loop of its own, which a graph drops where nobody asks for it: images are data.
            return _gradient_of_images(tiles, upstream), *by_weights

        with _after_the_last_loop():
            (whole,) = tiles.one_by_one(compute, [whole])
        whole.set_shape((images.shape[0], *shape[1:]))
        _remember_loop(whole)
        return whole, gradients

    return run(images, *weights)


def _gradients_of_weights(tiles: _Tiles, upstream: tf.Tensor) -> list[tf.Tensor]:
    def add(rows: Rows, *sums: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(tiles.weights)
            output = tiles.run(rows, _cut(tiles.images, *rows[IN_IMAGE]))
        partial = tape.gradient(
            output,
            tiles.weights,
            output_gradients=_cut(upstream, *rows[IN_OUTPUT]),
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return [total + part for total, part in zip(sums, partial, strict=True)]

    if not tiles.weights:
        return []
    with _after_the_last_loop():
        sums = tiles.one_by_one(add, [tf.zeros_like(weight) for weight in tiles.weights])
    _remember_loop(sums[0])
    return sums


def _gradient_of_images(tiles: _Tiles, upstream: tf.Tensor) -> tf.Tensor:
    def add(rows: Rows, total: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            crop = _cut(tiles.images, *rows[IN_IMAGE])
            tape.watch(crop)
            output = tiles.run(rows, crop)
        by_output = _cut(upstream, *rows[IN_OUTPUT])
        partial = tape.gradient(output, crop, output_gradients=by_output)
        return [_paste(total, _cut(total, *rows[IN_IMAGE]) + partial, rows[IN_IMAGE])]

    with _after_the_last_loop():
        (total,) = tiles.one_by_one(add, [tf.zeros_like(tiles.images)])
    return total


def _after_the_last_loop() -> contextlib.AbstractContextManager[Any]:
    """Loops over tiles that do not depend on each other would run, and hold memory, together."""
    if tf.executing_eagerly():
        return contextlib.nullcontext()
    return tf.control_dependencies(_loops_here()[-1:])


def _remember_loop(result: tf.Tensor) -> None:
    if not tf.executing_eagerly():
        _loops_here().append(result)


def _loops_here() -> list[tf.Tensor]:
    """The results of this graph's loops on the device at hand: replicas do not wait for another."""
    return tf.compat.v1.get_collection_ref(f"{LOOPS} on {tf.constant(0).device}")


def _read(values: tf.Tensor, rows: Rows, reads: ReadRows, padding: float) -> tf.Tensor:
    """The part of `values` that a layer reads, with its padding."""
    if reads.cut is not None:
        values = _cut(values, *rows[reads.cut : reads.cut + 2])
    if reads.padding is None:
        return values
    before, after = rows[reads.padding : reads.padding + 2]
    value = tf.constant(padding, values.dtype)
    padded = tf.pad(values, tf.stack([before, after], axis=1), constant_values=value)
    return _of_any_grid(padded, values.shape)


def _cut(values: tf.Tensor, start: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """`size` positions from `start` on; both are one an axis of the tensor."""
    return _of_any_grid(tf.slice(values, start, size), values.shape)


def _of_any_grid(values: tf.Tensor, like: tf.TensorShape) -> tf.Tensor:
    values.set_shape((like[0], *[None] * (like.rank - 2), like[-1]))
    return values


def _paste(whole: tf.Tensor, values: tf.Tensor, bounds: Rows) -> tf.Tensor:
    """`whole` with `values` from their first position on; in place where nobody else holds it."""
    start, _ = bounds
    return tf.raw_ops.TensorStridedSliceUpdate(
        input=whole,
        begin=start,
        end=start + tf.shape(values),
        strides=tf.ones_like(start),
        value=tf.cast(values, whole.dtype),
    )
