"""A network's map over a whole image from overlapping windows, and where that is exact.

At a border inside the image a window sees padding where the whole network sees the image. What a
window says there is wrong, as deep as the receptive field reaches. So every position of the map is
taken from the window in whose middle it lies most, and where the overlap is as wide as
`needed_overlap` says, nothing wrong is left.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from mlp_med.errors import StreamingError
from mlp_med.models.stage_parts import IMAGE, Part, parts_of
from mlp_med.models.tiling import grid_sizes, needed_for, stride_of
from mlp_med.models.windows import Interval

FAR = 2**16  # positions of the map, from any border


class Placed(NamedTuple):
    """A window along one axis.

    Attributes:
        image: positions of the image that it sees.
        owned: positions of the map that are taken from it.
        first: position of the map that its own first one is.
    """

    image: Interval
    owned: Interval
    first: int


def make_slider(
    stages: keras.Model, *, window_size: int, overlap: int
) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function from images to the stages' map, window by window, outside training.

    It takes [batch, *grid, channels] and gives the same kind of tensor; it is traced once for every
    shape of a window and sees the stages' later weights.

    Args:
        stages: functional, of one input and one output; layers as in `StreamedStages`, and batch
            normalisation, whose statistics are fixed outside training.
        window_size: edge of a window in voxels of the image; the last along an axis may be up to a
            stride longer.
        overlap: of neighbouring windows in voxels; both are rounded down to the stages' stride.

    Raises:
        StreamingError: the overlap is not smaller than the window, or see `StreamedStages`.
    """
    parts = parts_of(stages)
    score = tf.function(lambda window: stages(window, training=False), autograph=False)

    def slide(images: tf.Tensor) -> tf.Tensor:
        grid = images.shape[1:-1]
        axes = place_windows(parts, grid, window_size=window_size, overlap=overlap)
        return _assembled(score, images, axes)

    return slide


def _assembled(
    score: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor, axes: Sequence[Sequence[Placed]]
) -> tf.Tensor:
    """Windows along the first axis side by side, each of windows along the others."""
    axis = images.shape.rank - 1 - len(axes)
    if not axes:
        return score(images)
    rows = []
    for window in axes[0]:
        row = _assembled(score, _between(images, window.image, axis), axes[1:])
        own = Interval(window.owned.start - window.first, window.owned.stop - window.first)
        rows.append(_between(row, own, axis))
    return tf.concat(rows, axis)


def _between(values: tf.Tensor, interval: Interval, axis: int) -> tf.Tensor:
    return values[(slice(None),) * axis + (slice(*interval),)]


def place_windows(
    parts: Sequence[Part], image_size: Sequence[int], *, window_size: int, overlap: int
) -> list[list[Placed]]:
    """The windows along each axis, in order.

    Raises:
        StreamingError: see `make_slider`.
    """
    output_size = grid_sizes(parts, image_size)[parts[-1].output]
    axes = []
    for axis, (size, outputs) in enumerate(zip(image_size, output_size, strict=True)):
        stride = stride_of(parts, axis)
        length, shared = (voxels // stride * stride for voxels in (window_size, overlap))
        if not 0 <= shared < length:
            raise StreamingError(
                f"expected windows of at least {stride} voxels, the stages' stride, that overlap "
                f"by less, got {window_size} with an overlap of {overlap}"
            )
        seen = _seen(size, stride, length, length - shared)
        # Each position of the map belongs to the window whose border is farther.
        middles = [(left.stop + right.start) // (2 * stride) for left, right in pairwise(seen)]
        owned = [Interval(*bounds) for bounds in pairwise([0, *middles, outputs])]
        axes.append([Placed(s, o, s.start // stride) for s, o in zip(seen, owned, strict=True)])
    return axes


def _seen(size: int, stride: int, length: int, step: int) -> list[Interval]:
    """Windows from the first position on; the last leaves none, and begins at a stride too."""
    last = max(0, (size - length) // stride * stride)
    starts = [*range(0, last, step), last]
    return [Interval(start, start + length) for start in starts[:-1]] + [Interval(last, size)]


def needed_overlap(stages: keras.Model) -> int:
    """Voxels by which windows must overlap for the map to be the whole image's everywhere.

    Twice what a position of the map sees of the image beyond the voxels that are its own, rounded
    up to the stages' stride.
    """
    parts = parts_of(stages)
    strides = [stride_of(parts, axis) for axis in range(len(stages.inputs[0].shape) - 2)]
    sizes = grid_sizes(parts, [2 * FAR * stride for stride in strides])
    overlaps = []
    for axis, stride in enumerate(strides):
        seen = needed_for(parts, sizes, axis, Interval(FAR, FAR + 1)).regions[IMAGE]
        halo = max(FAR * stride - seen.start, seen.stop - (FAR + 1) * stride)
        overlaps.append(2 * -(-halo // stride) * stride)
    return max(overlaps)


def exact_positions(stages: keras.Model, image_size: Sequence[int], **windows: int) -> np.ndarray:
    """Where `make_slider` gives what the stages give on the whole image: bool [*grid of the map].

    Args:
        stages: as for `make_slider`.
        image_size: voxels along each axis.
        windows: `window_size` and `overlap`.
    """
    parts = parts_of(stages)
    whole = grid_sizes(parts, image_size)
    exact = np.ones((), bool)
    for axis, placed in enumerate(place_windows(parts, image_size, **windows)):
        along = []
        for window in placed:
            seen = [*image_size[:axis], window.image.size, *image_size[axis + 1 :]]
            sizes = grid_sizes(parts, seen)
            for position in range(*window.owned):
                expected = needed_for(parts, whole, axis, Interval(position, position + 1))
                own = position - window.first
                ours = needed_for(parts, sizes, axis, Interval(own, own + 1))
                offset = expected.regions[IMAGE].start - ours.regions[IMAGE].start
                along.append(offset == window.image.start and ours.reads == expected.reads)
        exact = exact[..., np.newaxis] & np.array(along)
    return exact
